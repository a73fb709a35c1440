"""Training the reached rows of an embedding table is training all of it."""

from pathlib import Path

import pytest
import torch

from clir_cli.corpus import bitext
from clir_cli.corpus.records import Pair
from clir_cli.optical.distillation import Distillation, EncodedBitext
from clir_cli.optical.joint import JointDistillation
from clir_cli.optical.objectives import OBJECTIVES
from clir_cli.retrieval.encoder import load_encoder
from clir_cli.retrieval.loading import embedding_table
from clir_cli.settings import BitextSettings
from clir_cli.suites import load_settings
from clir_cli.training.loop import Training
from clir_cli.training.reached_rows import ReachedRows, with_reached_rows

CPU = torch.device("cpu")
TABLE = "embeddings.word_embeddings.weight"


class WholeTable:
    """A task that does not say which tokens it has."""

    def __init__(self, task: Distillation) -> None:
        self._task = task

    def __getattr__(self, name: str):
        if name == "tokens":
            raise AttributeError(name)
        return getattr(self._task, name)


@pytest.fixture(scope="module")
def task(models: Path) -> Distillation:
    teacher = load_encoder(models / "all-MiniLM-L6-v2", CPU)
    chosen = BitextSettings(sources=("sample",), max_pairs=60, held_out=20)
    read = bitext.load_bitext(chosen, Pair("fr", "en"), Path("unused"))
    sides = [
        EncodedBitext(
            teacher.token_ids([row.query for row in rows], 64),
            teacher.encode([row.english for row in rows], 64),
        )
        for rows in (read.train, read.held_out)
    ]
    options = [
        "training.epochs=2", "training.batch_size=16", "training.weight_decay=0.5",
        "training.learning_rate=1e-3", "training.dropout=false",
    ]  # fmt: skip
    settings = load_settings("sample", None, options)
    return Distillation(sides[0], sides[1], OBJECTIVES["ot"], settings, seed=3)


def trained(models: Path, task) -> Training:
    student = load_encoder(models / "all-MiniLM-L6-v2", CPU)
    return Training(student, task, task.settings.training, seed=3)


def test_weights_and_held_out_losses_are_those_of_the_whole_table(models, task):
    whole, reached = trained(models, WholeTable(task)), trained(models, task)
    rows = embedding_table(reached.encoder.model)
    assert isinstance(rows, ReachedRows)
    assert len(rows.weight) < 0.1 * rows.table.num_embeddings
    assert any(set(ids) - set(rows.reached.tolist()) for ids in task.held_out.ids)
    for one, two in zip(whole.run(), reached.run(), strict=True):
        assert one.loss == pytest.approx(two.loss, rel=1e-4)
        if one.held_out_loss is not None:
            assert two.held_out_loss == pytest.approx(one.held_out_loss, rel=1e-4)
            assert two.held_out_score == pytest.approx(one.held_out_score, rel=0.05)
    expected = whole.finished().model.state_dict()
    found = reached.finished().model.state_dict()
    assert expected.keys() == found.keys()
    before = load_encoder(models / "all-MiniLM-L6-v2", CPU).model.state_dict()[TABLE]
    assert not torch.allclose(before, found[TABLE], rtol=1e-4, atol=0)  # all have decayed
    unreached = torch.ones(len(before), dtype=torch.bool)
    unreached[rows.reached] = False
    torch.testing.assert_close(
        found[TABLE][unreached], expected[TABLE][unreached], rtol=1e-5, atol=1e-8
    )
    for name, value in expected.items():  # Adam divides gradients near zero by their size
        difference = (found[name] - value).abs()
        assert difference.mean() < 1e-3 * (value - before if name == TABLE else value).abs().mean()


def test_a_checkpoint_of_the_whole_table_is_of_another_student(models, task):
    whole, reached = trained(models, WholeTable(task)), trained(models, task)
    with pytest.raises(ValueError, match="another student"):
        reached.restore(*whole.state())


def test_a_token_that_was_not_named_is_an_error_in_training(models, task):
    student = load_encoder(models / "all-MiniLM-L6-v2", CPU)
    rows = with_reached_rows(student, [101, 102])
    assert rows is not None
    student.model.train()
    ids = torch.tensor([[101, 2000, 102]])
    with pytest.raises(IndexError):
        student.embed(ids, torch.ones_like(ids, dtype=torch.bool))
    student.model.eval()
    assert student.embed(ids, torch.ones_like(ids, dtype=torch.bool)).isfinite().all()


def test_a_table_that_is_frozen_or_mostly_reached_is_left_as_it_is(models):
    student = load_encoder(models / "all-MiniLM-L6-v2", CPU)
    table = embedding_table(student.model)
    assert with_reached_rows(student, range(20_000)) is None
    table.requires_grad_(False)
    assert with_reached_rows(student, [101]) is None
    assert embedding_table(student.model) is table


def test_the_tokens_of_a_joint_task_are_those_of_its_parts(task):
    joint = JointDistillation({"fr-en": task, "de-en": task}, 1.0, seed=0)
    assert joint.tokens() == task.tokens() == {token for ids in task.train.ids for token in ids}
