"""Distillation task: the student's embeddings of sentences, the teacher's of their translations."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import cast

from clir_cli.optical.anchor import English, anchor
from clir_cli.optical.marginals import Marginals
from clir_cli.optical.objectives import MEANS_OVER_PAIRS, Objective, TokenBatch
from clir_cli.ragged import Ragged
from clir_cli.retrieval.batching import pad
from clir_cli.retrieval.encoder import Encoder, Packed
from clir_cli.settings import Settings
from clir_cli.training.batches import epoch_batches, pad_vectors
from clir_cli.training.data_parallel import share_of
from clir_cli.training.held_out import reciprocal_ranks
from clir_cli.training.loop import Loss


@dataclass(frozen=True)
class EncodedBitext:
    """Sentence pairs ready to train on: student token ids, and the teacher's embeddings.

    ``marginals`` are the masses of the tokens in transport; None if they are uniform. ``english``
    are the English sides as the student reads them; None without an anchor.
    """

    ids: Ragged
    teacher: Packed
    marginals: Marginals | None = None
    english: English | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def lengths(self) -> list[int]:
        """Return the number of tokens of both sides of each pair."""
        return cast(list[int], (self.ids.lengths + self.teacher.offsets.diff().numpy()).tolist())

    def tokens(self, rows: Iterable[int]) -> set[int]:
        """Return the ids of the tokens of some pairs that the student reads."""
        sides = [self.ids, self.english.ids] if self.english else [self.ids]
        return {token for row in rows for side in sides for token in side[row]}


Pair = tuple[EncodedBitext, int]  # a sentence pair: its bitext, and its index there


def token_batch(student: Encoder, pairs: Sequence[Pair]) -> TokenBatch:
    """Return what an objective is computed from; all pairs have marginals, or none has."""
    ids, mask = pad([bitext.ids[row] for bitext, row in pairs], student.pad_id, student.device)
    vectors = [bitext.teacher[row] for bitext, row in pairs]
    teacher, teacher_mask = pad_vectors(vectors, student.device)
    of_teacher = [bitext.marginals.teacher[row] for bitext, row in pairs if bitext.marginals]
    marginals = pairs[0][0].marginals
    if marginals is None:
        return TokenBatch(student.embed(ids, mask), mask, teacher, teacher_mask)
    states = student.states(ids, mask)
    teacher_weights, _ = pad_vectors([weights[:, None] for weights in of_teacher], student.device)
    return TokenBatch(
        student.unit(states),
        mask,
        teacher,
        teacher_mask,
        student_weights=marginals.student(ids, mask, states),
        teacher_weights=teacher_weights[:, :, 0],
    )


def loss_of(
    student: Encoder, pairs: Sequence[Pair], objective: Objective, settings: Settings
) -> tuple[Loss, TokenBatch]:
    """Return the loss of sentence pairs, the anchor included, and what it is computed from."""
    batch = token_batch(student, pairs)
    loss, weight = objective(batch, settings), settings.objective.anchor
    sentences = [
        (bitext.english, row, bitext.teacher[row]) for bitext, row in pairs if bitext.english
    ]
    if weight and sentences:
        loss = replace(loss, value=loss.value + weight * anchor(student, sentences))
    return loss, batch


@dataclass(frozen=True)
class Distillation:
    """Training a student to produce the teacher's embeddings (see loop.Task).

    ``settings`` has the batch size, and is passed on to the objective; ``seed`` orders the batches.
    """

    train: EncodedBitext
    held_out: EncodedBitext
    objective: Objective
    settings: Settings
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Return the number of batches of each epoch."""
        return math.ceil(self.pairs_per_epoch / self.settings.training.batch_size)

    @property
    def pairs_per_epoch(self) -> int:
        """Return the number of sentence pairs of each epoch."""
        return min(len(self.train), self.settings.training.epoch_pairs or len(self.train))

    @property
    def is_mean(self) -> bool:
        """Return True if the loss of a batch is the mean of the losses of its pairs."""
        return self.objective in MEANS_OVER_PAIRS

    def batches(self, epoch: int) -> list[list[int]]:
        """Return the batches of an epoch: no pair twice, pairs of similar length together."""
        loop, lengths = self.settings.training, self.train.lengths()
        return epoch_batches(
            lengths, loop.batch_size, seed=self.seed, epoch=epoch, most=loop.epoch_pairs
        )

    def tokens(self) -> set[int]:
        """Return the ids of the tokens that the student reads in training."""
        batches = chain.from_iterable(map(self.batches, range(self.settings.training.epochs)))
        return self.train.tokens(set(chain.from_iterable(batches)))

    def loss(self, encoder: Encoder, batch: Sequence[int]) -> Loss:
        """Return the objective over some of the training pairs, and the anchor."""
        pairs = [(self.train, row) for row in batch]
        return loss_of(encoder, pairs, self.objective, self.settings)[0]

    def share(
        self, batch: Sequence[int], rank: int, size: int
    ) -> tuple[Sequence[int], float] | None:
        """Return one of several processes' pairs and their weight, if the loss is a mean."""
        return share_of(batch, rank, size) if self.is_mean else None

    def validate(self, encoder: Encoder) -> tuple[float, float]:
        """Return the held-out loss, and the MRR of finding each sentence's translation.

        The translations of all held-out sentences are the documents; late interaction scores.
        """
        size, held_out = self.settings.training.batch_size, self.held_out
        total, ranks = 0.0, list[float]()
        for start in range(0, len(held_out), size):
            rows = range(start, min(start + size, len(held_out)))
            pairs = [(held_out, row) for row in rows]
            loss, batch = loss_of(encoder, pairs, self.objective, self.settings)
            total += loss.value.item() * len(rows)
            sides = zip(batch.student, batch.student_mask, strict=True)
            queries = Packed.of([side[mask] for side, mask in sides])
            own = [[row] for row in rows]
            ranks += reciprocal_ranks(queries, held_out.teacher, own, own)
        return total / len(held_out), sum(ranks) / len(held_out)
