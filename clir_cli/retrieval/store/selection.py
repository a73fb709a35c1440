"""Some documents of a shard as a shard of their own, without decoding anything."""

import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clir_cli.files import write_bytes
from clir_cli.retrieval.store.shards import OFFSETS, Lists, Shard, shard_path


def selected(shard: Shard, documents: Tensor) -> Shard:
    """Return a shard of the documents (k,), in their order: the same numbers, bit for bit."""
    lengths = shard.offsets.diff()[documents]
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)])
    shifts = (shard.offsets[documents] - offsets[:-1]).repeat_interleave(lengths)
    rows = (torch.arange(int(offsets[-1])) + shifts).numpy()
    arrays = {name: np.ascontiguousarray(array[rows]) for name, array in shard.arrays.items()}
    lists = _selected(shard.lists, documents.numpy(), len(shard)) if shard.lists else None
    return Shard(shard.codec, offsets, arrays, lists)


def _selected(lists: Lists, documents: np.ndarray, count: int) -> Lists:
    """Return the lists of the documents alone; they must be in order, as those in a list are."""
    number = np.full(count, -1)
    number[documents] = np.arange(len(documents))
    postings = number[lists.postings]
    kept = postings >= 0
    before = np.concatenate([[0], np.cumsum(kept)])
    short = np.uint16 if len(documents) <= 1 << 16 else np.int32
    return Lists(postings[kept].astype(short), before[lists.starts].astype(lists.starts.dtype))


def write_selected(folder: Path, number: int, shard: Shard) -> None:
    """Write a shard that is in memory; each file is whole or not there, and the offsets last."""
    parts = dict(shard.arrays) | (dict(vars(shard.lists)) if shard.lists else {})
    for part, array in (*parts.items(), (OFFSETS, shard.offsets.numpy())):
        stream = io.BytesIO()
        np.save(stream, array, allow_pickle=False)
        write_bytes(shard_path(folder, number, part), stream.getvalue())
