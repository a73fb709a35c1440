"""One student for several pairs: how their bitexts share the batches, and how it is judged.

Pair i with n_i sentence pairs has the share

    p_i = n_i^(1/T) / sum_j n_j^(1/T)

of what is trained on (temperature sampling: Arivazhagan et al., 2019, arXiv 1907.05019). T = 1
takes the bitexts as they are; the larger T, the nearer the shares are to equal, and the oftener a
small bitext is read than a large one. An epoch has sum_i n_i sentence pairs whatever T is; where
``training.epoch_pairs`` bounds what an epoch draws of a bitext, n_i is at most that.

A batch mixes the pairs, each about in its share: every step then follows a gradient of all of
them, where batches of one pair each would pull the student to and fro.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from clir_cli.optical.distillation import Distillation, loss_of
from clir_cli.retrieval.encoder import Encoder
from clir_cli.training.batches import epoch_batches
from clir_cli.training.loop import Loss

Example = tuple[str, int]  # the pair, and the number of the sentence pair in its bitext


def quotas(counts: Sequence[int], temperature: float) -> list[int]:
    """Return how many sentence pairs of an epoch each pair has: whole numbers next to its share.

    What rounding down leaves goes to the largest remainders.

    Args:
        counts: n_i, positive.
        temperature: T, at least 1.
    """
    total = sum(counts)
    largest = max(counts)  # taken out, so that no power overflows
    weights = [(count / largest) ** (1 / temperature) for count in counts]
    exact = [total * weight / sum(weights) for weight in weights]
    found = [math.floor(each) for each in exact]
    order = sorted(range(len(counts)), key=lambda place: (found[place] - exact[place], place))
    for place in order[: total - sum(found)]:
        found[place] += 1
    return found


def drawn(count: int, quota: int, seed: str, epoch: int) -> list[int]:
    """Return the sentence pairs that a pair gives to an epoch.

    They are the next ``quota`` of an endless series of shuffles of all ``count``: none comes again
    before all have come, over the ends of epochs too. A function of its arguments alone.
    """
    found: list[int] = []
    at, stop = epoch * quota, (epoch + 1) * quota
    while at < stop:
        pass_, start = divmod(at, count)
        order = list(range(count))
        random.Random(f"{seed} {pass_}").shuffle(order)
        taken = order[start : start + stop - at]
        found += taken
        at += len(taken)
    return found


@dataclass(frozen=True)
class JointDistillation:
    """Distillation of one student on several pairs (see training.Task).

    Attributes:
        parts: The distillation of each pair, by name; all have one objective and one batch size.
        temperature: T of the shares.
        seed: Decides the batches.
    """

    parts: Mapping[str, Distillation]
    temperature: float
    seed: int

    @property
    def quotas(self) -> dict[str, int]:
        """Return how many sentence pairs of an epoch each pair has."""
        counts = [part.pairs_an_epoch for part in self.parts.values()]
        return dict(zip(self.parts, quotas(counts, self.temperature), strict=True))

    @property
    def steps_per_epoch(self) -> int:
        """Return the number of batches of each epoch."""
        return math.ceil(sum(self.quotas.values()) / self._batch_size)

    @property
    def _batch_size(self) -> int:
        return next(iter(self.parts.values())).settings.training.batch_size

    def batches(self, epoch: int) -> list[list[Example]]:
        """Return the batches of an epoch, neighbours of like length whatever their pair."""
        examples = [
            (name, index)
            for name, quota in self.quotas.items()
            for index in drawn(len(self.parts[name].train), quota, f"{self.seed} {name}", epoch)
        ]
        of_pair = {name: part.train.lengths() for name, part in self.parts.items()}
        lengths = [of_pair[name][index] for name, index in examples]
        chosen = epoch_batches(lengths, self._batch_size, seed=self.seed, epoch=epoch)
        return [[examples[place] for place in batch] for batch in chosen]

    def loss(self, encoder: Encoder, batch: Sequence[Example]) -> Loss:
        """Return the objective over sentence pairs of several pairs."""
        first = next(iter(self.parts.values()))
        sides = [(self.parts[name].train, index) for name, index in batch]
        return loss_of(encoder, sides, first.objective, first.settings)

    def share(
        self, batch: Sequence[Example], rank: int, size: int
    ) -> tuple[Sequence[Example], float] | None:
        """Return one of several processes' sentence pairs and their weight (see Distillation)."""
        return next(iter(self.parts.values())).share(batch, rank, size)

    def held_out(self, encoder: Encoder) -> dict[str, tuple[float, float]]:
        """Return the held-out loss and MRR of each pair, dropout off.

        What is held out of a pair is what its own student holds out, so that the two compare; the
        same English sentence may be trained on with another language's translation.
        """
        encoder.trained.eval()
        with torch.no_grad():
            return {name: part.validate(encoder) for name, part in self.parts.items()}

    def validate(self, encoder: Encoder) -> tuple[float, float]:
        """Return the means over the pairs of held-out loss and MRR: each counts the same."""
        losses, ranks = zip(*self.held_out(encoder).values(), strict=True)
        return sum(losses) / len(losses), sum(ranks) / len(ranks)
