"""Masses of tokens in transport, and students of fewer layers."""

import pytest
import torch
from tiny_encoders import tiny_bert
from transformers import AutoModel

from clir_cli.artifacts import graph
from clir_cli.artifacts.cell import Cell
from clir_cli.corpus.bitext import Bitext
from clir_cli.corpus.records import Pair, SentencePair
from clir_cli.errors import UserError
from clir_cli.optical.distillation import EncodedBitext, token_batch
from clir_cli.optical.marginals import Marginals
from clir_cli.optical.objectives import aligned, cosine_cost
from clir_cli.retrieval.encoder import load_encoder
from clir_cli.stages.support.bitext_marginals import Student, masses
from clir_cli.stages.support.initial_student import keep_layers
from clir_cli.stages.support.workspace import Workspace
from clir_cli.suites import load_settings
from clir_cli.training.loop import Loss

CPU = torch.device("cpu")
ROWS = [
    SentencePair("watoto wanakunywa maji", "the children drink the water"),
    SentencePair("maji ni safi", "the water is clean"),
    SentencePair("watoto wanasoma", "the children read"),
]
BITEXT = Bitext(ROWS[:2], ROWS[2:], {})


@pytest.fixture
def tiny(models, tmp_path):
    return tiny_bert(tmp_path / "tiny", models)


def workspace_of(home, tiny, *changes):
    return Workspace(load_settings("sample", None, [f"teacher.model={tiny}", *changes]), home)


def sides(workspace, tiny, kind):
    """Return the pairs to train on, with masses, and the encoder that stands for both sides."""
    encoder = load_encoder(tiny, CPU)
    ids = encoder.token_ids([row.query for row in BITEXT.train], 64)
    teacher, other = (
        encoder.encode([row.english for row in rows], 64)
        for rows in (BITEXT.train, BITEXT.held_out)
    )
    ref = workspace.ref("student", (Pair("sw", "en"),), Cell("ot"))
    weights, held_out = masses(workspace, ref, BITEXT, Student(encoder, ids), (teacher, other))
    assert (weights is None) == (kind == "uniform")
    if weights is not None:
        assert torch.equal(weights.teacher.offsets, teacher.offsets)
        assert len(weights.teacher.vectors) == len(teacher.vectors)
        assert len(held_out.teacher) == 1
    return EncodedBitext(ids, teacher, weights), encoder


@pytest.mark.parametrize("kind", ["uniform", "norm", "idf"])
def test_plans_have_the_masses_that_are_asked_for(kind, home, tiny):
    workspace = workspace_of(home, tiny, f"transport.marginals={kind}")
    data, encoder = sides(workspace, tiny, kind)
    seen = []

    def objective(batch, settings):
        plan = aligned(batch, cosine_cost(batch), settings.transport).plan
        seen.append((batch, plan))
        return Loss(plan.sum())

    objective(token_batch(encoder, [(data, 0), (data, 1)]), workspace.settings)
    ((batch, plan),) = seen
    for masses_of, mask, found in (
        (batch.student_weights, batch.student_mask, plan.sum(2)),
        (batch.teacher_weights, batch.teacher_mask, plan.sum(1)),
    ):
        wanted = mask.float() if masses_of is None else masses_of
        wanted = wanted / wanted.sum(1, keepdim=True)
        assert torch.allclose(found, wanted, atol=2e-3)
        assert not found[~mask].any()


def test_rare_words_weigh_more_than_common_ones(home, tiny):
    data, encoder = sides(workspace_of(home, tiny, "transport.marginals=idf"), tiny, "idf")
    tokens = encoder.tokenizer.convert_ids_to_tokens(encoder.tokenize([ROWS[0].english], 64)[0])
    weight = dict(zip(tokens, data.marginals.teacher[0].tolist(), strict=True))
    assert weight["children"] > weight["the"] == weight["water"] == weight["[CLS]"]


def test_norms_are_those_of_the_states(home, tiny):
    data, encoder = sides(workspace_of(home, tiny, "transport.marginals=norm"), tiny, "norm")
    ids = torch.tensor([encoder.tokenize([ROWS[1].english], 64)[0]])
    with torch.inference_mode():
        states = encoder.states(ids, torch.ones_like(ids, dtype=torch.bool))
    assert torch.allclose(data.marginals.teacher[1], states[0].norm(dim=1), atol=1e-5)
    assert isinstance(data.marginals, Marginals)


def test_fewer_layers_are_a_model_like_any_other(home, tiny, tmp_path):
    model = load_encoder(tiny, CPU).model
    keep_layers(model, 1)
    model.save_pretrained(tmp_path / "one")
    again = AutoModel.from_pretrained(tmp_path / "one", add_pooling_layer=False).eval()
    ids = torch.tensor([[101, 2300, 102]])
    assert again.config.num_hidden_layers == 1
    assert torch.equal(again(ids).last_hidden_state, model(ids).last_hidden_state)
    with pytest.raises(UserError, match=r"student.layers is 2 and the model has 1"):
        keep_layers(model, 2)


def test_settings_that_came_later_change_nothing_at_their_default(home, tiny):
    def config(*changes):
        workspace = workspace_of(home, tiny, *changes)
        plan = graph.resolve(workspace, workspace.ref("student", (Pair("sw", "en"),), Cell("ot")))
        return plan.config, plan.fingerprint

    plain, fingerprint = config()
    assert "marginals" not in plain["transport"]
    assert "layers" not in plain["student"]
    assert config("transport.marginals=uniform", "student.layers=0") == (plain, fingerprint)
    assert config("transport.marginals=idf")[0]["transport"]["marginals"] == "idf"
    assert config("student.layers=1")[0]["student"]["layers"] == 1
    assert config("student.layers=1")[1] != fingerprint
