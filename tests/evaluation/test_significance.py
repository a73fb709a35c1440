"""Significance: textbook numbers, exact small cases, and what must hold for any values."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from clir_cli.errors import UserError
from clir_cli.evaluation.significance import (
    LEVEL,
    compare,
    effect_size,
    holm,
    legend,
    mark,
    paired_t,
    randomisation,
)

SCORES = st.lists(
    st.tuples(st.floats(0, 1, allow_subnormal=False), st.floats(0, 1, allow_subnormal=False)),
    min_size=3,
    max_size=12,
)
P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=8)


# Gosset's own example (The probable error of a mean, 1908): hours of sleep that ten patients
# gained by two drugs.
ONE = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
TWO = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def test_the_paired_t_test_gives_what_is_printed_for_the_sleep_data() -> None:
    assert paired_t(ONE, TWO) == pytest.approx(0.002833, abs=1e-6)
    assert effect_size(TWO, ONE) == pytest.approx(1.58 / 1.229995, abs=1e-5)
    many = np.random.default_rng(1).random((2, 397))
    for a, b in ((ONE, TWO), (TWO[:2], ONE[:2]), many):
        difference = np.round(np.subtract(a, b), 12)
        assert paired_t(a, b) == pytest.approx(stats.ttest_1samp(difference, 0).pvalue, rel=1e-12)


def test_the_randomisation_test_is_exact_where_the_exchanges_can_be_counted() -> None:
    # Nine differences that are not 0, all of one sign: two of the 2^9 exchanges are as extreme.
    assert randomisation(ONE, TWO) == pytest.approx(2 / 2**9)
    # +3, -1: of the four sums 4, 2, -2, -4 all are at least as far from 0 as the 2 seen.
    assert randomisation([3, 0], [0, 1]) == 1
    # +3, +1: two of four.
    assert randomisation([3, 1], [0, 0]) == pytest.approx(0.5)


def test_a_randomisation_of_many_queries_agrees_with_the_t_test_and_is_never_zero() -> None:
    chance = np.random.default_rng(3)
    a = chance.random(200)
    b = a - 0.02 + chance.normal(0, 0.15, 200)
    assert randomisation(a, b, 4000) == pytest.approx(paired_t(a, b), abs=0.02)
    assert randomisation(a, b, 4000, seed=1) == randomisation(a, b, 4000, seed=1)
    assert randomisation(a, a - 1, 500) == pytest.approx(2 / 501)


def test_holm_steps_down() -> None:
    # 4 x .005, 3 x .01, then 2 x .03 = .06, and .04 must not fall below it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(P_VALUES)
@settings(derandomize=True, deadline=None)
def test_holm_keeps_the_order_and_lies_between_no_correction_and_bonferronis(
    raw: list[float],
) -> None:
    corrected = holm(raw)
    for before, after in zip(raw, corrected, strict=True):
        assert before <= after <= min(1, before * len(raw)) + 1e-15
    order = np.argsort(raw, kind="stable")
    assert sorted(corrected) == [corrected[place] for place in order]
    assert holm(raw[::-1]) == corrected[::-1]


@given(SCORES)
@settings(derandomize=True, deadline=None, max_examples=60)
def test_both_tests_are_symmetric_and_see_no_difference_between_equals(
    values: list[tuple[float, float]],
) -> None:
    a, b = zip(*values, strict=True)
    for test in (paired_t, randomisation):
        assert 0 <= test(a, b) <= 1
        assert test(a, b) == pytest.approx(test(b, a))
        assert test(a, a) == 1
    assert effect_size(a, b) == -effect_size(b, a)
    assert effect_size(a, a) == 0


@given(SCORES)
@settings(derandomize=True, deadline=None, max_examples=60)
def test_the_t_test_is_that_of_scipy_for_pairs(values: list[tuple[float, float]]) -> None:
    a, b = zip(*values, strict=True)
    if np.round(np.subtract(a, b), 12).std() > 1e-6:
        assert paired_t(a, b) == pytest.approx(stats.ttest_rel(a, b).pvalue, abs=1e-6)


def test_values_without_variance_are_told_apart_without_a_warning() -> None:
    assert paired_t([0.3, 0.5], [0.1, 0.3]) == 0
    assert effect_size([0.3, 0.5], [0.1, 0.3]) == math.inf
    assert effect_size([0.1, 0.3], [0.3, 0.5]) == -math.inf
    assert paired_t([1.0], [0.0]) == 1  # one query tells nothing
    with pytest.raises(ValueError, match="at least one query"):
        paired_t([], [])


# -------------------------------------------------------------------------------- a table


def table(**values: list[float]) -> dict[str, dict[str, float]]:
    return {
        method: {f"q{number}": value for number, value in enumerate(each)}
        for method, each in values.items()
    }


@pytest.mark.parametrize("test", ["t", "randomisation"])
def test_every_method_is_compared_with_the_baseline_and_corrected_together(test: str) -> None:
    found = compare(table(base=ONE, up=TWO, same=ONE, down=[x - 1 for x in ONE]), "base", test=test)
    by_method = {each.method: each for each in found}
    assert list(by_method) == ["up", "same", "down"]
    up = by_method["up"]
    assert up.difference == pytest.approx(1.58)
    assert up.low < up.difference < up.high
    assert up.effect == pytest.approx(effect_size(TWO, ONE))
    assert [each.p_value for each in found] == holm([each.p_raw for each in found])
    assert [mark(each.p_value, each.difference) for each in found] == ["▲", "", "▼"]
    assert by_method["same"].p_raw == 1
    assert {each.baseline for each in found} == {"base"}
    assert {each.queries for each in found} == {10}


def test_queries_are_paired_by_name_and_not_by_place() -> None:
    values = table(base=ONE, up=TWO)
    turned = {"base": values["base"], "up": dict(reversed(values["up"].items()))}
    assert compare(turned, "base") == compare(values, "base")


def test_what_cannot_be_compared_is_told() -> None:
    values = table(base=ONE, up=TWO)
    with pytest.raises(UserError, match="the baseline ot is not in the table: add it to --method"):
        compare(values, "ot")
    with pytest.raises(UserError, match="unknown test 'tt'"):
        compare(values, "base", test="tt")
    del values["up"]["q3"]
    with pytest.raises(
        UserError, match=r"up and base cannot be compared: 1 query is in one alone \(q3\)"
    ):
        compare(values, "base")


# -------------------------------------------------------------------------------- the mark


@pytest.mark.parametrize(
    ("p_value", "difference", "expected"),
    [
        (LEVEL - 1e-9, 0.1, "▲"),
        (LEVEL - 1e-9, -0.1, "▼"),
        (0.0, 0.0, ""),
        (LEVEL, 0.1, ""),
        (1.0, -0.1, ""),
        (None, 0.1, ""),
        (math.nan, 0.1, ""),
    ],
)
def test_a_mark_needs_a_corrected_p_below_the_level_and_shows_the_sign(
    p_value: float | None, difference: float, expected: str
) -> None:
    assert mark(p_value, difference) == expected


def test_the_legend_names_the_baseline_and_the_level() -> None:
    text = "▲ ▼: above or below ot.eps0.02 by a paired t-test, p < .05 after Holm's correction"
    assert legend("ot.eps0.02", "t") == text
