"""Candidates: documents that may be among the best, found without reading their embeddings.

A document is scored as if each of its tokens were its centroid: sum over query tokens of the best
<query token, centroid> among the document's centroids, which is the centroid interaction of PLAID
(Santhanam et al., 2022). The lists from centroids to documents are walked instead of the codes of
documents, and for each query token only those of the nearest centroids; a document in none of them
counts as if it had the last of these. Nothing but lists is read, and no document is looked at that
no query token comes near.
"""

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from clir_cli.retrieval.encoder import Packed
from clir_cli.retrieval.store import Codec, Shard

PROBES = 64  # lists that are walked for each query token
CELLS = 1 << 18  # documents x query tokens at once: they stay in the cache


def nearest_lists(queries: Packed, codec: Codec, probes: int = PROBES) -> tuple[Tensor, Tensor]:
    """Return which lists to walk for each query token, and what being in one is worth.

    Returns:
        Numbers of centroids (tokens, P), and by how much their similarity is above that of the
        nearest centroid whose list is not walked (tokens, P).
    """
    centroids = codec.centroids_on(queries.vectors.device)
    count = min(probes + 1, len(centroids))
    found = (queries.vectors.float() @ centroids.T).topk(count)
    worth = found.values - found.values[:, -1:]
    kept = max(1, count - 1)
    return found.indices[:, :kept].cpu(), worth[:, :kept].cpu()


def approximate(queries: Packed, shard: Shard, lists: Tensor, worth: Tensor) -> Tensor:
    """Score the documents of a shard by their centroids.

    Args:
        queries: Q queries.
        shard: With lists, of N documents.
        lists: From ``nearest_lists``.
        worth: Likewise.

    Returns:
        (Q, N) float32 on the CPU, 0 for what no list names; the same constant is missing in all
        scores of a query.
    """
    assert shard.lists is not None
    step = max(1, CELLS // max(1, len(shard)))
    parts = zip(lists.split(step), worth.split(step), strict=True)
    best = torch.cat([_best(shard, *part) for part in parts])
    ends = queries.offsets.tolist()
    return torch.stack([best[low:high].sum(0) for low, high in pairwise(ends)])


def _best(shard: Shard, lists: Tensor, worth: Tensor) -> Tensor:
    """Return the best worth (tokens, N) of each document for each query token."""
    assert shard.lists is not None
    # The worst list first: where a document is in several, numpy keeps what is written last.
    walked, worths = lists.numpy()[:, ::-1], worth.numpy()[:, ::-1]
    starts = shard.lists.starts[walked].ravel()
    lengths = shard.lists.starts[walked + 1].ravel() - starts
    places = np.repeat(starts - lengths.cumsum(dtype=np.int32) + lengths, lengths)
    places += np.arange(len(places), dtype=np.int32)
    tokens = np.arange(len(lists), dtype=np.int32) * len(shard)
    owners = np.repeat(np.repeat(tokens, lists.shape[1]), lengths)
    keys = np.add(owners, shard.lists.postings[places], dtype=np.intp)
    best = np.zeros(len(lists) * len(shard), dtype=np.float32)
    best[keys] = np.repeat(worths.ravel(), lengths)
    return torch.from_numpy(best).view(len(lists), len(shard))
