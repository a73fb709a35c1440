"""Runs to results: each cell judged, methods across pairs, and all of them against the baseline."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clir_cli import artifacts
from clir_cli.corpus.records import Collection
from clir_cli.errors import UserError
from clir_cli.evaluation import gaps, measures, significance
from clir_cli.evaluation.measures import Score
from clir_cli.evaluation.runs import RUN_FILE, read_run
from clir_cli.evaluation.seeds import query_means
from clir_cli.study.experiment import Experiment
from clir_cli.study.grid import Point, baseline_of
from clir_cli.study.tasks import Shared, Site
from clir_cli.study.work import Done, collection_of

TESTS = ("t", "randomisation")
WELL = ("made", "there")


@dataclass(frozen=True)
class Cells:
    """An experiment's cells after the work: where their runs lie, or why they have none."""

    experiment: Experiment
    points: Sequence[Point]
    shared: Shared
    done: Mapping[str, Done]
    site: Site
    results: Path

    @property
    def suite(self) -> str:
        """Return the name of the suite."""
        return self.points[0].settings.suite

    @property
    def folder(self) -> Path:
        """Return where the table of the experiment lies."""
        return self.site.home / self.suite / "experiments" / self.experiment.name

    def outcome(self, point: Point) -> Done:
        """Return what became of the task that makes the point's run."""
        return self.done[self.shared.goals[point]]

    def run(self, point: Point) -> Path:
        """Return where the point's run lies."""
        return self.site.home / self.shared.goals[point]

    def command(self, *points: Point) -> str:
        """Return the command that scores a point, or those of several pairs and one method."""
        split = gaps.split_metrics(self.experiment.metrics)
        metrics = split.single if len(points) == 1 else self.experiment.metrics
        return self.shared.evaluate(points, metrics or split.scored)

    def methods(self) -> list[list[Point]]:
        """Return the points by method, variant, seed and collection: those of all pairs."""
        groups: dict[tuple[str, int, str], list[Point]] = {}
        for point in self.points:
            groups.setdefault(method_of(point), []).append(point)
        return list(groups.values())


@dataclass(frozen=True)
class Result:
    """One metric of one cell; or of one method across pairs, then ``point`` is one of them."""

    collection: str
    pair: str
    point: Point
    score: Score
    queries: int
    command: str


@dataclass(frozen=True)
class Against:
    """A method against the baseline; ``p_value`` is Holm-corrected, the others are not."""

    p_value: float
    p_raw: float
    p_randomisation: float
    effect: float


@dataclass(frozen=True)
class Failure:
    """A cell without results, or metrics across pairs without a value, and why."""

    point: Point
    pair: str
    metrics: Sequence[str]
    error: str


@dataclass(frozen=True)
class _Judged:
    """The run of a cell, read once, with its judgments and its scores."""

    point: Point
    collection: Collection
    run: Mapping[str, Mapping[str, float]]
    scores: Sequence[Score]


def method_of(point: Point) -> tuple[str, int, str]:
    """Return what the points of one method have in common, whatever their pair."""
    return point.column, point.cell.seed, point.collection


def judge(cells: Cells) -> tuple[list[Result], list[Failure]]:
    """Score every run of an experiment, and its methods across pairs; tell what has no score."""
    split = gaps.split_metrics(cells.experiment.metrics)
    judged: list[_Judged] = []
    failures: list[Failure] = []
    for point in cells.points:
        ended = cells.outcome(point)
        try:
            if ended.outcome not in WELL:
                raise UserError(ended.error)
            judged.append(_judge(cells, point, split.scored))
        except UserError as error:
            failures.append(Failure(point, str(point.pair), split.single, str(error)))
    found = [
        Result(
            each.collection.name,
            str(each.point.pair),
            each.point,
            score,
            len(score.per_query),
            cells.command(each.point),
        )
        for each in judged
        for score in each.scores
        if score.measure in split.single
    ]
    by_point = {each.point: each for each in judged}
    for points in cells.methods() if split.across else ():
        try:
            lacking = [point for point in points if point not in by_point]
            if lacking:
                raise UserError(f"{lacking[0].pair} has no run")
            found += _across(cells, [by_point[point] for point in points], split.across)
        except UserError as error:
            failures.append(Failure(points[0], gaps.ALL_PAIRS, split.across, str(error)))
    return found, failures


def _judge(cells: Cells, point: Point, metrics: Sequence[str]) -> _Judged:
    collection = collection_of(point.settings, point.pair.query, cells.site)
    artifacts.verify(cells.run(point))
    run = read_run(cells.run(point) / RUN_FILE)
    settings = point.settings.evaluation
    drawn = {"resamples": settings.resamples, "confidence": settings.confidence}
    return _Judged(point, collection, run, measures.score(collection.qrels, run, metrics, **drawn))


def _across(cells: Cells, group: Sequence[_Judged], metrics: Sequence[str]) -> Iterator[Result]:
    """Yield the metrics across pairs of one method."""
    point, settings = group[0].point, group[0].point.settings
    drawn = {
        "resamples": settings.evaluation.resamples,
        "confidence": settings.evaluation.confidence,
    }
    for metric in metrics:
        if metric == gaps.RANK_DISTANCE:
            found = gaps.rank_distance(
                {str(each.point.pair): each.run for each in group},
                {str(each.point.pair): each.collection.qrels for each in group},
                min(settings.search.top_k, len(group[0].collection.documents)),
                **drawn,
            )
        else:
            base = metric.removeprefix(gaps.GAP)
            values = {
                str(each.point.pair): score.per_query
                for each in group
                for score in each.scores
                if score.measure == base
            }
            found = gaps.gap(values, base, **drawn)
        queries = {query for each in group for query in each.collection.qrels}
        yield Result(
            group[0].collection.name,
            gaps.ALL_PAIRS,
            point,
            found,
            len(found.per_query) or len(queries),
            cells.command(*(each.point for each in group)),
        )


def compared(cells: Cells, found: Sequence[Result]) -> dict[int, Against]:
    """Return the tests of results against the baseline, by the place of the result.

    Queries are paired; several seeds enter by their mean a query. Holm's correction is over all
    that the baseline is compared with for one collection, pair and metric.
    """
    baseline = baseline_of(cells.experiment, cells.points) or ""
    settings = cells.points[0].settings.evaluation
    tables: dict[tuple[str, str, str], dict[str, list[int]]] = {}
    for place, each in enumerate(found):
        if each.score.per_query:  # a gap over pairs with queries of their own has none
            table = tables.setdefault((each.collection, each.pair, each.score.measure), {})
            table.setdefault(each.point.column, []).append(place)
    told: dict[int, Against] = {}
    for table in tables.values():
        if baseline not in table or len(table) < 2:
            continue
        values = {
            column: query_means(
                {found[place].point.cell.seed: found[place].score.per_query for place in places}
            )
            for column, places in table.items()
        }
        by_test = {
            test: {
                each.method: each
                for each in significance.compare(values, baseline, test=test, resamples=100)
            }
            for test in TESTS
        }
        for column, chosen in by_test[settings.test].items():
            for place in table[column]:
                told[place] = Against(
                    p_value=chosen.p_value,
                    p_raw=by_test["t"][column].p_raw,
                    p_randomisation=by_test["randomisation"][column].p_raw,
                    effect=chosen.effect,
                )
    return told
