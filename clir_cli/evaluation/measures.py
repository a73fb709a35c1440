"""Measures as people type them, computed by ir-measures, trec_eval's own numbers."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ir_measures
import numpy as np

from clir_cli.errors import UserError, nearest

# As typed -> as ir-measures calls it. With a cut-off where the name takes one.
NAMES = {
    "map": "AP",
    "mrr": "RR",
    "ndcg": "nDCG",
    "recall": "R",
    "p": "P",
    "success": "Success",
    "rprec": "Rprec",
}
NEED_CUTOFF = {"recall", "p", "success"}
EXAMPLES = ("map", "mrr", "ndcg@10", "recall@100", "p@10", "success@5", "rprec")


@dataclass(frozen=True)
class Score:
    """A measure over the queries of a run: the mean, its interval, and each query's value."""

    measure: str
    value: float
    low: float
    high: float
    per_query: Mapping[str, float]


def parse_measures(text: str) -> list[str]:
    """Return the measures that ``--metric`` names, with commas, in their one spelling.

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
    if base == "rprec" and cutoff is not None:
        raise UserError("metric 'rprec' takes no cut-off")
    return ir_measures.parse_measure(NAMES[base] + (f"@{cutoff}" if cutoff else ""))


def score(
    qrels: Mapping[str, Mapping[str, int]],
    run: Mapping[str, Mapping[str, float]],
    measures: Sequence[str],
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Score]:
    """Score a run. A judged query that the run lacks counts zero; it never leaves the mean.

    Args:
        qrels: Grades by query and document; grades of 1 and more are relevant.
        run: Scores by query and document.
        measures: Names as ``parse_measures`` returns them.
        resamples: Bootstrap resamples over queries.
        confidence: Share of the resampled means inside the interval.
        seed: Of the resampling.
    """
    parsed = {name: _measure(name) for name in measures}
    judged = {query: dict(grades) for query, grades in qrels.items()}
    scored = {query: _without_ties(found) for query, found in run.items() if query in judged}
    values: dict[str, dict[str, float]] = {name: dict.fromkeys(judged, 0.0) for name in parsed}
    by_measure = {measure: name for name, measure in parsed.items()}
    if scored and by_measure:
        for result in ir_measures.iter_calc(list(by_measure), judged, scored):
            values[by_measure[result.measure]][result.query_id] = float(result.value)
    return [_summary(name, found, resamples, confidence, seed) for name, found in values.items()]


def _without_ties(found: Mapping[str, float]) -> dict[str, float]:
    """Return scores in the order of trec_eval, which puts the greater id first among equals.

    Not every part of ir-measures does, so that MRR@10 could otherwise be above MRR.
    """
    order = sorted(found, key=lambda document: (found[document], document))
    return {document: float(place) for place, document in enumerate(order)}


def _summary(
    name: str, values: Mapping[str, float], resamples: int, confidence: float, seed: int
) -> Score:
    low, high = bootstrap_interval(list(values.values()), resamples, confidence, seed)
    return Score(name, float(np.mean(list(values.values()))), low, high, values)


def bootstrap_interval(
    values: Sequence[float], resamples: int, confidence: float, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean (Efron, 1979)."""
    array = np.asarray(values, dtype=float)
    chance = np.random.default_rng(seed)
    drawn = chance.integers(0, len(array), size=(resamples, len(array)))
    means = array[drawn].mean(axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
