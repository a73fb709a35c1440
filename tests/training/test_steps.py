"""Single steps of training, by a task that is made for it: each value by hand."""

import math
from pathlib import Path

import pytest
import torch
from tiny_encoders import tiny_bert
from transformers import AutoModel, DebertaV2Config, MarianConfig, ModernBertConfig

from clir_cli.errors import UserError
from clir_cli.optical.distillation import Distillation, EncodedBitext
from clir_cli.optical.objectives import OBJECTIVES
from clir_cli.retrieval.encoder import load_encoder
from clir_cli.suites import load_settings
from clir_cli.training.loop import Loss, Training
from clir_cli.training.model_modes import remove_dropout

CPU = torch.device("cpu")
SMALL = {
    "vocab_size": 20, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 32, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1,
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "pad_token_id": 1,
    "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3,
    "attention_dropout": 0.3, "mlp_dropout": 0.3, "embedding_dropout": 0.3,
}  # fmt: skip


class Slope:
    """A task whose loss has the same huge gradient in every step; it notes the model's mode."""

    steps_per_epoch = 4

    def __init__(self) -> None:
        self.modes: list[bool] = []
        self.held_out = [0.5, 0.7, 0.6, 0.3, 0.3]

    def batches(self, epoch: int) -> list[list[int]]:
        return [[0]] * self.steps_per_epoch

    def loss(self, encoder, batch) -> Loss:
        self.modes.append(encoder.model.training)
        table = encoder.model.get_input_embeddings().weight
        return Loss(1e6 * table[2000].sum())

    def validate(self, encoder) -> tuple[float, float]:
        self.modes.append(encoder.model.training)
        return self.held_out.pop(0), 0.0


@pytest.fixture
def sloping(models: Path, tmp_path: Path):
    def build(**changes) -> Training:
        encoder = load_encoder(tiny_bert(tmp_path / "tiny", models), CPU)
        changed = {"epochs": 1} | changes
        chosen = load_settings("sample", None, [f"training.{k}={v}" for k, v in changed.items()])
        return Training(encoder, Slope(), chosen.training, seed=3)

    return build


def test_dropout_is_on_in_a_step_and_off_in_validation(sloping):
    run = sloping()
    list(run.run())
    assert run.task.modes == [True] * 4 + [False]


@pytest.mark.parametrize("dropout", [True, False])
def test_without_dropout_a_step_computes_what_validation_does(sloping, dropout):
    run = sloping(dropout=dropout)
    ids = torch.tensor([[101, 2300, 2000, 102]])
    mask = torch.ones_like(ids, dtype=torch.bool)
    torch.manual_seed(0)
    in_step, again = (run.encoder.model.train() and run.encoder.states(ids, mask) for _ in "ab")
    run.encoder.model.eval()
    assert torch.equal(in_step, run.encoder.states(ids, mask)) is not dropout
    assert torch.equal(in_step, again) is not dropout


@pytest.mark.parametrize("config", [ModernBertConfig, MarianConfig, DebertaV2Config])
def test_dropout_is_removed_from_layers_of_all_families(config):
    model = AutoModel.from_config(config(**SMALL)).train()
    ids = torch.tensor([[5, 6, 7, 8]])
    inputs = {"input_ids": ids} | ({"decoder_input_ids": ids} if config is MarianConfig else {})
    assert not torch.equal(*(model(**inputs).last_hidden_state for _ in "ab"))
    remove_dropout(model)
    assert torch.equal(*(model(**inputs).last_hidden_state for _ in "ab"))


class Length(Slope):
    """A task whose loss depends on every weight of the encoder."""

    def loss(self, encoder, batch) -> Loss:
        ids = torch.tensor([[101, 2300, 102]])
        return Loss(encoder.states(ids, torch.ones_like(ids, dtype=torch.bool))[0, :, 0].sum())


@pytest.mark.parametrize(
    ("what", "still"),
    [
        ("", {"embeddings.word", "embeddings.position", "layer.0.", "layer.1."}),
        ("embeddings", {"embeddings.position", "layer.0.", "layer.1."}),
        ("layers:1", {"layer.1."}),
    ],
)
def test_what_is_frozen_stays_as_it_was(sloping, what, still):
    run = sloping(freeze=what)
    run.task = Length()
    before = {name: value.clone() for name, value in run.encoder.model.named_parameters()}
    list(run.run())
    changed = {
        name for name, value in run.encoder.model.named_parameters()
        if not torch.equal(value, before[name])
    }  # fmt: skip
    parts = ("embeddings.word", "embeddings.position", "layer.0.", "layer.1.")
    assert {part for part in parts if any(part in name for name in changed)} == still


def test_more_frozen_layers_than_there_are_is_a_fault_in_a_line(sloping):
    with pytest.raises(UserError, match="freeze=layers is 3 and the model has 2"):
        sloping(freeze="layers:3")


def test_the_gradient_has_at_most_the_norm_of_clip(sloping):
    run = sloping(clip=0.5)
    norms = []
    step = run.optimizer.step

    def watched(*args, **kwargs):
        gradients = [each.grad for each in run.parameters if each.grad is not None]
        norms.append(torch.cat([each.flatten() for each in gradients]).norm().item())
        return step(*args, **kwargs)

    run.optimizer.step = watched
    list(run.run())
    assert norms == pytest.approx([0.5] * 4, rel=1e-4)


@pytest.mark.parametrize("warmup", [0.0, 0.5])
def test_the_first_step_learns(sloping, warmup):
    run = sloping(warmup=warmup)
    before = run.encoder.model.get_input_embeddings().weight[2000].detach().clone()
    first = next(run.run())
    assert first.learning_rate > 0
    assert (run.encoder.model.get_input_embeddings().weight[2000] < before).all()


def test_an_epoch_improves_only_on_the_best_before_it(sloping):
    ends = [step for step in sloping(epochs=5).run() if step.held_out_loss is not None]
    assert [step.held_out_loss for step in ends] == [0.5, 0.7, 0.6, 0.3, 0.3]
    assert [step.improved for step in ends] == [True, False, False, True, False]


@pytest.mark.parametrize(
    ("what", "values", "held_out", "step"),
    [
        ("loss", [1.0, math.nan, 1.0, 1.0], 0.5, 2),
        ("norm of the gradient", [1.0, 1.0, 1e30, 1.0], 0.5, 3),
        ("held-out loss", [1.0] * 4, math.inf, 4),
    ],
)
def test_what_is_not_finite_stops_the_training_at_its_step(sloping, what, values, held_out, step):
    run = sloping()
    run.task.held_out = [held_out]
    table = run.encoder.model.get_input_embeddings().weight
    run.task.loss = lambda _, __: Loss(values.pop(0) * table[2000].sum())
    with pytest.raises(UserError, match=rf"the {what} is not finite .* at step {step} of 4"):
        list(run.run())


def test_weights_that_no_gradient_reaches_decay_with_the_rate(sloping):
    run = sloping(weight_decay=0.5, learning_rate=0.1)
    table = run.encoder.model.get_input_embeddings().weight
    before = table[5].detach().clone()
    kept = math.prod(1 - 0.5 * step.learning_rate for step in run.run())
    assert kept < 0.95
    torch.testing.assert_close(table[5].detach(), before * kept)


def test_the_rate_rises_in_a_line_and_falls_as_half_a_cosine(sloping):
    run = sloping(epochs=5, warmup=0.2, learning_rate=0.25)  # 20 steps, 4 of them to warm up
    rising = [0.25 * (step + 1) / 4 for step in range(4)]
    falling = [0.125 * (1 + math.cos(math.pi * step / 16)) for step in range(16)]
    assert [run.learning_rate(step) for step in range(20)] == pytest.approx(rising + falling)


def test_a_student_that_is_the_teacher_finds_every_translation_first(models, tmp_path):
    encoder = load_encoder(tiny_bert(tmp_path / "tiny", models), CPU)
    texts = ["clean water is important", "children go to school", "it has rained"]
    same = EncodedBitext(encoder.token_ids(texts, 32), encoder.encode(texts, 32))
    chosen = load_settings("sample", None, ["training.batch_size=2"])
    loss, mrr = Distillation(same, same, OBJECTIVES["kd-cosine"], chosen, seed=0).validate(encoder)
    assert (loss, mrr) == (pytest.approx(0, abs=1e-6), 1.0)
