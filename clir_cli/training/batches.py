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
    order, rng = _order(len(lengths), seed, epoch, most)
    batches = []
    for start in range(0, len(order), batch_size * BUCKET):
        bucket = order[start : start + batch_size * BUCKET]
        bucket.sort(key=lambda index: lengths[index])
        batches += [bucket[at : at + batch_size] for at in range(0, len(bucket), batch_size)]
    rng.shuffle(batches)
    return batches


def drawn(count: int, *, seed: int, epochs: int, most: int) -> list[int]:
    """Return the examples of ``count`` that are in the batches of any of the epochs, ascending."""
    return sorted(
        {index for epoch in range(epochs) for index in _order(count, seed, epoch, most)[0]}
    )


def _order(count: int, seed: int, epoch: int, most: int) -> tuple[list[int], random.Random]:
    """Return the examples of an epoch, shuffled, and the generator that shuffles its batches."""
    rng = random.Random(f"{seed} {epoch}")
    order = list(range(count))
    rng.shuffle(order)
    return order[: most or None], rng


def pad_vectors(parts: Sequence[Tensor], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return vectors (B, longest, d) in float32, zero on padding, and their mask (B, longest)."""
    longest = max(len(part) for part in parts)
    padded = torch.zeros(len(parts), longest, parts[0].shape[-1])
    mask = torch.zeros(len(parts), longest, dtype=torch.bool)
    for row, part in enumerate(parts):
        padded[row, : len(part)] = part
        mask[row, : len(part)] = True
    return padded.to(device), mask.to(device)
