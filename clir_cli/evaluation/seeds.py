"""Several seeds: the mean over them, how far they spread, and an interval that respects both.

A score of one seed has an interval over queries; it says nothing of what another order of the
batches would have given. Queries and seeds are crossed (each seed answers each query), so both are
resampled, independently, as rows and columns of one table: the bootstrap of Owen (The pigeonhole
bootstrap, 2007), which for crossed effects is right or on the cautious side.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from clir_cli.errors import UserError

Values = Mapping[str, float]


@dataclass(frozen=True)
class Seeded:
    """A score over queries and seeds.

    ``spread`` is the standard deviation of the seeds' means (ddof 1; 0 for one seed), ``low`` and
    ``high`` the interval over queries and seeds.
    """

    value: float
    spread: float
    low: float
    high: float
    seeds: tuple[int, ...]
    queries: int


def over_seeds(
    by_seed: Mapping[int, Values],
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Seeded:
    """Summarise a method's values over queries and seeds.

    With one seed the interval is the bootstrap over queries alone.

    Args:
        by_seed: A value a query, for each seed.
        resamples: Bootstrap resamples.
        confidence: Share of the resampled means inside the interval.
        seed: Of the resampling.

    Raises:
        UserError: The seeds have answered different queries.
    """
    table = _table(by_seed)
    rows, columns = table.shape
    chance = np.random.default_rng(seed)
    # A resample of queries is a vector of how often each was drawn, one of seeds likewise; with
    # the weights the mean of the drawn table is a bilinear form.
    queries = chance.multinomial(columns, np.full(columns, 1 / columns), size=resamples)
    drawn = chance.multinomial(rows, np.full(rows, 1 / rows), size=resamples)
    means = ((drawn @ table) * queries).sum(axis=1) / (rows * columns)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    of_seeds = table.mean(axis=1)
    return Seeded(
        value=float(of_seeds.mean()),
        spread=float(of_seeds.std(ddof=1)) if rows > 1 else 0.0,
        low=float(low),
        high=float(high),
        seeds=tuple(by_seed),
        queries=columns,
    )


def query_means(by_seed: Mapping[int, Values]) -> dict[str, float]:
    """Return each query's mean over the seeds, for paired tests over queries.

    Raises:
        UserError: The seeds have answered different queries.
    """
    queries = next(iter(by_seed.values()))
    return dict(zip(queries, _table(by_seed).mean(axis=0).tolist(), strict=True))


def _table(by_seed: Mapping[int, Values]) -> np.ndarray:
    """Return the values as an array (seeds, queries)."""
    first, *others = by_seed
    queries = list(by_seed[first])
    for other in others:
        if by_seed[other].keys() != by_seed[first].keys():
            raise UserError(
                f"seeds {first} and {other} have answered different queries; evaluate both on the "
                "same collection"
            )
    return np.array([[by_seed[seed][query] for query in queries] for seed in by_seed], dtype=float)
