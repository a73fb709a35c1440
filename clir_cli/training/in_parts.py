"""A batch that does not fit the memory, computed in parts: the loss and the gradient stay the same.

If the loss is a weighted mean over examples (``Task.share``), the gradients of the parts add up to
the batch's. If not, texts are encoded part by part without keeping activations, which are computed
again in the backward pass (gradient caching, training/chunks.py), and the loss sees all of them.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from clir_cli.retrieval.checkpoints import TextKind
from clir_cli.retrieval.encoder import Encoder


class EncoderInParts:
    """An encoder that keeps the activations of one part of the texts of a batch at a time."""

    def __init__(self, encoder: Encoder, parts: int) -> None:
        self._encoder, self._parts = encoder, parts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def embed(self, ids: Tensor, mask: Tensor, kind: TextKind = "sentence") -> Tensor:
        """Return (B, n, d) of ``Encoder.embed`` for ids and mask (B, n)."""
        return self._in_parts(partial(self._encoder.embed, kind=kind), ids, mask)

    def states(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return (B, n, d) of ``Encoder.states`` for ids and mask (B, n)."""
        return self._in_parts(self._encoder.states, ids, mask)

    def _in_parts(
        self, encode: Callable[[Tensor, Tensor], Tensor], ids: Tensor, mask: Tensor
    ) -> Tensor:
        size = -(-len(ids) // self._parts)
        starts = range(0, len(ids), size)
        inputs = [(ids[at : at + size], mask[at : at + size]) for at in starts]
        parts = [checkpoint(encode, *part, use_reentrant=False) for part in inputs]
        return torch.cat(cast(list[Tensor], parts))


def random_states(device: torch.device) -> dict[str, Tensor]:
    """Return the states that dropout depends on, by kind of device."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_random_states(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Set the states that ``random_states`` returned; those that are missing stay."""
    if "cpu" in states:
        torch.set_rng_state(states["cpu"])
    if "cuda" in states and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)


def losses(task: Any, encoder: Encoder, batch: Any, parts: int) -> Iterator[tuple[Any, float]]:
    """Yield the losses of the parts of a batch, each with its weight; one loss if it is no mean.

    ``task`` is a Task of training/loop.py. The weighted losses add up to the batch's.
    """
    share = getattr(task, "share", None)
    if share is None or share(batch, 0, parts) is None:
        yield task.loss(cast(Encoder, EncoderInParts(encoder, parts)), batch), 1.0
        return
    for part in range(parts):
        examples, weight = share(batch, part, parts)
        if weight:
            yield task.loss(encoder, examples), weight
