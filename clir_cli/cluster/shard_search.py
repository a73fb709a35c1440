"""Search by workers of Ray that each hold some shards: the scores of one process, to the bit.

A batch of queries is sent to all workers, and each returns the best of its documents. Which of them
are scored again is decided by the driver, which knows them all; those of one query are scored
together, as in one process, by one worker, which maps the whole index.
"""

import atexit
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from clir_cli import runtime
from clir_cli.artifacts.manifest import read_manifest
from clir_cli.cluster.connection import EngineOptions
from clir_cli.cluster.workers import call, ray_cluster
from clir_cli.retrieval import memory, store
from clir_cli.retrieval.encoder import Packed
from clir_cli.retrieval.passages import best_of, read_passages
from clir_cli.retrieval.ranking import BATCH_TOKENS, Ranker, Scoring, best_indices
from clir_cli.retrieval.store import Shard
from clir_cli.settings import Settings

Answer = list[tuple[Tensor, Tensor]]  # for each query: places among all documents, and scores
AskAll = Callable[[Callable[["PartSearcher"], Answer]], list[Answer]]  # one answer a worker


@dataclass(frozen=True, kw_only=True)
class ShardedRanker(Ranker):
    """A ranker whose shards are held by workers; only the sizes of ``shards`` are used here."""

    ask: AskAll

    def _search(self, queries: Packed, scoring: Scoring) -> Tensor:
        depth = self.top_k if scoring == "full" else self._depth
        best = partial(PartSearcher.best, depth=depth, scoring=scoring, allowed=self.allowed)
        return self._ask(queries, best)

    def _rescore(
        self, queries: Packed, chosen: Sequence[Tensor], *, rounded: bool
    ) -> Iterator[Tensor]:
        scores = self._ask(queries, partial(PartSearcher.rescore, chosen=chosen, rounded=rounded))
        yield from (row[places] for row, places in zip(scores, chosen, strict=True))

    def _ask(self, queries: Packed, request: Callable[..., Answer]) -> Tensor:
        """Return scores (queries, documents), minus infinity where no worker returned any."""
        queries = Packed(queries.vectors.cpu(), queries.offsets)
        merged = torch.full((len(queries), self.documents), float("-inf"))
        for answer in self.ask(partial(request, queries=queries)):
            for query, (places, scores) in enumerate(answer):
                # A document may have passages with several workers.
                merged[query, places] = torch.maximum(merged[query, places], scores)
        return merged


def partition(shards: Sequence[Shard], workers: int) -> list[list[int]]:
    """Return the numbers of the shards of each worker, ascending, with about as many tokens each.

    The largest goes first, to the worker with the fewest tokens; each worker has a shard.
    """
    parts: list[list[int]] = [[] for _ in range(min(workers, len(shards)))]
    loads = [0] * len(parts)
    sizes = [int(shard.offsets[-1]) for shard in shards]
    for number in sorted(range(len(shards)), key=lambda number: (-sizes[number], number)):
        least = min(range(len(parts)), key=lambda part: (loads[part], len(parts[part]), part))
        parts[least].append(number)
        loads[least] += sizes[number]
    return [sorted(part) for part in parts]


# ------------------------------------------------------------------ where a worker runs


@dataclass(frozen=True)
class PartSearcher:
    """A worker's view of an index: it searches some of the shards, and maps all of them.

    ``ranker`` has the whole index; ``shards`` are those that it searches, ``places`` those of their
    documents among all, in order; ``worker`` is its number among ``workers``, from 0. ``rows`` says
    which of the places each row has, if rows are passages.
    """

    ranker: Ranker
    shards: Sequence[Shard]
    places: Tensor
    worker: int
    workers: int
    rows: Tensor | None = None

    def best(
        self, queries: Packed, depth: int, scoring: Scoring, allowed: Tensor | None = None
    ) -> Answer:
        """Return the best ``depth`` of the worker's documents for each query.

        ``allowed`` (documents,) is False for those of all documents that may not be found.

        If scores are final (``full``), all documents that tie with the last are returned, since ids
        decide among them; otherwise the first of them.
        """
        answer = []
        for scores in self.ranker.scores(self._on_device(queries), self.shards, scoring):
            if self.rows is not None:
                scores = best_of(scores, self.rows, len(self.places))
            if allowed is not None:
                scores = scores.masked_fill(~allowed[self.places], float("-inf"))
            if scoring == "full":
                floor = scores.topk(min(depth, len(scores))).values[-1]
                best = torch.nonzero(scores >= floor).flatten()
            else:
                best = best_indices(scores, depth)
            answer.append((self.places[best], scores[best]))
        return answer

    def rescore(self, queries: Packed, chosen: Sequence[Tensor], rounded: bool) -> Answer:
        """Return the scores of each query's chosen documents (M,), which are in order.

        Query i is for worker i modulo the number of workers.
        """
        queries = self._on_device(queries)
        nothing = torch.zeros(0, dtype=torch.long), torch.zeros(0)
        return [
            (places, self.ranker.again(queries[query], places, rounded=rounded))
            if query % self.workers == self.worker
            else nothing
            for query, places in enumerate(chosen)
        ]

    def _on_device(self, queries: Packed) -> Packed:
        return Packed(queries.vectors.to(self.ranker.device), queries.offsets)


def open_part(
    folder: Path, parts: Sequence[Sequence[int]], worker: int, device: str, memory: int | None
) -> PartSearcher:
    """Open an index where a worker runs; ``parts`` are the numbers of every worker's shards."""
    on = runtime.choose_device(device)  # one line instead of a traceback if it is not there
    shards = list(store.read_shards(folder))
    ranker = Ranker(shards, memory=memory, device=on, passages=read_passages(folder))
    rows = torch.arange(ranker.rows).split([len(shard) for shard in shards])
    numbers = parts[worker]
    own, held = torch.cat([rows[number] for number in numbers]), None
    if ranker.passages is not None:
        own, held = ranker.passages.documents[own].unique(return_inverse=True)
    held_shards = [shards[number] for number in numbers]
    return PartSearcher(ranker, held_shards, own, worker, len(parts), held)


# ------------------------------------------------------------------ workers kept between methods

# The workers that hold an index, their device, and what ends them, by index and engine; at most one
# entry, since another index takes the memory of this one.
_OPEN: dict[tuple[Path, str, EngineOptions], tuple[AskAll, torch.device, ExitStack]] = {}


def sharded_ranker(
    engine: EngineOptions,
    settings: Settings,
    folder: Path,
    shards: Sequence[Shard],
    *,
    home: Path,
    device: str,
    say: Callable[[str], None],
) -> ShardedRanker:
    """Return a ranker of an index whose shards are held by workers, which stay for the next call.

    ``home`` is a folder that all machines share; the workers compute on ``device``.

    Raises:
        UserError: No Ray, or no room.
    """
    folder = folder.resolve()
    key = folder, read_manifest(folder)["fingerprint"], engine
    search, limit = settings.search, settings.index.memory_bytes
    if key not in _OPEN:
        release()
        stack = ExitStack()
        atexit.unregister(release)
        cluster = stack.enter_context(ray_cluster(engine, home, say))
        device = cluster.device(device)
        needed = limit or memory.PROCESS + 4 * BATCH_TOKENS * max(len(shard) for shard in shards)
        resources = cluster.resources(settings.cluster, device, needed)
        parts = partition(shards, cluster.room(resources))
        workers = []
        for worker in range(len(parts)):
            prepare = partial(open_part, folder, parts, worker, device, limit)
            workers.append(cluster.start(prepare, call, resources))
            stack.callback(cluster.end, workers[-1])
        _OPEN[key] = partial(cluster.ask_all, workers), torch.device(device), stack
        atexit.register(release)  # after Ray has registered its own end, so that it runs first
    ask, on, _ = _OPEN[key]
    return ShardedRanker(
        shards, search.top_k, search.candidates, limit, on, read_passages(folder), ask=ask
    )


def release() -> None:
    """End the workers that hold an index."""
    while _OPEN:
        _, (_, _, stack) = _OPEN.popitem()
        stack.close()
