"""From runs to scores: each run, each method across pairs, and all methods against a baseline.

``clir evaluate`` and the experiments both score with these functions. Nothing here knows where
runs are stored.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from clir_cli.corpus.records import Collection
from clir_cli.evaluation import gaps, measures, significance
from clir_cli.evaluation.measures import Score
from clir_cli.evaluation.runs import Run
from clir_cli.evaluation.seeds import query_means
from clir_cli.evaluation.significance import Comparison
from clir_cli.settings import Settings

Owner = TypeVar("Owner")


@dataclass(frozen=True)
class ScoredRun(Generic[Owner]):
    """A run with its judgments and its scores.

    Attributes:
        owner: What the run belongs to, in the caller's terms.
        column: Name of the method and variant, as compared with the baseline.
        seed: Seed of the method; the seeds of a column are averaged before a test.
        pair: Language pair.
        collection: What was searched, with the judgments.
        run: Scores by query and document.
        scores: One for each measure.
    """

    owner: Owner
    column: str
    seed: int
    pair: str
    collection: Collection
    run: Run
    scores: Sequence[Score]


@dataclass(frozen=True)
class Result(Generic[Owner]):
    """One score: of a run; or of a method across pairs, with ``all`` as pair and its first run."""

    run: ScoredRun[Owner]
    pair: str
    score: Score
    queries: int


def score_run(
    run: Run, collection: Collection, names: Sequence[str], settings: Settings
) -> list[Score]:
    """Score a run by each of the named measures."""
    return measures.score(
        collection.qrels,
        run,
        names,
        resamples=settings.evaluation.resamples,
        confidence=settings.evaluation.confidence,
    )


def results_of(run: ScoredRun[Owner]) -> list[Result[Owner]]:
    """Return a result for each score of a run."""
    return [Result(run, run.pair, score, len(score.per_query)) for score in run.scores]


def score_across_pairs(
    runs: Sequence[ScoredRun[Owner]], names: Sequence[str], settings: Settings
) -> Iterator[Result[Owner]]:
    """Yield a result for each of the named metrics across pairs.

    Args:
        runs: One for each pair, all of one method, scored by the measures that gaps are taken of.
        names: Such as ``gap-map`` and ``rank-distance``.
        settings: Resampling, and the number of documents that a run holds.

    Raises:
        UserError: A metric cannot be computed for these pairs.
    """
    resamples, confidence = settings.evaluation.resamples, settings.evaluation.confidence
    for name in names:
        if name == gaps.RANK_DISTANCE:
            score = gaps.rank_distance(
                {run.pair: run.run for run in runs},
                {run.pair: run.collection.qrels for run in runs},
                min(settings.search.top_k, len(runs[0].collection.documents)),
                resamples=resamples,
                confidence=confidence,
            )
        else:
            measure = name.removeprefix(gaps.GAP)
            by_pair = {
                run.pair: score.per_query
                for run in runs
                for score in run.scores
                if score.measure == measure
            }
            score = gaps.gap(by_pair, measure, resamples=resamples, confidence=confidence)
        queries = score.per_query or {query for run in runs for query in run.collection.qrels}
        yield Result(runs[0], gaps.ALL_PAIRS, score, len(queries))


def comparable(results: Sequence[Result[Owner]]) -> list[dict[str, dict[int, int]]]:
    """Return the indices of results by column and seed, for each collection, pair and metric.

    A gap over pairs with queries of their own has no values by query, and is left out.
    """
    tables: dict[tuple[str, str, str], dict[str, dict[int, int]]] = {}
    for index, result in enumerate(results):
        if result.score.per_query:
            key = (result.run.collection.name, result.pair, result.score.measure)
            seeds = tables.setdefault(key, {}).setdefault(result.run.column, {})
            seeds[result.run.seed] = index
    return list(tables.values())


def compare_results(
    results: Sequence[Result[Owner]], baseline: str, tests: Sequence[str]
) -> dict[int, dict[str, Comparison]]:
    """Compare results with those of a baseline, where there are both.

    Queries are paired; several seeds of a column enter by each query's mean over them. Holm's
    correction is over all columns that are compared for one collection, pair and metric.

    Args:
        results: Of all methods, pairs and metrics.
        baseline: The column that the others are compared with.
        tests: Names in ``significance.TESTS``.

    Returns:
        The comparison by each test, for the index of each result that was compared.
    """
    comparisons: dict[int, dict[str, Comparison]] = {}
    for table in comparable(results):
        if baseline not in table or len(table) < 2:
            continue
        values = {
            column: query_means({seed: results[i].score.per_query for seed, i in seeds.items()})
            for column, seeds in table.items()
        }
        for test in tests:
            for comparison in significance.compare(values, baseline, test=test, resamples=100):
                for index in table[comparison.method].values():
                    comparisons.setdefault(index, {})[test] = comparison
    return comparisons
