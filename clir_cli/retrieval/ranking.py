"""Ranking the documents of a store: exact late interaction, or candidates that are re-scored."""

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
from clir_cli.retrieval.maxsim import BLOCK_CELLS, WINDOW_CELLS, maxsim_batch, rounding_pays
from clir_cli.retrieval.store import Shard, gather

BATCH_TOKENS = 512  # query tokens that share each decoded block
GATHERED = 4096  # documents that are re-scored at once
AGAIN = 2  # times top_k documents are scored in full after a search in whole numbers
STATM = Path("/proc/self/statm")
Scoring = Literal["full", "rounded", "centroids"]  # exact, in whole numbers, by centroids alone


@dataclass(frozen=True)
class Ranker:
    """How the documents of a store are ranked.

    Attributes:
        shards: Of one index, in order.
        top_k: How many of the best are wanted.
        candidates: 0 scores every document. Otherwise so many (a number), or such a share of all
            (below 1), are found by their centroids and re-scored.
        memory: Bytes that the process may take; None for no limit.
        device: Where scores are computed; None for where the queries are.
    """

    shards: Sequence[Shard]
    top_k: int = 100
    candidates: float = 0.0
    memory: int | None = None
    device: torch.device | None = None

    @property
    def documents(self) -> int:
        """Return the number of documents."""
        return sum(len(shard) for shard in self.shards)

    @property
    def rescored(self) -> int:
        """Return how many documents are re-scored for a query, 0 for all of them."""
        if not self.candidates:
            return 0
        share = self.candidates * self.documents if self.candidates < 1 else self.candidates
        return min(self.documents, max(self.top_k, round(share)))

    @property
    def _depth(self) -> int:
        """Return how many documents are scored again after a rough search."""
        return self.rescored or min(AGAIN * self.top_k, self.documents)

    def rank(self, queries: Packed) -> Iterator[Tensor]:
        """Yield each query's scores (documents,) in float32 on the CPU.

        Minus infinity stands for a document that is not among the best, so far as the store's
        format and ``candidates`` let that be told without scoring it in full.

        Raises:
            UserError: Candidates are wanted and the store has no lists, or the memory is too small.
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
        """Return how many queries' scores fit beside what is there already."""
        if self.memory is None:
            return BATCH_TOKENS
        fixed = resident_bytes() + 4 * (6 * BLOCK_CELLS + 2 * WINDOW_CELLS)
        fixed += max(
            (len(each) * BATCH_TOKENS * 4 for each in self.shards if each.lists), default=0
        )
        each = 16 * max(1, self.documents)  # scores, rough scores, what sorting them takes
        room = (self.memory - fixed) // each
        if room < 1:
            least = (fixed + each) / 1e9
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
            yield from self._search(queries, "full")
            return
        depth = self._depth
        rough = self._search(queries, "centroids" if self.rescored else "rounded")
        chosen = [best_indices(scores, depth) for scores in rough]
        del rough
        if self.rescored and rounded and depth > AGAIN * self.top_k:
            closer = self._rescore(queries, chosen, rounded=True)
            chosen = [
                places[best_indices(scores, AGAIN * self.top_k)]
                for places, scores in zip(chosen, closer, strict=True)
            ]
        final = self._rescore(queries, chosen, rounded=False)
        for places, scores in zip(chosen, final, strict=True):
            full = torch.full((self.documents,), float("-inf"))
            full[places] = scores
            yield full

    # What follows is distributed in ``clir_cli.cluster.shard_search``.

    def _search(self, queries: Packed, scoring: Scoring) -> Tensor:
        """Return scores (queries, documents)."""
        return self.scores(queries, self.shards, scoring)

    def _rescore(
        self, queries: Packed, chosen: Sequence[Tensor], *, rounded: bool
    ) -> Iterator[Tensor]:
        """Yield scores (M,) of each query's documents ``chosen`` (M,), which are in order."""
        for query, places in enumerate(chosen):
            yield self.again(queries[query], places, rounded=rounded)

    def scores(self, queries: Packed, shards: Sequence[Shard], scoring: Scoring) -> Tensor:
        """Return scores (queries, documents of the shards) in float32 on the CPU."""
        if scoring == "centroids":
            lists, worth = nearest_lists(queries, shards[0].codec)
            return torch.cat([approximate(queries, each, lists, worth) for each in shards], dim=1)
        rounded, limited = scoring == "rounded", self.memory is not None
        parts = [
            maxsim_batch(queries, each, rounded=rounded, release=limited).cpu() for each in shards
        ]
        return torch.cat(parts, dim=1)

    def again(self, query: Tensor, chosen: Tensor, *, rounded: bool = False) -> Tensor:
        """Return scores (M,) of the documents ``chosen`` (M,), which are in order."""
        alone = Packed(query, torch.tensor([0, len(query)]))
        scores = []
        for some in chosen.split(GATHERED):
            found = gather(self.shards, some, release=self.memory is not None)
            scores.append(maxsim_batch(alone, found, rounded=rounded)[0].cpu())
        return torch.cat(scores)


def best_indices(scores: Tensor, count: int) -> Tensor:
    """Return the places of the best ``count``, in order of place; ties go to the first."""
    if count >= len(scores):
        return torch.arange(len(scores))
    rank = len(scores) - count
    floor = float(np.partition(scores.numpy(), rank)[rank])  # topk takes twice as long for many
    above = torch.nonzero(scores > floor).flatten()
    level = torch.nonzero(scores == floor).flatten()[: count - len(above)]
    return torch.cat([above, level]).sort().values


def resident_bytes() -> int:
    """Return the memory that this process takes, 0 where the system does not tell."""
    try:
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0
