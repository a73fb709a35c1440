"""Significance: do two methods differ, by how much, and is it more than chance?

Everything is paired: both methods have answered the same queries. Smucker, Allan and Carterette
(CIKM 2007) compare the tests for retrieval; Carterette (TOIS 2012) says why many of them at once
need a correction.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clir_cli.errors import UserError, counted, nearest
from clir_cli.evaluation.measures import BOOTSTRAP, Bootstrap, Values

RESAMPLES = 10_000
LEVEL = 0.05
SPOKEN = {"t": "t-test", "randomisation": "randomisation test"}  # the keys are those of TESTS


@dataclass(frozen=True)
class Comparison:
    """A method against a baseline over the same queries."""

    method: str
    baseline: str
    difference: float  # the mean of method minus baseline
    low: float  # of its bootstrap interval over queries
    high: float
    effect: float  # Cohen's d_z
    p_raw: float  # the test's own
    p_value: float  # after Holm's correction over all methods compared with the baseline
    queries: int


def mark(p_value: float | None, difference: float) -> str:
    """Return ``▲`` if a method is significantly above the baseline, ``▼`` if below, else nothing.

    ``p_value`` is the corrected one, None or NaN if nothing was tested.
    """
    if p_value is None or not p_value < LEVEL or not difference:
        return ""
    return "▲" if difference > 0 else "▼"


def legend(baseline: str, test: str) -> str:
    """Return what the marks of a table mean; ``test`` is a key of TESTS."""
    level = f"{LEVEL:g}".removeprefix("0")
    return (
        f"▲ ▼: above or below {baseline} by a paired {SPOKEN[test]}, p < {level} after Holm's "
        "correction"
    )


def paired_t(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the two-sided p-value of Student's t-test of paired values (queries,).

    It equals the p-value of ``scipy.stats.ttest_1samp``, whose import takes a second.
    """
    difference = _difference(a, b)
    if _constant(difference):  # no variance to test against: equal, or apart in every query
        return 1.0 if len(difference) < 2 or math.isclose(difference[0], 0) else 0.0
    from scipy import special

    count, mean = len(difference), difference.mean()
    variance = ((difference - mean) ** 2).mean() * (count / (count - 1))
    t = mean / np.sqrt(variance / count)
    return float(2 * special.stdtr(count - 1, -abs(t)))


def randomisation(
    a: Sequence[float], b: Sequence[float], resamples: int = RESAMPLES, seed: int = 0
) -> float:
    """Return the two-sided p-value of Fisher's randomisation test of paired values (queries,).

    It is the share of exchanges of queries' two values with a mean difference at least as large as
    the observed one: of all exchanges if they are no more than ``resamples``, else of a random
    sample and the observed order, so that it is never 0.
    """
    from scipy import stats

    difference = _difference(a, b)
    difference = difference[difference != 0]  # exchanging equals changes nothing
    if len(difference) < 2:  # one exchange, as far from 0 either way
        return 1.0
    result = stats.permutation_test(
        (difference,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        batch=1000,
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


TESTS: dict[str, Callable[[Sequence[float], Sequence[float]], float]] = {
    "t": paired_t,
    "randomisation": randomisation,
}


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values after Holm's step-down correction (1979), in the order given.

    The smallest p-value is multiplied by their number, the next by one less; none falls below the
    one before it, and none exceeds 1.
    """
    raw = np.asarray(p_values, dtype=float)
    order = np.argsort(raw, kind="stable")
    stepped = raw[order] * np.arange(len(raw), 0, -1)
    corrected = np.empty_like(raw)
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return corrected.tolist()


def effect_size(a: Sequence[float], b: Sequence[float]) -> float:
    """Return Cohen's d_z of paired values: mean difference over its standard deviation.

    0 where nothing differs; infinite where every query differs by the same amount.
    """
    difference = _difference(a, b)
    mean = float(difference.mean())
    if _constant(difference):
        return math.copysign(math.inf, mean) if not math.isclose(mean, 0, abs_tol=1e-12) else 0.0
    return mean / float(difference.std(ddof=1))


def compare(
    values_by_method: Mapping[str, Values],
    baseline: str,
    test: str = "t",
    bootstrap: Bootstrap = BOOTSTRAP,
) -> list[Comparison]:
    """Compare each other method with a baseline, by a test in ``TESTS``, Holm-corrected.

    All values are of one pair and metric; of several seeds, each query's mean
    (``seeds.query_means``).

    Raises:
        UserError: The baseline or the test is unknown, or a method has other queries.
    """
    if test not in TESTS:
        raise UserError(f"unknown test {test!r}: {nearest(test, TESTS)}")
    if baseline not in values_by_method:
        raise UserError(f"the baseline {baseline} is not in the table: add it to --method")
    queries, base = list(values_by_method[baseline]), list(values_by_method[baseline].values())
    others: dict[str, list[float]] = {}
    for method, values in values_by_method.items():
        if unpaired := sorted(values.keys() ^ set(queries)):
            apart = counted(len(unpaired), "query", "is")
            raise UserError(
                f"{method} and {baseline} cannot be compared: {apart} in one alone "
                f"({', '.join(unpaired[:3])}); evaluate both on the same collection"
            )
        if method != baseline:
            others[method] = [values[query] for query in queries]
    raw = [TESTS[test](a, base) for a in others.values()]
    comparisons = []
    for (method, a), p_raw, p_value in zip(others.items(), raw, holm(raw), strict=True):
        difference = _difference(a, base)
        figures = (float(difference.mean()), *bootstrap.interval(difference), effect_size(a, base))
        comparisons.append(Comparison(method, baseline, *figures, p_raw, p_value, len(queries)))
    return comparisons


def _difference(a: Sequence[float], b: Sequence[float]) -> np.ndarray:
    """Return a - b, without the last bits in which equal differences of floats differ."""
    difference = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    if difference.ndim != 1 or not len(difference):
        raise ValueError("paired tests need one value per query, and at least one query")
    return np.round(difference, 12)


def _constant(difference: np.ndarray) -> bool:
    return len(difference) < 2 or bool((difference == difference[0]).all())
