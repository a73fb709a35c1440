"""Settings chosen without the test: held-out MRR of bitext that is held out by source.

    python -m benchmarks.selection benchmarks/selection.toml --suite open --home DIR --jobs 4
    python -m benchmarks.selection benchmarks/selection.toml --lang sw-en,so-en --method ot \
        --seed 0 --where training.learning_rate=1e-4

The second takes a part of the grid: pairs, methods, seeds, and cells with given settings.

The grid is an experiment file (docs/experiments.md) whose settings hold out whole sources
(bitext.held_out_sources); students are made as `clir reproduce` makes them, those that are there
are not made again, and no collection is searched. Writes the mean over languages, best first.
"""

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from clir_cli.artifacts import graph, store
from clir_cli.artifacts.spec import Ref
from clir_cli.cluster.connection import EngineOptions
from clir_cli.errors import UserError, nearest
from clir_cli.stages.support.methods import METHODS
from clir_cli.stages.support.used_models import student_of
from clir_cli.stages.support.workspace import Workspace
from clir_cli.study import experiment, schedule
from clir_cli.study.executors import executor_of
from clir_cli.study.grid import Base, Point, expand
from clir_cli.study.tasks import Study
from clir_cli.study.watch import watching
from clir_cli.suites import known_keys, load_settings, value_in, value_of


def student(point: Point) -> Ref:
    """Return the student of a cell; raises UserError if it is not distilled on held-out sources."""
    if not METHODS[point.cell.method].is_trained:
        raise UserError(f"method {point.cell.method} has no held-out MRR; leave it out of methods")
    if not point.settings.bitext.held_out_sources:
        raise UserError("no source is held out; name some in bitext.held_out_sources")
    return student_of(point.settings, point.pair, point.cell)


@dataclass(frozen=True)
class Part:
    """A part of a grid: names with commas of what is in it, empty for all; ``KEY=VALUE`` each."""

    pairs: str = ""
    methods: str = ""
    seeds: str = ""
    where: tuple[str, ...] = ()

    def of(self, points: Sequence[Point]) -> list[Point]:
        """Return the cells that are in it; raises UserError if there are none."""
        for text in self.where:
            if (key := text.partition("=")[0]) not in known_keys():
                raise UserError(f"--where {text}: no such setting; {nearest(key, known_keys())}")
        found = [point for point in points if self._has(point)]
        if not found:
            raise UserError("no cell of the grid is in that part; see --lang, --method and --where")
        return found

    def _has(self, point: Point) -> bool:
        """Return True if a cell is in it."""
        named = (
            (self.pairs, str(point.pair)),
            (self.methods, point.cell.method),
            (self.seeds, str(point.cell.seed)),
        )
        settings = (text.partition("=") for text in self.where)
        return all(not names or name in names.split(",") for names, name in named) and all(
            value_of(point.settings, key) == value_in(text) for key, _, text in settings
        )


def select(
    grid: Path, base: Base, workspace: Workspace, part: Part = Part()
) -> list[dict[str, Any]]:
    """Make the students of a grid; return its rows, the best mean held-out MRR first.

    A row has method, variant, the number of students, their mean over pairs and seeds, and the mean
    of each pair. Those that cannot be made are left out, and said.
    """
    study, read = Study(workspace), experiment.load(str(grid))
    study.add(read, part.of(expand(read, base)), student)
    tasks = study.tasks_of(study.cells())
    states = schedule.look(tasks, workspace)
    with (
        watching({}, tasks, quiet=workspace.talk.quiet) as (watch, inside),
        executor_of(workspace.engine, workspace, inside) as executor,
    ):
        done = schedule.run(tasks, states, executor, watch)
    by_setting: dict[tuple[str, str], dict[str, list[float]]] = {}
    for point, key in study.goals.items():
        if not done[key].is_well:
            workspace.talk.say(f"{point.label}: {done[key].error}")
            continue
        notes = store.read_manifest(graph.path_of(workspace, student(point)))["notes"]
        of_pairs = by_setting.setdefault((point.cell.method, point.variant), {})
        of_pairs.setdefault(str(point.pair), []).append(notes["held_out_mrr"])
    rows = [
        {
            "method": method,
            "variant": variant,
            "students": sum(map(len, of_pairs.values())),
            "held_out_mrr": round(mean(map(mean, of_pairs.values())), 4),
            **{pair: round(mean(values), 4) for pair, values in of_pairs.items()},
        }
        for (method, variant), of_pairs in by_setting.items()
    ]
    return sorted(rows, key=lambda row: -row["held_out_mrr"])


def main(words: list[str] | None = None) -> int:
    """Run the script; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("grid", type=Path)
    parser.add_argument("--suite", default="open")
    parser.add_argument("--home", type=Path, default=Path("artifacts"))
    parser.add_argument("--mirror", default="")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    for name, what in (("--lang", "pairs"), ("--method", "methods"), ("--seed", "seeds")):
        parser.add_argument(name, default="", help=f"{what} of the grid, with commas")
    parser.add_argument(
        "--where", action="append", default=[], metavar="KEY=VALUE", help="cells with this setting"
    )
    parser.add_argument("--output", type=Path, default=Path("results/selection.csv"))
    asked = parser.parse_args(words)
    try:
        workspace = Workspace(
            load_settings(asked.suite, None, asked.set), asked.home, device=asked.device,
            mirror=asked.mirror, engine=EngineOptions("local", "", asked.jobs),
        )  # fmt: skip
        part = Part(asked.lang, asked.method, asked.seed, tuple(asked.where))
        rows = select(asked.grid, Base(asked.suite, None, tuple(asked.set)), workspace, part)
    except UserError as error:
        print(f"selection: {error}", file=sys.stderr)
        return 2
    fields = list(dict.fromkeys(name for row in rows for name in row))
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    with asked.output.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fields)
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        print(f"{row['held_out_mrr']:.4f}  {row['students']:>3}  {row['method']}  {row['variant']}")
    return 0 if rows else 2


if __name__ == "__main__":
    sys.exit(main())
