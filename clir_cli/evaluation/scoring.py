"""From runs to results: each run, each method across pairs, and all methods against a baseline.

``clir evaluate`` and the experiments both score with these functions.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from clir_cli.corpus.records import Collection, Pool
from clir_cli.errors import UserError
from clir_cli.evaluation import gaps, measures, significance
from clir_cli.evaluation.measures import Bootstrap, Score
from clir_cli.evaluation.runs import RUN_FILE, Run, read_run
from clir_cli.evaluation.seeds import query_means
from clir_cli.evaluation.significance import Comparison
from clir_cli.settings import EvaluationSettings, Settings

Owner = TypeVar("Owner")
QUICK = Bootstrap(resamples=100)  # for comparisons: no table shows the interval of a difference


@dataclass(frozen=True)
class ScoredRun(Generic[Owner]):
    """The folder of a run with its judgments and its scores, one for each measure.

    The run itself is read again where it is needed: all of them at once are gigabytes.
    """

    owner: Owner  # what the run belongs to, in the caller's terms
    column: str  # method and variant, compared with the baseline by the mean over their seeds
    seed: int
    pair: str
    collection: Collection
    folder: Path
    scores: Sequence[Score]


@dataclass(frozen=True)
class Result(Generic[Owner]):
    """One score: of a run; or of a method across pairs, with ``all`` as pair and its first run.

    ``part`` names the part of the collection whose queries are scored; it is empty for all queries.
    """

    run: ScoredRun[Owner]
    pair: str
    score: Score
    queries: int
    part: str = ""

    @property
    def collection(self) -> str:
        """Return the name of the collection, or of a part of it."""
        name = self.run.collection.name
        return f"{name}:{self.part}" if self.part else name

    @property
    def columns(self) -> dict[str, object]:
        """Return what a score table says of the result."""
        return {
            "collection": self.collection,
            "pair": self.pair,
            "metric": self.score.measure,
            "value": self.score.value,
            "queries": self.queries,
            "ci_low": self.score.low,
            "ci_high": self.score.high,
        }


def bootstrap_of(settings: EvaluationSettings) -> Bootstrap:
    """Return the bootstrap that the settings describe."""
    return Bootstrap(settings.resamples, settings.confidence)


def score_run(
    folder: Path, collection: Collection, names: Sequence[str], settings: EvaluationSettings
) -> list[Score]:
    """Return the scores of the run in a folder by the named measures; raises as ``load_run``."""
    run = load_run(folder, collection)
    return measures.score(collection.qrels, run, names, bootstrap_of(settings))


def load_run(folder: Path, collection: Collection) -> Run:
    """Return the run in a folder, without documents on which a query was not judged.

    Raises:
        UserError: The collection has no judgments.
    """
    if not collection.qrels:
        raise UserError(
            f"collection {collection.name} has no judgments, so runs cannot be scored; add "
            "qrels/test.tsv (query-id, corpus-id and score, with tabs between)"
        )
    return _of_pools(read_run(folder / RUN_FILE), collection.pool_of)


def _of_pools(run: Run, pool_of: Mapping[str, Pool]) -> Run:
    """Return a run without the documents on which its queries were not judged."""
    if not pool_of:
        return run
    return {
        query: {name: score for name, score in scores.items() if pool_of[query].has(name)}
        if query in pool_of
        else scores
        for query, scores in run.items()
    }


def results_of_parts(
    results: Iterable[Result[Owner]], bootstrap: Bootstrap
) -> Iterator[Result[Owner]]:
    """Yield the result of each part of a collection: the queries of one of its pools."""
    for result in results:
        score = result.score
        for pool in result.run.collection.pools:
            values = {key: score.per_query[key] for key in pool.queries if key in score.per_query}
            if values:
                part = measures.summarise(score.measure, values, bootstrap)
                yield replace(result, score=part, queries=len(values), part=pool.name)


def results_of(runs: Iterable[ScoredRun[Owner]]) -> list[Result[Owner]]:
    """Return a result for each score of each run."""
    scores = ((run, score) for run in runs for score in run.scores)
    return [Result(run, run.pair, score, len(score.per_query)) for run, score in scores]


def score_across_pairs(
    runs: Sequence[ScoredRun[Owner]], names: Sequence[str], settings: Settings
) -> Iterator[Result[Owner]]:
    """Yield a result for each of the named metrics across pairs.

    The runs are of one method, one for each pair, with scores for the measures of gaps. UserError
    if a metric cannot be computed for these pairs.
    """
    bootstrap, first = bootstrap_of(settings.evaluation), runs[0]
    for name in names:
        if name == gaps.RANK_DISTANCE:
            by_pair = {run.pair: load_run(run.folder, run.collection) for run in runs}
            qrels = {run.pair: run.collection.qrels for run in runs}
            depth = min(settings.search.top_k, len(first.collection.documents))
            score = gaps.rank_distance(by_pair, qrels, depth, bootstrap)
        else:
            measure = name.removeprefix(gaps.GAP)
            scores = [(run.pair, score) for run in runs for score in run.scores]
            values = {pair: score.per_query for pair, score in scores if score.measure == measure}
            score = gaps.gap(values, measure, bootstrap)
        queries = score.per_query or {query for run in runs for query in run.collection.qrels}
        yield Result(first, gaps.ALL_PAIRS, score, len(queries))


def columns_of(
    results: Sequence[Result[Owner]],
) -> dict[tuple[str, str, str], dict[str, dict[int, int]]]:
    """Return the indexes of results by (collection, pair, metric), then by column, then by seed.

    Results without values by query are left out.
    """
    tables: dict[tuple[str, str, str], dict[str, dict[int, int]]] = {}
    for index, result in enumerate(results):
        if result.score.per_query:
            key = (result.collection, result.pair, result.score.measure)
            seeds = tables.setdefault(key, {}).setdefault(result.run.column, {})
            seeds[result.run.seed] = index
    return tables


def compare_results(
    results: Sequence[Result[Owner]], baseline: str, tests: Sequence[str], *, strict: bool
) -> dict[int, dict[str, Comparison]]:
    """Return the comparison with the baseline by each test, for the index of each result.

    Queries are paired; several seeds of a column enter by each query's mean over them. Holm's
    correction is over all columns that are compared for one collection, pair and metric. A gap
    over pairs with queries of their own has no values by query, and is not compared. With
    ``strict``, UserError if the baseline would be compared with nothing.
    """
    comparisons: dict[int, dict[str, Comparison]] = {}
    for table in columns_of(results).values():
        if strict and len(table) < 2:
            what = f"there is nothing to compare with the baseline {baseline}"
            raise UserError(f"{what}; name another method with --method")
        if baseline not in table or len(table) < 2:
            continue
        values = {
            column: query_means({seed: results[i].score.per_query for seed, i in seeds.items()})
            for column, seeds in table.items()
        }
        for test in tests:
            for comparison in significance.compare(values, baseline, test, QUICK):
                for index in table[comparison.method].values():
                    comparisons.setdefault(index, {})[test] = comparison
    return comparisons
