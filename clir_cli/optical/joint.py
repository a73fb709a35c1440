"""One student for several pairs: how their bitexts share the batches, and its validation.

Pair i with n_i sentence pairs has the share

    p_i = n_i^(1/T) / sum_j n_j^(1/T)

of the training examples (temperature sampling: Arivazhagan et al., 2019, arXiv 1907.05019). T = 1
takes the bitexts as they are; the larger T, the nearer the shares are to equal, and the more often
a small bitext is seen than a large one. An epoch has sum_i n_i sentence pairs for any T; if
``training.epoch_pairs`` bounds the pairs per bitext and epoch, n_i is at most that.

A batch mixes the pairs, each about in its share: every step then follows a gradient of all of
them, where batches of one pair each would alternate gradients between languages.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import torch

from clir_cli.optical.distillation import Distillation, loss_of
from clir_cli.retrieval.encoder import Encoder
from clir_cli.training.batches import epoch_batches
from clir_cli.training.data_parallel import share_of
from clir_cli.training.loop import Loss

Example = tuple[str, int]  # the pair, and the index of the sentence pair in its bitext


def quotas(counts: Sequence[int], temperature: float) -> list[int]:
    """Return the number of sentence pairs of each pair per epoch: its share, rounded.

    Shares are rounded down; the rest goes to the largest remainders.

    ``counts`` are the n_i, positive; ``temperature`` is T, at least 1.
    """
    total = sum(counts)
    largest = max(counts)  # divided by, so that no power overflows
    weights = [(count / largest) ** (1 / temperature) for count in counts]
    exact = [total * weight / sum(weights) for weight in weights]
    rounded = [math.floor(share) for share in exact]
    order = sorted(range(len(counts)), key=lambda index: (rounded[index] - exact[index], index))
    for index in order[: total - sum(rounded)]:
        rounded[index] += 1
    return rounded


def epoch_sample(count: int, quota: int, seed: str, epoch: int) -> list[int]:
    """Return the sentence pairs that a pair contributes to an epoch.

    They are the next ``quota`` of an endless series of shuffles of all ``count``: none comes again
    before all have come, across epochs too. A function of its arguments alone.
    """
    sample: list[int] = []
    start, stop = epoch * quota, (epoch + 1) * quota
    while start < stop:
        shuffle, offset = divmod(start, count)
        order = list(range(count))
        random.Random(f"{seed} {shuffle}").shuffle(order)
        taken = order[offset : offset + stop - start]
        sample += taken
        start += len(taken)
    return sample


@dataclass(frozen=True)
class JointDistillation:
    """Distillation of one student on several pairs (see loop.Task).

    ``parts``, by pair, have one objective and one batch size; ``temperature`` is T.
    """

    parts: Mapping[str, Distillation]
    temperature: float
    seed: int

    @property
    def _first(self) -> Distillation:
        return next(iter(self.parts.values()))

    @property
    def _batch_size(self) -> int:
        return self._first.settings.training.batch_size

    @property
    def quotas(self) -> dict[str, int]:
        """Return the number of sentence pairs of each pair per epoch."""
        counts = [part.pairs_per_epoch for part in self.parts.values()]
        return dict(zip(self.parts, quotas(counts, self.temperature), strict=True))

    @property
    def steps_per_epoch(self) -> int:
        """Return the number of batches of each epoch."""
        return math.ceil(sum(self.quotas.values()) / self._batch_size)

    def batches(self, epoch: int) -> list[list[Example]]:
        """Return the batches of an epoch, examples of similar length together, of any pair."""
        examples = [
            (name, row)
            for name, quota in self.quotas.items()
            for row in epoch_sample(
                len(self.parts[name].train), quota, f"{self.seed} {name}", epoch
            )
        ]
        of_pair = {name: part.train.lengths() for name, part in self.parts.items()}
        lengths = [of_pair[name][row] for name, row in examples]
        chosen = epoch_batches(lengths, self._batch_size, seed=self.seed, epoch=epoch)
        return [[examples[index] for index in batch] for batch in chosen]

    def tokens(self) -> set[int]:
        """Return the ids of the tokens that the student reads in training."""
        rows: dict[str, set[int]] = {name: set() for name in self.parts}
        for epoch in range(self._first.settings.training.epochs):
            for name, row in chain.from_iterable(self.batches(epoch)):
                rows[name].add(row)
        return set().union(*(self.parts[name].train.tokens(rows[name]) for name in rows))

    def loss(self, encoder: Encoder, batch: Sequence[Example]) -> Loss:
        """Return the objective over sentence pairs of several pairs."""
        rows = [(self.parts[name].train, row) for name, row in batch]
        return loss_of(encoder, rows, self._first.objective, self._first.settings)[0]

    def share(
        self, batch: Sequence[Example], rank: int, size: int
    ) -> tuple[Sequence[Example], float] | None:
        """Return one of several processes' sentence pairs and their weight (see Distillation)."""
        return share_of(batch, rank, size) if self._first.is_mean else None

    def validate_each(self, encoder: Encoder) -> dict[str, tuple[float, float]]:
        """Return the held-out loss and MRR of each pair, without dropout.

        The held-out pairs are those of the pair's own student, so that the two compare; the
        same English sentence may be in the training data with another language's translation.
        """
        encoder.trained.eval()
        with torch.no_grad():
            return {name: part.validate(encoder) for name, part in self.parts.items()}

    def validate(self, encoder: Encoder) -> tuple[float, float]:
        """Return the means over the pairs of held-out loss and MRR: each counts the same."""
        losses, mrrs = zip(*self.validate_each(encoder).values(), strict=True)
        return sum(losses) / len(losses), sum(mrrs) / len(mrrs)
