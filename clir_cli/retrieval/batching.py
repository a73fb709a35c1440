"""Batches of tokenised texts: their sizes, their order, padding and masks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TokenizedText:
    """One tokenised text.

    Attributes:
        ids: Token ids.
        attended: Number of tokens that are attended to; the rest is query expansion.
        selected: Indices of the tokens that have an embedding; None for all.
        is_cut: True if the text has more tokens.
    """

    ids: list[int]
    attended: int
    selected: list[int] | None = None
    is_cut: bool = False

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def embedded(self) -> list[int]:
        """Return the ids of the tokens that have an embedding."""
        return self.ids if self.selected is None else [self.ids[i] for i in self.selected]


def usual_batch(device: torch.device) -> int:
    """Return the number of tokens of a batch that is encoded fastest.

    On a CPU as many as the caches hold (benchmarks/encoding.py), on a GPU as many as use it fully.
    """
    return max(1024, 512 * torch.get_num_threads()) if device.type == "cpu" else 16_384


def _first_tokens(counts: Sequence[int], longest: int) -> Tensor:
    """Return a mask (B, longest) of the first ``counts`` tokens of each row."""
    return torch.arange(longest) < torch.tensor(counts)[:, None]


def rows_of(starts: Tensor, lengths: Tensor) -> Tensor:
    """Return the rows ``start, start + 1, ...`` of each text, end to end."""
    before = lengths.cumsum(0) - lengths
    return torch.arange(int(lengths.sum())) + (starts - before).repeat_interleave(lengths)


def batches_by_tokens(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Yield batches of indices, longest texts first, at most ``batch_tokens`` padded tokens each.

    The order is a function of the lengths alone. Longest first, so that a batch that is too large
    fails at once.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    start = 0
    while start < len(order):
        count = max(1, batch_tokens // max(1, lengths[order[start]]))
        yield order[start : start + count]
        start += count


def batches_by_count(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Yield batches of ``batch_size`` indices, shortest texts first, so that padding is short.

    Texts of equal length keep their order.
    """
    order = sorted(range(len(lengths)), key=lambda index: lengths[index])
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def pad(ids: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return ids and mask, both (B, longest): mask is True on real tokens."""
    lengths = [len(text) for text in ids]
    mask = _first_tokens(lengths, max(lengths))
    padded = torch.full(mask.shape, pad_id, dtype=torch.long)
    padded[mask] = torch.tensor([token for text in ids for token in text], dtype=torch.long)
    return padded.to(device), mask.to(device)


def collate(
    inputs: Sequence[TokenizedText], pad_id: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Return ids, attention mask, and which tokens have an embedding, each (B, longest)."""
    ids, present = pad([text.ids for text in inputs], pad_id, torch.device("cpu"))
    attended = present & _first_tokens([text.attended for text in inputs], ids.shape[1])
    embedded = present.clone()
    for row, text in enumerate(inputs):
        if text.selected is not None:
            embedded[row] = False
            embedded[row, text.selected] = True
    return ids.to(device), attended.to(device), embedded.to(device)
