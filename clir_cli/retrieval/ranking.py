"""Ranking the documents of a store: exact late interaction, or re-scored candidates."""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from clir_cli.errors import UserError
from clir_cli.retrieval.candidates import approximate, nearest_lists
from clir_cli.retrieval.encoder import Packed
from clir_cli.retrieval.maxsim import (
    BLOCK_CELLS,
    WINDOW_CELLS,
    maxsim_batch,
    require_scores,
    rounding_pays,
)
from clir_cli.retrieval.passages import Passages, best_of
from clir_cli.retrieval.store import Shard, gather

BATCH_TOKENS = 512  # query tokens that share each decoded block
GATHERED = 4096  # rows that are re-scored at once
AGAIN = 2  # times top_k documents are scored in float32 after a search in int8
STATM = Path("/proc/self/statm")
Scoring = Literal["full", "rounded", "centroids"]  # in float32, in int8, by centroids alone


@dataclass(frozen=True)
class Ranker:
    """How the documents of a store are ranked.

    Attributes:
        shards: The shards of one index, in order.
        top_k: Length of a ranking.
        candidates: 0 scores every document. Otherwise this number of documents, or this share of
            all (below 1), is found by centroids and re-scored.
        memory: Bytes that the process may take; None for no limit.
        device: Where scores are computed; None for where the queries are.
        passages: What part of which document each row is; None if rows are whole documents.
        allowed: (documents,), True for those that may be found; None for all.
    """

    shards: Sequence[Shard]
    top_k: int = 100
    candidates: float = 0.0
    memory: int | None = None
    device: torch.device | None = None
    passages: Passages | None = None
    allowed: Tensor | None = None

    @property
    def rows(self) -> int:
        """Return the number of rows: documents, or passages of documents."""
        return sum(len(shard) for shard in self.shards)

    @property
    def documents(self) -> int:
        """Return the number of documents."""
        return self.passages.count if self.passages else self.rows

    @property
    def rescored(self) -> int:
        """Return how many documents are re-scored for a query, 0 for all of them."""
        if not self.candidates:
            return 0
        share = self.candidates * self.documents if self.candidates < 1 else self.candidates
        return min(self.documents, max(self.top_k, round(share)))

    @property
    def _depth(self) -> int:
        return self.rescored or min(AGAIN * self.top_k, self.documents)

    def rank(self, queries: Packed) -> Iterator[Tensor]:
        """Yield each query's scores (documents,) in float32 on the CPU.

        Minus infinity marks documents that are not among the best, as far as the index's format and
        ``candidates`` decide that without scoring them in float32.

        Raises:
            UserError: Candidates need lists that the index lacks, or the memory is too small.
        """
        if self.candidates and not all(shard.lists for shard in self.shards):
            raise UserError(
                "search.candidates needs an index with lists from centroids to documents; make one "
                "with --set index.lists=true (clir index ... --force), or set it to 0"
            )
        for batch in self._batches(queries):
            yield from self._scores(batch)

    def _batches(self, queries: Packed) -> Iterator[Packed]:
        room = self._queries_at_once()
        first, ends = 0, queries.offsets.tolist()
        for last in range(1, len(ends)):
            full = last - first >= room or (
                last + 1 < len(ends) and ends[last + 1] - ends[first] > BATCH_TOKENS
            )
            if full or last + 1 == len(ends):
                offsets = queries.offsets[first : last + 1] - ends[first]
                yield Packed(queries.vectors[ends[first] : ends[last]], offsets)
                first = last

    def _queries_at_once(self) -> int:
        """Return the scores of how many queries fit into the memory."""
        if self.memory is None:
            return BATCH_TOKENS
        fixed = resident_bytes() + 4 * (6 * BLOCK_CELLS + 2 * WINDOW_CELLS)
        longest = max((len(shard) for shard in self.shards if shard.lists), default=0)
        fixed += 4 * BATCH_TOKENS * longest
        a_query = 16 * max(1, self.rows)  # scores, approximate scores, and sorting them
        room = (self.memory - fixed) // a_query
        if room < 1:
            least = (fixed + a_query) / 1e9
            raise UserError(
                f"index.memory={self.memory / 1e9:.2f}GB is too small for this search, which takes "
                f"{least:.2f}GB with one query at a time; give {least * 1.1:.1f}GB"
            )
        return min(room, BATCH_TOKENS)

    def _scores(self, queries: Packed) -> Iterator[Tensor]:
        rounded = rounding_pays(self.device or queries.vectors.device) and any(
            shard.codec.format != "dense" for shard in self.shards
        )
        if not self.rescored and not rounded:
            yield from self._hidden(self._search(queries, "full"))
            return
        depth = self._depth
        scoring: Scoring = "centroids" if self.rescored else "rounded"
        approximated = self._hidden(self._search(queries, scoring))
        chosen = [best_indices(scores, depth) for scores in approximated]
        del approximated
        if self.rescored and rounded and depth > AGAIN * self.top_k:
            closer = self._rescore(queries, chosen, rounded=True)
            chosen = [
                indices[best_indices(scores, AGAIN * self.top_k)]
                for indices, scores in zip(chosen, closer, strict=True)
            ]
        final = self._rescore(queries, chosen, rounded=False)
        for indices, scores in zip(chosen, final, strict=True):
            full = torch.full((self.documents,), float("-inf"))
            full[indices] = scores
            yield self._hidden(full)

    def _hidden(self, scores: Tensor) -> Tensor:
        """Return scores (..., documents) with minus infinity where a document is not allowed."""
        return scores if self.allowed is None else scores.masked_fill_(~self.allowed, -math.inf)

    # The methods below are distributed in ``clir_cli.cluster.shard_search``.

    def _search(self, queries: Packed, scoring: Scoring) -> Tensor:
        scores = self.scores(queries, self.shards, scoring)
        if self.passages is None:
            return scores
        return best_of(scores, self.passages.documents, self.documents)

    def _rescore(
        self, queries: Packed, chosen: Sequence[Tensor], *, rounded: bool
    ) -> Iterator[Tensor]:
        """Yield scores (M,) of each query's documents ``chosen`` (M,), which ascend."""
        for query, indices in enumerate(chosen):
            yield self.again(queries[query], indices, rounded=rounded)

    def scores(self, queries: Packed, shards: Sequence[Shard], scoring: Scoring) -> Tensor:
        """Return scores (queries, rows of the shards) in float32 on the CPU."""
        if scoring == "centroids":
            lists, gains = nearest_lists(queries, shards[0].codec)
            parts = [approximate(queries, shard, lists, gains) for shard in shards]
            return torch.cat(parts, dim=1)
        rounded, limited = scoring == "rounded", self.memory is not None
        parts = [
            maxsim_batch(queries, shard, rounded=rounded, release=limited).cpu() for shard in shards
        ]
        return torch.cat(parts, dim=1)

    def again(self, query: Tensor, chosen: Tensor, *, rounded: bool = False) -> Tensor:
        """Return scores (M,) of the documents ``chosen`` (M,), which ascend."""
        queries = Packed(query, torch.tensor([0, len(query)]))
        rows = chosen if self.passages is None else self.passages.rows(chosen)
        parts = []
        for part in rows.split(GATHERED):
            documents = gather(self.shards, part, release=self.memory is not None)
            parts.append(maxsim_batch(queries, documents, rounded=rounded)[0].cpu())
        scores = torch.cat(parts)
        if self.passages is None:
            return scores
        places = torch.searchsorted(chosen, self.passages.documents[rows])
        return best_of(scores, places, len(chosen))


def best_indices(scores: Tensor, count: int) -> Tensor:
    """Return the indices (count,) of the largest scores, ascending; ties go to the first.

    Raises:
        UserError: A score is NaN or infinity.
    """
    require_scores(scores)
    if count >= len(scores):
        return torch.arange(len(scores))
    rank = len(scores) - count
    floor = float(np.partition(scores.numpy(), rank)[rank])  # topk takes twice as long for many
    above = torch.nonzero(scores > floor).flatten()
    ties = torch.nonzero(scores == floor).flatten()[: count - len(above)]
    return torch.cat([above, ties]).sort().values


def resident_bytes() -> int:
    """Return the memory of this process, 0 where the system does not report it."""
    try:
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0
