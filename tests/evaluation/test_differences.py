"""Differences from a baseline over queries and seeds, by value."""

import math

import numpy as np
import pytest
from scipy import stats

from clir_cli.corpus.records import Collection
from clir_cli.evaluation.differences import Difference, detectable, differences, paired
from clir_cli.evaluation.measures import BOOTSTRAP, summarise
from clir_cli.evaluation.scoring import Result, ScoredRun, compare_results


def results(values: dict[str, dict[int, np.ndarray]]) -> list[Result[str]]:
    collection, found = Collection("made-up", [], {}, {}, {}), []
    for column, by_seed in values.items():
        for seed, numbers in by_seed.items():
            of_queries = {f"q{row}": float(value) for row, value in enumerate(numbers)}
            score = summarise("map", of_queries, BOOTSTRAP)
            run = ScoredRun(column, column, seed, "sw-en", collection, {}, [score])
            found.append(Result(run, "sw-en", score, len(numbers)))
    return found


def from_kd(made: list[Result[str]], baseline: str = "kd") -> list[Difference]:
    tested = compare_results(made, baseline, ("t",), strict=False)
    return list(differences(made, {index: by_test["t"] for index, by_test in tested.items()}))


@pytest.fixture
def values() -> dict[str, dict[int, np.ndarray]]:
    rng = np.random.default_rng(1)
    base = rng.uniform(size=60)
    return {
        "kd": {seed: base + rng.normal(0, 0.02, 60) for seed in range(3)},
        "ot": {seed: base + 0.05 + rng.normal(0, 0.1, 60) for seed in range(3)},
        "bm25": {0: base - rng.uniform(size=60) / 2},
    }


def test_figures_are_those_of_the_mean_over_seeds(values):
    rows = {row.method: row for row in from_kd(results(values))}
    assert list(rows) == ["ot", "bm25"]
    means = {name: np.mean(list(by_seed.values()), axis=0) for name, by_seed in values.items()}
    for name, row in rows.items():
        apart = means[name] - means["kd"]
        assert row.difference == pytest.approx(apart.mean(), abs=1e-9)
        assert row.p_raw == pytest.approx(stats.ttest_1samp(apart, 0).pvalue, rel=1e-6)
        assert row.effect == pytest.approx(apart.mean() / apart.std(ddof=1), rel=1e-6)
        assert row.p_value >= row.p_raw
        assert row.ci_low < row.difference < row.ci_high
        assert (row.seeds, row.queries) == (3, 60)
    low, high = BOOTSTRAP.interval(means["ot"] - means["kd"])
    assert rows["ot"].ci_high - rows["ot"].ci_low > high - low  # seeds are drawn too


def test_seeds_are_paired_by_number_and_other_seeds_enter_by_their_mean():
    ot, kd, english = (
        {seed: {"q": float(value)} for seed, value in pairs.items()}
        for pairs in ({1: 3, 2: 5}, {2: 1, 1: 2}, {0: 1})
    )
    assert paired(ot, kd) == {1: {"q": 1.0}, 2: {"q": 4.0}}
    assert paired(ot, english) == {1: {"q": 2.0}, 2: {"q": 4.0}}
    assert paired(english, ot) == {1: {"q": -2.0}, 2: {"q": -4.0}}


def test_a_detectable_difference_is_found_with_its_probability():
    size = detectable(0.2, 60)
    drawn = np.random.default_rng(2).normal(size, 0.2, (4000, 60))
    assert np.mean(stats.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05) == pytest.approx(
        0.8, abs=0.03
    )
    assert detectable(0.2, 240) == pytest.approx(size / 2)


def test_one_query_has_a_difference():
    made = results({"kd": {0: np.array([0.25])}, "ot": {0: np.array([0.75])}})
    (row,) = from_kd(made)
    assert row.difference == 0.5
    assert math.isfinite(row.detectable)


def test_without_the_baseline_there_are_none(values):
    assert not from_kd(results(values), "nmt")
