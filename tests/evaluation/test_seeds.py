"""Several seeds: mean, spread, and an interval over queries and seeds."""

import numpy as np
import pytest

from clir_cli.errors import UserError
from clir_cli.evaluation.measures import Bootstrap
from clir_cli.evaluation.seeds import over_seeds, query_means


def values(*numbers: float) -> dict[str, float]:
    return {f"q{place}": number for place, number in enumerate(numbers)}


def test_mean_and_spread_are_those_of_the_seeds_means() -> None:
    found = over_seeds({0: values(0.2, 0.4), 1: values(0.4, 0.6), 7: values(0.6, 0.8)})
    assert found.value == pytest.approx(0.5)
    assert found.spread == pytest.approx(0.2)
    assert (found.seeds, found.queries) == ((0, 1, 7), 2)


def test_queries_are_matched_by_name_and_their_means_kept() -> None:
    one, other = values(0.0, 1.0), {"q1": 0.5, "q0": 0.5}
    assert query_means({0: one, 1: other}) == {"q0": 0.25, "q1": 0.75}
    assert over_seeds({0: one, 1: other}).value == pytest.approx(0.5)


def test_one_seed_gives_the_interval_over_queries_alone() -> None:
    numbers = np.random.default_rng(0).random(60)
    found = over_seeds({3: values(*numbers)}, Bootstrap(resamples=8000))
    assert found.spread == 0
    assert (found.low, found.high) == pytest.approx(Bootstrap(8000).interval(numbers), abs=0.006)


def test_the_interval_covers_both_the_queries_and_the_seeds() -> None:
    chance = np.random.default_rng(1)
    queries = chance.normal(0, 0.1, 50)

    def width(shifts: list[float], rows: np.ndarray) -> float:
        found = over_seeds({seed: values(*(rows + shift)) for seed, shift in enumerate(shifts)})
        return found.high - found.low

    queries_alone = width([0, 0, 0, 0], queries)
    seeds_alone = width([-0.2, 0.2, -0.1, 0.1], np.zeros(50))
    both = width([-0.2, 0.2, -0.1, 0.1], queries)
    assert queries_alone > 0
    assert seeds_alone > 0
    assert both > max(queries_alone, seeds_alone)
    # Independent causes of variance add up.
    assert both == pytest.approx(np.hypot(queries_alone, seeds_alone), rel=0.1)


def test_a_wide_interval_is_an_interval_of_most_means() -> None:
    """Coverage, from a world whose truth is 0: 20 queries and 5 seeds drawn anew each time."""
    chance, inside, worlds = np.random.default_rng(5), 0, 200
    for _ in range(worlds):
        drawn = chance.normal(0, 0.2, 20) + chance.normal(0, 0.1, (5, 1))
        found = over_seeds(
            {s: values(*row) for s, row in enumerate(drawn)}, Bootstrap(resamples=400)
        )
        inside += found.low <= 0 <= found.high
    assert 0.84 <= inside / worlds <= 0.99


def test_seeds_that_answered_different_queries_are_refused() -> None:
    with pytest.raises(UserError, match="seeds 0 and 1 have answered different queries"):
        over_seeds({0: values(0.1, 0.2), 1: values(0.1)})
