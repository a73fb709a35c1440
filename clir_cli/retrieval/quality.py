"""What a store's format and candidates cost in quality, measured on its own documents."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from clir_cli.retrieval.encoder import Packed
from clir_cli.retrieval.maxsim import maxsim_batch
from clir_cli.retrieval.ranking import Ranker, best_places
from clir_cli.retrieval.store import Shard

RUN = 16  # tokens of a query that is made of a document, as many as a question has


def sampled_queries(texts: Sequence[Tensor], seed: int = 0) -> Packed:
    """Return queries made of documents: of each (n, d) a random run of at most RUN tokens."""
    generator = torch.Generator().manual_seed(seed)
    runs = []
    for vectors in texts:
        late = int(torch.randint(0, max(1, len(vectors) - RUN + 1), (1,), generator=generator))
        runs.append(vectors[late : late + RUN].float())
    return packed(runs)


def packed(texts: Sequence[Tensor]) -> Packed:
    """Return embeddings of several texts end to end."""
    sizes = torch.tensor([0, *(len(text) for text in texts)])
    return Packed(torch.cat([text.float() for text in texts]), sizes.cumsum(0))


def spread(total: int, count: int) -> list[int]:
    """Return ``count`` places from 0 to ``total``, evenly spread."""
    return sorted({place * total // count for place in range(min(count, total))} if total else ())


def documents_of(shards: Sequence[Shard], places: Sequence[int]) -> list[Tensor]:
    """Return some documents as they are stored; the places are in order."""
    found, first, wanted = [], 0, list(places)
    for shard in shards:
        while wanted and wanted[0] < first + len(shard):
            found.append(shard[wanted.pop(0) - first])
        first += len(shard)
    return found


def recall(found: Tensor, exact: Tensor, top_k: int) -> float:
    """Return the share of the ``top_k`` best by ``exact`` (N,) that are so by ``found`` too."""
    count = min(top_k, len(exact))
    best = set(best_places(exact, count).tolist())
    return len(best & set(best_places(found, count).tolist())) / count


def candidate_recall(
    ranker: Ranker, queries: Packed, counts: Sequence[float]
) -> dict[float, float]:
    """Return, for each number of candidates, the mean recall@top_k against scoring all documents.

    Args:
        ranker: Of a store with lists.
        queries: Such as ``sampled_queries``.
        counts: Values of ``search.candidates``.
    """
    exact = [
        best_places(scores, min(ranker.top_k, len(scores)))
        for scores in replace(ranker, candidates=0.0).rank(queries)
    ]
    told = {}
    for count in counts:
        shares = []
        for best, scores in zip(
            exact, replace(ranker, candidates=count).rank(queries), strict=True
        ):
            found = best_places(scores, len(best))
            shares.append(len(set(best.tolist()) & set(found.tolist())) / len(best))
        told[count] = sum(shares) / max(1, len(shares))
    return told


def format_recall(fresh: Sequence[Tensor], stored: Sequence[Tensor], top_k: int = 10) -> float:
    """Return how much of the ranking among some documents their stored form keeps.

    Args:
        fresh: The documents as the encoder gives them.
        stored: The same as the store gives them.
        top_k: Of the ranking; each document gives a query of RUN tokens.
    """
    queries = sampled_queries(fresh)
    before = maxsim_batch(queries, packed(fresh))
    after = maxsim_batch(queries, packed(stored))
    shares = [recall(found, exact, top_k) for found, exact in zip(after, before, strict=True)]
    return sum(shares) / max(1, len(shares))
