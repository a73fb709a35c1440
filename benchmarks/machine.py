"""What a measurement ran on, and a clock for it."""

import csv
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table


def describe(device: str) -> str:
    """One line about the processor, threads and versions."""
    if device == "cuda":
        name, threads = torch.cuda.get_device_name(), ""
    else:
        name, threads = processor(), f", {torch.get_num_threads()} thread(s)"
    return f"{name}{threads}, torch {torch.__version__}, Python {platform.python_version()}"


def report(rows: Sequence[dict[str, Any]], title: str, out: Path) -> None:
    """Print a table of rows, which may lack the machine, and write them to a CSV file with it."""
    shown = [name for name in rows[0] if name != "machine"]
    drawn = Table(*shown, title=title)
    for row in rows:
        drawn.add_row(*(str(row[name]) for name in shown))
    Console().print(drawn)
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [*shown, "machine"], restval=describe("cpu"))
        writer.writeheader()
        writer.writerows(rows)
    Console(stderr=True).print(f"written to {out}")


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
