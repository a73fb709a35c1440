"""Late interaction: MaxSim of query tokens over document tokens (Khattab and Zaharia, 2020)."""

from collections.abc import Iterator
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor

from clir_cli.retrieval.encoder import Packed
from clir_cli.retrieval.store import Shard
from clir_cli.retrieval.store.formats import quantise

BLOCK_CELLS = 1 << 20  # numbers of a block held at once, 4 MiB in float32: they stay in the cache
COLUMNS = 32  # torch's maximum over rows is ten times as slow for other numbers of columns
WINDOW_CELLS = 1 << 22  # documents x query tokens held at once


def maxsim(query: Tensor, documents: Packed | Shard) -> Tensor:
    """Score every document for one query.

    score(d) = sum over query tokens i of max over document tokens j of <q_i, d_j>
    (ColBERT, section 3.2).

    Args:
        query: (n, dimensions).
        documents: N documents. One without tokens has the score minus infinity.

    Returns:
        (N,) float32 scores on the query's device.
    """
    return maxsim_batch(Packed(query, torch.tensor([0, len(query)])), documents)[0]


def mean_maxsim(
    queries: Tensor, query_mask: Tensor, documents: Tensor, document_mask: Tensor
) -> Tensor:
    """Return MaxSim of each query and document, divided by the query's tokens; differentiable.

    The mean, so that one temperature suits short and long queries.

    Args:
        queries: (B, n, d) unit vectors.
        query_mask: (B, n), True on real tokens.
        documents: (K, m, d) unit vectors.
        document_mask: (K, m), True on real tokens.

    Returns:
        (B, K) scores.
    """
    similarity = torch.einsum("qnd,kmd->qknm", queries, documents)
    hidden = ~document_mask[None, :, None, :]
    best = similarity.masked_fill(hidden, float("-inf")).amax(dim=3)
    return (best * query_mask[:, None, :]).sum(dim=2) / query_mask.sum(dim=1)[:, None]


@torch.no_grad()
def maxsim_batch(
    queries: Packed,
    documents: Packed | Shard,
    chosen: Tensor | None = None,
    *,
    rounded: bool = False,
    release: bool = False,
) -> Tensor:
    """Score documents for several queries, each block of documents being decoded once for all.

    Documents of about one length are laid out as (documents, longest, dimensions); a shorter one
    repeats its last token, which changes no maximum.

    Args:
        queries: Q queries, on the device that computes.
        documents: N documents.
        chosen: Numbers (M,) of the documents to score; None for all.
        rounded: Take the products of int8 numbers, to which queries and, where they are not stored
            so, documents are rounded. A similarity is then off by some 0.001.
        release: Give back the memory of what was read from disk as soon as it was used.

    Returns:
        (Q, N) or (Q, M) float32 scores on the queries' device.
    """
    shard = Shard.of(documents) if isinstance(documents, Packed) else documents
    numbers = torch.arange(len(shard)) if chosen is None else chosen.cpu()
    scorer = _Rounded(queries.vectors) if rounded else _Full(queries.vectors)
    scores = torch.empty(len(queries), len(numbers), device=queries.vectors.device)
    window = max(1, WINDOW_CELLS // max(1, len(queries.vectors)))
    ends = queries.offsets.tolist()
    for start in range(0, len(numbers), window):
        best = _best(scorer, shard, numbers[start : start + window])
        for query, (low, high) in enumerate(pairwise(ends)):
            scores[query, start : start + window] = best[:, low:high].sum(dim=1)
        if release:
            shard.release()
    return scores


def _best(scorer: "_Full | _Rounded", shard: Shard, numbers: Tensor) -> Tensor:
    """Return the largest similarity (documents, query tokens) of each query token."""
    best = torch.empty(len(numbers), scorer.tokens, device=scorer.device)
    starts, lengths = shard.offsets[numbers], shard.offsets.diff()[numbers]
    rows = max(1, BLOCK_CELLS // max(scorer.tokens, shard.dimensions))
    for places in _tiles(lengths, rows):
        longest = int(lengths[places[-1]])
        if longest == 0:
            best[places.to(best.device)] = float("-inf")
            continue
        within = torch.arange(longest).minimum((lengths[places] - 1).clamp_min(0)[:, None])
        # A document without tokens reads another's, and is put right below.
        taken = (starts[places, None] + within).flatten().clamp_max_(int(shard.offsets[-1]) - 1)
        found = scorer.similarities(shard, taken).view(len(places), longest, -1).amax(dim=1)
        found[(lengths[places] == 0).to(found.device)] = float("-inf")
        best[places.to(best.device)] = found
    return scorer.scaled(best)


def _tiles(lengths: Tensor, rows: int) -> Iterator[Tensor]:
    """Yield places of documents of about one length, shortest first, ``rows`` tokens or one."""
    ordered, order = lengths.sort(stable=True)
    start, sizes = 0, ordered.tolist()
    while start < len(sizes):
        stop = min(len(sizes), start + max(1, rows // max(1, sizes[start])))
        while stop > start + 1 and (stop - start) * sizes[stop - 1] > rows:
            stop = min(stop - 1, start + max(1, rows // max(1, sizes[stop - 1])))
        yield order[start:stop]
        start = stop


class _Full:
    """Similarities in float32."""

    def __init__(self, vectors: Tensor):
        self.queries = _filled(vectors.float())
        self.tokens, self.device = len(self.queries), vectors.device
        self._out: Tensor | None = None

    def similarities(self, shard: Shard, rows: Tensor) -> Tensor:
        block = shard.decode(rows, self.device).to(self.device)
        self._out = _room(self._out, len(block) * self.tokens, torch.float32, self.device)
        out = self._out[: len(block) * self.tokens].view(len(block), self.tokens)
        return torch.mm(block, self.queries.T, out=out)

    def scaled(self, best: Tensor) -> Tensor:
        return best


class _Rounded:
    """Similarities of int8 numbers, in int32; the scale of a query token comes last."""

    def __init__(self, vectors: Tensor):
        codes, self.scales = quantise(_filled(vectors.float()))
        self.columns = codes.T.contiguous()
        self.tokens, self.device = len(codes), vectors.device
        self._whole: Tensor | None = None
        self._out: Tensor | None = None

    def similarities(self, shard: Shard, rows: Tensor) -> Tensor:
        codes, scales = shard.whole_numbers(rows)
        size = len(codes) * self.tokens
        self._whole = _room(self._whole, size, torch.int32, self.device)
        self._out = _room(self._out, size, torch.float32, self.device)
        whole = self._whole[:size].view(len(codes), self.tokens)
        out = self._out[:size].view(len(codes), self.tokens)
        torch._int_mm(codes, self.columns, out=whole)
        return out.copy_(whole).mul_(scales[:, None])

    def scaled(self, best: Tensor) -> Tensor:
        return best.mul_(self.scales)


def _filled(vectors: Tensor) -> Tensor:
    """Return query tokens with zeros behind them, up to a multiple of COLUMNS."""
    return torch.nn.functional.pad(vectors, (0, 0, 0, -len(vectors) % COLUMNS))


def _room(kept: Tensor | None, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return memory for ``size`` numbers, the same as before where it is enough."""
    if kept is not None and kept.numel() >= size:
        return kept
    return torch.empty(size, dtype=dtype, device=device)


@cache
def rounding_pays(device: torch.device) -> bool:
    """Tell whether products of int8 numbers are exact and faster than float32's on a device.

    On a processor that is so with VNNI, which sums in 32 bits; older instructions may overflow.
    """
    has_vnni = getattr(torch.cpu, "_is_vnni_supported", lambda: False)
    return device.type == "cpu" and hasattr(torch, "_int_mm") and has_vnni()


def top_documents(scores: Tensor, ids: list[str], top_k: int) -> list[tuple[str, float]]:
    """Return the best ``top_k`` documents, best first.

    Equal scores are ordered by document id, from z to a, as trec_eval does: a run is the same every
    time, and its ranks are those that are measured. A score of minus
    infinity says that the document was not found at all.
    """
    floor = torch.topk(scores, min(top_k, len(ids))).values[-1]
    good = torch.nonzero((scores >= floor) & (scores > float("-inf"))).flatten()
    kept = list(zip(scores[good].tolist(), good.tolist(), strict=True))
    kept.sort(key=lambda each: (each[0], ids[each[1]]), reverse=True)
    return [(ids[index], value) for value, index in kept[:top_k]]
