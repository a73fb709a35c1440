"""Several seeds: their mean, their spread, and an interval that respects both queries and seeds.

A score of one seed has an interval over queries only. Queries and seeds are crossed (each seed
answers each query), so both are resampled, independently, as columns and rows of one table (Owen,
The pigeonhole bootstrap, 2007); for crossed effects such intervals are right or too wide.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from clir_cli.errors import UserError
from clir_cli.evaluation.measures import BOOTSTRAP, Bootstrap, Values


@dataclass(frozen=True)
class Seeded:
    """A score over queries and seeds."""

    value: float
    spread: float  # standard deviation of the seeds' means (ddof 1; 0 for one seed)
    low: float  # of the interval over queries and seeds
    high: float
    seeds: tuple[int, ...]
    queries: int


def over_seeds(by_seed: Mapping[int, Values], bootstrap: Bootstrap = BOOTSTRAP) -> Seeded:
    """Summarise a method's values over queries and seeds; with one seed, over queries alone.

    Raises:
        UserError: The seeds have answered different queries.
    """
    table = _table(by_seed)
    seeds, queries = table.shape
    rng = np.random.default_rng(bootstrap.seed)
    # A resample is a vector of how often each query was drawn, and one for the seeds; with these
    # as weights the mean of the drawn table is a bilinear form.
    query_counts = rng.multinomial(queries, np.full(queries, 1 / queries), size=bootstrap.resamples)
    seed_counts = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=bootstrap.resamples)
    means = ((seed_counts @ table) * query_counts).sum(axis=1) / (seeds * queries)
    seed_means = table.mean(axis=1)
    spread = float(seed_means.std(ddof=1)) if seeds > 1 else 0.0
    interval = bootstrap.percentiles(means)
    return Seeded(float(seed_means.mean()), spread, *interval, tuple(by_seed), queries)


def query_means(by_seed: Mapping[int, Values]) -> dict[str, float]:
    """Return each query's mean over the seeds, for paired tests; UserError as ``over_seeds``."""
    queries = next(iter(by_seed.values()))
    return dict(zip(queries, _table(by_seed).mean(axis=0).tolist(), strict=True))


def _table(by_seed: Mapping[int, Values]) -> np.ndarray:
    (first, queries), *others = by_seed.items()
    for seed, values in others:
        if values.keys() != queries.keys():
            raise UserError(
                f"seeds {first} and {seed} have answered different queries; evaluate both on the "
                "same collection"
            )
    return np.array([[values[query] for query in queries] for values in by_seed.values()], float)
