"""Shards: consecutive documents of an index, as files that are mapped into memory.

``shard-00000.<part>.npy`` for each part of the format, ``.nearest`` (tokens,), ``.postings`` and
``.starts`` where there are lists, and ``shard-00000.offsets.npy`` (documents + 1). The offsets are
written last, so a shard with offsets is complete.
"""

import ctypes
import io
import math
import mmap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clir_cli.errors import UserError
from clir_cli.files import write_bytes
from clir_cli.retrieval.encoder import Packed, is_finite
from clir_cli.retrieval.store.codec import FORMATS, Codec, quantise, read_codec

OFFSETS = "offsets"
LISTS = ("postings", "starts")


def shard_path(folder: Path, number: int, part: str) -> Path:
    """Return the path of a part of a shard."""
    return folder / f"shard-{number:05d}.{part}.npy"


def has_shard(folder: Path, number: int) -> bool:
    """Return True if a shard has been written completely."""
    return shard_path(folder, number, OFFSETS).exists()


@dataclass(frozen=True)
class Lists:
    """The documents of a shard that have a token near each centroid.

    For centroid c: ``postings[starts[c]:starts[c + 1]]``, ascending, without repeats.
    """

    postings: np.ndarray
    starts: np.ndarray


@dataclass(frozen=True)
class Shard:
    """Documents of an index as they are stored; rows are decoded on request.

    Attributes:
        codec: The codec of the index.
        offsets: (documents + 1,) int64: document i owns rows ``offsets[i]:offsets[i + 1]``.
        arrays: The arrays of the codec's format, by name.
        lists: From centroids to documents, if the index has them.
        is_mapped: True if the arrays are files that are mapped into memory.
        resident: The same arrays in the memory of a GPU; empty if they are not there.
    """

    codec: Codec
    offsets: Tensor
    arrays: Mapping[str, np.ndarray]
    lists: Lists | None = None
    is_mapped: bool = False
    resident: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, packed: Packed) -> "Shard":
        """Return embeddings in memory as a shard."""
        vectors = packed.vectors.detach().cpu()
        if vectors.dtype == torch.bfloat16:  # which numpy does not have
            vectors = vectors.float()
        return cls(Codec(), packed.offsets.cpu(), {"vectors": vectors.numpy()})

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
        """Return all vectors (tokens, dimensions): mapped if they are stored so, else decoded."""
        if self.codec.format == "dense":
            return torch.from_numpy(self.arrays["vectors"])
        return self.decode(slice(None))

    def decode(self, rows: slice | Tensor, device: torch.device | None = None) -> Tensor:
        """Return vectors (rows, dimensions) in float32, decoded on ``device``."""
        kinds = {values.device.type for values in self.resident.values()}
        if device is not None and device.type in kinds:
            there = rows if isinstance(rows, slice) else rows.to(device)
            encoded = {name: _rows(values, there) for name, values in self.resident.items()}
            return FORMATS[self.codec.format].decode(self.codec, encoded)
        encoded = {
            name: _rows(torch.from_numpy(array), rows) for name, array in self.arrays.items()
        }
        if device is not None and device.type != "cpu":
            encoded = {name: copied(value, device) for name, value in encoded.items()}
        return FORMATS[self.codec.format].decode(self.codec, encoded)

    def quantised(self, rows: slice | Tensor) -> tuple[Tensor, Tensor]:
        """Return vectors as int8 (rows, dimensions) and scales (rows,)."""
        if self.codec.format == "int8":
            codes, scales = (torch.from_numpy(self.arrays[name]) for name in ("codes", "scales"))
            return _rows(codes, rows), _rows(scales, rows)
        return quantise(self.decode(rows))

    def release(self) -> None:
        """Return the memory of pages that were read to the system; they can be read again."""
        if not self.is_mapped or not hasattr(mmap, "MADV_DONTNEED"):
            return
        advise = ctypes.CDLL(None).madvise
        for array in self.arrays.values():
            begin, end = array.ctypes.data, array.ctypes.data + array.nbytes
            begin -= begin % mmap.PAGESIZE
            advise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), mmap.MADV_DONTNEED)


def resident(shards: Sequence[Shard], device: torch.device, room: int) -> list[Shard]:
    """Return shards, the first of them in a GPU's memory as well: as many as ``room`` bytes hold.

    The others are streamed block by block.
    """
    kept = []
    for shard in shards:
        room -= sum(array.nbytes for array in shard.arrays.values())
        if room >= 0:
            arrays = {name: torch.from_numpy(array) for name, array in shard.arrays.items()}
            there = {name: copied(values, device) for name, values in arrays.items()}
            shard = replace(shard, resident=there)
        kept.append(shard)
    return kept


def copied(values: Tensor, device: torch.device) -> Tensor:
    """Return a copy of values on a device; to a GPU through pinned memory, which is faster."""
    if device.type == "cuda":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


def _rows(values: Tensor, rows: slice | Tensor) -> Tensor:
    if isinstance(rows, slice):
        return values[rows]
    if values.dtype == torch.uint16:  # torch has no index_select for it
        return torch.index_select(values.view(torch.int16), 0, rows).to(torch.int32) & 0xFFFF
    return torch.index_select(values, 0, rows)


def gather(shards: Sequence[Shard], documents: Tensor, *, release: bool = False) -> Shard:
    """Return some documents of several shards as one shard in memory, not decoded, without lists.

    ``documents`` are indices (M,) over all shards, ascending, at least one; ``release`` returns the
    memory of what was read from disk.
    """
    starts = torch.tensor([0, *(len(shard) for shard in shards)]).cumsum(0)
    first = torch.cat([shard.offsets[:-1] for shard in shards])[documents]
    lengths = torch.cat([shard.offsets[1:] for shard in shards])[documents] - first
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)])
    rows = torch.arange(int(offsets[-1])) + (first - offsets[:-1]).repeat_interleave(lengths)
    bounds = offsets[torch.searchsorted(documents, starts)].tolist()
    arrays = {
        name: np.empty((len(rows), *array.shape[1:]), array.dtype)
        for name, array in shards[0].arrays.items()
    }
    for shard, (low, high) in zip(shards, pairwise(bounds), strict=True):
        if low == high:
            continue
        in_shard = rows[low:high].numpy()
        for name, array in arrays.items():
            # "clip", because a check of the indices would make numpy copy the rows once more.
            np.take(shard.arrays[name], in_shard, axis=0, out=array[low:high], mode="clip")
        if release:
            shard.release()
    return Shard(shards[0].codec, offsets, arrays)


def select_documents(shard: Shard, documents: Tensor) -> Shard:
    """Return the documents (k,), ascending, as a shard in memory: the same bytes, not decoded."""
    lists = _select_lists(shard.lists, documents.numpy(), len(shard)) if shard.lists else None
    return replace(gather([shard], documents), lists=lists)


def _select_lists(lists: Lists, documents: np.ndarray, count: int) -> Lists:
    new_number = np.full(count, -1)
    new_number[documents] = np.arange(len(documents))
    postings = new_number[lists.postings]
    selected = postings >= 0
    before = np.concatenate([[0], np.cumsum(selected)])
    starts = before[lists.starts].astype(lists.starts.dtype)
    return Lists(postings[selected].astype(_index_type(len(documents))), starts)


def _index_type(documents: int) -> type[np.number]:
    return np.uint16 if documents <= 1 << 16 else np.int32


def write_shard(
    folder: Path,
    number: int,
    packed: Packed,
    codec: Codec | None = None,
    device: torch.device | None = None,
) -> None:
    """Encode documents and write them as one shard (see ``save_shard``).

    The embeddings are on the CPU; without a codec the vectors are kept as they are. ``device`` is
    where their nearest centroids are searched (default: the CPU).

    Raises:
        UserError: The embeddings hold NaN or infinity.
    """
    if not is_finite(packed.vectors):  # no code would show it afterwards
        raise UserError(f"shard {number} of {folder}: its token embeddings are not finite numbers")
    codec = codec or Codec()
    nearest = None
    if codec.has_lists:
        vectors = packed.vectors.float().to(device or "cpu")
        nearest = codec.clusters_on(vectors.device).nearest(vectors).cpu()
    arrays = FORMATS[codec.format].encode(codec, packed.vectors, nearest)
    written = {name: value.numpy() for name, value in arrays.items()}
    lists = None
    if nearest is not None:
        assert codec.centroids is not None
        if "nearest" in FORMATS[codec.format].parts:
            written["nearest"] = nearest.numpy().astype(np.uint16)
        lists = _lists(nearest, packed.offsets, len(codec.centroids))
    save_shard(folder, number, Shard(codec, packed.offsets, written, lists))


def save_shard(folder: Path, number: int, shard: Shard) -> None:
    """Write a shard that is in memory; each file is whole or absent, the offsets come last."""
    lists = vars(shard.lists) if shard.lists else {}
    parts = {**shard.arrays, **lists, OFFSETS: shard.offsets.numpy()}
    for part, array in parts.items():
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        write_bytes(shard_path(folder, number, part), buffer.getvalue())


def _lists(nearest: Tensor, offsets: Tensor, centroids: int) -> Lists:
    documents = len(offsets) - 1
    owner = torch.repeat_interleave(torch.arange(documents), offsets.diff())
    keys = torch.unique(nearest * documents + owner)  # sorted
    counts = torch.bincount(keys // max(1, documents), minlength=centroids)
    starts = torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)])
    postings = (keys % max(1, documents)).numpy().astype(_index_type(documents))
    return Lists(postings, starts.numpy().astype(np.int32))


def read_shard(folder: Path, number: int, codec: Codec | None = None) -> Shard:
    """Return a shard; its arrays stay on disk and are read when they are used.

    ``codec`` is the codec of the index, if it has been read already.

    Raises:
        UserError: A file is missing, truncated, or does not fit the offsets.
    """
    codec = codec or read_codec(folder)
    offsets = torch.from_numpy(_read(folder, number, OFFSETS, np.load))
    arrays = {part: _read(folder, number, part, _mapped) for part in FORMATS[codec.format].parts}
    for part, array in arrays.items():
        if len(array) != int(offsets[-1]):
            path = shard_path(folder, number, part)
            raise UserError(
                f"{path}: {len(array)} tokens, {int(offsets[-1])} expected; make the index again "
                "with --force"
            )
    lists = [_read(folder, number, part, _mapped) for part in LISTS] if codec.has_lists else []
    return Shard(codec, offsets, arrays, Lists(*lists) if lists else None, is_mapped=True)


def _read(folder: Path, number: int, part: str, read: Callable[[Path], np.ndarray]) -> np.ndarray:
    path = shard_path(folder, number, part)
    try:
        return read(path)
    except FileNotFoundError:
        raise UserError(f"{path}: missing; make the index again with --force") from None
    except (ValueError, EOFError) as error:
        raise UserError(f"{path}: damaged ({error}); make the index again with --force") from None


def _mapped(path: Path) -> np.ndarray:
    """Return the array of an ``.npy`` file, mapped copy-on-write, without an open descriptor.

    ``np.load`` keeps a descriptor for each array, which a large index has more of than a process
    may open.
    """
    with path.open("rb") as stream:
        np.lib.format.read_magic(stream)
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        begin, size = stream.tell(), path.stat().st_size
    if begin + math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"{size:,} bytes do not hold {shape} numbers of {dtype}")
    mapped = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
    return mapped.numpy()[begin:].view(dtype).reshape(shape)


def read_shards(folder: Path) -> Iterator[Shard]:
    """Yield the shards in order."""
    codec = read_codec(folder)
    number = 0
    while has_shard(folder, number):
        yield read_shard(folder, number, codec)
        number += 1
