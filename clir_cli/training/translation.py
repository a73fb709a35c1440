"""Training a translator on sentence pairs: the likelihood of each target token given those before.

Cross-entropy with label smoothing (Szegedy et al., CVPR 2016); the epoch with the best chrF of the
held-out translations is kept.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from clir_cli.evaluation.translation import chrf
from clir_cli.retrieval.batching import batches_by_count, pad
from clir_cli.training.batches import epoch_batches
from clir_cli.training.data_parallel import share_of
from clir_cli.training.loop import Loss
from clir_cli.training.translator import Translating


class Example(NamedTuple):
    """Token ids of a source sentence and of its translation, each with the token that ends it."""

    source: Sequence[int]
    target: Sequence[int]


@dataclass(frozen=True)
class Translation:
    """Training a translator (see loop.Task).

    Attributes:
        train: Sentence pairs to train on.
        held_out: Sentence pairs for the held-out loss.
        sources: Held-out sentences to translate.
        references: Their translations.
        batch_size: Pairs in a batch.
        least_pairs: Pairs of an epoch at least; fewer are repeated.
        smoothing: Share of the probability that is spread over the vocabulary.
        max_tokens: Longest translation of a held-out sentence.
        seed: Seed of the batches.
        patience: See loop.Task.
        seconds: See loop.Task.
    """

    by_score: ClassVar[bool] = True
    score: ClassVar[str] = "chrF"

    train: Sequence[Example]
    held_out: Sequence[Example]
    sources: Sequence[str]
    references: Sequence[str]
    batch_size: int
    least_pairs: int
    smoothing: float
    max_tokens: int
    seed: int
    patience: int = 0
    seconds: float = 0

    @property
    def steps_per_epoch(self) -> int:
        """Return the number of batches of each epoch."""
        return max(self._batches_of_all, math.ceil(self.least_pairs / self.batch_size))

    @property
    def _batches_of_all(self) -> int:
        return math.ceil(len(self.train) / self.batch_size)

    def batches(self, epoch: int) -> list[list[Example]]:
        """Return the batches of an epoch: of one pass over the pairs after another."""
        lengths = [len(source) + len(target) for source, target in self.train]
        steps, a_pass = self.steps_per_epoch, self._batches_of_all
        first, last = epoch * steps, (epoch + 1) * steps
        chosen = [
            rows
            for turn in range(first // a_pass, -(-last // a_pass))
            for rows in epoch_batches(lengths, self.batch_size, seed=self.seed, epoch=turn)
        ]
        begin = first % a_pass
        return [[self.train[row] for row in rows] for rows in chosen[begin : begin + steps]]

    def loss(self, encoder: Translating, batch: Sequence[Example]) -> Loss:
        """Return the mean over target tokens of the cross-entropy with label smoothing."""
        scores, targets = self._predict(encoder, batch)
        return Loss(functional.cross_entropy(scores, targets, label_smoothing=self.smoothing))

    def share(
        self, batch: Sequence[Example], rank: int, size: int
    ) -> tuple[Sequence[Example], float]:
        """Return the part of a batch that one of several processes computes, and its weight."""
        part, weight = share_of(batch, rank, size)
        return part, weight and _targets(part) / _targets(batch)

    def _predict(self, encoder: Translating, batch: Sequence[Example]) -> tuple[Tensor, Tensor]:
        """Return scores (target tokens, vocabulary), and the ids of the target tokens."""
        ids, mask = pad([source for source, _ in batch], encoder.pad_id, encoder.device)
        targets, known = pad([target for _, target in batch], encoder.pad_id, encoder.device)
        # A translation starts with padding, as Marian does it.
        previous = functional.pad(targets[:, :-1], (1, 0), value=encoder.pad_id)
        return encoder.token_scores(ids, mask, previous, known), targets[known]

    @torch.no_grad()
    def validate(self, encoder: Translating) -> tuple[float, float]:
        """Return the cross-entropy of held-out tokens, without smoothing, and chrF, one beam."""
        loss = 0.0
        lengths = [len(source) + len(target) for source, target in self.held_out]
        for rows in batches_by_count(lengths, self.batch_size):
            scores, targets = self._predict(encoder, [self.held_out[row] for row in rows])
            loss += float(functional.cross_entropy(scores, targets, reduction="sum"))
        translations = encoder.translator.translate(
            self.sources, beams=1, max_tokens=self.max_tokens
        )
        return loss / _targets(self.held_out), chrf(translations, self.references).score


def _targets(examples: Sequence[Example]) -> int:
    return sum(len(example.target) for example in examples)
