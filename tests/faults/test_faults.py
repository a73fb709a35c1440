"""A sample of the faults that ``make test-faults`` injects: two of every kind."""

import os
import subprocess
import sys
from pathlib import Path

from faults.running import KINDS

TESTS = Path(__file__).parents[1]


def test_a_fault_of_every_kind_ends_well(tmp_path):
    count = str(len(KINDS))
    done = subprocess.run(
        [sys.executable, "-m", "faults", "--faults", count, "--jobs", "1"],
        env={**os.environ, "PYTHONPATH": str(TESTS), "TMPDIR": str(tmp_path)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("\n") > len(KINDS)  # the table has a row for each
