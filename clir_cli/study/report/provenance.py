"""How figures were made: the commands, and the settings of the students."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clir_cli.study.experiment import flat
from clir_cli.study.report.data import CollectionScores, Results, Student, neutral


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
    """Return the command that scored methods, and the settings of their students."""
    pairs = collection.pairs
    methods = dict.fromkeys(label.split(".")[0] for label in labels)
    command = (
        f"clir evaluate --suite {results.suite} --lang {','.join(pairs)} "
        f"--method {','.join(methods)} --metric {','.join(metrics)}"
    )
    if len(results.collections) > 1:
        command += f" --collection {collection.name}"
    students = [s for s in results.students if s.method in labels and s.pair in pairs]
    return trained(students, [command, *distillations(results.suite, students)])


def distillations(suite: str, students: Sequence[Student]) -> list[str]:
    """Return the commands that made students; what differs in the pair alone is one."""
    pairs_by_options: dict[str, list[str]] = {}
    for student in students:
        words = neutral(student.manifest.get("command", "")).split()
        named = {place for place, word in enumerate(words) if word in ("--lang", "--suite")}
        left_out = named | {place + 1 for place in named}
        rest = [word for place, word in enumerate(words) if place > 1 and place not in left_out]
        pairs_by_options.setdefault(" ".join(rest), []).append(student.pair)
    return [
        f"clir distill --suite {suite} --lang {','.join(pairs)} {rest}".strip()
        for rest, pairs in sorted(pairs_by_options.items())
    ]


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
