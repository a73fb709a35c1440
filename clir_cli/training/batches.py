"""Batches of an epoch: shuffled, but with examples of similar length together; and padding."""

import random
from collections.abc import Sequence

import torch
from torch import Tensor

BUCKET = 50  # batches that are sorted by length together


def epoch_batches(
    lengths: Sequence[int], batch_size: int, *, seed: int, epoch: int, most: int = 0
) -> list[list[int]]:
    """Return the batches of one epoch: indices of examples, in an order fixed by seed and epoch.

    Every index comes once; if ``most`` is above 0, only that many of them, sampled in each epoch.

    Indices are shuffled, cut into buckets of ``BUCKET`` batches, sorted by length within a bucket
    and cut into batches; the batches are shuffled again. Little padding, and still a random order.

    Raises:
        ValueError: The batch size is not positive.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be positive, got {batch_size}")
    rng = random.Random(f"{seed} {epoch}")
    order = list(range(len(lengths)))
    rng.shuffle(order)
    order = order[: most or None]
    batches = []
    for start in range(0, len(order), batch_size * BUCKET):
        bucket = order[start : start + batch_size * BUCKET]
        bucket.sort(key=lambda index: lengths[index])
        batches += [bucket[at : at + batch_size] for at in range(0, len(bucket), batch_size)]
    rng.shuffle(batches)
    return batches


def pad_vectors(parts: Sequence[Tensor], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return vectors (B, longest, d) in float32, zero on padding, and their mask (B, longest)."""
    longest = max(len(part) for part in parts)
    padded = torch.zeros(len(parts), longest, parts[0].shape[-1])
    mask = torch.zeros(len(parts), longest, dtype=torch.bool)
    for row, part in enumerate(parts):
        padded[row, : len(part)] = part
        mask[row, : len(part)] = True
    return padded.to(device), mask.to(device)
