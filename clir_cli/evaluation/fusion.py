"""Fusion: two or more runs of the same queries to one."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

Scores = Mapping[str, float]
RRF_K = 60


def reciprocal_rank(run: Scores) -> dict[str, float]:
    """Return 1 / (60 + rank) of each document (Cormack, Clarke and Buettcher, SIGIR 2009)."""
    ranked = sorted(run, key=lambda document: (run[document], document), reverse=True)
    return {document: 1 / (RRF_K + rank) for rank, document in enumerate(ranked, start=1)}


def z_score(run: Scores) -> dict[str, float]:
    """Return scores with mean 0 and standard deviation 1, moved so that the lowest is 0.

    A document that one run lacks counts as that run's lowest.
    """
    values = np.array(list(run.values()))
    spread = values.std() or 1.0
    lowest = values.min()
    return {document: float((value - lowest) / spread) for document, value in run.items()}


NORMALISERS: dict[str, Callable[[Scores], dict[str, float]]] = {
    "rrf": reciprocal_rank,
    "zscore": z_score,
}


def fuse(
    runs: Sequence[Mapping[str, Scores]], by: str, top_k: int
) -> dict[str, list[tuple[str, float]]]:
    """Return one ranking a query: the sum of the runs' normalised scores, best first.

    Args:
        runs: Scores by query and document; a query that one run lacks is ranked by the others.
        by: A name in ``NORMALISERS``.
        top_k: Documents a query. Ties are ordered as trec_eval orders them, by id from z to a.
    """
    fused = {}
    for query in dict.fromkeys(query for run in runs for query in run):
        total: dict[str, float] = {}
        for run in runs:
            for document, value in NORMALISERS[by](run[query]).items() if query in run else ():
                total[document] = total.get(document, 0.0) + value
        ranked = sorted(total.items(), key=lambda each: (each[1], each[0]), reverse=True)
        fused[query] = ranked[:top_k]
    return fused
