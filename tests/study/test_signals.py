"""A study that is ended by a signal leaves no process at work, no lock and no hidden cursor."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clir_cli.files import alone

STUDY = """
title = "one student"
question = "Does it end?"
metrics = ["map"]
[grid]
pairs = ["sw-en"]
methods = ["ot"]
"""


def children(process: int) -> list[int]:
    text = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(number) for number in text.split()]


def heed_hangups() -> None:
    """Undo what nohup sets, under which the tests may have been started."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def is_running(process: int) -> bool:
    try:  # a zombie has ended
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("number", "jobs", "code"),
    [
        (signal.SIGTERM, 2, 143),
        pytest.param(signal.SIGKILL, 2, -9, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, 1, 129, marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_all_processes_of_a_study(
    quick, home, tmp_path, experiment, number, jobs, code
) -> None:
    words = ["reproduce", str(experiment("tiny", STUDY)), *quick]
    words += ["--set", "training.epochs=100000", "--home", str(home), "--jobs", str(jobs)]
    student = home / "sample" / "sw-en" / "ot" / "student"
    screen, terminal = pty.openpty()
    running = subprocess.Popen(
        [sys.executable, "-m", "clir_cli", *map(str, words), "--results", str(tmp_path / "r")],
        stdout=subprocess.DEVNULL,
        stderr=terminal,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=heed_hangups,
    )
    os.close(terminal)
    told = b""
    while not (student.with_name(".student.part") / "training.csv").exists():
        assert running.poll() is None, told
        told += os.read(screen, 10_000)  # the bars move all the time
    workers = [child for child in children(running.pid) if is_running(child)]
    assert len(workers) >= jobs - 1
    running.send_signal(number)
    assert running.wait() == code
    for _ in range(600):
        if not any(map(is_running, workers)):
            break
        time.sleep(0.1)
    else:
        for worker in filter(is_running, workers):
            os.kill(worker, signal.SIGKILL)
        pytest.fail("a worker is still at work")
    with alone(student):  # nobody holds it
        assert not student.exists()
        assert (student.with_name(".student.part") / "training.csv").exists()
    try:
        while part := os.read(screen, 10_000):
            told += part
    except OSError:  # the other side is closed
        pass
    os.close(screen)
    if number != signal.SIGKILL:
        assert told.rindex(b"\x1b[?25h") > told.rindex(b"\x1b[?25l")
        assert b"interrupted; run the same command again to resume" in told
        assert b"Traceback" not in told
