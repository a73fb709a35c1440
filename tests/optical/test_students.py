"""Students that are not plain: with a projection, with adapters, or computed twice."""

import copy
import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from clir_cli.optical.distillation import Distillation, EncodedBitext
from clir_cli.optical.objectives import OBJECTIVES
from clir_cli.retrieval import projection
from clir_cli.retrieval.adapters import merged, with_adapters
from clir_cli.retrieval.checkpoints import Checkpoint, Layer, TextFormat
from clir_cli.retrieval.encoder import Encoder, load_encoder
from clir_cli.suites import load_settings
from clir_cli.training.loop import Training

CPU = torch.device("cpu")
PAIRS = [
    ("maji safi ni muhimu", "clean water is important"),
    ("watoto wanakunywa maji", "children drink water"),
    ("shule ina maji kidogo", "the school has little water"),
    ("watoto wanaenda shule", "children go to school"),
    ("shule ni safi", "the school is clean"),
    ("mvua imenyesha", "it has rained"),
]


@pytest.fixture(scope="module")
def plain(models: Path) -> Encoder:
    return load_encoder(models / "all-MiniLM-L6-v2", CPU)


@pytest.fixture(scope="module")
def data(plain) -> EncodedBitext:
    head = projection.orthogonal(384, 48, seed=1)
    teacher = replace(plain, projection=head).encode([english for _, english in PAIRS], 32)
    return EncodedBitext(plain.token_ids([query for query, _ in PAIRS], 32), teacher)


def student(plain: Encoder, rank: int = 0, rows: tuple[int, ...] = ()) -> Encoder:
    torch.manual_seed(4)
    own = replace(
        plain,
        model=copy.deepcopy(plain.model),
        projection=projection.orthogonal(384, 48, seed=2),
    )
    return with_adapters(own, rank, rows) if rank else own


def training(encoder: Encoder, data: EncodedBitext, *changes: str) -> Training:
    chosen = load_settings("sample", None, ["training.epochs=2", "training.batch_size=3", *changes])
    task = Distillation(data, data, OBJECTIVES["ot"], chosen, seed=3)
    return Training(encoder, task, chosen.training, seed=3)


def weights(run: Training) -> torch.Tensor:
    return torch.cat([value.flatten() for value in run.trained.state_dict().values()])


@pytest.mark.parametrize("rank", [0, 4], ids=["projection", "adapters"])
def test_a_run_that_was_cut_ends_in_the_same_student(rank, plain, data):
    whole = training(student(plain, rank), data)
    losses = [step.loss for step in whole.run()]
    head = student(plain).projection.state_dict()["0.linear.weight"]
    assert not torch.equal(whole.encoder.projection.state_dict()["0.linear.weight"], head)
    for cut in (1, 3):
        first = training(student(plain, rank), data)
        before = [step.loss for step in itertools.islice(first.run(), cut)]
        tensors, words = first.state()
        saved = {name: value.clone() for name, value in tensors.items()}
        second = training(student(plain, rank), data)
        with torch.no_grad():  # what it started from does not matter
            for each in second.parameters:
                each.add_(1.0)
        second.restore(saved, words)
        assert before + [step.loss for step in second.run()] == losses
        assert torch.equal(weights(second), weights(whole))


def test_the_state_of_another_student_is_refused(plain, data):
    tensors, words = training(student(plain), data).state()
    other = training(replace(plain, model=copy.deepcopy(plain.model)), data)
    with pytest.raises(ValueError, match="another student"):
        other.restore(tensors, words)


def test_adapters_train_little_and_leave_an_ordinary_model(plain, data):
    rows = tuple(plain.tokenizer.convert_tokens_to_ids(["water", "school"]))
    before = student(plain).model.get_input_embeddings().weight.detach().clone()
    run = training(student(plain, 4, rows), data, "training.learning_rate=0.01")
    everything = sum(each.numel() for each in plain.model.parameters())
    assert sum(each.numel() for each in run.parameters) < 0.05 * everything
    assert sum(x.numel() for n, x in run.state()[0].items() if n.startswith("model.")) < (
        0.05 * everything
    )
    losses = [step.loss for step in run.run()]
    assert losses[-1] < losses[0]
    run.trained.eval()
    adapted = run.encoder.encode([query for query, _ in PAIRS], 32)
    ordinary = merged(run.encoder)
    assert type(ordinary.model) is type(plain.model)
    assert ordinary.model.state_dict().keys() == plain.model.state_dict().keys()
    torch.testing.assert_close(
        ordinary.encode([query for query, _ in PAIRS], 32).vectors, adapted.vectors,
        atol=1e-5, rtol=0,
    )  # fmt: skip
    after = ordinary.model.get_input_embeddings().weight
    moved = (after != before).any(dim=1).nonzero().flatten().tolist()
    assert moved == sorted(rows)


def test_computing_activations_twice_changes_no_weight(plain, data):
    runs = [
        training(student(plain), data, f"training.gradient_checkpointing={told}")
        for told in ("false", "true")
    ]
    losses = [[step.loss for step in run.run()] for run in runs]
    assert losses[0] == losses[1]
    assert torch.equal(weights(runs[0]), weights(runs[1]))


def test_a_projection_is_saved_and_loaded_whole(tmp_path):
    made = projection.Projection(Layer(6, 4, bias=True, activation="Tanh"), Layer(4, 3))
    projection.save_projection(tmp_path, made)
    found = projection.load_projection(Checkpoint(tmp_path, tmp_path, TextFormat()))
    states = torch.randn(5, 6)
    assert torch.equal(found(states), made(states))
    assert (found.inputs, found.outputs) == (6, 3)


@pytest.mark.parametrize(("inputs", "outputs"), [(8, 5), (5, 8)])
def test_an_orthogonal_projection_is_one_and_follows_the_seed(inputs, outputs):
    weight = projection.orthogonal(inputs, outputs, seed=1)[0].linear.weight
    small = weight @ weight.T if outputs < inputs else weight.T @ weight
    torch.testing.assert_close(small, torch.eye(min(inputs, outputs)), atol=1e-5, rtol=0)
    assert torch.equal(weight, projection.orthogonal(inputs, outputs, seed=1)[0].linear.weight)
    assert not torch.equal(weight, projection.orthogonal(inputs, outputs, seed=2)[0].linear.weight)
