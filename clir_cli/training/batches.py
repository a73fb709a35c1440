"""Which sentence pairs go together: shuffled, but with neighbours of like length."""

import random
from collections.abc import Sequence

import torch
from torch import Tensor

BUCKET = 50  # batches that are sorted by length together


def epoch_batches(
    lengths: Sequence[int], batch_size: int, *, seed: int, epoch: int, most: int = 0
) -> list[list[int]]:
    """Return the batches of one epoch: every index once, in an order fixed by seed and epoch.

    Where ``most`` is above 0, an epoch has so many of them, drawn anew.

    Pairs are shuffled, cut into buckets of ``BUCKET`` batches, sorted by length within a bucket and
    cut into batches; the batches are shuffled again. Little padding, and still a random order.

    Raises:
        ValueError: The batch size is not positive.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be positive, got {batch_size}")
    chance = random.Random(f"{seed} {epoch}")
    order = list(range(len(lengths)))
    chance.shuffle(order)
    order = order[: most or None]
    batches = []
    span = batch_size * BUCKET
    for start in range(0, len(order), span):
        bucket = sorted(order[start : start + span], key=lambda index: lengths[index])
        batches += [bucket[at : at + batch_size] for at in range(0, len(bucket), batch_size)]
    chance.shuffle(batches)
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
