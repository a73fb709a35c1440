"""English as an anchor (`objective.anchor`): which tokens are held, to what, and what it keeps."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_encoders import tiny_bert

from clir_cli.corpus.bitext import Bitext
from clir_cli.corpus.records import SentencePair
from clir_cli.optical.anchor import anchor, shared_tokens
from clir_cli.optical.distillation import Distillation, EncodedBitext
from clir_cli.optical.joint import JointDistillation
from clir_cli.optical.objectives import OBJECTIVES
from clir_cli.retrieval.checkpoints import TextFormat
from clir_cli.retrieval.encoder import Packed, load_encoder
from clir_cli.stages.support.english_sides import english_sides
from clir_cli.stages.support.workspace import Workspace
from clir_cli.suites import load_settings

CPU = torch.device("cpu")
ROWS = [
    SentencePair("watoto wanakunywa maji", "the children drink the water"),
    SentencePair("maji ni safi", "clean water"),
    SentencePair("watoto wanasoma", "the children read"),
]


@pytest.fixture(scope="module")
def encoders(models, tmp_path_factory):
    """A teacher, and a student whose weights differ."""
    folder = tmp_path_factory.mktemp("encoders")
    return [load_encoder(tiny_bert(folder / str(seed), models, seed=seed), CPU) for seed in (5, 6)]


@pytest.fixture
def sides(encoders, models, tmp_path):
    """Return a function that makes the English sides for the student, with its teacher's."""

    def make(*changes, student=None, packed=None):
        folder = tiny_bert(tmp_path / "teacher", models)  # the same weights as the teacher's
        settings = load_settings("sample", None, [f"teacher.model={folder}", *changes])
        packed = packed or encoders[0].encode([row.english for row in ROWS], 64)
        made = english_sides(
            Workspace(settings, tmp_path), Bitext(ROWS, ROWS[:1], {}), student or encoders[1],
            (packed, encoders[0].encode([ROWS[0].english], 64)),
        )  # fmt: skip
        return packed, *made

    return make


def test_equal_tokenizations_share_every_position_and_others_equal_characters():
    spans = [(0, 0), (0, 5), (6, 9), (0, 0)]
    assert shared_tokens("clean air", spans, spans).tolist() == [[0, 0], [1, 1], [2, 2], [3, 3]]
    pieces = [(0, 0), (0, 3), (3, 5), (5, 9), (0, 0)]  # the last word with its space
    assert shared_tokens("clean air", spans, pieces).tolist() == [[2, 3]]
    assert shared_tokens("clean air", pieces, spans).tolist() == [[3, 2]]
    assert shared_tokens("clean", [(0, 5)], [(0, 3), (3, 5)]).shape == (0, 2)


def distance(encoder, row: int, teacher: torch.Tensor, positions: list[int]) -> float:
    own = encoder.encode([ROWS[row].english], 64)[0].double().numpy()[positions]
    return float(np.mean(1 - (own * teacher.double().numpy()[positions]).sum(axis=1)))


def test_the_anchor_is_the_mean_distance_of_the_shared_tokens(encoders, sides):
    _, student = encoders
    packed, english, held_out = sides("objective.anchor=1")
    student.model.eval()
    value = anchor(student, [(english, row, packed[row]) for row in range(3)])
    expected = [distance(student, row, packed[row], [*range(len(packed[row]))]) for row in range(3)]
    assert value.item() == pytest.approx(np.mean(expected), rel=1e-4)
    assert len(held_out.ids) == 1
    english.shared[0], english.shared[1] = english.shared[0][1:3], english.shared[1][:0]
    value = anchor(student, [(english, row, packed[row]) for row in range(3)])
    expected = [distance(student, 0, packed[0], [1, 2]), 0, expected[2]]
    assert value.item() == pytest.approx(np.mean(expected), rel=1e-4)


def test_a_student_that_reads_as_the_teacher_has_nothing_to_keep(encoders, sides):
    packed, english, _ = sides("objective.anchor=1", student=encoders[0])
    value = anchor(encoders[0], [(english, row, packed[row]) for row in range(3)])
    assert value.item() == pytest.approx(0, abs=1e-5)


def test_english_is_centred_with_the_mean_token_of_the_teacher(encoders, sides):
    teacher, student = encoders
    centre = 0.3 * torch.nn.functional.normalize(torch.randn(32), dim=0)
    packed, english, _ = sides("objective.anchor=1")
    english = replace(english, centres={"query": centre})
    own = replace(student, centres={"query": -centre})  # of its language
    value = anchor(own, [(english, 1, packed[1])])
    centred = replace(student, centres={"query": centre})
    everything = [*range(len(packed[1]))]
    assert value.item() == pytest.approx(distance(centred, 1, packed[1], everything), rel=1e-4)
    assert teacher.centres == {}


def test_a_prompt_is_not_shared(encoders, sides):
    prompted = replace(encoders[1], text_format=TextFormat(query_prefix="query: "))
    packed, english, _ = sides("objective.anchor=1", student=prompted)
    assert len(english.ids[1]) > len(packed[1]) == 4
    shift = len(english.ids[1]) - 4
    assert english.shared[1].tolist() == [[1 + shift, 1], [2 + shift, 2]]  # the words alone
    own = prompted.encode([ROWS[1].english], 64)[0]
    cosines = (own[[1 + shift, 2 + shift]] * packed[1][1:3]).sum(1)
    value = anchor(prompted, [(english, 1, packed[1])])
    torch.testing.assert_close(value, (1 - cosines).mean(), atol=1e-5, rtol=1e-4)


def test_sentences_that_are_not_drawn_are_left_out(encoders, sides):
    packed, _, _ = sides()
    sizes = torch.tensor([0, *[len(packed[0])] * 3])
    _, english, _ = sides("objective.anchor=1", packed=Packed(packed.vectors[: sizes[1]], sizes))
    assert [len(ids) for ids in english.ids] == [len(shared) for shared in english.shared]
    assert [len(ids) for ids in english.ids] == [len(packed[0]), 0, 0]
    assert sides("objective.anchor=0")[1:] == (None, None)


@pytest.mark.parametrize("method", ["ot", "kd-score"])
def test_the_loss_of_every_task_has_the_anchor_by_its_weight(encoders, sides, method):
    _, student = encoders
    student.model.eval()
    packed, english, _ = sides("objective.anchor=1")
    data = EncodedBitext(student.token_ids([row.query for row in ROWS], 64), packed, None, english)
    plain, weighed = (
        Distillation(data, data, OBJECTIVES[method], load_settings("sample", None, [change]), 0)
        for change in ("objective.anchor=0", "objective.anchor=0.5")
    )
    kept = anchor(student, [(english, row, packed[row]) for row in range(3)]).item()
    before, after = (task.loss(student, [0, 1, 2]).value.item() for task in (plain, weighed))
    assert after == pytest.approx(before + 0.5 * kept, rel=1e-4)
    with torch.no_grad():
        held, mrr = weighed.validate(student)
        assert (held, mrr) == pytest.approx((after, plain.validate(student)[1]), rel=1e-4)
    joint = JointDistillation({"sw-en": weighed}, 1.0, seed=0)
    mixed = joint.loss(student, [("sw-en", row) for row in range(3)]).value.item()
    assert mixed == pytest.approx(after, rel=1e-4)


def test_an_anchored_student_keeps_more_of_its_english(clir, quick, home):
    means = {}
    for name, weight in (("plain", 0), ("anchored", 5)):
        outcome = clir(
            "distill", "--lang", "sw-en", "--method", "kd-mse", "--variant", name, *quick,
            "--set", "training.epochs=4", "--set", f"objective.anchor={weight}", "--home", home,
        )  # fmt: skip
        assert outcome.code == 0, outcome.err
        student = load_encoder(home / "sample/sw-en" / f"kd-mse.{name}" / "student", CPU)
        teacher = load_encoder(home.parent / "tiny", CPU)
        texts = [row.english for row in ROWS]
        own, theirs = (Packed.of([encoder.encode([text], 64)[0] for text in texts])
                       for encoder in (student, teacher))  # fmt: skip
        means[name] = (own.vectors * theirs.vectors).sum(1).mean().item()
        manifest = json.loads(
            (home / "sample/sw-en" / f"kd-mse.{name}" / "student/manifest.json").read_text()
        )
        assert manifest["config"].get("objective", {}) == ({"anchor": 5.0} if weight else {})
    assert 1 - means["anchored"] < 0.3 * (1 - means["plain"])
