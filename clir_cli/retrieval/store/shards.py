"""Shards: a run of documents in the order of the collection, as files that are mapped into memory.

``shard-00000.<part>.npy`` for each part of the format, ``.nearest`` (tokens,), ``.postings`` and
``.starts`` where there are lists, and ``shard-00000.offsets.npy`` (documents + 1). The offsets are
written last, so a shard with offsets is whole, and a cut index goes on behind the last one.
"""

import io
import mmap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clir_cli.errors import UserError
from clir_cli.files import write_bytes
from clir_cli.retrieval.encoder import Packed
from clir_cli.retrieval.store.codec import Codec, read_codec
from clir_cli.retrieval.store.formats import FORMATS, quantise

OFFSETS = "offsets"
LISTS = ("postings", "starts")


def shard_path(folder: Path, number: int, part: str) -> Path:
    """Return where a part of a shard lies."""
    return folder / f"shard-{number:05d}.{part}.npy"


def shard_paths(folder: Path, number: int) -> list[Path]:
    """Return the files of a shard that are there, the offsets last."""
    found = folder.glob(f"shard-{number:05d}.*.npy")
    return sorted(found, key=lambda path: (path == shard_path(folder, number, OFFSETS), path))


def has_shard(folder: Path, number: int) -> bool:
    """Tell whether a shard has been written to its end."""
    return shard_path(folder, number, OFFSETS).exists()


@dataclass(frozen=True)
class Lists:
    """The documents of a shard that have a token near each centroid.

    Those of centroid c are ``postings[starts[c]:starts[c + 1]]``, ascending, each once.
    """

    postings: np.ndarray
    starts: np.ndarray


@dataclass(frozen=True)
class Shard:
    """Documents of an index as they are stored; rows are decoded when they are asked for.

    Attributes:
        codec: The index's.
        offsets: (documents + 1,) int64: document i owns rows ``offsets[i]:offsets[i + 1]``.
        arrays: What the codec's format wrote, by name.
        lists: From centroids to documents, if the index has them.
    """

    codec: Codec
    offsets: Tensor
    arrays: Mapping[str, np.ndarray]
    lists: Lists | None = None

    @classmethod
    def of(cls, packed: Packed) -> "Shard":
        """Return embeddings in memory as a shard."""
        vectors = packed.vectors.detach().cpu()
        known = vectors.float() if vectors.dtype == torch.bfloat16 else vectors  # numpy has none
        return cls(Codec(), packed.offsets.cpu(), {"vectors": known.numpy()})

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Tensor:
        return self.decode(slice(int(self.offsets[index]), int(self.offsets[index + 1])))

    @property
    def dimensions(self) -> int:
        """Return the size of a token embedding."""
        if self.codec.dimensions:
            return self.codec.dimensions
        return int(next(iter(self.arrays.values())).shape[1])

    @property
    def vectors(self) -> Tensor:
        """Return all vectors: mapped where they are stored as such, decoded elsewhere."""
        if self.codec.format == "dense":
            return torch.from_numpy(self.arrays["vectors"])
        return self.decode(slice(None))

    @property
    def bytes(self) -> int:
        """Return what the shard takes on disk, but for the headers of files."""
        kept = [*self.arrays.values(), *(vars(self.lists).values() if self.lists else ())]
        return sum(array.nbytes for array in kept) + self.offsets.nbytes

    def decode(self, rows: slice | Tensor, device: torch.device | None = None) -> Tensor:
        """Return vectors (rows, dimensions) in float32, decoded on ``device``."""
        chosen = {name: _rows(array, rows) for name, array in self.arrays.items()}
        if device is not None and device.type != "cpu":
            chosen = {name: value.to(device) for name, value in chosen.items()}
        return FORMATS[self.codec.format].decode(self.codec, chosen)

    def whole_numbers(self, rows: slice | Tensor) -> tuple[Tensor, Tensor]:
        """Return vectors as int8 (rows, dimensions) and scales (rows,), rounded if need be."""
        if self.codec.format == "int8":
            return _rows(self.arrays["codes"], rows), _rows(self.arrays["scales"], rows)
        return quantise(self.decode(rows))

    def release(self) -> None:
        """Give the memory of pages that were read back to the system; they can be read again."""
        for array in self.arrays.values():
            mapped = array.base
            if isinstance(mapped, mmap.mmap):
                with suppress(AttributeError, OSError):  # a system without madvise
                    mapped.madvise(mmap.MADV_DONTNEED)


def _rows(array: np.ndarray, rows: slice | Tensor) -> Tensor:
    whole = torch.from_numpy(array)
    if isinstance(rows, slice):
        return whole[rows]
    if whole.dtype == torch.uint16:  # torch cannot select in it
        return torch.index_select(whole.view(torch.int16), 0, rows).to(torch.int32) & 0xFFFF
    return torch.index_select(whole, 0, rows)


def gather(shards: Sequence[Shard], chosen: Tensor, *, release: bool = False) -> Shard:
    """Return some documents of several shards as one shard in memory, encoded as they were.

    Args:
        shards: Of one index, in order.
        chosen: Numbers (M,) of documents, counted through all shards, ascending; at least one.
        release: Give back the memory of what was read from disk.
    """
    starts = torch.tensor([0, *(len(shard) for shard in shards)]).cumsum(0)
    first = torch.cat([shard.offsets[:-1] for shard in shards])[chosen]
    lengths = torch.cat([shard.offsets[1:] for shard in shards])[chosen] - first
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)])
    rows = torch.arange(int(offsets[-1])) + (first - offsets[:-1]).repeat_interleave(lengths)
    bounds = offsets[torch.searchsorted(chosen, starts)].tolist()
    arrays = {
        name: np.empty((len(rows), *array.shape[1:]), array.dtype)
        for name, array in shards[0].arrays.items()
    }
    for shard, (low, high) in zip(shards, pairwise(bounds), strict=True):
        if low == high:
            continue
        own = rows[low:high].numpy()
        for name, room in arrays.items():
            # Straight to its place; a check of the rows would make numpy copy them once more.
            np.take(shard.arrays[name], own, axis=0, out=room[low:high], mode="clip")
        if release:
            shard.release()
    return Shard(shards[0].codec, offsets, arrays)


def select_documents(shard: Shard, documents: Tensor) -> Shard:
    """Return the documents (k,), ascending, as a shard in memory: the same bytes, not decoded."""
    lengths = shard.offsets.diff()[documents]
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)])
    shifts = (shard.offsets[documents] - offsets[:-1]).repeat_interleave(lengths)
    rows = (torch.arange(int(offsets[-1])) + shifts).numpy()
    arrays = {name: np.ascontiguousarray(array[rows]) for name, array in shard.arrays.items()}
    lists = _select_lists(shard.lists, documents.numpy(), len(shard)) if shard.lists else None
    return Shard(shard.codec, offsets, arrays, lists)


def _select_lists(lists: Lists, documents: np.ndarray, count: int) -> Lists:
    number = np.full(count, -1)
    number[documents] = np.arange(len(documents))
    postings = number[lists.postings]
    kept = postings >= 0
    before = np.concatenate([[0], np.cumsum(kept)])
    short = np.uint16 if len(documents) <= 1 << 16 else np.int32
    return Lists(postings[kept].astype(short), before[lists.starts].astype(lists.starts.dtype))


def write_shard(folder: Path, number: int, packed: Packed, codec: Codec | None = None) -> None:
    """Write one shard; each file is whole or not there, and the offsets are the last.

    Args:
        folder: The index's.
        number: Of the shard, from 0.
        packed: Embeddings of its documents, on the CPU.
        codec: The index's; None keeps the vectors as they are.
    """
    codec = codec or Codec()
    nearest = codec.clusters.nearest(packed.vectors.float()) if codec.has_lists else None
    arrays = FORMATS[codec.format].encode(codec, packed.vectors, nearest)
    written = {name: value.numpy() for name, value in arrays.items()}
    if nearest is not None:
        assert codec.centroids is not None
        if "nearest" in FORMATS[codec.format].parts:
            written["nearest"] = nearest.numpy().astype(np.uint16)
        lists = _lists(nearest, packed.offsets, len(codec.centroids))
        written |= {"postings": lists.postings, "starts": lists.starts}
    _write_arrays(folder, number, written, packed.offsets)


def save_shard(folder: Path, number: int, shard: Shard) -> None:
    """Write a shard as it is encoded in memory; each file is whole or absent, offsets last."""
    lists = dict(vars(shard.lists)) if shard.lists else {}
    _write_arrays(folder, number, {**shard.arrays, **lists}, shard.offsets)


def _write_arrays(
    folder: Path, number: int, arrays: Mapping[str, np.ndarray], offsets: Tensor
) -> None:
    for part, array in (*arrays.items(), (OFFSETS, offsets.numpy())):
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        write_bytes(shard_path(folder, number, part), buffer.getvalue())


def _lists(nearest: Tensor, offsets: Tensor, centroids: int) -> Lists:
    documents = len(offsets) - 1
    owner = torch.repeat_interleave(torch.arange(documents), offsets.diff())
    keys = torch.unique(nearest * documents + owner)  # sorted
    counts = torch.bincount(keys // max(1, documents), minlength=centroids)
    starts = torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)])
    short = np.uint16 if documents <= 1 << 16 else np.int32
    return Lists((keys % max(1, documents)).numpy().astype(short), starts.numpy().astype(np.int32))


def read_shard(folder: Path, number: int, codec: Codec | None = None) -> Shard:
    """Return a shard; its arrays stay on disk and are read as they are touched.

    Args:
        folder: The index's.
        number: Of the shard.
        codec: The index's, where it has been read already.

    Raises:
        UserError: A file is missing, cut, or of another length than the offsets say.
    """
    codec = codec or read_codec(folder)
    offsets = torch.from_numpy(_mapped(folder, number, OFFSETS, mapped=False))
    arrays = {part: _mapped(folder, number, part) for part in FORMATS[codec.format].parts}
    for part, array in arrays.items():
        if len(array) != int(offsets[-1]):
            path = shard_path(folder, number, part)
            raise UserError(
                f"{path}: {len(array)} tokens, {int(offsets[-1])} expected; make the index again "
                "with --force"
            )
    lists = None
    if codec.has_lists:
        lists = Lists(*(_mapped(folder, number, part) for part in LISTS))
    return Shard(codec, offsets, arrays, lists)


def _mapped(folder: Path, number: int, part: str, *, mapped: bool = True) -> np.ndarray:
    path = shard_path(folder, number, part)
    try:
        # Copy-on-write: torch wants memory that it may write, though nothing here does.
        return np.load(path, mmap_mode="c" if mapped else None, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path}: missing; make the index again with --force") from None
    except (ValueError, EOFError) as error:
        raise UserError(f"{path}: damaged ({error}); make the index again with --force") from None


def read_shards(folder: Path) -> Iterator[Shard]:
    """Yield the shards in order."""
    codec = read_codec(folder)
    number = 0
    while has_shard(folder, number):
        yield read_shard(folder, number, codec)
        number += 1
