"""The token store: token embeddings of documents on disk, in shards, mapped into memory.

A shard holds a run of documents in the order of the collection: ``shard-00000.vectors.npy``
(tokens, dimensions) and ``shard-00000.offsets.npy`` (documents + 1). The offsets are written last,
so a shard with offsets is whole, and a cut index goes on behind the last one.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from clir_cli.files import write_bytes
from clir_cli.retrieval.encoder import Packed


def shard_paths(folder: Path, number: int) -> tuple[Path, Path]:
    """Return the paths of a shard's vectors and offsets."""
    stem = folder / f"shard-{number:05d}"
    return stem.with_suffix(".vectors.npy"), stem.with_suffix(".offsets.npy")


def has_shard(folder: Path, number: int) -> bool:
    """Tell whether a shard has been written to its end."""
    return shard_paths(folder, number)[1].exists()


def write_shard(folder: Path, number: int, packed: Packed) -> None:
    """Write one shard; each file is whole or not there."""
    vectors, offsets = shard_paths(folder, number)
    write_bytes(vectors, _npy(packed.vectors.numpy()))
    write_bytes(offsets, _npy(packed.offsets.numpy()))


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def read_shard(folder: Path, number: int) -> Packed:
    """Return a shard; the vectors stay on disk and are read as they are touched."""
    vectors, offsets = shard_paths(folder, number)
    # Copy-on-write: torch wants memory that it may write, though nothing here does.
    mapped = np.load(vectors, mmap_mode="c", allow_pickle=False)
    return Packed(torch.from_numpy(mapped), torch.from_numpy(np.load(offsets, allow_pickle=False)))


def read_shards(folder: Path) -> Iterator[Packed]:
    """Yield the shards in order."""
    number = 0
    while has_shard(folder, number):
        yield read_shard(folder, number)
        number += 1
