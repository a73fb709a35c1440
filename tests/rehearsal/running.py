"""Commands of a rehearsal: run as a person types them, and what they left."""

import csv
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rehearsal.stage import Stage

LIMIT = 900  # seconds of a command


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code, seconds, those of a processor, and both outputs."""

    words: tuple[str, ...]
    code: int
    seconds: float
    cpu_seconds: float
    out: str
    err: str

    @property
    def command(self) -> str:
        return " ".join(self.words)


@dataclass(frozen=True)
class Cell:
    """A cell of an experiment: where it is in the grid, and why it failed, if it did."""

    pair: str
    method: str
    variant: str
    collection: str
    error: str


def environment(stage: Stage) -> dict[str, str]:
    """Return an environment in which nothing but the stage is found: no network, no cache."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CLIR_")}
    return kept | {
        "PYTHONPATH": str(stage.checkout),
        "CLIR_OFFLINE": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(stage.folder / "no-cache"),
        "IR_DATASETS_HOME": str(stage.ir_datasets),
        "COLUMNS": "300",
        "OMP_NUM_THREADS": "1",
    }


def run(stage: Stage, *words: str, home: str = "home") -> Ended:
    """Run a command in the suite ``paper``, with a home of its own on the stage."""
    place = stage.folder / home
    place.mkdir(exist_ok=True)
    options = ["--suite", "paper", "--config", str(stage.config), "--home", str(place / "home")]
    if words[0] in ("download", "reproduce"):
        options += ["--mirror", str(stage.mirror)]
    if words[0] in ("evaluate", "reproduce"):
        options += ["--results", str(place / "results")]
    start, cpu = time.monotonic(), _cpu_seconds()
    done = subprocess.run(
        [sys.executable, "-m", "clir_cli", *words, *options],
        cwd=stage.checkout, env=environment(stage), capture_output=True, text=True, timeout=LIMIT,
    )  # fmt: skip
    took = time.monotonic() - start, _cpu_seconds() - cpu
    return Ended(words, done.returncode, *took, done.stdout, done.stderr)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cells(stage: Stage, experiment: str, home: str = "home") -> list[Cell]:
    """Return the cells of an experiment's table."""
    path = stage.folder / home / "results" / "paper" / f"{experiment}.csv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    found: dict[tuple[str, ...], Cell] = {}
    fixed = ("suite", "experiment")
    before = list(rows[0])[: list(rows[0]).index("metric")]
    axes = [name for name in before if name not in fixed]
    for row in rows:
        if row["pair"] != "all":  # of metrics across pairs
            parts = (row["pair"], row["method"], row["variant"], row["collection"])
            found.setdefault(tuple(row[name] for name in axes), Cell(*parts, row["error"]))
    return list(found.values())


def brought(stage: Stage) -> list[Path]:
    """Return what the user brings: the disk, and translations of its topics."""
    places = (stage.disk, stage.topics / "ictir19_simulate_low_resource", stage.topics / "topics")
    return [place for place in places if place.exists()]


def bring(stage: Stage, home: str = "home") -> None:
    """Put links to what the user brings where ``clir download --brought`` does."""
    folder = stage.folder / home / "home" / "downloads" / "brought" / "clef-2000-2003"
    folder.mkdir(parents=True)
    for place in brought(stage):
        (folder / place.name).symlink_to(place, target_is_directory=True)


def as_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
