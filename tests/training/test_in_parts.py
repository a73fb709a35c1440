"""Out of memory: a batch in parts has the loss and the gradient of the whole one."""

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch
from tiny_encoders import tiny_bert

from clir_cli.errors import UserError
from clir_cli.optical.distillation import Distillation, EncodedBitext
from clir_cli.optical.objectives import OBJECTIVES
from clir_cli.retrieval import memory
from clir_cli.retrieval.encoder import Encoder, load_encoder
from clir_cli.stages.support.fitting import require_training
from clir_cli.stages.support.workspace import Workspace
from clir_cli.suites import load_settings
from clir_cli.training.contrastive import Contrastive, QuerySource
from clir_cli.training.loop import Training

CPU = torch.device("cpu")
WORDS = ["water", "maize", "school", "market", "road", "rain", "goat", "doctor", "river", "field"]
FEW = ("training.epochs=1", "training.batch_size=5", "training.dropout=false")


@pytest.fixture(scope="module")
def tiny(models, tmp_path_factory) -> Encoder:
    return load_encoder(tiny_bert(tmp_path_factory.mktemp("tiny"), models), CPU)


def own(tiny: Encoder, room: int | None = None) -> Encoder:
    """Return a copy of an encoder; training it on more than ``room`` texts has no memory."""
    student = replace(tiny, model=copy.deepcopy(tiny.model))
    forward = student.model.forward

    def limited(*arguments, **inputs):
        if room is not None and torch.is_grad_enabled() and len(inputs["input_ids"]) > room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return forward(*arguments, **inputs)

    student.model.forward = limited
    return student


def distillation(tiny: Encoder, method: str, *changes: str) -> Distillation:
    chosen = load_settings("sample", None, [*FEW, *changes])
    texts = [
        f"the {word} is near the {other}"
        for word, other in zip(WORDS, WORDS[1:] + WORDS[:1], strict=True)
    ]
    teacher = tiny.encode([f"{text} today" for text in texts], 32)
    data = EncodedBitext(tiny.token_ids(texts, 32), teacher)
    return Distillation(data, data, OBJECTIVES[method], chosen, seed=3)


def contrastive() -> Contrastive:
    documents = [f"all about {word} and nothing else" for word in WORDS]
    source = QuerySource("one", WORDS, documents, [[row] for row in range(len(WORDS))])
    return Contrastive(
        [source], [source], "sentence", 32, 64, 5, temperature=0.05, negatives=1, seed=3
    )


def trained(encoder: Encoder, task, *changes: str) -> tuple[Training, list[float]]:
    loop = load_settings("sample", None, [*FEW, *changes]).training
    run = Training(encoder, task, loop, seed=3)
    return run, [step.loss for step in run.run()]


@pytest.mark.parametrize("room", [4, 2, 1])
@pytest.mark.parametrize("method", ["ot", "kd-cosine", "kd-score", "ot+contrast"])
def test_the_student_is_that_of_whole_batches(tiny, method, room):
    task = distillation(tiny, method)
    expected, losses = trained(own(tiny), task)
    with pytest.raises(torch.OutOfMemoryError):
        trained(own(tiny, room), task)
    found, in_parts = trained(own(tiny, room), task, "training.batch_size=auto")
    assert found.parts > 1
    assert in_parts == pytest.approx(losses, abs=1e-6)
    for name, value in expected.weights().items():
        torch.testing.assert_close(found.weights()[name], value, atol=2e-6, rtol=1e-4)


def test_in_batch_negatives_stay_those_of_the_batch(tiny):
    expected, losses = trained(own(tiny), contrastive())
    found, in_parts = trained(own(tiny, 2), contrastive(), "training.batch_size=auto")
    assert found.parts == 4
    assert in_parts == pytest.approx(losses, abs=1e-6)
    for name, value in expected.weights().items():
        torch.testing.assert_close(found.weights()[name], value, atol=2e-6, rtol=1e-4)


def test_dropout_is_repeated_where_activations_are_computed_again(tiny):
    """The first attempt that fails leaves no trace in the random state."""
    task = distillation(tiny, "kd-score", "training.dropout=true")
    runs = [
        trained(own(tiny, room), task, "training.batch_size=auto", "training.dropout=true")[1]
        for room in (2, 2)
    ]
    assert runs[0] == runs[1]


def test_what_fits_is_computed_whole_and_bit_by_bit_the_same(tiny):
    task = distillation(tiny, "ot")
    expected, found = (
        trained(own(tiny), task, *more)[0] for more in ((), ("training.halve=true",))
    )
    assert found.parts == 1
    assert all(torch.equal(found.weights()[name], x) for name, x in expected.weights().items())


def test_auto_keeps_the_batch_of_the_suite():
    plain, auto = (
        load_settings("paper", None, more) for more in ((), ["training.batch_size=auto"])
    )
    assert auto.training.batch_size == plain.training.batch_size == 128
    assert auto.training.halve


def test_what_does_not_fit_is_begun_in_parts_or_refused(models, tmp_path, monkeypatch):
    folder = tiny_bert(tmp_path / "tiny", models)
    needs = partial(
        require_training, folder=folder, lengths=[64], device=CPU, precision=torch.float32
    )

    def space(*changes: str) -> Workspace:
        return Workspace(load_settings("sample", None, changes), tmp_path)

    whole = needs(space("training.batch_size=64"))
    assert whole.parts == 1
    monkeypatch.setattr(memory, "free_bytes", lambda _: whole.total - whole.activations * 3 // 5)
    with pytest.raises(UserError, match=r"try --set training\.batch_size=auto$"):
        needs(space("training.batch_size=64"))
    settings = load_settings("sample", None, ["training.batch_size=64", "training.halve=true"])
    assert needs(Workspace(settings, tmp_path)).parts == 4


def test_out_of_memory_is_one_line_with_the_setting(clir, quick, home, monkeypatch):
    from transformers import BertModel

    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    forward = BertModel.forward
    monkeypatch.setattr(
        BertModel,
        "forward",
        lambda self, *a, **k: full() if self.training else forward(self, *a, **k),
    )
    outcome = clir("distill", "--lang", "sw-en", *quick, "--home", home)
    assert outcome.code == 2
    last = " ".join(outcome.err.split())
    assert (
        "out of memory on cpu; --set training.batch_size=auto computes each batch in parts" in last
    )
    assert "Traceback" not in outcome.err
