"""Search by workers of Ray: who holds which shards, kept from one method to the next."""

import atexit
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from clir_cli import artifacts, runtime
from clir_cli.cluster import engine as clusters
from clir_cli.cluster.engine import Engine
from clir_cli.cluster.workers import Holders, Trade, pool
from clir_cli.retrieval.ranking import BATCH_TOKENS
from clir_cli.retrieval.ranking_on_ray import Held, Part, SpreadRanker, answer, hold, parted
from clir_cli.stages.encoding import PROCESS
from clir_cli.stages.index import Index
from clir_cli.stages.workspace import Workspace


@dataclass(frozen=True)
class _Kept:
    """The workers that hold an index."""

    of: tuple[Path, str, Engine]
    device: str
    holders: Holders
    stack: ExitStack


_KEPT: list[_Kept] = []  # at most one: another index takes the memory that this one had


def spread_ranker(workspace: Workspace, index: Index) -> SpreadRanker:
    """Return a ranker of an index whose shards are held by workers; the same index, the same ones.

    Raises:
        UserError: No Ray, or no room.
    """
    kept = _holding(workspace, index)
    search, limit = workspace.settings.search, workspace.settings.index.memory_bytes
    return SpreadRanker(
        index.shards, search.top_k, search.candidates, limit, kept.holders, kept.device
    )


def _holding(workspace: Workspace, index: Index) -> _Kept:
    settings = workspace.settings
    folder = workspace.index(settings.collection).resolve()
    of = folder, artifacts.read_manifest(folder)["fingerprint"], workspace.engine
    if _KEPT and _KEPT[0].of == of:
        return _KEPT[0]
    release()
    stack = ExitStack()
    atexit.unregister(release)
    workers = stack.enter_context(pool(workspace.engine, workspace.home, workspace.talk.say))
    device = clusters.device_for(workers.ray, workspace.device)
    longest = max(len(shard) for shard in index.shards)
    taken = settings.index.memory_bytes or PROCESS + 4 * BATCH_TOKENS * longest
    needs = clusters.needs(workspace.engine, settings.cluster, device, taken)
    memory = settings.index.memory_bytes
    parts = parted(index.shards, workers.room(needs))
    trades = [
        Trade(partial(_open, Part(folder, shards, number, len(parts), device, memory)), answer)
        for number, shards in enumerate(parts)
    ]
    holders = Holders(workers, trades, needs)
    stack.callback(holders.close)
    _KEPT.append(_Kept(of, device, holders, stack))
    atexit.register(release)  # after Ray has registered its own end, so that it comes before that
    return _KEPT[0]


def _open(part: Part) -> Held:
    runtime.choose_device(part.device)  # refuses what the machine has not, in one line
    return hold(part)


def release() -> None:
    """End the workers that hold an index."""
    while _KEPT:
        _KEPT.pop().stack.close()
