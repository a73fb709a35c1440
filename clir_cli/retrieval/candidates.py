"""Candidates: documents that may be among the best, found without reading their embeddings.

A document is scored as if each of its tokens were its centroid: the sum over query tokens of the
largest <query token, centroid> among the document's centroids. This is the centroid interaction of
PLAID (Santhanam et al., 2022). Only the lists of the nearest centroids of each query token are
read; a document in none of them counts as if it had the next nearest centroid.
"""

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from clir_cli.retrieval.encoder import Packed
from clir_cli.retrieval.store import Codec, Shard

PROBES = 64  # lists that are read for each query token
CELLS = 1 << 18  # documents x query tokens at once, so that they stay in the cache


def nearest_lists(queries: Packed, codec: Codec, probes: int = PROBES) -> tuple[Tensor, Tensor]:
    """Return which lists to read for each query token, and the gain of a document in one.

    Returns:
        Numbers of centroids (tokens, P), and how much larger their similarity is than that of the
        nearest centroid whose list is not read (tokens, P).
    """
    centroids = codec.centroids_on(queries.vectors.device)
    count = min(probes + 1, len(centroids))
    similarities, nearest = (queries.vectors.float() @ centroids.T).topk(count)
    gains = similarities - similarities[:, -1:]
    read = max(1, count - 1)
    return nearest[:, :read].cpu(), gains[:, :read].cpu()


def approximate(queries: Packed, shard: Shard, lists: Tensor, gains: Tensor) -> Tensor:
    """Score the documents of a shard by their centroids.

    ``lists`` and ``gains`` are from ``nearest_lists``.

    Returns:
        (Q, N) float32 on the CPU, 0 for documents in no list. All scores of a query lack the same
        constant.
    """
    assert shard.lists is not None
    step = max(1, CELLS // max(1, len(shard)))
    parts = zip(lists.split(step), gains.split(step), strict=True)
    best = torch.cat([_best(shard, *part) for part in parts])
    ends = queries.offsets.tolist()
    return torch.stack([best[low:high].sum(0) for low, high in pairwise(ends)])


def _best(shard: Shard, lists: Tensor, gains: Tensor) -> Tensor:
    """Return the largest gain (tokens, N) of each document for each query token."""
    assert shard.lists is not None
    # Smallest gain first: where a document is in several lists, numpy keeps the last assignment.
    centroids, values = lists.numpy()[:, ::-1], gains.numpy()[:, ::-1]
    starts = shard.lists.starts[centroids].ravel()
    lengths = shard.lists.starts[centroids + 1].ravel() - starts
    entries = np.repeat(starts - lengths.cumsum(dtype=np.int32) + lengths, lengths)
    entries += np.arange(len(entries), dtype=np.int32)
    tokens = np.arange(len(lists), dtype=np.int32) * len(shard)
    rows = np.repeat(np.repeat(tokens, lists.shape[1]), lengths)
    cells = np.add(rows, shard.lists.postings[entries], dtype=np.intp)
    best = np.zeros(len(lists) * len(shard), dtype=np.float32)
    best[cells] = np.repeat(values.ravel(), lengths)
    return torch.from_numpy(best).view(len(lists), len(shard))
