"""What an interrupted run leaves is verified before it is used: the result is the same, or none."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from clir_cli.errors import UserError
from clir_cli.retrieval.tensor_files import DIGEST, read_verified, save_verified
from clir_cli.stages.support import checkpointing

CHECKPOINT, BEST = "checkpoint.safetensors", "best.safetensors"


def flip(path: Path, at: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(len(content) * at)] ^= 0x40
    path.write_bytes(bytes(content))


def digests(folder: Path) -> dict[str, str]:
    files = json.loads((folder / "manifest.json").read_text())["files"]
    return {name: entry["sha256"] for name, entry in files.items() if name != "training.csv"}


@pytest.fixture
def interrupted(clir, quick, home, monkeypatch):
    """Interrupt a training of nine steps after the fifth; return the call, and the student."""
    more = ("--set", "training.epochs=3", "--set", "training.checkpoint_steps=1")
    words = ("distill", "--lang", "sw-en", *quick, *more, "--home", home)
    save = checkpointing._checkpoint

    def saved_and_interrupted(workspace, training, step, draft):
        save(workspace, training, step, draft)
        if step.number == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpointing, "_checkpoint", saved_and_interrupted)
        assert clir(*words).code == 130
    return lambda: clir(*words), home / "sample" / "sw-en" / "ot" / "student"


@pytest.mark.slow  # test_killed.py resumes from a whole one
def test_a_damaged_checkpoint_begins_again_and_ends_in_the_same_student(interrupted, tmp_path):
    call, student = interrupted
    draft, copy = student.with_name(".student.part"), tmp_path / "copy"
    shutil.copytree(draft, copy)
    outcome = call()
    assert "continuing from step 5 of 9" in outcome.err
    whole = digests(student)
    for name, damage in (
        (CHECKPOINT, lambda path: flip(path, 0.5)),
        (BEST, lambda path: flip(path, 0.9)),
        (BEST, Path.unlink),
        (CHECKPOINT, lambda path: (path.unlink(), path.mkdir())),
    ):
        shutil.rmtree(student)
        shutil.copytree(copy, draft)
        damage(draft / name)
        outcome = call()
        assert outcome.code == 0, outcome.err
        assert f"{draft / name}: damaged (" in outcome.err
        assert "beginning again" in outcome.err
        assert digests(student) == whole


def test_a_checkpoint_of_other_tensors_begins_again(interrupted):
    call, student = interrupted
    draft = student.with_name(".student.part")
    of = checkpointing._of(draft / CHECKPOINT)
    tensors, metadata = read_verified(draft / CHECKPOINT, of)
    name = next(name for name in tensors if name.startswith("model."))
    tensors[name] = torch.zeros(len(tensors[name]) + 1)
    metadata.pop(DIGEST, None)
    save_verified(draft / CHECKPOINT, tensors, metadata, of)
    outcome = call()
    assert outcome.code == 0, outcome.err
    assert "the weights of another student; beginning again" in outcome.err
    assert digests(student)


@pytest.mark.parametrize("at", [0.001, 0.01, 0.05, 0.2, 0.5, 0.99])
def test_a_bit_anywhere_in_a_verified_file_is_noticed(tmp_path, at):
    path, tensors = tmp_path / "file", {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(())}
    save_verified(path, tensors | {"none": torch.ones(0, dtype=torch.bfloat16)}, {"step": "5"})
    read, metadata = read_verified(path)
    assert metadata == {"step": "5"}
    assert all(torch.equal(read[name], value) for name, value in tensors.items())
    flip(path, at)
    with pytest.raises(UserError, match=r"file: damaged \("):
        read_verified(path)


DISTILL, TRAIN = ("distill", "--lang", "sw-en", "--method"), ("train", "--recipe")


# One loop finds it for all: of each kind of task one is tried always.
DIVERGING = [
    (*DISTILL, "kd-mse"),
    (*TRAIN, "augment", "--lang", "sw-en"),
    (*TRAIN, "late-interaction", "--set", "late_interaction.batch_size=8"),
]
OTHERS = [
    *((*DISTILL, method) for method in ("kd-cosine", "kd-score", "kd-greedy")),
    *((*TRAIN, recipe, "--lang", "sw-en") for recipe in ("code-switch", "hybrid")),
    (*TRAIN, "monolingual"),
]


@pytest.mark.parametrize(
    "command",
    [*DIVERGING, *(pytest.param(command, marks=pytest.mark.slow) for command in OTHERS)],
    ids=lambda command: command[4 if command[0] == "distill" else 2],
)
def test_training_that_diverges_is_reported_each_time(clir, quick, home, command):
    sections = ("training", "augment", "monolingual", "late_interaction")
    rates = [word for name in sections for word in ("--set", f"{name}.learning_rate=1e12")]
    lines = []
    for _ in range(2):
        outcome = clir(*command, *quick, *rates, "--home", home)
        assert outcome.code == 2, outcome.err
        lines.append(outcome.err.splitlines()[-1])
    assert lines[0] == lines[1]
    assert re.search(r"diverged: the .*loss is not finite \((nan|inf)\) at step \d+ of", lines[0])
    assert "lower training.learning_rate" in lines[0] and "1e+12" in lines[0]
    assert not list(home.rglob("model.safetensors.index.json"))
    assert not list((home / "sample").rglob("config.json"))  # no half student


def test_what_somebody_puts_into_a_draft_is_no_part_of_the_student(interrupted):
    call, student = interrupted
    draft = student.with_name(".student.part")
    (draft / "recipe.json").write_text('{"query_prefix": "x "}')
    (draft / "1_Dense").mkdir()
    (draft / "training.csv").write_bytes(b"\xff\0")
    outcome = call()
    assert outcome.code == 0, outcome.err
    assert "continuing from step 5" in outcome.err
    assert not (student / "recipe.json").exists()
    assert not (student / "1_Dense").exists()


def test_a_checkpoint_of_another_training_is_not_used(tmp_path):
    path = tmp_path / "file"
    save_verified(path, {"a": torch.ones(1)}, {}, of="one")
    read_verified(path, of="one")
    with pytest.raises(UserError, match="damaged"):
        read_verified(path, of="another")


def test_a_damaged_codec_of_a_draft_is_not_used(clir, quick, home):
    words = ("index", *quick, "--set", "index.format=residual2", "--home", home)
    assert clir(*words).code == 0
    folder = home / "sample" / "index" / "small"
    whole = digests(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    draft = folder.with_name(".small.part")
    folder.rename(draft)
    for name in ("manifest.json", "documents.txt", "digests.bin", "shards.json", "notes.json"):
        (draft / name).unlink()
    (draft / "draft.json").write_text(json.dumps({"fingerprint": manifest["fingerprint"]}))
    (draft / "codec.sha256").write_text(manifest["files"]["codec.safetensors"]["sha256"])
    flip(draft / "codec.safetensors", 0.7)
    outcome = clir(*words)
    assert outcome.code == 0, outcome.err
    assert digests(folder) == whole


@pytest.mark.parametrize(
    "text",
    [
        "step,epoch,plan_entropy$missed_plans\n1,1,0.5\n",  # a flipped bit
        "step,epoch,loss\n1,1,0.5,7\n2,1\n3,1,0.5\n",
        "step,epoch,loss\n\u00b2,1,0.5\n3,1,0.5\n9,1,0.5\n",
    ],
    ids=["header", "cells", "digits"],
)
def test_rows_of_a_damaged_log_are_left_out(tmp_path, text):
    path = tmp_path / "training.csv"
    path.write_text(text, encoding="utf-8")
    expected = [] if "$" in text else [{"step": "3", "epoch": "1", "loss": "0.5"}]
    assert checkpointing._logged(path, 5, checkpointing.COLUMNS) == expected
