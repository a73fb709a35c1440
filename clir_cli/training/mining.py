"""Hard negatives: wrong documents that rank high for a query (Xiong et al., ICLR 2021).

Ranks are BM25's or the model's own. A document whose score by the initial model is near that of the
answer may answer the query too, and is left out (Moreira et al., NV-Retriever, arXiv 2407.15831).
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from clir_cli.retrieval.bm25 import bm25_scores
from clir_cli.retrieval.encoder import Packed
from clir_cli.training.batches import pad_vectors

NONE = -1  # in a table of documents: no further one
CANDIDATES = 4  # times the depth: documents by mean vector that MaxSim puts in order
QUERIES = 1024  # that are compared with all documents at once
CPU_CELLS, GPU_CELLS = 1 << 25, 1 << 28  # numbers of a block of candidates


def lexical(
    queries: Sequence[str],
    documents: Sequence[str],
    answers: Sequence[Sequence[int]],
    depth: int,
    advance: Callable[[int], None] = lambda _: None,
) -> Tensor:
    """Return the first documents of each query by BM25, without answers: (N, depth), or NONE.

    ``advance`` is called with 1 after each query.
    """
    ranked = []
    for scores, row in zip(bm25_scores(documents, queries), answers, strict=True):
        ranked.append(_best(scores, row, depth))
        advance(1)
    return torch.stack(ranked)


def _best(scores: Tensor, answers: Sequence[int], depth: int) -> Tensor:
    scores[list(answers)] = float("-inf")
    values, best = scores.topk(min(depth, len(scores)))
    return best.masked_fill(values == float("-inf"), NONE)


@torch.no_grad()
def nearest(
    queries: Packed,
    documents: Packed,
    answers: Sequence[Sequence[int]],
    depth: int,
    device: torch.device,
) -> Tensor:
    """Return the first documents of each query by MaxSim, without answers: (N, depth), or NONE.

    MaxSim orders those whose mean vectors are nearest, ``CANDIDATES`` times as many.
    """
    means = _means(documents).to(device)
    asked = _means(queries).to(device)
    candidates = []
    for start in range(0, len(queries), QUERIES):
        near = asked[start : start + QUERIES] @ means.T
        rows = answers[start : start + QUERIES]
        row = torch.tensor([index for index, found in enumerate(rows) for _ in found])
        near[row, torch.tensor([document for found in rows for document in found])] = float("-inf")
        values, best = near.topk(min(CANDIDATES * depth, len(documents)))
        candidates.append(best.masked_fill(values == float("-inf"), NONE).cpu())
    found = torch.cat(candidates)
    scores = candidate_scores(queries, documents, found, device)
    return found.gather(1, scores.topk(min(depth, found.shape[1])).indices)


def _means(texts: Packed) -> Tensor:
    """Return the unit mean vectors (N, d); zeros of a text without tokens."""
    means = torch.stack([texts[index].float().mean(dim=0) for index in range(len(texts))])
    return functional.normalize(means.nan_to_num(), dim=1)


@torch.no_grad()
def candidate_scores(
    queries: Packed, documents: Packed, candidates: Tensor, device: torch.device
) -> Tensor:
    """Return the mean MaxSim (N, C) of N queries and C candidates of each, on the CPU.

    ``candidates`` (N, C) are indices of documents; the score of NONE is minus infinity. ``device``
    computes, and holds the vectors of all documents.
    """
    vectors, lengths = documents.vectors.to(device), documents.offsets.diff()
    limit = CPU_CELLS if device.type == "cpu" else GPU_CELLS
    a_query = candidates.shape[1] * int(lengths.max()) * vectors.shape[1]
    starts = range(0, len(queries), max(1, limit // a_query))
    scores = torch.empty(candidates.shape)
    for low, high in pairwise([*starts, len(queries)]):
        chosen = candidates[low:high].clamp_min(0)
        within = torch.arange(int(lengths[chosen].max()))
        cells = documents.offsets[chosen][:, :, None] + within
        hidden = (within >= lengths[chosen][:, :, None]).to(device)
        found = vectors[cells.clamp_max_(len(vectors) - 1).to(device)].float()
        asked, mask = pad_vectors([queries[index] for index in range(low, high)], device)
        best = torch.einsum("bnd,bcmd->bcnm", asked, found)
        best = best.masked_fill_(hidden[:, :, None, :], float("-inf")).amax(dim=3)
        total = best.masked_fill_(~mask[:, None, :], 0.0).sum(dim=2)
        scores[low:high] = (total / mask.sum(dim=1)[:, None]).cpu()
    return scores.masked_fill(candidates == NONE, float("-inf"))


def unlike(
    ranked: Tensor,
    answers: Sequence[Sequence[int]],
    queries: Packed,
    documents: Packed,
    share: float,
    device: torch.device,
) -> Tensor:
    """Return ``ranked`` (N, C) with NONE for what scores above a share of the best answer."""
    longest = max(map(len, answers))
    table = torch.tensor([[*row, *[NONE] * (longest - len(row))] for row in answers])
    best = candidate_scores(queries, documents, table, device).amax(dim=1)
    scores = candidate_scores(queries, documents, ranked, device)
    return ranked.masked_fill(scores > share * best[:, None], NONE)


def drawn(ranked: Tensor, count: int, seed: int) -> Tensor:
    """Return so many of each row's documents (N, C) at random, (N, count) int32, else NONE."""
    chance = torch.rand(ranked.shape, generator=torch.Generator().manual_seed(seed))
    first = chance.masked_fill(ranked == NONE, -1.0).topk(min(count, ranked.shape[1])).indices
    return ranked.gather(1, first).int()
