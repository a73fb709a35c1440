"""Late interaction: MaxSim of query tokens over document tokens (Khattab and Zaharia, 2020)."""

import torch
from torch import Tensor

from clir_cli.retrieval.encoder import Packed

BLOCK_CELLS = 1 << 24  # similarities held at once: 64 MiB in float32


def maxsim(query: Tensor, documents: Packed) -> Tensor:
    """Score every document for one query.

    score(d) = sum over query tokens i of max over document tokens j of <q_i, d_j>
    (ColBERT, section 3.2). Documents are packed, so there is no padding to mask.

    Args:
        query: (n, dimensions).
        documents: N documents, each of at least one token.

    Returns:
        (N,) float32 scores.
    """
    scores = torch.empty(len(documents), device=query.device)
    rows = max(1, BLOCK_CELLS // max(1, len(query)))
    start = 0
    while start < len(documents):
        stop = _fitting(documents.offsets, start, rows)
        low, high = int(documents.offsets[start]), int(documents.offsets[stop])
        block = documents.vectors[low:high].to(query.device, query.dtype)
        lengths = (documents.offsets[start + 1 : stop + 1] - documents.offsets[start:stop]).to(
            query.device
        )
        best = torch.segment_reduce(block @ query.T, "max", lengths=lengths, axis=0)
        scores[start:stop] = best.sum(dim=1)
        start = stop
    return scores


def _fitting(offsets: Tensor, start: int, rows: int) -> int:
    """Return the largest end such that documents ``start:end`` have at most ``rows`` tokens."""
    stop = int(torch.searchsorted(offsets, offsets[start] + rows, right=True)) - 1
    return min(max(stop, start + 1), len(offsets) - 1)


def top_documents(scores: Tensor, ids: list[str], top_k: int) -> list[tuple[str, float]]:
    """Return the best ``top_k`` documents, best first.

    Equal scores are ordered by document id, from z to a, as trec_eval does: a run is the same every
    time, and its ranks are those that are measured. A score of minus
    infinity says that the document was not found at all.
    """
    values = scores.tolist()
    floor = torch.topk(scores, min(top_k, len(ids))).values[-1].item()
    lowest = float("-inf")
    kept = [index for index, value in enumerate(values) if value >= floor and value > lowest]
    kept.sort(key=lambda index: (values[index], ids[index]), reverse=True)
    return [(ids[index], values[index]) for index in kept[:top_k]]
