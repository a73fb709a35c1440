"""Ranking by workers of Ray that each hold some shards: the scores of one process, to the bit.

What is scored together here is scored together there. A batch of queries goes against each shard
where it is held, and only the best come back; which documents are scored again is decided here,
where all are known, and each query's are scored together by one worker, from whichever shards.
"""

import atexit
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from clir_cli import artifacts, runtime
from clir_cli.cluster import connection
from clir_cli.cluster.connection import EngineOptions
from clir_cli.cluster.workers import Holders, Trade, pool
from clir_cli.retrieval import memory, store
from clir_cli.retrieval.candidates import approximate, nearest_lists
from clir_cli.retrieval.encoder import Packed
from clir_cli.retrieval.maxsim import maxsim_batch, rounding_pays
from clir_cli.retrieval.ranking import AGAIN, BATCH_TOKENS, Ranker, best_indices
from clir_cli.retrieval.store import Shard
from clir_cli.settings import Settings

How = Literal["full", "rounded", "centroids"]
Found = list[tuple[Tensor, Tensor]]  # for each query places among all documents, and scores


@dataclass(frozen=True)
class Part:
    """What one worker holds.

    Attributes:
        folder: Of the index, as the worker sees it.
        shards: Numbers of the shards that it searches, ascending.
        number: Of the worker, from 0.
        workers: How many there are.
        device: Where the worker computes.
        memory: Bytes that the process may take; None for no limit.
    """

    folder: Path
    shards: Sequence[int]
    number: int
    workers: int
    device: str = "cpu"
    memory: int | None = None


@dataclass(frozen=True)
class Best:
    """Asks for the best of a worker's documents: ``depth`` of them for each query.

    Of documents that are level with the last, all are given where scores are final (``full``),
    since ids decide among them; and the first ones else.
    """

    queries: Packed
    depth: int
    how: How


@dataclass(frozen=True)
class Again:
    """Asks for the scores of each query's chosen documents (M,), which are in order.

    Query i is for worker i modulo the workers.
    """

    queries: Packed
    chosen: Sequence[Tensor]
    rounded: bool


@dataclass(frozen=True)
class SpreadRanker(Ranker):
    """A ranker whose shards are held by workers; ``shards`` here are for their sizes alone."""

    holders: Holders | None = None
    device: str = "cpu"

    def _scores(self, queries: Packed) -> Iterator[Tensor]:
        queries = Packed(queries.vectors.cpu(), queries.offsets)
        rounded = rounding_pays(torch.device(self.device)) and any(
            shard.codec.format != "dense" for shard in self.shards
        )
        if not self.rescored and not rounded:
            yield from self._ask(Best(queries, self.top_k, "full"), len(queries))
            return
        depth = self.rescored or min(AGAIN * self.top_k, self.documents)
        rough = self._ask(Best(queries, depth, "centroids" if self.rescored else "rounded"),
                          len(queries))  # fmt: skip
        chosen = [best_indices(scores, depth) for scores in rough]
        if self.rescored and rounded and depth > AGAIN * self.top_k:
            closer = self._ask(Again(queries, chosen, rounded=True), len(queries))
            chosen = [
                places[best_indices(scores[places], AGAIN * self.top_k)]
                for places, scores in zip(chosen, closer, strict=True)
            ]
        yield from self._ask(Again(queries, chosen, rounded=False), len(queries))

    def _ask(self, question: Best | Again, queries: int) -> list[Tensor]:
        """Return scores (documents,) of each query, minus infinity where no worker gave any."""
        assert self.holders is not None
        scores = torch.full((queries, self.documents), float("-inf"))
        for answers in self.holders.ask([question]):
            for answer in answers:
                for query, (places, values) in enumerate(answer):
                    scores[query, places] = values
        return list(scores)


def parted(shards: Sequence[Shard], workers: int) -> list[list[int]]:
    """Return the numbers of the shards of each worker, about as many tokens for each.

    The largest goes first, to who has the fewest; none is left without a shard.
    """
    parts: list[list[int]] = [[] for _ in range(min(workers, len(shards)))]
    held = [0] * len(parts)
    sizes = [int(shard.offsets[-1]) for shard in shards]
    for number in sorted(range(len(shards)), key=lambda number: (-sizes[number], number)):
        least = min(range(len(parts)), key=lambda part: (held[part], len(parts[part]), part))
        parts[least].append(number)
        held[least] += sizes[number]
    return [sorted(part) for part in parts]


# ------------------------------------------------------------------ where a worker runs


@dataclass(frozen=True)
class Held:
    """The index as a worker has it: all of it is mapped, and its part is what it reads through.

    ``ranker`` is over all shards, ``firsts`` are the places of their first documents.
    """

    part: Part
    ranker: Ranker
    firsts: Sequence[int]
    device: torch.device


def hold(part: Part) -> Held:
    """Open an index for a worker."""
    shards = list(store.read_shards(part.folder))
    firsts = list(accumulate((len(shard) for shard in shards), initial=0))
    return Held(part, Ranker(shards, memory=part.memory), firsts, torch.device(part.device))


def answer(held: Held, question: Best | Again) -> Found:
    """Return what a worker finds among its documents."""
    vectors = question.queries.vectors.to(held.device)
    queries = Packed(vectors, question.queries.offsets)
    return (_best if isinstance(question, Best) else _again)(held, queries, question)


def _best(held: Held, queries: Packed, question: Best) -> Found:
    mine = held.part.shards
    scores = torch.cat([_rough(held, queries, number, question.how) for number in mine], dim=1)
    places = torch.cat([torch.arange(*held.firsts[number : number + 2]) for number in mine])
    found = []
    for row in scores:
        if question.how == "full":
            floor = row.topk(min(question.depth, len(row))).values[-1]
            kept = torch.nonzero(row >= floor).flatten()
        else:
            kept = best_indices(row, question.depth)
        found.append((places[kept], row[kept]))
    return found


def _rough(held: Held, queries: Packed, number: int, how: How) -> Tensor:
    shard = held.ranker.shards[number]
    if how == "centroids":
        lists, worth = nearest_lists(queries, shard.codec)
        return approximate(queries, shard, lists, worth)
    limited = held.part.memory is not None
    return maxsim_batch(queries, shard, rounded=how == "rounded", release=limited).cpu()


def _again(held: Held, queries: Packed, question: Again) -> Found:
    found, none = [], torch.zeros(0)
    for number, chosen in enumerate(question.chosen):
        if number % held.part.workers == held.part.number:
            scores = held.ranker.again(queries[number], chosen, rounded=question.rounded)
            found.append((chosen, scores))
        else:
            found.append((none.long(), none))
    return found


# ------------------------------------------------------------------ actors kept between methods


@dataclass(frozen=True)
class _Kept:
    """The workers that hold an index."""

    of: tuple[Path, str, EngineOptions]
    device: str
    holders: Holders
    stack: ExitStack


_KEPT: list[_Kept] = []  # at most one: another index takes the memory that this one had


def spread_ranker(
    engine: EngineOptions,
    settings: Settings,
    folder: Path,
    shards: Sequence[Shard],
    *,
    home: Path,
    device: str,
    say: Callable[[str], None],
) -> SpreadRanker:
    """Return a ranker of an index whose shards are held by workers; the same index, the same ones.

    Args:
        engine: Where the cluster is, and how many workers there may be.
        settings: Those of the search, the index and the cluster are read.
        folder: The index.
        shards: Its shards.
        home: A folder that all machines share.
        device: Where the workers compute.
        say: Reports what is waited for.

    Raises:
        UserError: No Ray, or no room.
    """
    folder = folder.resolve()
    of = folder, artifacts.read_manifest(folder)["fingerprint"], engine
    if not _KEPT or _KEPT[0].of != of:
        release()
        stack = ExitStack()
        atexit.unregister(release)
        workers = stack.enter_context(pool(engine, home, say))
        device = connection.device_for(workers.ray, device)
        limit = settings.index.memory_bytes
        longest = max(len(shard) for shard in shards)
        taken = limit or memory.PROCESS + 4 * BATCH_TOKENS * longest
        needs = connection.worker_resources(engine, settings.cluster, device, taken)
        parts = parted(shards, workers.room(needs))
        trades = [
            Trade(partial(_open, Part(folder, numbers, place, len(parts), device, limit)), answer)
            for place, numbers in enumerate(parts)
        ]
        holders = Holders(workers, trades, needs)
        stack.callback(holders.close)
        _KEPT.append(_Kept(of, device, holders, stack))
        atexit.register(release)  # after Ray has registered its own end, so that it runs first
    (kept,) = _KEPT
    search, limit = settings.search, settings.index.memory_bytes
    return SpreadRanker(shards, search.top_k, search.candidates, limit, kept.holders, kept.device)


def _open(part: Part) -> Held:
    runtime.choose_device(part.device)  # refuses what the machine has not, in one line
    return hold(part)


def release() -> None:
    """End the workers that hold an index."""
    while _KEPT:
        _KEPT.pop().stack.close()
