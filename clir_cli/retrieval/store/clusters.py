"""k-means over token embeddings, and the nearest centroid of each of many.

Plain Lloyd from random tokens. To find the nearest of many centroids, the centroids themselves are
put into groups, and only those of the nearest groups are looked at; a miss is the second nearest,
mostly, and costs a somewhat longer residual.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

ROUNDS = 8
GROUPED_FROM = 2048  # with fewer centroids all of them are looked at
GROUPS_LOOKED_AT = 8
CELLS = 1 << 22  # similarities held at once


def centroid_count(tokens: float) -> int:
    """Return how many centroids stand for so many tokens: the power of two below 8 sqrt(tokens).

    ColBERTv2 takes 16 sqrt(tokens). Half of it is enough for residuals, and finding each
    token's nearest centroid is most of what a residual index costs beside the encoder.
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
        """Return the heads of the groups and the numbers of the centroids in each."""
        heads = kmeans(self.centroids, int(len(self.centroids) ** 0.5), seed=0, rounds=4)
        of = _nearest(self.centroids, heads)
        return heads, [torch.nonzero(of == group).flatten() for group in range(len(heads))]

    def _grouped(self, vectors: Tensor) -> Tensor:
        heads, members = self._groups
        looked_at = _closeness(vectors, heads).topk(min(GROUPS_LOOKED_AT, len(heads))).indices
        counts = torch.bincount(looked_at.flatten(), minlength=len(heads)).tolist()
        order = looked_at.flatten().argsort()
        gathered = torch.index_select(vectors, 0, order // looked_at.shape[1])
        best = torch.full((len(order),), float("-inf"), device=vectors.device)
        found = torch.zeros(len(order), dtype=torch.long, device=vectors.device)
        low = 0
        for count, numbers in zip(counts, members, strict=True):
            if count and len(numbers):
                value, place = _closeness(gathered[low : low + count], self.centroids[numbers]).max(
                    1
                )
                best[order[low : low + count]] = value
                found[order[low : low + count]] = numbers[place]
            low += count
        chosen = best.view(looked_at.shape).argmax(1, keepdim=True)
        return found.view(looked_at.shape).gather(1, chosen).flatten()


def kmeans(vectors: Tensor, count: int, seed: int, rounds: int = ROUNDS) -> Tensor:
    """Return at most ``count`` centroids (count, d) of the vectors (n, d).

    The start is a random sample without repeats; a cluster that loses all its vectors keeps its
    place. The same seed and vectors give the same centroids.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(vectors), generator=generator)[:count]
    centroids = vectors[chosen.to(vectors.device)].clone()
    for _ in range(rounds):
        of = Clusters(centroids).nearest(vectors)
        sums = torch.zeros_like(centroids).index_add_(0, of, vectors)
        sizes = torch.bincount(of, minlength=len(centroids))
        kept = sizes > 0
        centroids[kept] = sums[kept] / sizes[kept, None]
    return centroids


def _closeness(vectors: Tensor, centroids: Tensor) -> Tensor:
    """Return <v, c> - |c|^2 / 2 (n, k), which is largest where the distance is smallest."""
    return torch.addmm(-0.5 * centroids.square().sum(1), vectors, centroids.T)


def _nearest(vectors: Tensor, centroids: Tensor) -> Tensor:
    step = max(1, CELLS // max(1, len(centroids)))
    parts = [_closeness(part, centroids).argmax(dim=1) for part in vectors.split(step)]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.long)
