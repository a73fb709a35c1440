"""Transport plans that do not converge are counted: in the log, the manifest, and a line."""

import csv
import json

import pytest
import torch
from torch.nn.functional import normalize

import clir_cli
from clir_cli.stages.support import checkpointing

FEW = ("--set", "transport.max_iterations=1", "--set", "transport.eps=0.01")


@pytest.fixture
def distill(clir, quick, home):
    def call(*words):
        outcome = clir("distill", "--lang", "sw-en", *quick, *words, "--home", home)
        return outcome, home / "sample" / "sw-en"

    return call


def counts(student) -> tuple[dict, list[str]]:
    """The manifest's notes, and the counts of the log."""
    notes = json.loads((student / "manifest.json").read_text())["notes"]
    with (student / "training.csv").open(newline="") as stream:
        return notes, [row["missed_plans"] for row in csv.DictReader(stream)]


def test_plans_that_converge_are_counted_too(distill):
    outcome, folder = distill("--method", "ot,kd-mse")
    notes, logged = counts(folder / "ot" / "student")
    assert (notes["plans"], notes["missed_plans"]) == (36, 0)
    assert logged == ["0", "0", "0"]
    assert "; 0 of 36 transport plans did not converge" in outcome.err
    assert "warning" not in outcome.err
    notes, logged = counts(folder / "kd-mse" / "student")
    assert "plans" not in notes
    assert logged == ["", "", ""]


@pytest.mark.parametrize("method", ["ot", "ot+pooled"])
def test_plans_that_do_not_converge_are_a_warning(distill, monkeypatch, method):
    def interrupted(workspace, training, step, draft, save=checkpointing._checkpoint):
        save(workspace, training, step, draft)
        if step.number == 2:
            raise KeyboardInterrupt

    more = (*FEW, "--method", method, "--set", "training.checkpoint_steps=1")
    with monkeypatch.context() as patch:
        patch.setattr(checkpointing, "_checkpoint", interrupted)
        assert distill(*more)[0].code == 130
    outcome, folder = distill(*more)  # what came before the interruption counts
    assert outcome.code == 0, outcome.err
    notes, logged = counts(folder / method / "student")
    assert notes["plans"] == 36
    assert notes["missed_plans"] == sum(map(int, logged)) > 30
    lines = [line for line in outcome.err.splitlines() if line.startswith("warning: ")]
    assert len(lines) == 1
    assert f"{notes['missed_plans']} of 36 transport plans did not converge within" in lines[0]
    assert "transport.max_iterations=1" in lines[0] and "transport.eps=0.01" in lines[0]


def test_a_dictionary_of_such_plans_is_a_warning(distill, clir, quick, home):
    few = (*FEW, "--set", "training.epochs=1")
    assert distill(*few)[0].code == 0
    outcome = clir("dictionary", "--lang", "sw-en", *quick, *few, "--home", home)
    assert outcome.code == 0, outcome.err
    assert "warning: align sw-en: " in outcome.err
    assert "of 36 transport plans did not converge" in outcome.err


def test_the_python_interface_warns():
    rng = torch.Generator().manual_seed(0)
    student, teacher = normalize(torch.randn(2, 40, 8, generator=rng), dim=-1)
    clir_cli.transport_plan(student, teacher)
    with pytest.warns(UserWarning, match=r"did not converge, \d+% .* raise eps=1e-05"):
        clir_cli.transport_plan(student, teacher, eps=1e-5)
