"""The artifacts that a report shows: students, indexes, runs, and the commands of each.

Artifacts are read where they exist; a damaged manifest counts as if there were none.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clir_cli.artifacts.cell import Cell
from clir_cli.artifacts.command import Command
from clir_cli.artifacts.manifest import MANIFEST, read_manifest
from clir_cli.errors import UserError
from clir_cli.evaluation.scores import read_table

Manifest = Mapping[str, Any]


@dataclass(frozen=True)
class Student:
    """A distilled student: its manifest, and its MRR on held-out pairs by epoch."""

    pair: str
    label: str
    manifest: Manifest
    held_out: Mapping[float, float]

    @property
    def method(self) -> str:
        """Return the label without its seed."""
        return Cell.parse(self.label).column

    @property
    def seed(self) -> int:
        """Return the seed."""
        return Cell.parse(self.label).seed

    @property
    def column(self) -> str:
        """Return the label of its scores; the one of a joint student names all its pairs."""
        method, *rest = self.method.split(".")
        group = f"joint-{self.pair}" if "+" in self.pair else ""
        return ".".join(filter(None, [method, group, *rest]))


@dataclass(frozen=True)
class Index:
    """An index: the name of its collection, and its manifest."""

    collection: str
    manifest: Manifest

    @property
    def bytes(self) -> int:
        """Return the size of its files."""
        return sum(file["bytes"] for file in self.manifest["files"].values())


@dataclass(frozen=True)
class SavedRun:
    """A run on a collection: its label with its seed, and its manifest."""

    collection: str
    pair: str
    label: str
    manifest: Manifest

    @property
    def command(self) -> Command:
        """Return the command that made it."""
        return neutral_command(str(self.manifest.get("command")), "search")

    @property
    def tag(self) -> str:
        """Return the tag of an imported run."""
        return str(self.manifest.get("notes", {}).get("tag", ""))

    @property
    def is_imported(self) -> bool:
        """Return True if another tool wrote it."""
        return Cell.parse(self.label).is_imported


@dataclass(frozen=True)
class Made:
    """What has been made for a suite; ``trained`` has commands of ``clir train`` by model."""

    students: Sequence[Student] = ()
    indexes: Sequence[Index] = ()
    runs: Sequence[SavedRun] = ()
    trained: Mapping[str, str] = field(default_factory=dict)


def neutral(text: str, space: str = r"\s") -> str:
    """Return a text without the folders of the machine it was made on; ``space`` ends a path."""
    return re.sub(rf"(?<![\w.:/-])~?(?:/[^{space}/'\"]+)+/([^{space}/'\"]+)", r"\1", text)


def neutral_command(text: str, otherwise: str = "distill") -> Command:
    """Return a command without the machine's folders; ``otherwise`` alone if it is no command."""
    try:
        command = Command.parse(text)
    except ValueError:  # a manifest that somebody has edited
        return Command(otherwise)
    options = tuple(tuple(neutral(word, "") for word in option) for option in command.options)
    return Command(command.verb, options, tuple(neutral(word, "") for word in command.arguments))


def read_made(folder: Path) -> Made:
    """Read what there is in a suite's folder of artifacts."""
    students = [
        Student(path.parts[-3], path.parts[-2], manifest, _held_out(path / "training.csv"))
        for path, manifest in _manifests(folder, "*/*/student")
    ]
    indexes, runs = [], []
    for root in (folder, *sorted(folder.glob("teachers/*"))):
        teacher = root.name if root != folder else ""
        indexes += [Index(path.name, manifest) for path, manifest in _manifests(root, "index/*")]
        for path, manifest in _manifests(root, "*/*/runs/*"):
            pair, label = path.parts[-4:-2]
            method, *rest = label.split(".")
            label = ".".join(filter(None, [method, teacher, *rest]))
            runs.append(SavedRun(path.name, pair, label, manifest))
    commands = {
        path.parts[-2]: str(neutral_command(str(manifest.get("command")), "train"))
        for path, manifest in _manifests(folder, "*/*/model")
    }
    trained = {name: text for name, text in commands.items() if text.startswith("clir train ")}
    return Made(students, indexes, runs, trained)


def read_experiment(folder: Path, name: str) -> Manifest:
    """Return the manifest of an experiment's table in a suite's folder; empty if there is none."""
    found = dict(_manifests(folder, "experiments/*"))
    return found.get(folder / "experiments" / name, {})


def _manifests(folder: Path, pattern: str) -> Iterator[tuple[Path, Manifest]]:
    for file in sorted(folder.glob(f"{pattern}/{MANIFEST}")):
        try:
            yield file.parent, read_manifest(file.parent)
        except UserError:
            continue


def _held_out(path: Path) -> dict[float, float]:
    """Return the MRR by epoch; a log that is missing or damaged has none."""
    try:
        columns = ["epoch", "held_out_mrr"]
        steps = read_table(path, columns, columns)[columns].dropna()
    except (OSError, UserError):
        return {}
    return dict(zip(steps["epoch"], steps["held_out_mrr"], strict=True))
