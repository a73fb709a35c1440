"""What the report is drawn from: score tables, experiment tables, students, query texts.

Whatever is missing is told in ``Results.missing``, in a line that says which command makes it; the
rest of the report is drawn all the same.
"""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from clir_cli.artifacts import MANIFEST, read_manifest
from clir_cli.corpus.catalogue import languages
from clir_cli.corpus.collections import collection_label
from clir_cli.errors import UserError
from clir_cli.evaluation import gaps, scores
from clir_cli.evaluation.seeds import over_seeds, query_means
from clir_cli.stages.inputs import read_collection
from clir_cli.stages.methods import METHODS
from clir_cli.stages.workspace import Cell, Workspace
from clir_cli.study import experiment

# What the report reads of an experiment table; the axes of its grid stand before the metric.
EXPERIMENT_COLUMNS = (
    "collection", "pair", "method", "variant", "seed", "metric", "value", "ci_low", "ci_high",
    "baseline", "p_value", "effect", "expected", "tolerance", "verdict", "error", "command",
)  # fmt: skip
NOT_EXPERIMENTS = ("scores", "per_query")
NUMBERS = (
    "value", "queries", "ci_low", "ci_high", "p_value", "effect", "expected", "tolerance",
)  # fmt: skip


@dataclass(frozen=True)
class Point:
    """A score over queries and seeds; ``spread`` is the standard deviation over seeds."""

    collection: str
    pair: str
    method: str
    variant: str
    metric: str
    value: float
    low: float
    high: float
    queries: int
    seeds: tuple[int, ...] = (0,)
    spread: float = 0.0

    @property
    def label(self) -> str:
        """Return the column it stands in: method and variant."""
        return Cell(self.method, self.variant).label


@dataclass(frozen=True)
class Student:
    """A distilled student: what it was made with, and how it learned.

    ``curve`` has one entry an epoch: epoch, mean training loss, held-out loss and MRR.
    """

    pair: str
    label: str
    command: str
    config: Mapping[str, Any]
    notes: Mapping[str, Any]
    versions: Mapping[str, str]
    finished: str
    curve: tuple[Mapping[str, float], ...]

    @property
    def method(self) -> str:
        """Return the label without its seed."""
        return re.sub(r"\.seed\d+$", "", self.label)


@dataclass(frozen=True)
class Experiment:
    """An experiment's table; ``axes`` are the settings that its grid spans."""

    name: str
    title: str
    question: str
    rows: pd.DataFrame
    axes: tuple[str, ...]


@dataclass(frozen=True)
class Results:
    """Everything that is known of a suite."""

    suite: str
    points: tuple[Point, ...] = ()
    per_query: Mapping[tuple[str, str, str, str], Mapping[str, float]] = field(default_factory=dict)
    experiments: tuple[Experiment, ...] = ()
    students: tuple[Student, ...] = ()
    queries: Mapping[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @cached_property
    def labels(self) -> list[str]:
        """Return the methods with their variants, in the order of ``clir ls methods``.

        Variants of an experiment are left to its own section.
        """
        spanned = {
            Cell(row.method, row.variant).label
            for each in self.experiments
            for row in each.rows.itertuples()
            if row.variant
        }
        return in_order({point.label for point in self.points} - spanned)

    def coloured(self, labels: Iterable[str]) -> list[str]:
        """Return the order of colours: methods of the scores first, so that each keeps its own."""
        return [*self.labels, *(label for label in in_order(labels) if label not in self.labels)]

    @cached_property
    def collections(self) -> list[str]:
        """Return the collections, the one with the most scores first."""
        counts: dict[str, int] = {}
        for point in self.points:
            counts[point.collection] = counts.get(point.collection, 0) + 1
        return sorted(counts, key=lambda name: (-counts[name], name))

    def pairs(self, collection: str) -> list[str]:
        """Return the pairs of a collection, low-resource ones first, as OPTICAL's tables do."""
        found = {point.pair for point in self.points if point.collection == collection}
        return pairs_in_order(found - {gaps.ALL_PAIRS})

    def metrics(self, collection: str) -> list[str]:
        """Return the metrics of a collection that are of one pair, MAP first."""
        found = {
            point.metric
            for point in self.points
            if point.collection == collection and point.pair != gaps.ALL_PAIRS
        }
        return sorted(found, key=lambda name: (name != "map", name))

    def point(self, collection: str, pair: str, label: str, metric: str) -> Point | None:
        """Return a score, or nothing where there is none."""
        return self._by_key.get((collection, pair, label, metric))

    @cached_property
    def _by_key(self) -> dict[tuple[str, str, str, str], Point]:
        return {(p.collection, p.pair, p.label, p.metric): p for p in self.points}

    def by_pair(self, collection: str, label: str, metric: str) -> dict[str, Mapping[str, float]]:
        """Return a method's values a query, for each pair that has them."""
        found = {
            pair: self.per_query.get((collection, pair, label, metric))
            for pair in self.pairs(collection)
        }
        return {pair: values for pair, values in found.items() if values}


def in_order(labels: Iterable[str]) -> list[str]:
    """Return method labels in the order of ``clir ls methods``, variants behind their method."""
    places = {name: place for place, name in enumerate(METHODS)}
    return sorted(labels, key=lambda label: (places.get(label.split(".")[0], 99), label))


def pairs_in_order(pairs: Iterable[str]) -> list[str]:
    """Return pairs as the catalogue has them: low-resource languages first."""
    places = {f"{code}-en": place for place, code in enumerate(languages())}
    return sorted(pairs, key=lambda pair: (places.get(pair, 99), pair))


def neutral(text: str) -> str:
    """Return a command or setting without the folders of the machine it was made on."""
    return re.sub(r"(?<![\w.:/-])~?(?:/[^\s/'\"]+)+/([^\s/'\"]+)", r"\1", text)


# ------------------------------------------------------------------ reading


def read(workspace: Workspace, results: Path, collection: str = "") -> Results:
    """Read what there is of a suite.

    Args:
        workspace: Settings and folders; artifacts that are there are read, none is made.
        results: The folder of the results of all suites.
        collection: The user's own collection, where one was evaluated (``--collection``).

    Raises:
        UserError: There is neither a score nor an experiment table, or one is damaged.
    """
    folder = results / workspace.suite
    missing: list[str] = []
    points, per_query = _scores(workspace, folder)
    experiments = _experiments(folder)
    if not points and not experiments:
        raise UserError(
            f"{folder}: no score table to report; make one with: "
            f"{workspace.command('evaluate', '--metric map,mrr,ndcg@10')}"
        )
    if not experiments:
        command = workspace.command("reproduce", "--all")
        missing.append(f"no experiment has been run, so there are no ablations: {command}")
    students = _students(workspace)
    found = Results(
        suite=workspace.suite,
        points=tuple(points),
        per_query=per_query,
        experiments=tuple(experiments),
        students=tuple(students),
    )
    queries, unread = _queries(workspace, found, collection)
    return replace(found, queries=queries, missing=(*missing, *unread))


def _read_table(path: Path, needed: Sequence[str]) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except ValueError:
        table = pd.DataFrame()
    if not set(needed) <= set(table.columns):
        raise UserError(f"{path}: not a score table of clir; move it away")
    for column in NUMBERS:
        if column in table:
            table[column] = pd.to_numeric(table[column], errors="coerce")
    return table


def _scores(
    workspace: Workspace, folder: Path
) -> tuple[list[Point], dict[tuple[str, str, str, str], dict[str, float]]]:
    """Return the scores, over seeds where there are several, and each query's mean over them."""
    if not (folder / "scores.csv").exists():
        return [], {}
    table = _read_table(folder / "scores.csv", scores.COLUMNS)
    per_query = _read_table(folder / "per_query.csv", scores.PER_QUERY_COLUMNS)
    key = ["collection", "pair", "method", "variant", "metric"]
    by_seed: dict[tuple[str, ...], dict[int, dict[str, float]]] = {}
    for names, rows in per_query.groupby([*key, "seed"], sort=False):
        *rest, seed = names
        by_seed.setdefault(tuple(rest), {})[int(seed)] = dict(
            zip(rows["query"], rows["value"], strict=True)
        )
    points, means = [], {}
    for names, rows in table.groupby(key, sort=False):
        point = _point(names, rows.to_dict("records"), by_seed.get(names, {}), workspace)
        points.append(point)
        if names in by_seed:
            means[(point.collection, point.pair, point.label, point.metric)] = query_means(
                by_seed[names]
            )
    return points, means


def _point(
    names: tuple[str, ...],
    rows: Sequence[Mapping[str, Any]],
    by_seed: Mapping[int, Mapping[str, float]],
    workspace: Workspace,
) -> Point:
    if len(rows) > 1 and len(by_seed) == len(rows):
        settings = workspace.settings.evaluation
        found = over_seeds(by_seed, resamples=settings.resamples, confidence=settings.confidence)
        return Point(
            *names, found.value, found.low, found.high, found.queries, found.seeds, found.spread
        )
    row = rows[0]
    return Point(
        *names, row["value"], row["ci_low"], row["ci_high"], int(row["queries"]),
        (int(row["seed"]),),
    )  # fmt: skip


def _experiments(folder: Path) -> list[Experiment]:
    found = []
    for path in sorted(folder.glob("*.csv")):
        if path.stem in NOT_EXPERIMENTS:
            continue
        table = _read_table(path, EXPERIMENT_COLUMNS)
        names = list(table.columns)
        axes = tuple(names[names.index("seed") + 1 : names.index("metric")])
        try:
            told = experiment.load(path.stem)
            title, question = told.title, told.question
        except UserError:  # a file of the user's own, which may lie anywhere
            title, question = path.stem.replace("_", " "), ""
        found.append(Experiment(path.stem, title, question, table, axes))
    return found


def _students(workspace: Workspace) -> list[Student]:
    found = []
    for path in sorted((workspace.home / workspace.suite).glob(f"*/*/student/{MANIFEST}")):
        folder = path.parent
        try:
            manifest = read_manifest(folder)
        except UserError:  # damaged: as if it were not there
            continue
        found.append(
            Student(
                pair=folder.parent.parent.name,
                label=folder.parent.name,
                command=neutral(manifest.get("command", "")),
                config=experiment.flat(manifest["config"]),
                notes=manifest.get("notes", {}),
                versions=manifest.get("versions", {}),
                finished=manifest.get("finished", ""),
                curve=_curve(folder / "training.csv"),
            )
        )
    return found


def _curve(path: Path) -> tuple[Mapping[str, float], ...]:
    """Return one entry an epoch; a log that is not there or not readable has none."""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            steps = [
                {key: float(value) for key, value in row.items() if value}
                for row in csv.DictReader(stream)
            ]
    except (OSError, ValueError, TypeError, UnicodeDecodeError):
        return ()
    epochs: dict[float, list[dict[str, float]]] = {}
    for step in steps:
        epochs.setdefault(step.get("epoch", 0), []).append(step)
    return tuple(
        {
            "epoch": epoch,
            "loss": sum(step.get("loss", 0.0) for step in rows) / len(rows),
            **{key: rows[-1][key] for key in ("held_out_loss", "held_out_mrr") if key in rows[-1]},
        }
        for epoch, rows in sorted(epochs.items())
    )


def _queries(
    workspace: Workspace, found: Results, own: str
) -> tuple[dict[tuple[str, str], Mapping[str, str]], list[str]]:
    """Return the texts of the queries by collection and language, and what could not be read."""
    texts: dict[tuple[str, str], Mapping[str, str]] = {}
    unread: list[str] = []
    for name in found.collections:
        wanted = own if own and collection_label(own) == name else name
        settings = workspace.settings.model_copy(update={"collection": wanted})
        place = Workspace(settings, workspace.home, talk=workspace.talk)
        for pair in found.pairs(name):
            language = pair.partition("-")[0]
            try:
                collection = read_collection(place, language)
            except UserError:
                unread.append(
                    f"the queries of {name} in {language!r} are not at hand, so they are shown by "
                    "id: name a collection of your own with --collection, and where the others "
                    "were downloaded with --home"
                )
                break
            for each in (language, "en"):
                if each in collection.queries:
                    texts[name, each] = collection.queries[each]
    return texts, unread
