"""Layout: which documents stand in which shard of an index, and how an index is brought up to date.

A new index has the documents in the order of the collection. When the collection changes, shards
keep the rows of texts that are still there, and what is new goes into shards behind them.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clir_cli.files import write_bytes, write_text
from clir_cli.retrieval.receipts import DIGEST

DIGESTS = "digests.bin"
SHARDS = "shards.json"


@dataclass(frozen=True)
class Source:
    """Where rows can be taken from: a shard of the index before, and which of its documents."""

    number: int
    rows: np.ndarray
    whole: bool


@dataclass(frozen=True)
class Block:
    """The documents of one shard, as places in the collection, and where they stand already."""

    places: np.ndarray
    source: Source | None = None


def fresh(count: int, size: int) -> list[Block]:
    """Return the blocks of a new index: ``size`` documents a shard, in order."""
    return _cut(np.arange(count), size)


def updated(digests: np.ndarray, before: Sequence[np.ndarray], size: int) -> list[Block]:
    """Return blocks that take from an index what it has already.

    A document is known by its text alone: one that got another id or another place is not new.

    Args:
        digests: (documents, DIGEST) of the texts of the collection.
        before: The same of the rows of each shard of the index.
        size: Documents a new shard.
    """
    waiting: dict[bytes, list[int]] = defaultdict(list)
    for place in range(len(digests) - 1, -1, -1):  # the first is taken first
        waiting[bytes(digests[place])].append(place)
    blocks = []
    for number, texts in enumerate(before):
        taken = [waiting[key].pop() if waiting.get(key) else -1 for key in map(bytes, texts)]
        places = np.array(taken, dtype=np.int64)
        rows = np.flatnonzero(places >= 0)
        if len(rows):
            blocks.append(Block(places[rows], Source(number, rows, len(rows) == len(texts))))
    new = sorted(place for places in waiting.values() for place in places)
    return blocks + _cut(np.array(new, dtype=np.int64), size)


def _cut(places: np.ndarray, size: int) -> list[Block]:
    return [Block(places[start : start + size]) for start in range(0, len(places), size)]


def write_layout(folder: Path, digests: np.ndarray, blocks: Sequence[Block]) -> None:
    """Write what an update must know: the digest of each row's text, and the rows of each shard."""
    rows = np.concatenate([digests[block.places] for block in blocks])
    write_bytes(folder / DIGESTS, rows.tobytes())
    sizes = [len(block.places) for block in blocks]
    write_text(folder / SHARDS, json.dumps({"documents": sizes}) + "\n")


def read_layout(folder: Path) -> list[np.ndarray]:
    """Return the digests of each shard's rows; nothing where they are missing or cut."""
    try:
        sizes = json.loads((folder / SHARDS).read_text(encoding="utf-8"))["documents"]
        bounds = np.cumsum([0, *map(int, sizes)])
        digests = np.frombuffer((folder / DIGESTS).read_bytes(), np.uint8).reshape(-1, DIGEST)
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return np.split(digests, bounds[1:-1]) if len(digests) == bounds[-1] else []
