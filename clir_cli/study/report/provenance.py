"""How figures were made: the commands, and the settings of the students."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from clir_cli.artifacts.cell import Cell
from clir_cli.artifacts.command import Command, Option
from clir_cli.stages.support.methods import METHODS
from clir_cli.study.report.data import (
    CollectionScores,
    ImportedRun,
    Results,
    Student,
    neutral_command,
)
from clir_cli.suites import flat


@dataclass(frozen=True)
class Provenance:
    """The commands and settings that made a figure; ``varied`` differ from cell to cell.

    The first ``shown`` commands are visible, the others after a click.
    """

    commands: Sequence[str] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    varied: Mapping[str, str] = field(default_factory=dict)
    shown: int = 4


def scored(
    results: Results, collection: CollectionScores, labels: Sequence[str], metrics: Sequence[str]
) -> Provenance:
    """Return the commands that scored methods, and the settings of their students.

    Methods of one variant, seed and group of pairs have one command.
    """
    pairs = collection.pairs
    methods: dict[Cell, dict[str, None]] = {}
    for key, score in collection.scores.items():
        cell = Cell.parse(key.label)
        for seed in score.seeds if key.label in labels else ():
            methods.setdefault(replace(cell, method="", seed=seed), {})[cell.method] = None
    commands = []
    for cell, names in methods.items():
        ordered = [name for name in METHODS if name in names] or list(names)
        lang, *options = replace(cell, method=",".join(ordered)).options()
        lang = lang if cell.joint else ("--lang", ",".join(pairs))
        metric = ("--metric", ",".join(metrics))
        commands.append(results.command("evaluate", lang, *options, metric, on=collection))
    students = [s for s in results.students if s.method in labels and s.pair in pairs]
    imports = [run.command for run in imported_runs(results, collection, labels)]
    return trained(students, [*distillations(results.suite, students), *imports, *commands])


def imported_runs(
    results: Results, collection: CollectionScores, labels: Sequence[str]
) -> list[ImportedRun]:
    """Return the runs of other tools that were scored on a collection."""
    return [
        run
        for run in results.imported
        if run.collection == collection.name
        and run.label in labels
        and run.pair in collection.pairs
    ]


def distillations(suite: str, students: Sequence[Student]) -> list[str]:
    """Return the commands that made students; those that differ in the pair alone are one."""
    pairs_by_options: dict[tuple[Option, ...], list[str]] = {}
    for student in students:
        options = neutral_command(str(student.manifest.get("command"))).options
        given = ("--suite",) if ("--joint",) in options else ("--suite", "--lang")
        key = tuple(option for option in options if option[0] not in given)
        pairs_by_options.setdefault(key, []).append(student.pair)
    commands = []
    for options, pairs in sorted(pairs_by_options.items()):
        lang = () if ("--joint",) in options else (("--lang", ",".join(pairs)),)
        commands.append(str(Command("distill", (("--suite", suite), *lang, *options))))
    return commands


def trained(students: Sequence[Student], commands: Sequence[str], shown: int = 4) -> Provenance:
    """Return commands with the settings that the students share, and those that differ."""
    values = distinct(flat(student.manifest["config"]) for student in students)
    for key in ("pair", "method"):
        values.pop(key, None)
    return Provenance(
        commands=commands,
        settings={key: texts[0] or "none" for key, texts in values.items() if len(texts) == 1},
        varied={key: " | ".join(texts) for key, texts in values.items() if len(texts) > 1},
        shown=shown,
    )


def distinct(mappings: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the different values of each key as texts, in order of appearance."""
    values: dict[str, dict[str, None]] = {}
    for mapping in mappings:
        for key, value in mapping.items():
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            values.setdefault(key, {})[text] = None
    return {key: list(texts) for key, texts in values.items()}
