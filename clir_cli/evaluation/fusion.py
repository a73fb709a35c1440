"""Fusion: several runs of the same queries combined into one."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from clir_cli.evaluation.runs import Run, ranks, require_finite, trec_order

RRF_K = 60


def reciprocal_rank(scores: Mapping[str, float]) -> dict[str, float]:
    """Return 1 / (60 + rank) of each document (Cormack, Clarke and Buettcher, SIGIR 2009)."""
    return {document: 1 / (RRF_K + rank) for document, rank in ranks(scores).items()}


def z_score(scores: Mapping[str, float]) -> dict[str, float]:
    """Return scores with standard deviation 1, shifted so that the lowest is 0.

    A document that one run lacks counts as that run's lowest.
    """
    require_finite(scores)
    values = np.array(list(scores.values()))
    deviation = values.std() or 1.0
    lowest = values.min()
    return {document: float((value - lowest) / deviation) for document, value in scores.items()}


NORMALISERS: dict[str, Callable[[Mapping[str, float]], dict[str, float]]] = {
    "rrf": reciprocal_rank,
    "zscore": z_score,
}


def fuse(runs: Sequence[Run], by: str, top_k: int) -> dict[str, list[tuple[str, float]]]:
    """Return one ranking per query: the sum of the runs' normalised scores, best first.

    ``by`` is a name in ``NORMALISERS``. A query that one run lacks is ranked by the others; ties
    are ordered as trec_eval orders them.
    """
    fused = {}
    for query in dict.fromkeys(query for run in runs for query in run):
        total: dict[str, float] = {}
        for run in runs:
            for document, value in NORMALISERS[by](run[query]).items() if query in run else ():
                total[document] = total.get(document, 0.0) + value
        fused[query] = [(document, total[document]) for document in trec_order(total)[:top_k]]
    return fused
