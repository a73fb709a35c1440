"""Significance: do two methods differ, by how much, and is it more than chance?

Everything is paired: both methods have answered the same queries. Smucker, Allan and Carterette
(CIKM 2007) compare the tests for retrieval; Carterette (TOIS 2012) says why many of them at once
need a correction.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clir_cli.errors import UserError, nearest
from clir_cli.evaluation.measures import BOOTSTRAP, Bootstrap, Values

RESAMPLES = 10_000
LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """A method against a baseline over the same queries.

    ``difference`` is the mean of method minus baseline, ``low`` and ``high`` its bootstrap
    interval over queries, ``effect`` Cohen's d_z. ``p_raw`` is the test's own p-value, ``p_value``
    the one after Holm's correction over all methods that were compared with the baseline.
    """

    method: str
    baseline: str
    difference: float
    low: float
    high: float
    effect: float
    p_raw: float
    p_value: float
    queries: int


def mark(p_value: float | None, difference: float) -> str:
    """Return ``▲`` if a method is significantly above the baseline, ``▼`` if below, else nothing.

    ``p_value`` is the corrected one, None or NaN if nothing was tested.
    """
    if p_value is None or not p_value < LEVEL or not difference:
        return ""
    return "▲" if difference > 0 else "▼"


def legend(baseline: str) -> str:
    """Return what the marks of a table mean."""
    level = f"{LEVEL:g}".removeprefix("0")
    return f"▲ ▼: above or below {baseline}, p < {level} after Holm's correction"


def paired_t(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the two-sided p-value of Student's t-test of paired values (queries,)."""
    from scipy import stats

    difference = _difference(a, b)
    if _constant(difference):  # no variance to test against: equal, or apart in every query
        return 1.0 if len(difference) < 2 or math.isclose(difference[0], 0) else 0.0
    return float(stats.ttest_1samp(difference, 0.0).pvalue)


def randomisation(
    a: Sequence[float], b: Sequence[float], resamples: int = RESAMPLES, seed: int = 0
) -> float:
    """Return the two-sided p-value of Fisher's randomisation test of paired values (queries,).

    If the methods did not differ, the two values of any query could be exchanged. The p-value is
    the share of such exchanges with a mean difference at least as large as the observed one: of
    all exchanges if they are no more than ``resamples``, else of a random sample and the observed
    order, so that it is never 0.
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

    The probability of even one false positive stays below the level, however the tests depend on
    one another. The smallest p-value is multiplied by their number, the next by one less; none
    falls below the one before it, and none exceeds 1.
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

    All values are of one pair and metric. For several seeds pass each query's mean over them
    (``seeds.query_means``): the test is then about the queries.

    Raises:
        UserError: The baseline or the test is unknown, or a method has other queries.
    """
    if test not in TESTS:
        raise UserError(f"unknown test {test!r}: {nearest(test, TESTS)}")
    if baseline not in values_by_method:
        raise UserError(f"the baseline {baseline} is not in the table: add it to --method")
    paired = {
        method: _paired(values, values_by_method[baseline], method, baseline)
        for method, values in values_by_method.items()
        if method != baseline
    }
    raw = [TESTS[test](a, b) for a, b in paired.values()]
    corrected = zip(paired.items(), raw, holm(raw), strict=True)
    comparisons = []
    for (method, (a, b)), p_raw, p_value in corrected:
        difference = _difference(a, b)
        figures = (float(difference.mean()), *bootstrap.interval(difference), effect_size(a, b))
        comparisons.append(
            Comparison(method, baseline, *figures, p_raw, p_value, queries=len(difference))
        )
    return comparisons


def _paired(a: Values, b: Values, method: str, baseline: str) -> tuple[list[float], list[float]]:
    if a.keys() != b.keys():
        unpaired = sorted(a.keys() ^ b.keys())
        raise UserError(
            f"{method} and {baseline} cannot be compared: {len(unpaired)} queries are in one alone "
            f"({', '.join(unpaired[:3])}); evaluate both on the same collection"
        )
    return [a[query] for query in b], list(b.values())


def _difference(a: Sequence[float], b: Sequence[float]) -> np.ndarray:
    """Return a - b, without the last bits in which equal differences of floats differ."""
    difference = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    if difference.ndim != 1 or not len(difference):
        raise ValueError("paired tests need one value per query, and at least one query")
    return np.round(difference, 12)


def _constant(difference: np.ndarray) -> bool:
    return len(difference) < 2 or bool((difference == difference[0]).all())
