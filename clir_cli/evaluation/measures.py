"""Measures as people type them, computed by ir-measures, trec_eval's own numbers."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ir_measures
import numpy as np

from clir_cli.errors import UserError, nearest
from clir_cli.evaluation.runs import Run, trec_order

Qrels = Mapping[str, Mapping[str, int]]  # grades by query and document
Values = Mapping[str, float]  # of one measure, by query

# The names of the command line, and those of ir-measures, without a cut-off.
NAMES = {
    "map": "AP",
    "mrr": "RR",
    "ndcg": "nDCG",
    "recall": "R",
    "p": "P",
    "success": "Success",
    "rprec": "Rprec",
}
# As papers write them.
WRITTEN = {
    "map": "MAP", "mrr": "MRR", "ndcg": "nDCG", "recall": "Recall", "p": "P",
    "success": "Success", "rprec": "R-Prec",
}  # fmt: skip
NEED_CUTOFF = {"recall", "p", "success"}
EXAMPLES = ("map", "mrr", "ndcg@10", "recall@100", "p@10", "success@5", "rprec")


@dataclass(frozen=True)
class Score:
    """A measure over the queries of a run: the mean, its interval, and the value of each query."""

    measure: str
    value: float
    low: float
    high: float
    per_query: Values


def parse_measures(text: str) -> list[str]:
    """Return the measures that ``--metric`` names, separated by commas, in lower case.

    Raises:
        UserError: An unknown measure, or one without the cut-off it needs.
    """
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    if not names:
        raise UserError(f"--metric is empty; for example: {', '.join(EXAMPLES[:5])}")
    for name in names:
        _measure(name)
    return list(dict.fromkeys(names))


def _measure(name: str) -> ir_measures.Measure:
    match = re.fullmatch(r"([a-z]+)(?:@([1-9]\d*))?", name)
    base, cutoff = match.groups() if match else (name, None)
    if base not in NAMES:
        raise UserError(f"unknown metric {name!r}: {nearest(name, EXAMPLES)}")
    if base in NEED_CUTOFF and cutoff is None:
        raise UserError(f"metric {name!r} needs a cut-off, as in {base}@10")
    if cutoff is not None and len(cutoff) > 7:
        raise UserError(f"metric {base}@{cutoff[:9]}...: a cut-off has seven digits at most")
    if base == "rprec" and cutoff is not None:
        raise UserError("metric 'rprec' takes no cut-off")
    return ir_measures.parse_measure(NAMES[base] + (f"@{cutoff}" if cutoff else ""))


def cutoff(name: str) -> int | None:
    """Return how many ranks a measure counts; None if all."""
    count: int | None = _measure(name).params.get("cutoff")
    return count


@dataclass(frozen=True)
class Bootstrap:
    """The percentile bootstrap over queries (Efron, 1979)."""

    resamples: int = 2000
    confidence: float = 0.95  # the share of the resampled means inside an interval
    seed: int = 0

    def means(self, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the means (resamples,) of values (queries,) drawn with replacement."""
        return values[rng.integers(0, len(values), size=(self.resamples, len(values)))].mean(axis=1)

    def percentiles(self, means: np.ndarray) -> tuple[float, float]:
        """Return the ends of the interval of resampled means."""
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(means, [tail, 1 - tail])
        return float(low), float(high)

    def interval(self, values: Sequence[float] | np.ndarray) -> tuple[float, float]:
        """Return the interval of the mean of values."""
        rng = np.random.default_rng(self.seed)
        return self.percentiles(self.means(np.asarray(values, dtype=float), rng))


BOOTSTRAP = Bootstrap()


def score(
    qrels: Qrels, run: Run, measures: Sequence[str], bootstrap: Bootstrap = BOOTSTRAP
) -> list[Score]:
    """Score a run by measures as ``parse_measures`` returns them.

    Grades of 1 and more are relevant. A judged query without documents in the run counts as zero.

    Raises:
        UserError: A score of the run is NaN or infinite, or ir-measures did not compute a value.
    """
    names = {_measure(name): name for name in measures}
    judged = {query: dict(grades) for query, grades in qrels.items()}
    scored = {
        query: _without_ties(run[query])
        for query, grades in judged.items()
        if grades and run.get(query)
    }
    for measure in names:
        measure.DEFAULT = math.nan  # ir-measures gives it to queries that were not computed
    values: dict[str, dict[str, float]] = {name: dict.fromkeys(judged, 0.0) for name in measures}
    if scored and names:
        of_scored = {query: judged[query] for query in scored}
        for result in ir_measures.iter_calc(list(names), of_scored, scored):
            if not math.isfinite(result.value):
                raise UserError(
                    f"ir-measures did not compute {result.measure} of query {result.query_id}; "
                    "look at the grades of the query, and whether there is enough memory"
                )
            values[names[result.measure]][result.query_id] = float(result.value)
    return [summarise(name, values[name], bootstrap) for name in values]


def summarise(measure: str, values: Values, bootstrap: Bootstrap) -> Score:
    """Return the mean of a measure's values over queries, with its interval."""
    numbers = list(values.values())
    return Score(measure, float(np.mean(numbers)), *bootstrap.interval(numbers), values)


def _without_ties(scores: Mapping[str, float]) -> dict[str, float]:
    """Return distinct scores in ``trec_order``; else MRR@10 of ir-measures could be above MRR."""
    return {document: float(rank) for rank, document in enumerate(reversed(trec_order(scores)))}
