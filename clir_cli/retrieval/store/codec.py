"""The codec of an index: its number format, and what that learned from a sample of the documents.

A format turns unit vectors into arrays and back. Residual codes follow ColBERTv2 (Santhanam et al.,
2022, section 3.3): a token is the number of its nearest centroid, and 1, 2 or 4 bits for each
dimension of the residual. The codec is written as ``codec.safetensors`` before the first shard; an
index in the encoder's own number format without lists has none.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor
from torch.nn.functional import normalize, pad

from clir_cli.errors import UserError
from clir_cli.files import write_bytes
from clir_cli.retrieval.store.clusters import Clusters
from clir_cli.retrieval.tensor_files import read_tensors

CODEC = "codec.safetensors"

Arrays = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Codec:
    """How the vectors of an index are written.

    Attributes:
        format: A key of FORMATS.
        dimensions: Size of a vector; 0 where nothing was learned.
        centroids: (k, d) float32, exact in float16; None without lists and residuals.
        cutoffs: (2**bits - 1,) between the buckets of a residual.
        weights: (2**bits,) the value that each bucket is decoded to.
    """

    format: str = "dense"
    dimensions: int = 0
    centroids: Tensor | None = None
    cutoffs: Tensor | None = None
    weights: Tensor | None = None
    _tables: dict[Any, Tensor] = field(default_factory=dict, repr=False)
    _searches: dict[torch.device, Clusters] = field(default_factory=dict, repr=False)

    @property
    def has_lists(self) -> bool:
        """Return True if shards have lists from centroids to documents."""
        return self.centroids is not None

    @cached_property
    def clusters(self) -> Clusters:
        """Return the centroids for nearest-neighbour search."""
        assert self.centroids is not None
        return Clusters(self.centroids)

    def clusters_on(self, device: torch.device) -> Clusters:
        """Return the centroids for a search on a device, which is prepared once."""
        if device.type == "cpu":
            return self.clusters
        if device not in self._searches:
            self._searches[device] = Clusters(self.centroids_on(device))
        return self._searches[device]

    def table(self, width: int, device: torch.device) -> Tensor:
        """Return the values of each packed byte, or pair of bytes, of a residual of ``width``."""
        assert self.weights is not None
        at_once = 2 - width % 2
        if (at_once, device) not in self._tables:
            table = unpacking(self.weights, FORMATS[self.format].bits, at_once)
            self._tables[at_once, device] = table.to(device)
        return self._tables[at_once, device]

    def centroids_on(self, device: torch.device) -> Tensor:
        """Return the centroids on a device."""
        assert self.centroids is not None
        if ("centroids", device) not in self._tables:
            self._tables["centroids", device] = self.centroids.to(device)
        return self._tables["centroids", device]


@dataclass(frozen=True)
class Format:
    """How vectors are written as numbers.

    Attributes:
        encode: From a codec, vectors (n, d) and nearest centroids (n,) to arrays of n rows.
        decode: From a codec and these arrays to float32 vectors (n, d).
        parts: Names of the arrays of a shard.
        bits: Bits of each dimension of a residual; 0 for formats that need no centroids.
    """

    encode: Callable[[Codec, Tensor, Tensor | None], dict[str, Tensor]]
    decode: Callable[[Codec, Arrays], Tensor]
    parts: tuple[str, ...]
    bits: int = 0


def quantise(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Return integers (n, d) int8 and scales (n,) float32 with vectors = integers x scales.

    A row's scale is its largest magnitude over 127, so an entry is off by at most half a scale.
    """
    vectors = vectors.float()
    scales = vectors.abs().amax(dim=1) / 127
    safe = torch.where(scales > 0, scales, torch.ones_like(scales))
    return (vectors / safe[:, None]).round_().to(torch.int8), scales


def _encode_int8(_: Codec, vectors: Tensor, __: Tensor | None) -> dict[str, Tensor]:
    codes, scales = quantise(vectors)
    return {"codes": codes, "scales": scales}


def _decode_int8(_: Codec, arrays: Arrays) -> Tensor:
    return arrays["codes"].float().mul_(arrays["scales"][:, None])


def pack(buckets: Tensor, bits: int) -> Tensor:
    """Return numbers below 2**bits (n, d) as bytes (n, ceil(d x bits / 8)), first dimension low."""
    per_byte = 8 // bits
    buckets = pad(buckets.to(torch.uint8), (0, -buckets.shape[1] % per_byte))
    buckets = buckets.view(len(buckets), -1, per_byte)
    packed = torch.zeros(buckets.shape[:2], dtype=torch.uint8, device=buckets.device)
    for position in range(per_byte):
        packed |= buckets[:, :, position] << (bits * position)
    return packed


def unpacking(weights: Tensor, bits: int, width: int) -> Tensor:
    """Return the values of ``width`` packed bytes: a table (256**width, width x 8 / bits).

    Looking up two bytes at once takes a third of the time of single bytes, or of shifting.
    """
    numbers = torch.arange(256**width)
    shifts = range(0, 8 * width, bits)
    return torch.stack([weights[(numbers >> shift) & (2**bits - 1)] for shift in shifts], dim=1)


def _encode_residual(codec: Codec, vectors: Tensor, nearest: Tensor | None) -> dict[str, Tensor]:
    assert codec.centroids is not None and codec.cutoffs is not None and nearest is not None
    residuals = vectors.float() - codec.centroids[nearest]
    buckets = torch.bucketize(residuals, codec.cutoffs)
    return {"residuals": pack(buckets, FORMATS[codec.format].bits)}


def _decode_residual(codec: Codec, arrays: Arrays) -> Tensor:
    packed = arrays["residuals"]
    table = codec.table(packed.shape[1], packed.device)
    if table.shape[0] > 256:
        packed = packed.view(torch.int16).to(torch.int32) & 0xFFFF
    rows = torch.index_select(table, 0, packed.reshape(-1).to(torch.int32))
    residuals = rows.view(len(packed), -1)[:, : codec.dimensions]
    centroids = codec.centroids_on(packed.device)
    return normalize(torch.index_select(centroids, 0, arrays["nearest"].int()) + residuals, dim=-1)


def _residual(bits: int) -> Format:
    return Format(_encode_residual, _decode_residual, ("nearest", "residuals"), bits)


FORMATS: dict[str, Format] = {
    "dense": Format(
        lambda _, vectors, __: {"vectors": vectors},
        lambda _, arrays: arrays["vectors"].float(),
        ("vectors",),
    ),
    "int8": Format(_encode_int8, _decode_int8, ("codes", "scales")),
    "residual1": _residual(1),
    "residual2": _residual(2),
    "residual4": _residual(4),
}


def save_codec(folder: Path, codec: Codec) -> None:
    """Write a codec beside its shards, unless vectors are kept as they are and without lists."""
    if codec.format == "dense" and codec.centroids is None:
        return
    centroids = None if codec.centroids is None else codec.centroids.half()
    tensors = {"cutoffs": codec.cutoffs, "weights": codec.weights, "centroids": centroids}
    present = {name: value.contiguous() for name, value in tensors.items() if value is not None}
    header = {"format": codec.format, "dimensions": codec.dimensions}
    write_bytes(folder / CODEC, save(present, {"codec": json.dumps(header)}))


def read_codec(folder: Path) -> Codec:
    """Return the codec of an index.

    Raises:
        UserError: The file is damaged, or its format is unknown to this version.
    """
    path = folder / CODEC
    if not path.exists():
        return Codec()
    try:
        tensors, metadata = read_tensors(path)
        header = json.loads(metadata["codec"])
        name, dimensions = str(header["format"]), int(header["dimensions"])
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged ({error}); make the index again with --force") from None
    if name not in FORMATS:
        raise UserError(f"{path}: format {name!r} is not known; known: {', '.join(FORMATS)}")
    centroids = tensors["centroids"].float() if "centroids" in tensors else None
    return Codec(name, dimensions, centroids, tensors.get("cutoffs"), tensors.get("weights"))
