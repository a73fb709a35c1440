"""How token embeddings are written as numbers: one format a class, all in plain torch.

Vectors have unit length, as the encoder leaves them. A format turns them into arrays by name and
back; what it must know beforehand (centroids, cut-offs) is the codec's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import normalize

if TYPE_CHECKING:
    from clir_cli.retrieval.store.codec import Codec

Arrays = Mapping[str, Tensor]


@dataclass(frozen=True)
class Format:
    """Functions from vectors (n, d) to arrays of n rows and back, and bits of a residual."""

    encode: Callable[["Codec", Tensor, Tensor | None], dict[str, Tensor]]
    decode: Callable[["Codec", Arrays], Tensor]
    parts: tuple[str, ...]
    bits: int = 0

    @property
    def trained(self) -> bool:
        """Tell whether the format needs centroids."""
        return self.bits > 0


# ------------------------------------------------------------------ as they come


def _keep(_: "Codec", vectors: Tensor, __: Tensor | None) -> dict[str, Tensor]:
    return {"vectors": vectors}


def _kept(_: "Codec", arrays: Arrays) -> Tensor:
    return arrays["vectors"].float()


# ------------------------------------------------------------------ int8


def quantise(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Return whole numbers (n, d) int8 and scales (n,) float32 with vectors = numbers x scales.

    A row's scale is its largest magnitude over 127, so an entry is off by at most half a scale.
    """
    vectors = vectors.float()
    scales = vectors.abs().amax(dim=1) / 127
    safe = torch.where(scales > 0, scales, torch.ones_like(scales))
    return (vectors / safe[:, None]).round_().to(torch.int8), scales


def _round(_: "Codec", vectors: Tensor, __: Tensor | None) -> dict[str, Tensor]:
    codes, scales = quantise(vectors)
    return {"codes": codes, "scales": scales}


def _scaled(_: "Codec", arrays: Arrays) -> Tensor:
    return arrays["codes"].float().mul_(arrays["scales"][:, None])


# ------------------------------------------------------------------ centroid and residual


def pack(buckets: Tensor, bits: int) -> Tensor:
    """Return numbers below 2**bits (n, d) as bytes (n, ceil(d x bits / 8)), first dimension low."""
    each = 8 // bits
    spare = -buckets.shape[1] % each
    buckets = torch.nn.functional.pad(buckets.to(torch.uint8), (0, spare))
    buckets = buckets.view(len(buckets), -1, each)
    packed = torch.zeros(buckets.shape[:2], dtype=torch.uint8, device=buckets.device)
    for place in range(each):
        packed |= buckets[:, :, place] << (bits * place)
    return packed


def unpacking(weights: Tensor, bits: int, width: int) -> Tensor:
    """Return what ``width`` packed bytes stand for: a table (256**width, width x 8 / bits).

    Looking up two bytes at once takes a third of the time of one by one, and of shifting.
    """
    each = 8 // bits
    numbers = torch.arange(256**width)
    shifts = [8 * byte + bits * place for byte in range(width) for place in range(each)]
    return torch.stack([weights[(numbers >> shift) & (2**bits - 1)] for shift in shifts], dim=1)


def _subtract(codec: "Codec", vectors: Tensor, nearest: Tensor | None) -> dict[str, Tensor]:
    assert codec.centroids is not None and codec.cutoffs is not None and nearest is not None
    residuals = vectors.float() - codec.centroids[nearest]
    buckets = torch.bucketize(residuals, codec.cutoffs)
    return {"residuals": pack(buckets, FORMATS[codec.format].bits)}


def _add(codec: "Codec", arrays: Arrays) -> Tensor:
    packed = arrays["residuals"]
    table = codec.table(packed.shape[1], packed.device)
    if table.shape[0] > 256:
        packed = packed.view(torch.int16).to(torch.int32) & 0xFFFF
    rows = torch.index_select(table, 0, packed.reshape(-1).to(torch.int32))
    residuals = rows.view(len(packed), -1)[:, : codec.dimensions]
    centroids = codec.centroids_on(packed.device)
    return normalize(torch.index_select(centroids, 0, arrays["nearest"].int()) + residuals, dim=-1)


FORMATS: dict[str, Format] = {
    "dense": Format(_keep, _kept, ("vectors",)),
    "int8": Format(_round, _scaled, ("codes", "scales")),
    "residual1": Format(_subtract, _add, ("nearest", "residuals"), bits=1),
    "residual2": Format(_subtract, _add, ("nearest", "residuals"), bits=2),
    "residual4": Format(_subtract, _add, ("nearest", "residuals"), bits=4),
}
