"""Mean tokens that are taken out of token embeddings, and their file."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny_encoders import tiny_bert

from clir_cli.errors import UserError
from clir_cli.optical.distillation import EncodedBitext, token_batch
from clir_cli.optical.marginals import Marginals, by_norm
from clir_cli.retrieval.centres import CENTRES, save_centres
from clir_cli.retrieval.encoder import Packed, load_encoder
from clir_cli.stages.support.centring import mean_tokens
from clir_cli.suites import load_settings
from clir_cli.training.chunks import embed_chunks
from clir_cli.training.loop import Loss

CPU = torch.device("cpu")
TEXTS = ["rain", "How do farmers keep maize dry?", "The clinic opens at eight."]


@pytest.fixture
def folder(tmp_path, models):
    return tiny_bert(tmp_path / "tiny", models)


@pytest.fixture
def plain(folder):
    return load_encoder(folder, CPU)


@pytest.fixture
def centres(plain):
    """Two that differ, so that a side with the other's is noticed."""
    return mean_tokens(plain, {"query": TEXTS[:1], "document": TEXTS[1:]})


def wanted(encoder, text, centre):
    """Return the embeddings by the formula: normalise(normalise(h) - m)."""
    ids = torch.tensor(encoder.tokenize([text], 64))
    with torch.inference_mode():
        states = encoder.states(ids, torch.ones_like(ids, dtype=torch.bool))[0].numpy()
    left = states / np.linalg.norm(states, axis=1, keepdims=True) - centre.numpy()
    return torch.from_numpy(left / np.linalg.norm(left, axis=1, keepdims=True))


def test_embeddings_are_those_of_the_formula_by_side(plain, centres):
    centred = replace(plain, centres=centres)
    for kind, side in (("query", "query"), ("sentence", "query"), ("document", "document")):
        packed = centred.encode(TEXTS, 64, kind=kind)
        (chunk,) = embed_chunks(centred, centred.inputs(TEXTS[1:2], 64, kind), kind, 0)
        expected = [wanted(plain, text, centres[side]) for text in TEXTS]
        torch.testing.assert_close(packed.vectors, torch.cat(expected), atol=2e-5, rtol=0)
        torch.testing.assert_close(chunk.embeddings[0], expected[1], atol=2e-5, rtol=0)


def test_the_mean_is_that_of_unit_tokens_and_nothing_is_left_of_it(plain):
    (mean,) = mean_tokens(plain, {"document": TEXTS}).values()
    torch.testing.assert_close(mean, plain.encode(TEXTS, 64, kind="document").vectors.mean(dim=0))
    centred = replace(plain, centres={"document": mean}, precision=torch.bfloat16)
    assert centred.encode(TEXTS, 64, kind="document").vectors.mean(dim=0).norm() < 0.3 * mean.norm()
    # Of a centred encoder it is the same: it is the mean before centring.
    torch.testing.assert_close(mean_tokens(centred, {"document": TEXTS})["document"], mean)


@pytest.mark.parametrize("masses", ["uniform", "norm"])
def test_the_loss_has_centred_embeddings_with_and_without_masses(plain, centres, masses):
    centred, seen = replace(plain, centres=centres), []
    ids, teacher = plain.token_ids(TEXTS, 64), plain.encode(TEXTS, 64)
    weights = Packed(torch.ones(len(teacher.vectors)), teacher.offsets)
    data = EncodedBitext(ids, teacher, Marginals(by_norm, weights) if masses == "norm" else None)

    def objective(batch, _):
        seen.append(batch.student[0, : len(ids[1])])
        return Loss(batch.student.sum())

    objective(token_batch(centred, [(data, 1)]), load_settings("sample"))
    torch.testing.assert_close(
        seen[0].detach(), wanted(plain, TEXTS[1], centres["query"]), atol=2e-5, rtol=0
    )


def test_saved_centres_are_read_and_a_plain_model_has_none(folder, plain, centres):
    assert plain.centres == {}
    save_centres(folder, centres)
    again = load_encoder(folder, CPU)
    assert all(torch.equal(again.centres[side], centres[side]) for side in ("query", "document"))
    expected = replace(plain, centres=centres).encode(TEXTS, 64, kind="document").vectors
    assert torch.equal(again.encode(TEXTS, 64, kind="document").vectors, expected)


@pytest.mark.parametrize(
    ("tensors", "problem"),
    [
        ({"query": torch.zeros(31)}, "query is (31,)"),
        ({"query": torch.full((32,), 1.0)}, "query is (32,)"),
        ({"query": torch.full((32,), torch.nan)}, "query is (32,)"),
        ({"queries": torch.zeros(32)}, "queries is (32,)"),
    ],
)
def test_what_is_no_mean_token_of_the_model_is_refused(folder, tensors, problem):
    save_file(tensors, folder / CENTRES)
    problem = re.escape(f"{folder / CENTRES}: {problem} and no mean of unit vectors of 32")
    with pytest.raises(UserError, match=problem):
        load_encoder(folder, CPU)


def test_a_damaged_file_is_refused(folder, centres):
    save_centres(folder, centres)
    path = folder / CENTRES
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UserError, match=r"centre\.safetensors: the mean tokens cannot be read"):
        load_encoder(folder, CPU)
    shutil.copy(folder / "config.json", path)
    with pytest.raises(UserError, match=r"centre\.safetensors: the mean tokens cannot be read"):
        load_encoder(folder, CPU)
