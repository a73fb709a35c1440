"""``--jobs``: each worker has a GPU of its own, as its environment shows; no GPU is needed."""

import os
import sys
import time
from pathlib import Path

import pytest

from clir_cli import runtime
from clir_cli.cluster.connection import EngineOptions
from clir_cli.console import Talk
from clir_cli.stages.support.workspace import Workspace
from clir_cli.study.executors import Processes, executor_of
from clir_cli.suites import load_settings

CARDS = "CUDA_VISIBLE_DEVICES"


def started(workers: Processes, count: int) -> list[str | None]:
    """Start workers and return the cards that each of them sees."""
    processes = [workers._start_worker().process for _ in range(count)]
    return [cards_of(process.pid) for process in processes]


def cards_of(pid: int | None) -> str | None:
    """Return what a process has been started with; before its exec it has the parent's."""
    for _ in range(600):
        told = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        variables = dict(part.decode().split("=", 1) for part in told if b"=" in part)
        if CARDS in variables:
            return variables[CARDS]
        time.sleep(0.1)
    return None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(
    ("named", "device", "expected"),
    [
        ("4,GPU-5f", "auto", ["4", "GPU-5f", "4"]),  # a third worker shares the first card
        ("3,5", "cuda:1", ["3,5"]),  # all want the card that is named
        ("3,5", "cpu", ["3,5"]),
        ("", "auto", [""]),  # the user hides all of them
    ],
)
def test_each_worker_sees_one_of_the_cards_that_the_user_left(
    monkeypatch, tmp_path, named, device, expected
):
    monkeypatch.setenv(CARDS, named)
    workspace = Workspace(load_settings("sample"), tmp_path, device=device, talk=Talk(quiet=True))
    with executor_of(EngineOptions("local", "", 3), workspace, workspace.talk) as workers:
        assert started(workers, len(expected)) == expected
    assert os.environ[CARDS] == named


def test_a_worker_that_died_leaves_its_card_to_the_next(monkeypatch, tmp_path):
    workspace = Workspace(load_settings("sample"), tmp_path, talk=Talk(quiet=True))
    workers = Processes(workspace, 2, ["0", "1"])
    try:
        first, second = workers._start_worker(), workers._start_worker()
        assert (first.number, second.number) == (0, 1)
        workers._workers.remove(first)
        first.pipe.close()
        assert workers._start_worker().number == 0
        first.process.join(timeout=60)
    finally:
        workers.close()


def test_without_a_choice_all_cards_are_used(monkeypatch):
    import torch

    monkeypatch.delenv(CARDS, raising=False)
    assert runtime.cards("auto") == [str(number) for number in range(torch.cuda.device_count())]
    monkeypatch.setenv(CARDS, "-1")
    assert runtime.cards("auto") == []
