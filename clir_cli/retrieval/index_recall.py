"""What an index's format and candidates cost in recall, measured on its own documents."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from clir_cli.retrieval.encoder import Packed
from clir_cli.retrieval.maxsim import maxsim_batch
from clir_cli.retrieval.ranking import Ranker, best_indices
from clir_cli.retrieval.store import Shard

QUERY_TOKENS = 16  # of a query that is made of a document, as many as a question has


def sampled_queries(texts: Sequence[Tensor], seed: int = 0) -> Packed:
    """Return one query per document (n, d): a random run of at most QUERY_TOKENS of its tokens."""
    rng = torch.Generator().manual_seed(seed)
    queries = []
    for vectors in texts:
        starts = max(1, len(vectors) - QUERY_TOKENS + 1)
        start = int(torch.randint(0, starts, (1,), generator=rng))
        queries.append(vectors[start : start + QUERY_TOKENS].float())
    return Packed.of(queries)


def evenly_spaced(total: int, count: int) -> list[int]:
    """Return at most ``count`` indices below ``total``, evenly spaced."""
    return sorted({step * total // count for step in range(min(count, total))} if total else ())


def documents_at(shards: Sequence[Shard], indices: Sequence[int]) -> list[Tensor]:
    """Return the stored token embeddings (n, d) of some documents; ``indices`` ascend."""
    documents, first, remaining = [], 0, list(indices)
    for shard in shards:
        while remaining and remaining[0] < first + len(shard):
            documents.append(shard[remaining.pop(0) - first])
        first += len(shard)
    return documents


def recall(scores: Tensor, exact: Tensor, top_k: int) -> float:
    """Return the share of the ``top_k`` best by ``exact`` (N,) that are best by ``scores`` too."""
    return _overlap(scores, _best(exact, top_k))


def _best(scores: Tensor, top_k: int) -> set[int]:
    return set(best_indices(scores, min(top_k, len(scores))).tolist())


def _overlap(scores: Tensor, best: set[int]) -> float:
    return len(best & _best(scores, len(best))) / len(best)


def candidate_recall(
    ranker: Ranker, queries: Packed, counts: Sequence[float]
) -> dict[float, float]:
    """Return the mean recall@top_k for each number of candidates, against scoring all documents.

    The ``ranker`` has an index with lists; ``counts`` are values of ``search.candidates``.
    """
    exhaustive = replace(ranker, candidates=0.0).rank(queries)
    exact = [_best(scores, ranker.top_k) for scores in exhaustive]  # not the scores: they are large
    means = {}
    for count in counts:
        ranked = replace(ranker, candidates=count).rank(queries)
        recalls = [_overlap(*pair) for pair in zip(ranked, exact, strict=True)]
        means[count] = sum(recalls) / max(1, len(recalls))
    return means


def format_recall(encoded: Sequence[Tensor], stored: Sequence[Tensor], top_k: int = 10) -> float:
    """Return the recall@top_k of stored documents against the same documents as encoded.

    Both are token embeddings (n, d) of each document, which gives one query; ``top_k`` is the
    depth.
    """
    queries = sampled_queries(encoded)
    exact = maxsim_batch(queries, Packed.of(encoded))
    scores = maxsim_batch(queries, Packed.of(stored))
    recalls = [recall(*pair, top_k) for pair in zip(scores, exact, strict=True)]
    return sum(recalls) / max(1, len(recalls))
