"""Training in several processes: each computes a share of every batch, and gradients are averaged.

All processes take the steps that one would take alone: the same batches, and the same gradient of
each up to rounding and dropout. There are two ways to share a batch.

- If the loss is a weighted mean over examples (``Task.share``), a process computes the loss of its
  own examples. With N processes, weights w_r and gradients g_r, the average of N w_r g_r over the
  processes is the gradient of the whole batch.
- If not (in-batch negatives, score distributions), the encoder is shared instead: a process encodes
  its own texts, all get the embeddings of all, and compute the whole loss. The gradient flows back
  through a process's own embeddings alone, times N, so that the average over processes is right.

The engine underneath is torch's DistributedDataParallel, or FSDP2 (``fully_shard``), which keeps
1/N of weights, gradients and optimizer state in each process.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from clir_cli.retrieval.checkpoints import TextKind
from clir_cli.retrieval.encoder import Encoder
from clir_cli.training.process_group import ProcessGroup

Example = TypeVar("Example")


class SharedEncoder:
    """An encoder with which each process encodes a share of the texts; all get all embeddings."""

    def __init__(self, encoder: Encoder, group: ProcessGroup) -> None:
        self._encoder, self._group = encoder, group

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def embed(self, ids: Tensor, mask: Tensor, kind: TextKind = "sentence") -> Tensor:
        """Return (B, n, d) of ``Encoder.embed`` for ids and mask (B, n), in every process."""
        return self._share(partial(self._encoder.embed, kind=kind), ids, mask)

    def recomputed(self, ids: Tensor, mask: Tensor, kind: TextKind = "sentence") -> Tensor:
        """Return (B, n, d) of ``Encoder.recomputed`` for ids and mask (B, n), in every process."""
        return self._share(partial(self._encoder.recomputed, kind=kind), ids, mask)

    def states(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return (B, n, d) of ``Encoder.states`` for ids and mask (B, n), in every process."""
        return self._share(self._encoder.states, ids, mask)

    def _share(self, encode: Callable[[Tensor, Tensor], Tensor], ids: Tensor, mask: Tensor) -> Any:
        """Encode B texts: process r the texts r, r + N, ...; without any, the first, unused."""
        rank, size = self._group.rank, self._group.size
        count = -(-len(ids) // size)
        rows = [row if row < len(ids) else 0 for row in range(rank, count * size, size)]
        part = encode(ids[rows], mask[rows])
        parts = [torch.empty_like(part) for _ in range(size)]
        distributed.all_gather(parts, part.detach().contiguous())
        # Its value, and N times its gradient.
        parts[rank] = part + (size - 1) * (part - part.detach())
        return torch.stack(parts, dim=1).flatten(0, 1)[: len(ids)]

    def encode(self, *arguments: Any, **options: Any) -> Any:
        """Return what ``Encoder.encode`` returns, through the shared ``embed``."""
        return type(self._encoder).encode(cast(Encoder, self), *arguments, **options)


class _WithLoss(nn.Module):
    """A module whose output is the loss: DistributedDataParallel wants all in ``forward``."""

    def __init__(self, trained: nn.Module, compute: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.trained, self._compute = trained, compute

    def forward(self, batch: Any) -> Tensor:
        return self._compute(batch)


def averaged(trained: nn.Module, compute: Callable[[Any], Tensor]) -> Callable[[Any], Tensor]:
    """Return ``compute`` with averaged gradients; all get the main process's weights first."""
    # Weights that a loss does not reach (a pooler) have no gradient, and are not waited for.
    return DistributedDataParallel(_WithLoss(trained, compute), find_unused_parameters=True)


def mean_over(group: ProcessGroup, values: Sequence[float]) -> list[float]:
    """Return the means of some numbers over the processes."""
    sums = torch.tensor(values, dtype=torch.float64)
    distributed.all_reduce(sums)
    return [value / group.size for value in sums.tolist()]


def step_seed(seed: int, step: int, rank: int) -> int:
    """Return the seed of a process's dropout in a step: a function of the three alone.

    A run in several processes has no random state to save, and resumes with any number of them.
    """
    text = f"{seed} {step} {rank}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def share_of(batch: Sequence[Example], rank: int, size: int) -> tuple[Sequence[Example], float]:
    """Return every size-th example from the rank-th on, and their share of the batch.

    The examples of a batch are in order of length, so the shares are of similar length. A process
    that has none gets the first, with the weight 0.
    """
    part: Any = batch[rank::size]
    return part or cast(Any, batch[:1]), len(part) / len(batch)
