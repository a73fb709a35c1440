"""index and search by workers of Ray: the bytes of one process, also when workers are killed."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed (extra: ray)"
)
SHARDS = ("--set", "index.shard_documents=3", "--set", "index.format=residual2")
AGAIN = "a worker died; another one repeats its work"


def start(words: list[str], folder: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "clir_cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "OMP_NUM_THREADS": "1"},
    )


def kill_a_worker(process: subprocess.Popen) -> None:
    """Kill a worker of a command's own Ray as it works, the first time that one is seen to."""
    while process.poll() is None:
        listed = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
        )
        rows = [line.split(None, 2) for line in listed.stdout.splitlines()]
        below = {str(process.pid)}
        for _ in range(4):  # the command, Ray's node, its workers
            below |= {row[0] for row in rows if row[1] in below}
        for pid, _, words in rows:
            if pid in below and words.startswith("ray::_Worker.do"):
                os.kill(int(pid), signal.SIGKILL)
                return
        time.sleep(0.02)  # a worker may be at it for no longer


def on_ray(words: list[str], folder: Path) -> str:
    """Run a command with two workers, kill one, and return what was said; no data is printed."""
    process = start([*words, "--engine", "ray", "--jobs", "2"], folder)
    kill_a_worker(process)
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    assert out == ""
    return err


def content(folder: Path) -> dict[str, str]:
    manifest = json.loads((folder / "manifest.json").read_text())
    listed = {name: each["sha256"] for name, each in manifest["files"].items()}
    assert {file.name for file in folder.iterdir()} == {*listed, "manifest.json"}
    return {**listed, "fingerprint": manifest["fingerprint"]}


@pytest.fixture
def homes(models: Path, tmp_path: Path) -> tuple[Path, Path]:
    found = tmp_path / "here", tmp_path / "ray"
    for home in found:
        home.mkdir()
        (home / "models").symlink_to(models)
    return found


@pytest.mark.slow  # two clusters; on a busy machine well over a minute
def test_the_same_bytes_though_workers_are_killed(homes, small_collection, clir):
    """Residual codes: what the workers share is learned before, and scored again after."""
    index = ["index", "--collection", str(small_collection), *SHARDS]
    search = ["search", "--lang", "sw-en", "--method", "english", "--top-k", "5", *SHARDS]
    search += ["--collection", str(small_collection)]
    here, there = homes
    for words in (index, search):
        told = clir(*words, "--home", here)
        assert told.code == 0, told.err
        assert AGAIN in on_ray([*words, "--home", str(there)], there.parent)
    made = [
        path.parent.relative_to(here) for path in sorted((here / "sample").rglob("manifest.json"))
    ]
    assert len(made) == 2
    for each in made:
        assert content(here / each) == content(there / each)
    assert not list(there.glob(".probe-*"))


def test_options_that_go_together(clir, home, small_collection):
    collection = ("--collection", small_collection, "--home", home)
    told = clir("index", *collection, "--engine", "rya")
    assert (told.code, told.err) == (2, "clir: unknown engine 'rya': did you mean ray?\n")
    told = clir("index", *collection, "--jobs", 2)
    assert (told.code, told.err) == (2, "clir: --jobs 2 counts workers; add --engine ray\n")
    told = clir("search", "--lang", "sw-en", *collection, "--address", "auto")
    assert told.code == 2 and "add --engine ray" in told.err


def test_without_the_extra_a_line_says_which(clir, home, small_collection, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    told = clir("index", "--collection", small_collection, "--home", home, "--engine", "ray")
    assert told.code == 2
    assert told.err.splitlines()[-1] == (
        "clir: --engine ray needs Ray, which is not installed; pip install 'clir-cli[ray]'"
    )
    assert not list((home / "sample").rglob("manifest.json"))
