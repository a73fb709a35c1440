"""The time that an experiment took: ``results/<suite>/time/<experiment>.csv``, from manifests.

A row for each stage and machine: how many artifacts, the hours of the commands that
finished them, the versions, and when the first and the last of them ended. What several experiments
share is counted in each of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from clir_cli.artifacts.manifest import machine_of, read_manifest
from clir_cli.errors import UserError
from clir_cli.evaluation import scores
from clir_cli.study.experiment import Experiment
from clir_cli.study.grid import Point
from clir_cli.study.tasks import Study, Task

FOLDER = "time"
KEY = ("suite", "experiment", "stage", "machine")
COLUMNS = (*KEY, "artifacts", "hours", "clir", "torch", "first", "last")


def publish(study: Study, experiment: Experiment, points: Sequence[Point]) -> None:
    """Bring the table of an experiment up to date; rows of other machines stay."""
    made = [point for point in points if point not in study.known]
    if rows := _rows(study, experiment, study.tasks_of(made)):
        path = study.results / study.workspace.suite / FOLDER / f"{experiment.name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        scores.update(path, rows, COLUMNS, KEY)


def _rows(study: Study, experiment: Experiment, tasks: Sequence[Task]) -> list[dict[str, Any]]:
    by_key: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for task in tasks:
        try:
            manifest = read_manifest(study.workspace.home / task.key)
        except UserError:  # a download, or an artifact that could not be made
            continue
        by_key.setdefault((task.verb, _machine(manifest)), []).append(manifest)
    return [
        {
            "suite": study.workspace.suite,
            "experiment": experiment.name,
            "stage": stage,
            "machine": machine,
            "artifacts": len(manifests),
            "hours": round(sum(made.get("seconds") or 0 for made in manifests) / 3600, 4),
            "clir": _different(map(_code, manifests)),
            "torch": _different(made.get("versions", {}).get("torch", "") for made in manifests),
            "first": min(made.get("finished", "") for made in manifests),
            "last": max(made.get("finished", "") for made in manifests),
        }
        for (stage, machine), manifests in by_key.items()
    ]


def _machine(manifest: Mapping[str, Any]) -> str:
    """Return the GPU, or the processor with its number of cores."""
    name, hardware = machine_of(manifest), manifest.get("hardware", {})
    if name == hardware.get("processor") and "cores" in hardware:
        return f"{name}, {hardware['cores']} cores"
    return name


def _code(manifest: Mapping[str, Any]) -> str:
    """Return the version that made an artifact, with its commit if that is known."""
    version = manifest.get("versions", {}).get("clir-cli", "")
    return " ".join(filter(None, [version, manifest.get("commit", "")]))


def _different(values: Iterable[str]) -> str:
    return ", ".join(filter(None, dict.fromkeys(values)))
