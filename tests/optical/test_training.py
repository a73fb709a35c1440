import itertools
from pathlib import Path

import pytest
import torch

from clir_cli.corpus import bitext
from clir_cli.corpus.records import Pair
from clir_cli.optical.objectives import OBJECTIVES, TokenBatch, cosine_cost, optimal_transport
from clir_cli.optical.training import Parallel, Training
from clir_cli.retrieval.encoder import load_encoder
from clir_cli.settings import BitextSettings, TrainingSettings, TransportSettings

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(models: Path):
    teacher = load_encoder(models / "all-MiniLM-L6-v2", CPU)
    chosen = BitextSettings(sources=("sample",), max_pairs=60, held_out=6)
    read = bitext.load_bitext(chosen, Pair("fr", "en"), Path("unused"))
    return [
        Parallel(
            teacher.tokenize([row.query for row in rows], 64),
            teacher.encode([row.english for row in rows], 64),
        )
        for rows in (read.train, read.held_out)
    ]


@pytest.fixture
def training(models: Path, data):
    def build(**changes) -> Training:
        student = load_encoder(models / "all-MiniLM-L6-v2", CPU)
        chosen = TrainingSettings(**{"epochs": 2, "batch_size": 16} | changes)
        return Training(student, *data, OBJECTIVES["ot"], chosen, TransportSettings(), seed=3)

    return build


def weights(training: Training) -> torch.Tensor:
    return torch.cat([value.flatten() for value in training.student.model.state_dict().values()])


def test_the_held_out_loss_falls_and_the_rate_warms_up_and_decays(training):
    run = training(epochs=3)
    before = run.validate()[0]
    steps = list(run.run())
    held_out = [step.held_out_loss for step in steps if step.held_out_loss is not None]
    assert len(held_out) == 3
    assert held_out[-1] < before
    rates = [step.learning_rate for step in steps]
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[-1] < 0.1 * max(rates)


def test_a_run_that_was_cut_anywhere_ends_in_the_same_weights(training):
    whole = training()
    losses = [step.loss for step in whole.run()]
    for cut in (1, 4, 6):  # within an epoch, at its end, behind it
        first = training()
        for _ in itertools.islice(first.run(), cut):
            pass
        tensors, words = first.state()
        saved = {name: value.clone() for name, value in tensors.items()}
        del first
        torch.manual_seed(999)  # whatever happens in between
        second = training()
        second.restore(saved, words)
        rest = [step.loss for step in second.run()]
        assert rest == losses[cut:]
        assert torch.equal(weights(second), weights(whole))


def test_the_same_seed_gives_the_same_student(training):
    one, two = training(), training()
    assert [step.loss for step in one.run()] == [step.loss for step in two.run()]
    assert torch.equal(weights(one), weights(two))


def test_padding_changes_neither_loss_nor_gradient():
    chance = torch.Generator().manual_seed(0)

    def unit(*shape: int) -> torch.Tensor:
        return torch.nn.functional.normalize(torch.randn(*shape, generator=chance), dim=-1)

    student, teacher = unit(1, 5, 8), unit(1, 7, 8)
    ones = torch.ones(1, 5, dtype=torch.bool), torch.ones(1, 7, dtype=torch.bool)
    tight = student.clone().requires_grad_()
    plain = optimal_transport(TokenBatch(tight, ones[0], teacher, ones[1]), TransportSettings())
    plain.value.backward()
    wide = torch.cat([student, 9 * unit(1, 3, 8)], dim=1).requires_grad_()
    masks = torch.arange(8)[None] < 5, torch.arange(11)[None] < 7
    far = torch.cat([teacher, 9 * unit(1, 4, 8)], dim=1)
    padded = optimal_transport(TokenBatch(wide, masks[0], far, masks[1]), TransportSettings())
    padded.value.backward()
    torch.testing.assert_close(padded.value, plain.value, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(wide.grad[:, :5], tight.grad, atol=1e-5, rtol=1e-4)
    assert wide.grad[:, 5:].abs().max() == 0


def test_the_cost_of_equal_tokens_is_zero():
    vectors = torch.nn.functional.normalize(torch.randn(2, 4, 8), dim=-1)
    mask = torch.ones(2, 4, dtype=torch.bool)
    cost = cosine_cost(TokenBatch(vectors, mask, vectors, mask))
    torch.testing.assert_close(cost.diagonal(dim1=1, dim2=2), torch.zeros(2, 4), atol=1e-6, rtol=0)
