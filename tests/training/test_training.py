import itertools
from pathlib import Path

import pytest
import torch

from clir_cli.corpus import bitext
from clir_cli.corpus.records import Pair
from clir_cli.optical.distillation import Distillation, EncodedBitext
from clir_cli.optical.objectives import OBJECTIVES
from clir_cli.retrieval.encoder import load_encoder
from clir_cli.settings import BitextSettings
from clir_cli.suites import load_settings
from clir_cli.training.loop import Training

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(models: Path):
    teacher = load_encoder(models / "all-MiniLM-L6-v2", CPU)
    chosen = BitextSettings(sources=("sample",), max_pairs=60, held_out=6)
    read = bitext.load_bitext(chosen, Pair("fr", "en"), Path("unused"))
    return [
        EncodedBitext(
            teacher.token_ids([row.query for row in rows], 64),
            teacher.encode([row.english for row in rows], 64),
        )
        for rows in (read.train, read.held_out)
    ]


@pytest.fixture
def training(models: Path, data):
    def build(**changes) -> Training:
        student = load_encoder(models / "all-MiniLM-L6-v2", CPU)
        changed = {"epochs": 2, "batch_size": 16} | changes
        chosen = load_settings("sample", None, [f"training.{k}={v}" for k, v in changed.items()])
        task = Distillation(*data, OBJECTIVES["ot"], chosen, seed=3)
        return Training(student, task, chosen.training, seed=3)

    return build


def weights(training: Training) -> torch.Tensor:
    return torch.cat([value.flatten() for value in training.encoder.model.state_dict().values()])


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


@pytest.mark.slow  # a training for each place
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
