"""How far methods are from a baseline, over queries and seeds, and what could have been seen."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeVar

import numpy as np

from clir_cli.evaluation.measures import BOOTSTRAP, Bootstrap, Values
from clir_cli.evaluation.scoring import Result, columns_of
from clir_cli.evaluation.seeds import over_seeds, query_means
from clir_cli.evaluation.significance import LEVEL, Comparison

Owner = TypeVar("Owner")
BySeed = Mapping[int, Values]
POWER = 0.8


@dataclass(frozen=True)
class Difference:
    """The mean of a method minus a baseline's, for one collection, pair and metric.

    ``ci_low`` and ``ci_high`` bound it over queries and seeds together (evaluation/seeds.py), and
    ``p_value`` is Holm-corrected over the methods that are compared. ``detectable`` is the smallest
    difference that the test would find with a probability of .8, given how far queries differ.
    """

    collection: str
    pair: str
    metric: str
    method: str
    baseline: str
    seeds: int
    queries: int
    difference: float
    ci_low: float
    ci_high: float
    p_raw: float
    p_value: float
    effect: float
    detectable: float


def differences(
    results: Sequence[Result[Owner]],
    comparisons: Mapping[int, Comparison],
    bootstrap: Bootstrap = BOOTSTRAP,
) -> Iterator[Difference]:
    """Yield the difference of each method from the baseline.

    ``comparisons`` are those of ``scoring.compare_results`` by one test; a method without one has
    no difference.
    """
    for (collection, pair, metric), columns in columns_of(results).items():
        values = {
            column: {seed: results[index].score.per_query for seed, index in seeds.items()}
            for column, seeds in columns.items()
        }
        for column, seeds in columns.items():
            found = comparisons.get(next(iter(seeds.values())))
            if found is None:
                continue
            by_seed = paired(values[column], values[found.baseline])
            seeded = over_seeds(by_seed, bootstrap)
            spread = np.std(list(query_means(by_seed).values()), ddof=min(1, found.queries - 1))
            yield Difference(
                collection,
                pair,
                metric,
                column,
                found.baseline,
                len(by_seed),
                found.queries,
                found.difference,
                seeded.low,
                seeded.high,
                found.p_raw,
                found.p_value,
                found.effect,
                detectable(float(spread), found.queries),
            )


def paired(method: BySeed, baseline: BySeed) -> dict[int, Values]:
    """Return method minus baseline by seed and query.

    Each seed is paired with the baseline's of the same number. Where they have other seeds, as a
    baseline that has none of its own, the one with fewer enters by its mean over them.
    """
    if method.keys() == baseline.keys():
        pairs = {seed: (values, baseline[seed]) for seed, values in method.items()}
    elif len(method) >= len(baseline):
        pairs = {seed: (values, query_means(baseline)) for seed, values in method.items()}
    else:
        pairs = {seed: (query_means(method), values) for seed, values in baseline.items()}
    return {
        seed: {query: value - base[query] for query, value in values.items()}
        for seed, (values, base) in pairs.items()
    }


def detectable(spread: float, queries: int) -> float:
    """Return the difference of means that a paired test finds with a probability of .8.

    Args:
        spread: Standard deviation of the paired differences.
        queries: Their number. The normal distribution approximates Student's.
    """
    quantile = NormalDist().inv_cdf
    return (quantile(1 - LEVEL / 2) + quantile(POWER)) * spread / queries**0.5
