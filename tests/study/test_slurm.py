"""The Slurm scripts, run as Slurm runs them: an array of shares, then the tables."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clir_cli.suites import bundled

SCRIPTS = bundled("experiments") / "slurm"
# Slurm's part, played in a row: every number of an array, with what the script sees of it.
SBATCH = """#!/bin/bash
set -u
array=none
while [[ "$1" == --* ]]; do
  case "$1" in
    --array=*) array="${1#*=}" ;;
  esac
  echo "sbatch $1" >> "$LOG"
  shift
done
if [[ "$array" == none ]]; then
  bash "$@" 1>&2
else
  for number in $(seq "${array%-*}" "${array#*-}"); do
    SLURM_ARRAY_TASK_ID=$number SLURM_ARRAY_TASK_COUNT=${array#*-} bash "$@" 1>&2 || exit 1
  done
fi
echo "4711;cluster"
"""
EXPERIMENT = """
title = "Shares"
question = "Do shares of the cells leave what one call leaves?"
metrics = ["map"]

[grid]
pairs = ["sw-en"]
methods = ["bm25"]
seeds = [0]
collections = ["FOLDER", "FOLDER-again"]
"""

pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="no bash")


@pytest.fixture
def place(tmp_path: Path, home: Path, small_collection: Path) -> Path:
    """A folder with the experiment, a `clir` and an `sbatch`, and artifacts of their own."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in (
        ("clir", f'#!/bin/bash\nexec {sys.executable} -m clir_cli "$@"\n'),
        ("sbatch", SBATCH),
    ):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    shutil.copytree(small_collection, f"{small_collection}-again")
    experiment = EXPERIMENT.replace("FOLDER", str(small_collection))
    (tmp_path / "shares.toml").write_text(experiment)
    return tmp_path


def call(place: Path, script: str, *words: str, **more: str) -> subprocess.CompletedProcess:
    env = {
        "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
        "CLIR_HOME": str(place / "artifacts"),
        "CLIR_RESULTS": str(place / "results"),
        "LOG": str(place / "log"),
        **more,
    }
    command = ["bash", str(SCRIPTS / script), *words]
    return subprocess.run(
        command, cwd=place, env=env, capture_output=True, text=True, timeout=900, check=False
    )


@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS.iterdir()))
def test_the_shell_reads_the_scripts(script):
    subprocess.run(["bash", "-n", SCRIPTS / script], check=True)


def test_shares_then_tables_and_report(place):
    found = call(
        place, "submit.sh", "2", "shares.toml", SBATCH_OPTIONS="--partition=cpu --gres=x:1"
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout == "cells: job 4711, shares 1 to 2; tables and report: job 4711\n"
    sent = (place / "log").read_text().splitlines()
    assert sent.count("sbatch --partition=cpu") == sent.count("sbatch --parsable") == 2
    assert "sbatch --array=1-2" in sent and "sbatch --dependency=afterany:4711" in sent
    # Each share made its own cell, and the last call had nothing left to make but the table.
    assert found.stderr.count("search 1") == 2
    assert "made: evaluate 1" in found.stderr
    assert (place / "results" / "sample" / "shares.csv").read_text().count("\n") == 3
    assert "<html" in (place / "report.html").read_text(encoding="utf-8")[:2000]


def test_what_cannot_run_is_told_before_it_is_sent(place):
    found = call(place, "submit.sh", "2", "nothing.toml")
    assert (found.returncode, found.stdout) == (2, "")
    assert "nothing.toml: no such file" in found.stderr
    assert not (place / "log").exists()
    assert call(place, "submit.sh", "0", "shares.toml").returncode == 2
    assert call(place, "submit.sh").returncode == 2


def test_an_array_script_outside_an_array_says_so(place):
    found = call(place, "clir-array.sbatch", "shares.toml")
    assert found.returncode == 2
    assert "no array job; submit it with: sbatch --array=1-8" in found.stderr


def test_some_shares_can_be_sent_again(place):
    again = {"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_COUNT": "1"}
    found = call(place, "clir-array.sbatch", "shares.toml", **again)
    assert found.returncode == 2 and "--cells '2/1'" in found.stderr
    found = call(place, "clir-array.sbatch", "shares.toml", "--dry-run", CLIR_SHARES="2", **again)
    assert found.returncode == 0, found.stderr
    assert found.stdout.count("clir search") == 1
    assert "clir evaluate" not in found.stdout  # that is for the call without a share
