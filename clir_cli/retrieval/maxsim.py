"""Late interaction: MaxSim of query tokens over document tokens (Khattab and Zaharia, 2020)."""

from collections.abc import Iterator
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor

from clir_cli.errors import UserError
from clir_cli.retrieval.encoder import Packed
from clir_cli.retrieval.memory import free_bytes
from clir_cli.retrieval.store import Shard
from clir_cli.retrieval.store.codec import quantise

# Numbers of a block in float32: 4 MiB that stay in a CPU's cache; a GPU takes far more at once.
BLOCK_CELLS, BLOCK_CELLS_OF_GPU = 1 << 20, 1 << 26
BLOCK_SHARE = 64  # of the free bytes of a GPU a number of a block may take
COLUMNS = 32  # torch's maximum over rows takes ten times as long unless columns are a multiple
WINDOW_CELLS = 1 << 22  # documents x query tokens held at once


def maxsim(query: Tensor, documents: Packed | Shard) -> Tensor:
    """Score every document for one query.

    score(d) = sum over query tokens i of max over document tokens j of <q_i, d_j>
    (ColBERT, section 3.2).

    ``query`` is (n, dimensions). A document without tokens scores minus infinity.

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
    queries: Packed, documents: Packed | Shard, *, rounded: bool = False, release: bool = False
) -> Tensor:
    """Score every document for several queries; each block of documents is decoded once.

    Documents of similar length are padded to (documents, longest, dimensions) by repeating the last
    token, which changes no maximum.

    The queries' device computes. With ``rounded`` int8 is multiplied, to which both sides are
    rounded: similarities are then off by about 0.001. ``release`` returns the memory of what was
    read from disk as soon as it was used.

    Returns:
        (Q, N) float32 scores on the queries' device.
    """
    shard = Shard.of(documents) if isinstance(documents, Packed) else documents
    scorer = _Scorer(queries.vectors, rounded)
    scores = torch.empty(len(queries), len(shard), device=queries.vectors.device)
    window = max(1, WINDOW_CELLS // max(1, len(queries.vectors)))
    ends = queries.offsets.tolist()
    for start in range(0, len(shard), window):
        best = scorer.best(shard, torch.arange(start, min(start + window, len(shard))))
        for query, (low, high) in enumerate(pairwise(ends)):
            scores[query, start : start + window] = best[:, low:high].sum(dim=1)
        if release:
            shard.release()
    return scores


class _Scorer:
    """Query tokens (n, d), padded to a multiple of COLUMNS, that are compared with documents."""

    def __init__(self, vectors: Tensor, rounded: bool):
        padded = torch.nn.functional.pad(vectors.float(), (0, 0, 0, -len(vectors) % COLUMNS))
        self.rounded, self.tokens, self.device = rounded, len(padded), vectors.device
        if rounded:
            codes, self.scales = quantise(padded)
            self.columns = codes.T.contiguous()
        else:
            self.columns = padded.T
        self._buffers: dict[torch.dtype, Tensor] = {}
        self._cells = BLOCK_CELLS
        if self.device.type != "cpu":
            self._cells = min(BLOCK_CELLS_OF_GPU, free_bytes(self.device) // BLOCK_SHARE)

    def best(self, shard: Shard, indices: Tensor) -> Tensor:
        """Return the largest similarity (documents, n) of each query token."""
        best = torch.empty(len(indices), self.tokens, device=self.device)
        starts, lengths = shard.offsets[indices], shard.offsets.diff()[indices]
        cells = self._cells
        rows = max(1, cells // max(self.tokens, shard.dimensions))
        for block in _blocks(lengths, rows):
            longest = int(lengths[block[-1]])
            if longest == 0:
                best[block.to(best.device)] = float("-inf")
                continue
            within = torch.arange(longest).minimum((lengths[block] - 1).clamp_min(0)[:, None])
            # An empty document reads another's tokens; its score is corrected below.
            tokens = (starts[block, None] + within).flatten().clamp_max_(int(shard.offsets[-1]) - 1)
            largest = self._similarities(shard, tokens).view(len(block), longest, -1).amax(dim=1)
            largest[(lengths[block] == 0).to(largest.device)] = float("-inf")
            best[block.to(best.device)] = largest
        return best.mul_(self.scales) if self.rounded else best

    def _similarities(self, shard: Shard, rows: Tensor) -> Tensor:
        """Return (rows, n); in int8, without the scales of the query tokens."""
        if not self.rounded:
            vectors = shard.decode(rows, self.device).to(self.device)
            return torch.mm(vectors, self.columns, out=self._buffer(len(rows), torch.float32))
        codes, scales = shard.quantised(rows)
        products = self._buffer(len(rows), torch.int32)
        torch._int_mm(codes, self.columns, out=products)
        return self._buffer(len(rows), torch.float32).copy_(products).mul_(scales[:, None])

    def _buffer(self, rows: int, dtype: torch.dtype) -> Tensor:
        """Return memory (rows, n), that of the last call if it is large enough."""
        size = rows * self.tokens
        if dtype not in self._buffers or self._buffers[dtype].numel() < size:
            self._buffers[dtype] = torch.empty(size, dtype=dtype, device=self.device)
        return self._buffers[dtype][:size].view(rows, self.tokens)


def _blocks(lengths: Tensor, rows: int) -> Iterator[Tensor]:
    """Yield indices of documents of similar length, shortest first; ``rows`` padded tokens each."""
    ordered, order = lengths.sort(stable=True)
    start, sizes = 0, ordered.tolist()
    while start < len(sizes):
        stop = min(len(sizes), start + max(1, rows // max(1, sizes[start])))
        while stop > start + 1 and (stop - start) * sizes[stop - 1] > rows:
            stop = min(stop - 1, start + max(1, rows // max(1, sizes[stop - 1])))
        yield order[start:stop]
        start = stop


@cache
def rounding_pays(device: torch.device) -> bool:
    """Return True if products of int8 numbers are exact and faster than float32 on a device.

    On a CPU this needs VNNI, which sums in 32 bits; older instructions may overflow.
    """
    has_vnni = getattr(torch.cpu, "_is_vnni_supported", lambda: False)
    return device.type == "cpu" and hasattr(torch, "_int_mm") and has_vnni()


def require_scores(scores: Tensor) -> None:
    """Raise UserError if scores (N,), before the best are chosen, hold NaN or infinity."""
    if not scores.amax() < float("inf"):
        raise UserError(
            "scores of documents are not finite numbers: the query's embeddings or the index hold "
            "NaN or infinity; make the index again with --force"
        )


def top_documents(scores: Tensor, ids: list[str], top_k: int) -> list[tuple[str, float]]:
    """Return the best ``top_k`` documents with their scores, best first.

    Equal scores are ordered by document id, from z to a, as trec_eval does, so that the ranks of a
    run are the ranks that are evaluated. A score of minus infinity means "not found".

    Raises:
        UserError: A score is NaN or infinity.
    """
    require_scores(scores)
    floor = torch.topk(scores, min(top_k, len(ids))).values[-1]
    indices = torch.nonzero((scores >= floor) & (scores > float("-inf"))).flatten()
    ranked = [
        (ids[index], score)
        for score, index in zip(scores[indices].tolist(), indices.tolist(), strict=True)
    ]
    ranked.sort(key=lambda entry: (entry[1], entry[0]), reverse=True)
    return ranked[:top_k]
