"""The codec of an index: its format, and what that has learned from a sample of the documents.

It is written before the first shard, as ``codec.safetensors``; an index in the encoder's own
number format without lists has none. Residual codes follow ColBERTv2 (Santhanam et al., 2022,
section 3.3): a token is the number of its nearest centroid, and 1, 2 or 4 bits for each dimension
of what is left. The cut-offs between buckets are quantiles of what is left; a bucket stands for
the mean of its own.
"""

import json
import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor

from clir_cli.errors import UserError
from clir_cli.files import write_bytes
from clir_cli.retrieval.encoder import Packed
from clir_cli.retrieval.store.clusters import Clusters, centroid_count, kmeans
from clir_cli.retrieval.store.formats import FORMATS, unpacking
from clir_cli.retrieval.tensor_files import read_tensors
from clir_cli.settings import IndexSettings

CODEC = "codec.safetensors"
TRAINED_ON = 1 << 20  # tokens; more do not move the centroids
MOST_CENTROIDS = 1 << 16  # two bytes a token
RESIDUALS = 1 << 22  # entries that the cut-offs are quantiles of


@dataclass(frozen=True, eq=False)
class Codec:
    """How the vectors of an index are written.

    Attributes:
        format: A key of FORMATS.
        dimensions: Of a vector; 0 where nothing was learned.
        centroids: (k, d) float32, exact in float16; None without lists and residuals.
        cutoffs: (2**bits - 1,) between the buckets of a residual.
        weights: (2**bits,) what a bucket stands for.
    """

    format: str = "dense"
    dimensions: int = 0
    centroids: Tensor | None = None
    cutoffs: Tensor | None = None
    weights: Tensor | None = None
    _tables: dict[Any, Tensor] = field(default_factory=dict, repr=False)

    @property
    def is_plain(self) -> bool:
        """Tell whether vectors are kept as they come, and nothing was learned."""
        return self.format == "dense" and self.centroids is None

    @property
    def has_lists(self) -> bool:
        """Tell whether shards have lists from centroids to documents."""
        return self.centroids is not None

    @cached_property
    def clusters(self) -> Clusters:
        """Return the centroids as something to look vectors up in."""
        assert self.centroids is not None
        return Clusters(self.centroids)

    def table(self, width: int, device: torch.device) -> Tensor:
        """Return what packed bytes of a residual of ``width`` bytes stand for."""
        assert self.weights is not None
        both = 2 - width % 2  # bytes looked up at once
        if (both, device) not in self._tables:
            made = unpacking(self.weights, FORMATS[self.format].bits, both)
            self._tables[both, device] = made.to(device)
        return self._tables[both, device]

    def centroids_on(self, device: torch.device) -> Tensor:
        """Return the centroids on a device."""
        assert self.centroids is not None
        if ("centroids", device) not in self._tables:
            self._tables["centroids", device] = self.centroids.to(device)
        return self._tables["centroids", device]


def is_trained(settings: IndexSettings) -> bool:
    """Tell whether a codec needs a sample of the documents."""
    return settings.lists or FORMATS[settings.format].trained


def sample_size(documents: int) -> int:
    """Return how many documents to sample for a codec: 16 sqrt(documents), at most 10,000."""
    return min(documents, 10_000, math.ceil(16 * documents**0.5))


def train_codec(
    settings: IndexSettings,
    sample: Packed | None = None,
    *,
    documents: int | None = None,
    seed: int = 0,
) -> Codec:
    """Return the codec of an index.

    Args:
        settings: Format, and whether lists are wanted.
        sample: Embeddings of a random sample of the documents; needed if ``is_trained``.
        documents: How many the index will have; decides how many centroids. Default: the sample.
        seed: Of the centroids.

    Raises:
        ValueError: A sample is needed, and there is none.
    """
    if not is_trained(settings):
        return Codec(settings.format)
    if sample is None or not len(sample.vectors):
        raise ValueError(f"format {settings.format} learns from a sample of the documents")
    generator = torch.Generator().manual_seed(seed)
    vectors = sample.vectors
    if len(vectors) > TRAINED_ON:
        vectors = vectors[torch.randperm(len(vectors), generator=generator)[:TRAINED_ON]]
    vectors = vectors.float()
    expected = len(sample.vectors) / len(sample) * (documents or len(sample))
    count = min(centroid_count(expected), MOST_CENTROIDS, len(vectors))
    centroids = kmeans(vectors, count, seed).half().float()
    codec = Codec(settings.format, vectors.shape[1], centroids)
    bits = FORMATS[settings.format].bits
    if not bits:
        return codec
    rows = vectors[torch.randperm(len(vectors), generator=generator)]
    rows = rows[: max(1, RESIDUALS // rows.shape[1])]
    residuals = (rows - centroids[codec.clusters.nearest(rows)]).flatten()
    cutoffs, weights = _buckets(residuals, bits)
    return Codec(settings.format, vectors.shape[1], centroids, cutoffs, weights)


def _buckets(residuals: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Return cut-offs that part the residuals evenly, and the mean of each part."""
    count = 2**bits
    ordered = residuals.sort().values
    edges = torch.linspace(0, len(ordered), count + 1).long()
    cutoffs = ordered[edges[1:-1].clamp_max(len(ordered) - 1)]
    parts = [ordered[low : max(high, low + 1)] for low, high in edges.unfold(0, 2, 1).tolist()]
    weights = torch.stack([part.mean() if len(part) else ordered.mean() for part in parts])
    return cutoffs, weights


def save_codec(folder: Path, codec: Codec) -> None:
    """Write a codec beside its shards; one that knows nothing needs no file."""
    if codec.is_plain:
        return
    tensors = {"cutoffs": codec.cutoffs, "weights": codec.weights}
    if codec.centroids is not None:
        tensors["centroids"] = codec.centroids.half()
    told = {"format": codec.format, "dimensions": codec.dimensions}
    kept = {name: value.contiguous() for name, value in tensors.items() if value is not None}
    write_bytes(folder / CODEC, save(kept, {"codec": json.dumps(told)}))


def read_codec(folder: Path) -> Codec:
    """Return the codec of an index.

    Raises:
        UserError: The file is damaged, or of a format that this version does not know.
    """
    path = folder / CODEC
    if not path.exists():
        return Codec()
    try:
        tensors, words = read_tensors(path)
        told = json.loads(words["codec"])
        name, dimensions = str(told["format"]), int(told["dimensions"])
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged ({error}); make the index again with --force") from None
    if name not in FORMATS:
        raise UserError(f"{path}: format {name!r} is not known; known: {', '.join(FORMATS)}")
    if "centroids" in tensors:
        tensors["centroids"] = tensors["centroids"].float()
    return Codec(name, dimensions, **tensors)
