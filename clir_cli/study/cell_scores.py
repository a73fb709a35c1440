"""From an experiment's runs to its results, and to failures where a run is missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clir_cli.artifacts import store
from clir_cli.corpus.collections import collection_label
from clir_cli.corpus.records import Collection
from clir_cli.errors import UserError
from clir_cli.evaluation import gaps, scoring
from clir_cli.evaluation.differences import Difference, differences
from clir_cli.evaluation.scoring import Result, ScoredRun
from clir_cli.files import digest
from clir_cli.stages.support.sources import read_collection
from clir_cli.study.experiment import Experiment
from clir_cli.study.grid import Point, baseline_of
from clir_cli.study.tasks import Study
from clir_cli.study.work import Done


@dataclass(frozen=True)
class Cells:
    """An experiment's cells after the work: the paths of their runs, or why they have none.

    Those whose scores the study knows have no run here.
    """

    study: Study
    experiment: Experiment
    points: Sequence[Point]
    done: Mapping[str, Done]

    @property
    def suite(self) -> str:
        """Return the name of the suite."""
        return self.study.workspace.suite

    @property
    def folder(self) -> Path:
        """Return the folder of the experiment's table."""
        return self.study.workspace.home / self.suite / "experiments" / self.experiment.name

    @property
    def published(self) -> Path:
        """Return the folder of the suite's score tables."""
        return self.study.results / self.suite

    def outcome(self, point: Point) -> Done:
        """Return the outcome of the task that makes the point's run."""
        if point in self.study.known:
            return Done(self.study.goals[point], "there")
        return self.done[self.study.goals[point]]

    def run(self, point: Point) -> Path:
        """Return the folder of the point's run."""
        return self.study.workspace.home / self.study.goals[point]

    def made_from(self, point: Point) -> dict[str, str]:
        """Return what the point's scores are made from, by name."""
        if known := self.study.known.get(point):
            return {point.label: digest([[score.measure, score.per_query] for score in known])}
        ended = self.outcome(point)
        if not ended.is_well:
            return {point.label: f"{ended.outcome}: {ended.error}"}
        fingerprint = store.read_manifest(self.run(point))["fingerprint"]
        qrels = self.collection(point).digests["qrels"]
        return {point.label: fingerprint, f"qrels {point.collection} {point.pair}": qrels}

    def collection(self, point: Point) -> Collection:
        """Return the collection that the point searches."""
        return read_collection(self.study.workspace.using(point.settings), point.pair.query)

    def command(self, *points: Point) -> str:
        """Return the command that scores a point, or those of several pairs and one method."""
        split = gaps.split_metrics(self.experiment.metrics)
        metrics = split.single if len(points) == 1 else self.experiment.metrics
        return self.study.scoring_command(points, metrics or split.scored)

    def command_for(self, result: Result[Point]) -> str:
        """Return the command that computes a result."""
        point = result.run.owner
        if result.pair == gaps.ALL_PAIRS:
            return self.command(*next(group for group in self.methods() if point in group))
        return self.command(point)

    def methods(self) -> list[list[Point]]:
        """Return the points grouped by method, variant, seed and collection."""
        groups: dict[tuple[str, int, str], list[Point]] = {}
        for point in self.points:
            key = (point.column, point.cell.seed, point.collection)
            groups.setdefault(key, []).append(point)
        return list(groups.values())


@dataclass(frozen=True)
class Failure:
    """A cell without results, or metrics across pairs without a value, and why."""

    point: Point
    pair: str
    metrics: Sequence[str]
    error: str


def judge(cells: Cells) -> tuple[list[Result[Point]], list[Failure]]:
    """Score every run of an experiment, and its methods across pairs; report what has no score."""
    split = gaps.split_metrics(cells.experiment.metrics)
    runs: dict[Point, ScoredRun[Point]] = {}
    failures: list[Failure] = []
    for point in cells.points:
        try:
            runs[point] = _scored_run(cells, point, split.scored)
        except UserError as error:
            failures.append(Failure(point, str(point.pair), split.single, str(error)))
    results = [
        result
        for result in scoring.results_of(runs.values())
        if result.score.measure in split.single
    ]
    for points in cells.methods() if split.across else ():
        try:
            missing = [point for point in points if point not in runs]
            if missing:
                raise UserError(f"{missing[0].pair} has no run")
            group = [runs[point] for point in points]
            results += scoring.score_across_pairs(group, split.across, points[0].settings)
        except UserError as error:
            failures.append(Failure(points[0], gaps.ALL_PAIRS, split.across, str(error)))
    return results, failures


def _scored_run(cells: Cells, point: Point, names: Sequence[str]) -> ScoredRun[Point]:
    done, folder = cells.outcome(point), cells.run(point)
    seed, pair = point.cell.seed, str(point.pair)
    if known := cells.study.known.get(point):  # the collection need not be here
        collection = Collection(collection_label(point.collection), (), {}, {}, {})
        return ScoredRun(point, point.column, seed, pair, collection, folder, known)
    if not done.is_well:
        raise UserError(done.error)
    collection = cells.collection(point)
    store.verify(folder)
    scores = scoring.score_run(folder, collection, names, point.settings.evaluation)
    return ScoredRun(point, point.column, seed, pair, collection, folder, scores)


def compared(
    cells: Cells, results: Sequence[Result[Point]]
) -> tuple[dict[int, dict[str, float]], list[Difference]]:
    """Compare results with the baseline.

    Returns:
        The tests as columns of the table, by index of the result (``p_value`` is Holm-corrected,
        the others are not); and the differences from the baseline.
    """
    baseline = baseline_of(cells.experiment, cells.points) or ""
    settings = cells.points[0].settings.evaluation
    comparisons = scoring.compare_results(results, baseline, ("t", "randomisation"), strict=False)
    chosen = {index: by_test[settings.test] for index, by_test in comparisons.items()}
    columns = {
        index: {
            "p_value": chosen[index].p_value,
            "p_raw": by_test["t"].p_raw,
            "p_randomisation": by_test["randomisation"].p_raw,
            "effect": chosen[index].effect,
        }
        for index, by_test in comparisons.items()
    }
    return columns, list(differences(results, chosen, scoring.bootstrap_of(settings)))
