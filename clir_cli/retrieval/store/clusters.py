"""k-means over token embeddings, and the nearest centroid of each of many.

Lloyd's algorithm from random tokens. To find the nearest of many centroids, the centroids are
clustered into groups and only the nearest groups are searched; a miss is mostly the second nearest
centroid, and costs a somewhat longer residual.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

ROUNDS = 8
GROUPED_FROM = 2048  # with fewer centroids all of them are searched
GROUPS_SEARCHED = 8
CELLS = 1 << 22  # similarities held at once


def centroid_count(tokens: float) -> int:
    """Return the number of centroids for an index: the power of two below 8 sqrt(tokens).

    ColBERTv2 takes 16 sqrt(tokens). Half of it is enough for residuals, and the search for each
    token's nearest centroid is the main cost of a residual index beside the encoder.
    """
    return 1 << max(0, int(8 * max(tokens, 1) ** 0.5).bit_length() - 1)


@dataclass(frozen=True)
class Clusters:
    """Centroids (k, d) in float32."""

    centroids: Tensor

    def nearest(self, vectors: Tensor) -> Tensor:
        """Return the number (n,) of each vector's nearest centroid."""
        if len(self.centroids) < GROUPED_FROM:
            return _nearest(vectors, self.centroids)
        step = max(1, CELLS // max(1, self.centroids.shape[1]))
        return torch.cat([self._grouped(part) for part in vectors.split(step)])

    @cached_property
    def _groups(self) -> tuple[Tensor, list[Tensor]]:
        """Return the centre (groups, d) of each group and the numbers of the centroids in it."""
        centres = kmeans(self.centroids, int(len(self.centroids) ** 0.5), seed=0, rounds=4)
        group_of = _nearest(self.centroids, centres)
        return centres, [
            torch.nonzero(group_of == group).flatten() for group in range(len(centres))
        ]

    def _grouped(self, vectors: Tensor) -> Tensor:
        centres, members = self._groups
        searched = _closeness(vectors, centres).topk(min(GROUPS_SEARCHED, len(centres))).indices
        counts = torch.bincount(searched.flatten(), minlength=len(centres)).tolist()
        order = searched.flatten().argsort()
        gathered = torch.index_select(vectors, 0, order // searched.shape[1])
        best = torch.full((len(order),), float("-inf"), device=vectors.device)
        nearest = torch.zeros(len(order), dtype=torch.long, device=vectors.device)
        start = 0
        for count, numbers in zip(counts, members, strict=True):
            rows = order[start : start + count]
            if count and len(numbers):
                closeness = _closeness(gathered[start : start + count], self.centroids[numbers])
                best[rows], index = closeness.max(dim=1)
                nearest[rows] = numbers[index]
            start += count
        closest_group = best.view(searched.shape).argmax(1, keepdim=True)
        return nearest.view(searched.shape).gather(1, closest_group).flatten()


def kmeans(vectors: Tensor, count: int, seed: int, rounds: int = ROUNDS) -> Tensor:
    """Return at most ``count`` centroids (count, d) of the vectors (n, d).

    The initial centroids are a random sample without repeats; an empty cluster keeps its centroid.
    The same seed and vectors give the same centroids.
    """
    rng = torch.Generator().manual_seed(seed)
    sample = torch.randperm(len(vectors), generator=rng)[:count]
    centroids = vectors[sample.to(vectors.device)].clone()
    for _ in range(rounds):
        nearest = Clusters(centroids).nearest(vectors)
        sums = torch.zeros_like(centroids).index_add_(0, nearest, vectors)
        sizes = torch.bincount(nearest, minlength=len(centroids))
        filled = sizes > 0
        centroids[filled] = sums[filled] / sizes[filled, None]
    return centroids


def _closeness(vectors: Tensor, centroids: Tensor) -> Tensor:
    """Return <v, c> - |c|^2 / 2 (n, k), which is largest where the distance is smallest."""
    return torch.addmm(-0.5 * centroids.square().sum(1), vectors, centroids.T)


def _nearest(vectors: Tensor, centroids: Tensor) -> Tensor:
    step = max(1, CELLS // max(1, len(centroids)))
    parts = [_closeness(part, centroids).argmax(dim=1) for part in vectors.split(step)]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.long)
