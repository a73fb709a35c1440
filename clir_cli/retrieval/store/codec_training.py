"""Learning the codec of an index from a sample of its documents."""

import math

import torch
from torch import Tensor

from clir_cli.retrieval.encoder import Packed
from clir_cli.retrieval.store.clusters import centroid_count, kmeans
from clir_cli.retrieval.store.codec import FORMATS, Codec
from clir_cli.settings import IndexSettings

TRAINING_TOKENS = 1 << 20  # more do not move the centroids
MOST_CENTROIDS = 1 << 16  # two bytes a token
RESIDUALS = 1 << 22  # entries whose quantiles are the cut-offs


def is_trained(settings: IndexSettings) -> bool:
    """Return True if the codec needs a sample of the documents."""
    return settings.lists or FORMATS[settings.format].bits > 0


def sample_size(documents: int) -> int:
    """Return how many documents to sample for a codec: 16 sqrt(documents), at most 10,000."""
    return min(documents, 10_000, math.ceil(16 * documents**0.5))


def train_codec(
    settings: IndexSettings,
    sample: Packed | None = None,
    *,
    documents: int | None = None,
    device: torch.device | None = None,
) -> Codec:
    """Return the codec of an index.

    ``sample`` are embeddings of a random sample of the documents, needed if ``is_trained``.
    ``documents``, the size of the index (default: of the sample), decides the number of centroids.
    ``device`` is where the centroids are learned (default: the CPU).

    Raises:
        ValueError: A sample is needed, and there is none.
    """
    if not is_trained(settings):
        return Codec(settings.format)
    if sample is None or not len(sample.vectors):
        raise ValueError(f"format {settings.format} learns from a sample of the documents")
    rng = torch.Generator().manual_seed(0)
    vectors = sample.vectors
    if len(vectors) > TRAINING_TOKENS:
        vectors = vectors[torch.randperm(len(vectors), generator=rng)[:TRAINING_TOKENS]]
    vectors = vectors.float().to(device or "cpu")
    tokens = len(sample.vectors) / len(sample) * (documents or len(sample))
    count = min(centroid_count(tokens), MOST_CENTROIDS, len(vectors))
    centroids = kmeans(vectors, count, seed=0).half().float().cpu()
    codec = Codec(settings.format, vectors.shape[1], centroids)
    bits = FORMATS[settings.format].bits
    if not bits:
        return codec
    rows = vectors[torch.randperm(len(vectors), generator=rng).to(vectors.device)]
    rows = rows[: max(1, RESIDUALS // rows.shape[1])]
    nearest = codec.clusters_on(rows.device).nearest(rows)
    residuals = (rows.cpu() - centroids[nearest.cpu()]).flatten()
    return Codec(settings.format, vectors.shape[1], centroids, *_buckets(residuals, bits))


def _buckets(residuals: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    ordered = residuals.sort().values
    edges = torch.linspace(0, len(ordered), 2**bits + 1).long()
    cutoffs = ordered[edges[1:-1].clamp_max(len(ordered) - 1)]
    parts = [ordered[low : max(high, low + 1)] for low, high in edges.unfold(0, 2, 1).tolist()]
    weights = torch.stack([part.mean() if len(part) else ordered.mean() for part in parts])
    return cutoffs, weights
