"""Distillation: the steps of clir beside sentence-transformers and plain torch; whole commands.

    python -m benchmarks.distill steps --home HOME [--suite open] [--lang sw-en] [--turns 3]
    python -m benchmarks.distill level --home HOME [--pairs 3000]
    python -m benchmarks.distill whole --home HOME [--lang sw-en,mr-en] [--sizes 4000,60000]

HOME has the downloads of the suite (`clir download --home HOME`). In `steps` and `level` all train
the same student on the same pairs, with one batch size, learning rate and precision, towards the
teacher's mean embedding of the translation (kd-mse); they differ in how. `level` measures the
time until each has the same held-out MRR. `whole` runs `clir distill` for the first student of a
pair and for a second one, and compares each with its training steps.

sentence-transformers needs `datasets` and `accelerate` to train.
"""

import argparse
import copy
import csv
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch.nn import functional
from transformers import get_cosine_schedule_with_warmup

from benchmarks.machine import describe, report
from clir_cli.corpus.own_files import pair_of
from clir_cli.corpus.records import SentencePair
from clir_cli.optical.distillation import Distillation, EncodedBitext
from clir_cli.optical.objectives import OBJECTIVES
from clir_cli.retrieval.encoder import Encoder
from clir_cli.stages.support.centring import centred_teacher
from clir_cli.stages.support.fitting import open_encoder_at
from clir_cli.stages.support.sources import load_bitext
from clir_cli.stages.support.used_models import teacher_folder
from clir_cli.stages.support.workspace import Workspace
from clir_cli.suites import load_settings
from clir_cli.training.loop import Training

WARM = 2  # first steps that are not counted
AfterStep = Callable[[Encoder], None]


class Material:
    """A student, which starts as the teacher, and the pairs that all methods train it on."""

    def __init__(self, suite: str, language: str, home: Path, pairs: int) -> None:
        settings = load_settings(suite, None, ["training.epochs=1", "training.epoch_pairs=0"])
        workspace, device = Workspace(settings, home), torch.device("cpu")
        bitext = load_bitext(workspace, pair_of(language, settings))
        self.settings, self.limit = settings, settings.teacher.bitext_tokens
        self.rows = random.Random(0).sample(bitext.train, min(pairs, len(bitext.train)))
        self.folder = teacher_folder(workspace)
        self.encoder = open_encoder_at(workspace, self.folder, device)
        self._teacher = centred_teacher(workspace, self.encoder)
        self.train, self.held_out = self._encoded(self.rows), self._encoded(bitext.held_out)
        self.targets = torch.stack(
            [self.train.teacher[row].float().mean(dim=0) for row in range(len(self.rows))]
        )
        prefix = self.encoder.text_format.prefix("sentence")
        self.texts = [prefix + row.query for row in self.rows]
        self.english = [prefix + row.english for row in self.rows]

    def _encoded(self, rows: Sequence[SentencePair]) -> EncodedBitext:
        ids = self.encoder.token_ids([row.query for row in rows], self.limit)
        english = [row.english for row in rows]
        return EncodedBitext(ids, self._teacher.encode(english, self.limit, dtype=torch.float16))

    def student(self, precision: torch.dtype) -> Encoder:
        """Return a student in its first state."""
        return replace(self.encoder, model=copy.deepcopy(self.encoder.model), precision=precision)

    def task(self) -> Distillation:
        """Return what clir trains on."""
        objective = OBJECTIVES["kd-mse"]
        return Distillation(self.train, self.held_out, objective, self.settings, seed=0)

    def mrr(self, student: Encoder) -> float:
        """Return the held-out MRR of a student in training, by late interaction."""
        student.model.eval()
        with torch.inference_mode():
            score = self.task().validate(student)[1]
        student.model.train()
        return score


# ------------------------------------------------------------------ the methods


def ours(material: Material, precision: torch.dtype, after_step: AfterStep) -> None:
    """Train one epoch by clir's own loop."""
    student = material.student(precision)
    training = Training(student, material.task(), material.settings.training, seed=0)
    for _ in training.run():
        after_step(student)


def plain(material: Material, precision: torch.dtype, after_step: AfterStep) -> None:
    """Train one epoch by a loop of torch and transformers alone, as one writes it first."""
    student, loop = material.student(precision), material.settings.training
    model, size = student.model.train(), loop.batch_size
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=loop.learning_rate, weight_decay=loop.weight_decay
    )
    count = -(-len(material.texts) // size)
    schedule = get_cosine_schedule_with_warmup(optimizer, round(loop.warmup * count), count)
    for start in range(0, len(material.texts), size):
        part = slice(start, start + size)
        batch = student.tokenizer(
            material.texts[part],
            truncation=True, max_length=material.limit, padding=True, return_tensors="pt",
        )  # fmt: skip
        mask = batch["attention_mask"].unsqueeze(-1)
        with student.autocast():
            states = model(batch["input_ids"], batch["attention_mask"]).last_hidden_state
        tokens = functional.normalize(states.float(), dim=-1) * mask
        pooled = tokens.sum(dim=1) / mask.sum(dim=1)
        (pooled - material.targets[part]).square().sum(dim=1).mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), loop.clip)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        after_step(student)


def peer(material: Material, precision: torch.dtype, after_step: AfterStep) -> None:
    """Train one epoch by sentence-transformers' trainer with its MSELoss.

    A sentence's embedding is the mean of its hidden states, as its own users have it; the labels
    are the teacher's.
    """
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import MSELoss
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import TrainerCallback

    loop = material.settings.training
    body = Transformer(str(material.folder), max_seq_length=material.limit)
    pooling = Pooling(body.get_embedding_dimension())
    model = SentenceTransformer(modules=[body, pooling], device="cpu")
    student = replace(material.encoder, model=body.auto_model)
    labels = model.encode(material.english, batch_size=16, show_progress_bar=False)

    class Report(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            after_step(student)

    with tempfile.TemporaryDirectory() as folder:
        SentenceTransformerTrainer(
            model=model,
            args=SentenceTransformerTrainingArguments(
                output_dir=folder, num_train_epochs=1, per_device_train_batch_size=loop.batch_size,
                learning_rate=loop.learning_rate, weight_decay=loop.weight_decay,
                warmup_steps=loop.warmup, lr_scheduler_type="cosine", max_grad_norm=loop.clip,
                bf16=precision == torch.bfloat16, use_cpu=True, save_strategy="no",
                report_to="none", disable_tqdm=True, logging_strategy="no", seed=0,
            ),
            train_dataset=Dataset.from_dict(
                {"sentence": material.texts, "label": labels.tolist()}
            ),
            loss=MSELoss(model),
            callbacks=[Report()],
        ).train()  # fmt: skip


METHODS = {"plain torch": plain, "sentence-transformers": peer, "clir": ours}


class Recorder:
    """The seconds of each step; with ``score``, the MRR after every ``every`` steps.

    Scoring is not part of a step. With one thread seconds are of the processor, which the other
    load of the machine does not change.
    """

    def __init__(
        self,
        score: Callable[[Encoder], float] | None = None,
        every: int = 1,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.seconds: list[float] = []
        self.curve: list[tuple[float, float]] = []
        self._score, self._every = score, every
        one_thread = torch.get_num_threads() == 1
        self._clock = clock or (time.process_time if one_thread else time.perf_counter)
        self._started = self._clock()

    def __call__(self, student: Encoder) -> None:
        """Record a step that has just ended."""
        self.seconds.append(self._clock() - self._started)
        if self._score and len(self.seconds) % self._every == 0:
            self.curve.append((self.total, self._score(student)))
        self._started = self._clock()

    @property
    def counted(self) -> list[float]:
        """The seconds of the steps that count; the last one of clir includes its validation."""
        return self.seconds[WARM:-1]

    @property
    def total(self) -> float:
        """The seconds of all steps so far; a first one counts as much as a later one."""
        rest = self.seconds[WARM:]
        return sum(rest) * len(self.seconds) / len(rest) if rest else sum(self.seconds)


# ------------------------------------------------------------------ the comparisons


def steps(chosen: argparse.Namespace, talk: Console) -> list[dict[str, Any]]:
    """Return pairs a second of each method and precision: medians over turns."""
    material = Material(chosen.suite, chosen.lang, chosen.home, chosen.pairs)
    size = material.settings.training.batch_size
    speeds: dict[tuple[str, str], list[float]] = {}
    for turn in range(chosen.turns):
        for precision in chosen.precision:
            for name in chosen.methods:
                recorder = Recorder()
                METHODS[name](material, getattr(torch, precision), recorder)
                speed = size * len(recorder.counted) / sum(recorder.counted)
                speeds.setdefault((precision, name), []).append(speed)
                talk.print(f"turn {turn + 1}, {precision}, {name}: {speed:.1f} pairs/s")
    medians = {key: statistics.median(values) for key, values in speeds.items()}
    return [
        {
            "suite": chosen.suite,
            "pair": chosen.lang,
            "precision": precision,
            "method": name,
            "pairs_per_second": round(medians[precision, name], 2),
            "clir / this": round(medians[precision, "clir"] / medians[precision, name], 2),
            "clir / plain float32": round(
                medians[precision, name] / medians["float32", "plain torch"], 2
            ),
        }
        for precision, name in medians
    ]


def level(chosen: argparse.Namespace, talk: Console) -> list[dict[str, Any]]:
    """Return the seconds until each method has the held-out MRR that all of them reach."""
    material = Material(chosen.suite, chosen.lang, chosen.home, chosen.pairs)
    start = material.mrr(material.student(torch.float32))
    curves: dict[str, list[tuple[float, float]]] = {}
    for name in chosen.methods:
        recorder = Recorder(material.mrr, chosen.every)
        METHODS[name](material, getattr(torch, chosen.precision[0]), recorder)
        curves[name] = [(0.0, start), *recorder.curve]
        talk.print(f"{name}: " + ", ".join(f"{time:.0f} s {mrr:.3f}" for time, mrr in curves[name]))
    goal = min(max(mrr for _, mrr in curve) for curve in curves.values())
    seconds = {name: reached(curve, goal) for name, curve in curves.items()}
    return [
        {
            "suite": chosen.suite,
            "pair": chosen.lang,
            "precision": chosen.precision[0],
            "method": name,
            "pairs": len(material.rows),
            "mrr_before": round(start, 4),
            "mrr": round(goal, 4),
            "seconds": round(seconds[name], 1),
            "this / clir": round(seconds[name] / seconds["clir"], 2),
            "last_mrr": round(curves[name][-1][1], 4),
            "last_seconds": round(curves[name][-1][0], 1),
        }
        for name in curves
    ]


def reached(curve: Sequence[tuple[float, float]], goal: float) -> float:
    """Return when a curve of (seconds, MRR) first has an MRR, between points by a line."""
    for (before, low), (after, high) in pairwise(curve):
        if high >= goal:
            return before + (after - before) * (goal - low) / (high - low)
    return curve[-1][0]


def whole(chosen: argparse.Namespace, talk: Console) -> list[dict[str, Any]]:
    """Return the time of ``clir distill`` and of its steps, for a first and a second student."""
    rows, batch = [], load_settings(chosen.suite).training.batch_size
    for language in chosen.lang.split(","):
        for size in chosen.sizes.split(","):
            with tempfile.TemporaryDirectory(dir=chosen.home.parent) as folder:
                copy_downloads(chosen.home, Path(folder))
                words = ["--lang", language, "--suite", chosen.suite, "--home", folder]
                words += ["--set", f"bitext.max_pairs={size}", "--method", chosen.method]
                for student, seed in (("first", 0), ("second", 1), ("again", 1)):
                    rows.append(command(words, seed, batch) | {"student": student})
                    rows[-1] |= {"suite": chosen.suite, "pair": language, "most_pairs": size}
                    talk.print(str(rows[-1]))
    return rows


def copy_downloads(home: Path, folder: Path) -> None:
    """Link the downloads and models of a home into another, without what was read from them."""
    for name in ("downloads", "models"):
        if (home / name).is_dir():
            leave = shutil.ignore_patterns(".read")
            shutil.copytree(home / name, folder / name, copy_function=os.link, ignore=leave)


def command(words: Sequence[str], seed: int, batch: int) -> dict[str, Any]:
    """Run ``clir distill``; return its seconds, peak memory, and the seconds of its steps.

    A step has ``batch`` pairs, as the log has the pairs a second of each.
    """
    home = Path(words[words.index("--home") + 1])
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen(
            [sys.executable, "-m", "clir_cli", "distill", *words, "--seed", str(seed)],
            stdout=errors, stderr=errors,
        )  # fmt: skip
        _, status, used = os.wait4(child.pid, 0)
        seconds, child.returncode = time.perf_counter() - started, os.waitstatus_to_exitcode(status)
        if child.returncode:
            errors.seek(0)
            raise SystemExit(f"benchmarks.distill: {errors.read()}")
    (log,) = (
        path for path in home.glob("*/*/*/student/training.csv")
        if path.parts[-3].endswith("seed1") == bool(seed)
    )  # fmt: skip
    with log.open(encoding="utf-8") as stream:
        stepped = sum(batch / float(row["pairs_per_second"]) for row in csv.DictReader(stream))
    return {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "seconds_of_steps": round(stepped, 1),
        "whole / steps": round(seconds / stepped, 2),
        "peak_gb": round(used.ru_maxrss / 1e6, 2),
    }


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print the table, write the CSV file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("steps", "level", "whole"))
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--suite", default="open")
    parser.add_argument("--lang", default="sw-en", help="whole: several with commas")
    parser.add_argument("--method", default="ot", help="of whole")
    parser.add_argument("--pairs", type=int, default=960, help="of steps and level")
    parser.add_argument("--sizes", default="4000", help="most pairs of whole, with commas")
    parser.add_argument("--precision", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--every", type=int, default=10, help="level: steps between MRRs")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args(words)
    torch.set_num_threads(chosen.threads)
    os.environ["OMP_NUM_THREADS"] = str(chosen.threads)
    talk = Console(stderr=True)
    talk.print(describe("cpu"))
    rows = {"steps": steps, "level": level, "whole": whole}[chosen.part](chosen, talk)
    out = chosen.out or Path(f"results/bench/distill_{chosen.part}.csv")
    earlier: list[dict[str, str]] = []
    if out.exists():  # other suites and pairs
        with out.open(encoding="utf-8") as stream:
            asked = {(row["suite"], row["pair"]) for row in rows}
            earlier = [
                row for row in csv.DictReader(stream) if (row["suite"], row["pair"]) not in asked
            ]
    report([*earlier, *rows], f"{chosen.part} of distillation", out)


if __name__ == "__main__":
    main()
