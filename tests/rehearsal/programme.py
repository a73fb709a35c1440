"""What is rehearsed: the commands of the suite ``paper`` in order, and the table of them."""

from collections.abc import Callable

from rehearsal.running import Cell, Ended, as_table, brought, cells, run
from rehearsal.stage import CUTS, Stage

EXPERIMENTS = (*CUTS, "models_beside")
METHODS = "zero-shot,bm25,ot,english"
Said = Callable[[str], None]


def commands(stage: Stage) -> list[tuple[str, ...]]:
    """Return the commands that a person types for the suite, the experiments last."""
    given = [word for place in brought(stage) for word in ("--brought", str(place))]
    swahili, german = ("--lang", "sw-en"), ("--lang", "de-en")
    return [
        ("download", "--lang", "all", *given),
        ("download", *swahili, "--collection", "irds:msmarco-passage/train/judged"),
        ("download", *german, "--collection", "mmarco"),
        ("train", "--recipe", "hybrid", *swahili),
        ("distill", *swahili, "--method", "ot"),
        ("index",),
        ("search", *swahili, "--method", METHODS),
        ("evaluate", *swahili, "--method", METHODS, "--metric", "map,mrr"),
        ("index", "--collection", "mmarco"),
        ("search", *german, "--method", "bm25,english", "--collection", "mmarco"),
        *(("reproduce", name) for name in EXPERIMENTS),
    ]


def perform(stage: Stage, said: Said = print) -> list[Ended]:
    """Run all commands in one home; say after each what it left, and return how they ended."""
    ended = []
    for words in commands(stage):
        done = run(stage, *words)
        ended.append(done)
        said(f"{done.seconds:5.0f} s  code {done.code}  clir {shown(stage, words)}")
        for line in failures(stage, done):
            said(f"        {line}")
    return ended


def shown(stage: Stage, words: tuple[str, ...]) -> str:
    """Return a command as a person types it, without the places of this stage."""
    return " ".join([*words, "--suite paper"]).replace(f"{stage.folder}/", "")


def made(stage: Stage, done: Ended) -> list[Cell]:
    """Return the cells of an experiment's table; none for another command."""
    return cells(stage, done.words[1]) if done.words[0] == "reproduce" else []


def failures(stage: Stage, done: Ended) -> list[str]:
    """Return why a command failed, a line each."""
    failed = {cell.error for cell in made(stage, done) if cell.error}
    return sorted(failed) or (done.err.splitlines()[-3:] if done.code else [])


def table(stage: Stage, ended: list[Ended]) -> str:
    """Return the table of the commands: exit code, cells made, cells failed, seconds."""
    rows = []
    for done in ended:
        found = made(stage, done)
        failed = sum(bool(cell.error) for cell in found)
        counts = (len(found) - failed, failed) if found else ("", "")
        took = round(done.seconds), round(done.cpu_seconds)
        rows.append((f"`clir {shown(stage, done.words)}`", done.code, *counts, *took))
    head = ("command", "exit code", "cells made", "cells failed", "seconds", "of a processor")
    return as_table(head, rows)
