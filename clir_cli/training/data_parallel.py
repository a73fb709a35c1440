"""Training in several processes: each computes a share of every batch, and gradients are averaged.

All processes take the steps that one would take alone: the same batches, and of each the same
gradient up to rounding and dropout. There are two ways to share a batch.

- Where the loss is a weighted mean over examples (``Task.share``), a process computes the loss of
  its own examples. With N processes, weights w_r and gradients g_r, the average of N w_r g_r over
  the processes is the gradient of the whole batch.
- Elsewhere (in-batch negatives, score distributions) the encoder is shared instead: a process reads
  its own texts, all get the embeddings of all, and compute the whole loss. The gradient flows back
  through a process's own embeddings alone, times N, so that the average over processes is right.

The engine underneath is torch's DistributedDataParallel, or FSDP2 (``fully_shard``), which keeps
1/N of weights, gradients and optimizer state in each process.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from clir_cli.retrieval.encoder import Encoder
from clir_cli.training.process_group import Team


class SharedReader:
    """An encoder of which each process reads a share of the texts; all get all embeddings."""

    def __init__(self, encoder: Encoder, team: Team) -> None:
        self._encoder, self._team = encoder, team

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def embed(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return what ``Encoder.embed`` returns for ids and mask (B, n), in every process."""
        return self._read(self._encoder.embed, ids, mask)

    def states(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return what ``Encoder.states`` returns for ids and mask (B, n), in every process."""
        return self._read(self._encoder.states, ids, mask)

    def _read(self, read: Callable[[Tensor, Tensor], Tensor], ids: Tensor, mask: Tensor) -> Tensor:
        """Return what is read of B texts.

        Process r reads the texts r, r + N, ...; where it has none it reads the first, for nothing,
        since all must take part.
        """
        rank, size = self._team.rank, self._team.size
        count = -(-len(ids) // size)
        rows = [row if row < len(ids) else 0 for row in range(rank, count * size, size)]
        own = read(ids[rows], mask[rows])
        parts = [torch.empty_like(own) for _ in range(size)]
        distributed.all_gather(parts, own.detach().contiguous())
        parts[rank] = own + (size - 1) * (own - own.detach())  # its value, and N times its gradient
        return torch.stack(parts, dim=1).flatten(0, 1)[: len(ids)]

    def encode(self, *given: Any, **named: Any) -> Any:
        """Return what ``Encoder.encode`` returns, through the shared ``embed``."""
        return type(self._encoder).encode(self, *given, **named)


class Averaged(nn.Module):
    """A loss whose gradients are averaged over the processes as they are computed.

    Whatever the loss does with the weights happens inside ``forward``, as
    DistributedDataParallel wants it.
    """

    def __init__(self, trained: nn.Module, compute: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.trained, self._compute = trained, compute

    def forward(self, batch: Any) -> Tensor:
        """Return the value to propagate back."""
        return self._compute(batch)


def averaged(trained: nn.Module, compute: Callable[[Any], Tensor]) -> Callable[[Any], Tensor]:
    """Return ``compute`` with averaged gradients, after giving all the main process's weights."""
    # Weights that a loss does not reach (a pooler) have no gradient, and are not waited for.
    return DistributedDataParallel(Averaged(trained, compute), find_unused_parameters=True)


def sum_over(team: Team, values: Sequence[float], device: torch.device) -> list[float]:
    """Return the sums of some numbers over the processes."""
    if not team.several:
        return list(values)
    found = torch.tensor(values, dtype=torch.float64, device=_reachable(device))
    distributed.all_reduce(found)
    return found.tolist()


def from_main(team: Team, values: Sequence[float], device: torch.device) -> list[float]:
    """Return the main process's numbers, so that all decide the same."""
    return sum_over(team, [value if team.main else 0.0 for value in values], device)


def _reachable(device: torch.device) -> torch.device:
    return device if device.type in ("cpu", "cuda") else torch.device("cpu")


def step_seed(seed: int, step: int, rank: int) -> int:
    """Return the seed of a process's dropout in a step: a function of the three alone.

    A run in several processes so has nothing random to save, and goes on with any number of them.
    """
    text = f"{seed} {step} {rank}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def share_of(batch: Sequence[Any], rank: int, size: int) -> tuple[Sequence[Any], float]:
    """Return every size-th example from the rank-th on, and their share of the batch.

    The examples of a batch are in order of length, so the shares are of like length. A process
    that has none gets the first, with the weight 0.
    """
    own = batch[rank::size]
    return (own, len(own) / len(batch)) if own else (batch[:1], 0.0)
