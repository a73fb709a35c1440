"""Which documents each shard of an index holds, and how an index is brought up to date.

A new index has the documents in the order of the collection. When the collection changes, shards
keep the rows of texts that are still in it, and new texts go into new shards behind them.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clir_cli.files import write_bytes, write_text
from clir_cli.retrieval.shard_checksums import DIGEST

DIGESTS = "digests.bin"
SHARDS = "shards.json"


@dataclass(frozen=True)
class ReusedRows:
    """Documents that are copied from a shard of the previous index.

    ``rows`` are the documents of ``shard`` that are still in the collection, ascending; ``whole``
    is True if these are all.
    """

    shard: int
    rows: np.ndarray
    whole: bool


@dataclass(frozen=True)
class ShardDocuments:
    """The documents of one shard, as indices into the collection, and where they can be copied."""

    documents: np.ndarray
    reused: ReusedRows | None = None


def new_layout(count: int, size: int) -> list[ShardDocuments]:
    """Return the shards of a new index: ``size`` documents each, in order."""
    return _split(np.arange(count), size)


def updated_layout(
    digests: np.ndarray, before: Sequence[np.ndarray], size: int
) -> list[ShardDocuments]:
    """Return shards that reuse the documents of a previous index.

    A document is known by its text alone: one with another id or another position is not new.

    ``digests`` (documents, DIGEST) are those of the texts, ``before`` those of the rows of each
    shard of the previous index; ``size`` is the number of documents of a new shard.
    """
    unplaced: dict[bytes, list[int]] = defaultdict(list)
    for index in range(len(digests) - 1, -1, -1):  # the first document is popped first
        unplaced[bytes(digests[index])].append(index)
    shards = []
    for number, texts in enumerate(before):
        indices = [unplaced[key].pop() if unplaced.get(key) else -1 for key in map(bytes, texts)]
        documents = np.array(indices, dtype=np.int64)
        rows = np.flatnonzero(documents >= 0)
        if len(rows):
            reused = ReusedRows(number, rows, len(rows) == len(texts))
            shards.append(ShardDocuments(documents[rows], reused))
    new = sorted(index for same_text in unplaced.values() for index in same_text)
    return shards + _split(np.array(new, dtype=np.int64), size)


def _split(documents: np.ndarray, size: int) -> list[ShardDocuments]:
    return [
        ShardDocuments(documents[start : start + size]) for start in range(0, len(documents), size)
    ]


def write_layout(folder: Path, digests: np.ndarray, shards: Sequence[ShardDocuments]) -> None:
    """Write what an update needs: the digest of each row's text, and the rows of each shard."""
    rows = np.concatenate([digests[shard.documents] for shard in shards])
    write_bytes(folder / DIGESTS, rows.tobytes())
    sizes = [len(shard.documents) for shard in shards]
    write_text(folder / SHARDS, json.dumps({"documents": sizes}) + "\n")


def read_layout(folder: Path) -> list[np.ndarray]:
    """Return the digests of each shard's rows; an empty list if they are missing or damaged."""
    try:
        sizes = json.loads((folder / SHARDS).read_text(encoding="utf-8"))["documents"]
        bounds = np.cumsum([0, *map(int, sizes)])
        digests = np.frombuffer((folder / DIGESTS).read_bytes(), np.uint8).reshape(-1, DIGEST)
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return np.split(digests, bounds[1:-1]) if len(digests) == bounds[-1] else []
