"""What a report is drawn from: score tables, experiment tables, students, query texts.

What is missing is listed in ``Results.missing``, with the command that makes it; the rest of the
report is drawn all the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from clir_cli.artifacts.cell import Cell
from clir_cli.artifacts.command import Command, Option
from clir_cli.corpus.catalogue import languages
from clir_cli.corpus.collections import collection_label
from clir_cli.errors import UserError
from clir_cli.evaluation import gaps
from clir_cli.evaluation.scores import COLUMNS, PER_QUERY_COLUMNS, read_table
from clir_cli.evaluation.scoring import bootstrap_of
from clir_cli.evaluation.seeds import Seeded, over_seeds, query_means
from clir_cli.stages.support.methods import in_order
from clir_cli.stages.support.sources import read_collection
from clir_cli.stages.support.workspace import Workspace
from clir_cli.study import experiment
from clir_cli.study.report.charts import Estimate
from clir_cli.study.report.made import (
    Made,
    neutral,
    neutral_command,
    read_experiment,
    read_made,
)

# What the report reads of an experiment table; the axes of its grid are between seed and metric.
EXPERIMENT_COLUMNS = (
    "collection", "pair", "method", "variant", "seed", "metric", "value", "ci_low", "ci_high",
    "baseline", "p_value", "effect", "expected", "tolerance", "verdict", "error", "command",
)  # fmt: skip

NUMBERS = (
    "value", "queries", "ci_low", "ci_high", "p_value", "effect", "expected", "tolerance",
)  # fmt: skip


class ScoreKey(NamedTuple):
    """What a score of a collection belongs to; the label is method and variant."""

    pair: str
    label: str
    metric: str


@dataclass(frozen=True)
class CollectionScores:
    """The scores on a collection over seeds, and the mean over seeds of each query.

    ``texts`` has the queries by language and id; ``option`` is what ``--collection`` takes for it,
    empty for the suite's own.
    """

    name: str
    scores: dict[ScoreKey, Seeded] = field(default_factory=dict)
    per_query: dict[ScoreKey, dict[str, float]] = field(default_factory=dict)
    texts: dict[str, Mapping[str, str]] = field(default_factory=dict)
    option: str = ""

    @cached_property
    def pairs(self) -> list[str]:
        """Return the pairs, low-resource ones first, as OPTICAL's tables do."""
        return pairs_in_order({key.pair for key in self.scores} - {gaps.ALL_PAIRS})

    @cached_property
    def metrics(self) -> list[str]:
        """Return the metrics that belong to one pair, MAP first."""
        metrics = {key.metric for key in self.scores if key.pair != gaps.ALL_PAIRS}
        return sorted(metrics, key=lambda name: (name != "map", name))

    def estimates(self, pair: str, metric: str, labels: Sequence[str]) -> list[Estimate]:
        """Return the scores of the labels that have one, with their intervals."""
        scores = {label: self.scores.get(ScoreKey(pair, label, metric)) for label in labels}
        return [Estimate(label, s.value, s.low, s.high) for label, s in scores.items() if s]

    def values(self, pair: str, label: str, metric: str) -> Mapping[str, float]:
        """Return the value of each query, empty if there are none."""
        return self.per_query.get(ScoreKey(pair, label, metric), {})

    def sentences(self, pair: str) -> dict[str, tuple[str, str]]:
        """Return the queries in the pair's language, with their translations as far as known."""
        english = self.texts.get("en", {})
        texts = self.texts.get(pair.partition("-")[0], {})
        return {query: (text, english.get(query, "")) for query, text in texts.items()}


@dataclass(frozen=True)
class ExperimentTable:
    """The table of an experiment; ``axes`` are the settings that its grid spans.

    ``command`` is the one of ``clir reproduce`` that makes it.
    """

    name: str
    command: str
    title: str
    question: str
    rows: pd.DataFrame
    axes: tuple[str, ...]


@dataclass(frozen=True)
class Results:
    """All results of a suite; the collection with the most scores is the first.

    ``named`` are labels to show, even if an experiment has a section for them.
    """

    suite: str
    collections: Sequence[CollectionScores] = ()
    experiments: Sequence[ExperimentTable] = ()
    made: Made = field(default_factory=Made)
    missing: Sequence[str] = ()
    named: Sequence[str] = ()

    def command(self, verb: str, *options: Option, on: CollectionScores | None = None) -> str:
        """Return a command for the suite, and for a collection."""
        chosen = (("--collection", neutral(on.option, "")),) if on and on.option else ()
        return str(Command(verb, (("--suite", self.suite), *options, *chosen)))

    @cached_property
    def keys(self) -> set[ScoreKey]:
        """Return the keys of the scores on any collection."""
        return {key for collection in self.collections for key in collection.scores}

    @cached_property
    def labels(self) -> list[str]:
        """Return the methods with their variants, baselines and ceilings at the ends.

        Variants of an experiment are left to its own section, where the method itself has scores.
        """
        spanned = {
            Cell(row.method, row.variant).label
            for table in self.experiments
            for row in table.rows.itertuples()
            if row.variant
        }
        known = {key.label for key in self.keys}
        plain = {Cell.parse(label).method for label in known - spanned}
        return in_order(
            label
            for label in known
            if label not in spanned or label in self.named or Cell.parse(label).method not in plain
        )

    @cached_property
    def left_to_experiments(self) -> list[str]:
        """Return the labels that have scores and stand in the sections of experiments alone."""
        return in_order({key.label for key in self.keys} - set(self.labels))

    def series(self, labels: Iterable[str]) -> list[str]:
        """Return labels in the order of colours: those of the scores first, so each keeps its own.

        The index of a label is the number of its series.
        """
        return [*self.labels, *(label for label in in_order(labels) if label not in self.labels)]


def pairs_in_order(pairs: Iterable[str]) -> list[str]:
    """Return pairs in the order of the catalogue: low-resource languages first."""
    ranks = {f"{code}-en": rank for rank, code in enumerate(languages())}
    return sorted(pairs, key=lambda pair: (ranks.get(pair, 99), pair))


def pair_title(pair: str) -> str:
    """Return a pair with its resource group, for headings."""
    resource = gaps.resource_of(pair)
    return f"{pair} ({resource}-resource)" if resource else pair


# ------------------------------------------------------------------ reading


def read(workspace: Workspace, results: Path, collection: str = "") -> Results:
    """Read the results of a suite, as far as they exist.

    Artifacts are read where they exist, none is made. ``results`` is the folder of all suites;
    ``collection`` the user's own, if one was evaluated (``--collection``).

    Raises:
        UserError: There is neither a score nor an experiment table, or one is damaged.
    """
    folder = results / workspace.suite
    collections = _collections(workspace, folder, collection)
    experiments = [
        _experiment(workspace, path)
        for path in sorted(folder.glob("*.csv"))
        if path.stem.lower() not in experiment.RESERVED
    ]
    if not collections and not experiments:
        raise UserError(
            f"{folder}: no score table to report; make one with: "
            f"{workspace.command('evaluate', ('--metric', 'map,mrr,ndcg@10'))}"
        )
    missing = []
    if not experiments:
        command = workspace.command("reproduce", ("--all",))
        missing.append(f"no experiment has been run, so there are no ablations: {command}")
    for scores in collections:
        missing += _read_texts(workspace, scores)
    made = read_made(workspace.home / workspace.suite)
    return Results(workspace.suite, collections, experiments, made, missing)


def _collections(workspace: Workspace, folder: Path, own: str) -> list[CollectionScores]:
    """Return the scores, over seeds where there are several, and each query's mean over them."""
    files = [folder / name for name in ("scores.csv", "per_query.csv")]
    if not files[0].exists():
        return []
    if not files[1].exists():  # an evaluation was killed between the two
        command = workspace.command("evaluate", ("--metric", "map,mrr,ndcg@10"))
        raise UserError(f"{files[1]} is missing; make it again with: {command}")
    columns = ["collection", "pair", "method", "variant", "metric"]
    by_seed: dict[tuple[str, ...], dict[int, dict[str, float]]] = {}
    table, per_query = (
        read_table(file, needed, NUMBERS)
        for file, needed in zip(files, (COLUMNS, PER_QUERY_COLUMNS), strict=True)
    )
    if table.isna().any(axis=None) or per_query.isna().any(axis=None):
        raise UserError(f"{folder}: a score has no number; move scores.csv and per_query.csv away")
    for (*names, seed), rows in per_query.groupby([*columns, "seed"], sort=False):
        values = dict(zip(rows["query"], rows["value"], strict=True))
        by_seed.setdefault(tuple(names), {})[seed] = values
    collections: dict[str, CollectionScores] = {}
    for names, rows in table.groupby(columns, sort=False):
        name, pair, method, variant, metric = names
        if name not in collections:
            option = own if own and collection_label(own) == name else name
            is_suites = name == collection_label(workspace.settings.collection)
            collections[name] = CollectionScores(name, option="" if is_suites else option)
        collection = collections[name]
        key = ScoreKey(pair, Cell(method, variant).label, metric)
        seeds = by_seed.get(names, {})
        _refuse_difference(folder, key, rows, seeds)
        if 1 < len(rows) == len(seeds):
            score = over_seeds(seeds, bootstrap_of(workspace.settings.evaluation))
        else:  # of several seeds without values by query, the span of their intervals
            value, spread = rows["value"].mean(), rows["value"].std() if len(rows) > 1 else 0.0
            interval = rows["ci_low"].min(), rows["ci_high"].max()
            count = int(rows["queries"].iloc[0])
            score = Seeded(value, spread, *interval, tuple(rows["seed"]), count)
        collection.scores[key] = score
        if seeds:
            collection.per_query[key] = query_means(seeds)
    return sorted(collections.values(), key=lambda known: (-len(known.scores), known.name))


def _refuse_difference(
    folder: Path, key: ScoreKey, rows: pd.DataFrame, seeds: Mapping[int, Mapping[str, float]]
) -> None:
    """Refuse scores that are not the means of the queries: one of the tables is another's."""
    for row in rows.itertuples() if key.pair != gaps.ALL_PAIRS else ():
        values = seeds.get(row.seed, {}).values()
        if values and abs(sum(values) / len(values) - row.value) > 1e-6:
            raise UserError(
                f"{folder}: scores.csv and per_query.csv differ in {key.metric} of {key.label} on "
                f"{key.pair}; evaluate it again, or move both away"
            )


def _experiment(workspace: Workspace, path: Path) -> ExperimentTable:
    table = read_table(path, EXPERIMENT_COLUMNS, NUMBERS)
    columns = list(table.columns)
    axes = tuple(columns[columns.index("seed") + 1 : columns.index("metric")])
    name = path.stem
    manifest = read_experiment(workspace.home / workspace.suite, name)
    again = Command("reproduce", (("--suite", workspace.suite),), (f"{name}.toml",))
    if manifest:
        again = neutral_command(str(manifest.get("command")), "reproduce")
    elif name in experiment.names():
        again = replace(again, arguments=(name,))
    # The file itself where it can be read: a new title makes no new table.
    source = name if name in experiment.names() else str(manifest.get("source", ""))
    about = manifest.get("notes", {})
    title, question = about.get("title") or name.replace("_", " "), about.get("question", "")
    with suppress(UserError, OSError):
        if source:
            file = experiment.load(source)
            title, question = file.title, file.question
    return ExperimentTable(name, str(again), title, question, table, axes)


def _read_texts(workspace: Workspace, scores: CollectionScores) -> list[str]:
    name = scores.option or workspace.settings.collection
    settings = workspace.settings.model_copy(update={"collection": name})
    for pair in scores.pairs:
        language = pair.partition("-")[0]
        try:
            collection = read_collection(replace(workspace, settings=settings), language)
        except UserError:
            return [
                f"the queries of {scores.name} in {language!r} could not be read, so they are "
                "shown by id: name a collection of your own with --collection, and the folder of "
                "downloaded ones with --home"
            ]
        for code in {language, "en"} & collection.queries.keys():
            scores.texts[code] = collection.queries[code]
    return []
