"""Growth of distillation: time and peak memory of each phase, by the number of sentence pairs.

    python -m benchmarks.growth --home HOME [--sizes 4000,60000,1000000]

HOME has the teacher (`clir download --home HOME`). Each size is distilled by a process of its own
from made-up sentence pairs in a file, with the settings of the suite. The words of a sentence are
drawn by Zipf's law, and each has one English word as its translation; a tenth of them is left
untranslated, and the order differs.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import wraps
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks.distill import copy_downloads
from benchmarks.machine import report
from clir_cli.artifacts.cell import Cell
from clir_cli.corpus.own_files import pair_of
from clir_cli.retrieval.loading import load_tokenizer
from clir_cli.stages import distill
from clir_cli.stages.support.used_models import teacher_folder
from clir_cli.stages.support.workspace import Workspace
from clir_cli.suites import load_settings

WORDS = 100_000  # different words of the made-up language
PHASES = {  # functions of stages/distill.py
    "load_bitext": "bitext",
    "longest": "longest sentences",
    "student_to_train": "rows and token ids",
    "teacher_embeddings": "teacher embeddings",
    "cut_sentences": "cut sentences",
    "masses": "marginals",
}


def made_up(path: Path, size: int, english: Sequence[str]) -> None:
    """Write sentence pairs, tab-separated: the made-up language, English."""
    rng = random.Random(size)
    syllables = [a + b for a in "bdfghjklmnprstvwyz" for b in "aeiou"]
    words = ["".join(rng.choices(syllables, k=rng.randint(2, 4))) for _ in range(WORDS)]
    translation = [rng.choice(english) for _ in words]
    weights = list(accumulate(1 / rank for rank in range(1, WORDS + 1)))
    with path.open("w", encoding="utf-8") as stream:
        for _ in range(size):
            chosen = rng.choices(range(WORDS), cum_weights=weights, k=rng.randint(4, 28))
            other = [translation[word] for word in chosen if rng.random() < 0.9] or ["none"]
            rng.shuffle(other)
            stream.write(" ".join(words[word] for word in chosen) + "\t" + " ".join(other) + "\n")


class Phases:
    """Seconds and peak memory of phases; a phase within another is not counted twice."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._inside = False

    def watched(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function whose calls are a phase."""

        @wraps(work)
        def call(*args: Any, **kwargs: Any) -> Any:
            if self._inside:
                return work(*args, **kwargs)
            self._inside = True
            reset_peak()
            before = time.perf_counter(), time.process_time()
            try:
                return work(*args, **kwargs)
            finally:
                self._inside = False
                self.record(name, before)

        return call

    def record(self, name: str, before: tuple[float, float]) -> None:
        """Add the row of a phase that began at some wall-clock and processor times."""
        self.rows.append(
            {
                "phase": name,
                "seconds": round(time.perf_counter() - before[0], 2),
                "cpu_seconds": round(time.process_time() - before[1], 2),
                "peak_gb": round(peak() / 1e6, 3),
            }
        )


def reset_peak() -> None:
    """Let the kernel measure the peak memory of this process from now on (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    """Return the peak memory since ``reset_peak``, in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def measure(home: Path, suite: str, bitext: Path, steps: int) -> list[dict[str, Any]]:
    """Distil a student in this process; return the rows of its phases and of the whole."""
    given = ["bitext.sources=[]", f'bitext.files=["{bitext}"]', "training.epochs=1"]
    given += ["training.batch_size=32", f"training.epoch_pairs={32 * steps}"]
    settings = load_settings(suite, None, given)
    workspace, phases = Workspace(settings, home), Phases()
    for name, phase in PHASES.items():
        setattr(distill, name, phases.watched(phase, getattr(distill, name)))
    before = time.perf_counter(), time.process_time()
    ref = workspace.ref("student", (pair_of("sw-en", settings),), Cell("ot"))
    distill.distill(workspace, ref)
    phases.record("whole", before)  # the last phase was followed by training
    rest = {
        name: round(phases.rows[-1][name] - sum(row[name] for row in phases.rows[:-1]), 2)
        for name in ("seconds", "cpu_seconds")
    }
    phases.rows.append(
        {"phase": "training and the rest", **rest, "peak_gb": round(peak() / 1e6, 3)}
    )
    phases.rows[-2]["peak_gb"] = max(row["peak_gb"] for row in phases.rows)
    return phases.rows


def main(words: Sequence[str] | None = None) -> None:
    """Measure each size in a process of its own, print the table, write the CSV file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--suite", default="open")
    parser.add_argument("--sizes", default="4000,16000,64000,250000,1000000")
    parser.add_argument("--steps", type=int, default=20, help="training steps")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bitext", type=Path, help=argparse.SUPPRESS)  # in a child
    parser.add_argument("--out", type=Path, default=Path("results/bench/growth.csv"))
    chosen = parser.parse_args(words)
    torch.set_num_threads(chosen.threads)
    if chosen.bitext:
        print(json.dumps(measure(chosen.home, chosen.suite, chosen.bitext, chosen.steps)))
        return
    talk, rows = Console(stderr=True), []
    settings = load_settings(chosen.suite)
    vocabulary = load_tokenizer(teacher_folder(Workspace(settings, chosen.home))).get_vocab()
    english = sorted(word for word in vocabulary if word.isalpha() and word.isascii())
    for size in map(int, chosen.sizes.split(",")):
        with tempfile.TemporaryDirectory(dir=chosen.home.parent) as folder:
            home, bitext = Path(folder) / "home", Path(folder) / "pairs.tsv"
            copy_downloads(chosen.home, home)
            made_up(bitext, size, english)
            asked = ["--home", str(home), "--suite", chosen.suite, "--steps", str(chosen.steps)]
            asked += ["--threads", str(chosen.threads)]
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.growth", *asked, "--bitext", str(bitext)],
                stdout=subprocess.PIPE, text=True, check=True,
            )  # fmt: skip
            found = json.loads(done.stdout.splitlines()[-1])
            rows += [{"suite": chosen.suite, "pairs": size, **row} for row in found]
            talk.print(f"{size:,} pairs: {found[-1]}")
    report(rows, "growth of distillation", chosen.out)


if __name__ == "__main__":
    main()
