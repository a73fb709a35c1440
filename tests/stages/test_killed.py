"""A stage that is killed at any moment and run again ends in what an undisturbed run leaves."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_encoders import tiny_bert

# A tiny model, as each step writes a checkpoint.
DISTILL = (
    "distill", "--lang", "sw-en", "--set", "bitext.max_pairs=150", "--set", "training.epochs=20",
    "--set", "training.batch_size=16", "--set", "training.checkpoint_steps=1",
    "--set", "teacher.model=TINY",
)  # fmt: skip
INDEX = (
    "index", "--set", "index.shard_documents=8", "--set", "index.batch_tokens=1024",
)  # fmt: skip


def start(words, home: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "clir_cli", *words, "--home", str(home), "--quiet"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, env={"OMP_NUM_THREADS": "1"})


def finish(process: subprocess.Popen) -> None:
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err.decode()


def kill(process: subprocess.Popen, folder: Path, sign: str, chance: random.Random) -> None:
    """Kill the process a moment after it has left its first trace of work."""
    draft = folder.with_name(f".{folder.name}.part")
    while not any(draft.glob(sign)):
        assert process.poll() is None, process.stderr.read().decode()
        time.sleep(0.01)
    time.sleep(chance.uniform(0, 1))
    process.send_signal(signal.SIGKILL)
    process.communicate()


def content(folder: Path) -> dict[str, str]:
    files = json.loads((folder / "manifest.json").read_text())["files"]
    # The log tells how fast it went, which differs from run to run.
    return {name: each["sha256"] for name, each in files.items() if name != "training.csv"}


@pytest.mark.parametrize(
    ("words", "artifact", "sign"),
    [
        (DISTILL, "sample/sw-en/ot/student", "checkpoint.safetensors"),
        pytest.param(INDEX, "sample/index/sample", "shard-*", marks=pytest.mark.slow),
    ],
    ids=["distill", "index"],
)
def test_killed_and_run_again(words, artifact, sign, models, tmp_path):
    homes, tiny = [tmp_path / "whole", tmp_path / "cut"], tiny_bert(tmp_path / "tiny", models)
    words = [word.replace("TINY", str(tiny)) for word in words]
    for home in homes:
        home.mkdir()
        (home / "models").symlink_to(models)
    finish(start(words, homes[0]))
    chance = random.Random(7)
    for _ in range(2):
        kill(start(words, homes[1]), homes[1] / artifact, sign, chance)
        if (homes[1] / artifact).exists():
            break  # it was quicker than the kill
    finish(start(words, homes[1]))
    assert content(homes[1] / artifact) == content(homes[0] / artifact)
    assert not (homes[1] / artifact).with_name(f".{Path(artifact).name}.part").exists()
