"""The student that is kept is that of the best epoch, which is not the last one here."""

import csv
import json

import pytest
import torch
from safetensors.torch import load_file

from clir_cli.stages.support import checkpointing


@pytest.fixture
def steep(clir, quick, home):
    """Distill at a rate that grows until the held-out loss rises."""
    chosen = ("training.epochs=4", "training.learning_rate=0.01", "training.warmup=0.99")
    words = [word for each in chosen for word in ("--set", each)]
    return lambda: clir("distill", "--lang", "sw-en", *quick, *words, "--home", home)


def test_the_best_epoch_is_kept_and_not_the_last(steep, home, monkeypatch):
    ends = []

    def watched(workspace, training, step, draft, save=checkpointing._checkpoint):
        if step.held_out_loss is not None:
            state = training.weights()
            ends.append({name: value.clone() for name, value in state.items()})
        save(workspace, training, step, draft)

    monkeypatch.setattr(checkpointing, "_checkpoint", watched)
    outcome = steep()
    assert outcome.code == 0, outcome.err
    student = home / "sample" / "sw-en" / "ot" / "student"
    with (student / "training.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["held_out_loss"]]
    losses = [float(row["held_out_loss"]) for row in rows]
    best = losses.index(min(losses))
    assert best < 3 == len(losses) - 1, losses
    notes = json.loads((student / "manifest.json").read_text())["notes"]
    assert (notes["epoch"], notes["held_out_loss"]) == (best + 1, losses[best])
    assert notes["held_out_mrr"] == float(rows[best]["held_out_mrr"])
    saved, name = load_file(student / "model.safetensors"), "encoder.layer.0.output.dense.weight"
    same = [torch.equal(saved[name], weights[f"model.{name}"]) for weights in ends]
    assert same == [epoch == best for epoch in range(4)]
