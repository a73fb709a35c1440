"""What a measurement ran on, and a clock for it."""

import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch


def describe(device: str) -> str:
    """One line about the processor, threads and versions."""
    if device == "cuda":
        name, threads = torch.cuda.get_device_name(), ""
    else:
        name, threads = processor(), f", {torch.get_num_threads()} thread(s)"
    return f"{name}{threads}, torch {torch.__version__}, Python {platform.python_version()}"


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def milliseconds(work: Callable[[], object], device: str, at_least: float = 20.0) -> float:
    """Time of one call, as the mean of as many as take `at_least` milliseconds after a first one.

    With one thread on a CPU it is the processor's time, which others' load leaves alone.
    """
    first = _clocked(work, 1, device)
    if first >= at_least:
        return first
    calls = 1 + int(at_least / first)
    return _clocked(work, calls, device) / calls


def _clocked(work: Callable[[], object], calls: int, device: str) -> float:
    clock = time.perf_counter
    if device == "cpu" and torch.get_num_threads() == 1:
        clock = time.process_time
    if device == "cuda":
        torch.cuda.synchronize()
    start = clock()
    for _ in range(calls):
        work()
    if device == "cuda":
        torch.cuda.synchronize()
    return 1e3 * (clock() - start)
