"""Distillation as a task: a student reads the sentences, the teacher has read the translations."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch.nn import functional

from clir_cli.optical.marginals import Masses
from clir_cli.optical.objectives import (
    Objective,
    TokenBatch,
    greedy_tokens,
    optimal_transport,
    pooled_cosine,
    pooled_mse,
    transport_and_pooled,
)
from clir_cli.retrieval.encoder import Encoder, Packed, pad
from clir_cli.retrieval.maxsim import maxsim
from clir_cli.settings import Settings
from clir_cli.training.batches import epoch_batches, pad_vectors
from clir_cli.training.data_parallel import share_of
from clir_cli.training.loop import Loss

# Means over sentence pairs. One that is not here may compare the pairs of a batch with each other.
BY_SENTENCE = (
    optimal_transport,
    transport_and_pooled,
    greedy_tokens,
    pooled_mse,
    pooled_cosine,
)


@dataclass(frozen=True)
class Parallel:
    """Sentence pairs ready to train on: student token ids, and the teacher's embeddings.

    ``masses`` are those of the tokens in transport, where they are not all the same.
    """

    ids: Sequence[Sequence[int]]
    teacher: Packed
    masses: Masses | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def lengths(self) -> list[int]:
        """Return the tokens of both sides of each pair."""
        sizes = (self.teacher.offsets[1:] - self.teacher.offsets[:-1]).tolist()
        return [len(ids) + size for ids, size in zip(self.ids, sizes, strict=True)]


def loss_of(
    student: Encoder,
    pairs: Sequence[tuple[Parallel, int]],
    objective: Objective,
    settings: Settings,
) -> Loss:
    """Return the objective over some sentence pairs.

    Args:
        student: Reads the sentences.
        pairs: Where each of them stands; all with masses, or all without.
        objective: What to minimise.
        settings: Passed on to it.
    """
    ids, mask = pad([data.ids[index] for data, index in pairs], student.pad_id, student.device)
    vectors = [data.teacher[index] for data, index in pairs]
    teacher, teacher_mask = pad_vectors(vectors, student.device)
    weigh = pairs[0][0].masses
    if weigh is None:
        batch = TokenBatch(student.embed(ids, mask), mask, teacher, teacher_mask)
        return objective(batch, settings)
    states = student.states(ids, mask)
    of_teacher = [data.masses.teacher[index][:, None] for data, index in pairs]
    batch = TokenBatch(
        functional.normalize(states, dim=-1),
        mask,
        teacher,
        teacher_mask,
        student_weights=weigh.student(ids, mask, states),
        teacher_weights=pad_vectors(of_teacher, student.device)[0][:, :, 0],
    )
    return objective(batch, settings)


@dataclass(frozen=True)
class Distillation:
    """A student that learns to stand where the teacher stands (see training.Task).

    Attributes:
        train: Pairs to train on.
        held_out: Pairs for model selection.
        objective: What to minimise.
        settings: The batch size; passed on to the objective.
        seed: Decides the batches.
    """

    train: Parallel
    held_out: Parallel
    objective: Objective
    settings: Settings
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Return the number of batches of each epoch."""
        return math.ceil(self.pairs_an_epoch / self.settings.training.batch_size)

    @property
    def pairs_an_epoch(self) -> int:
        """Return how many sentence pairs an epoch has."""
        return min(len(self.train), self.settings.training.epoch_pairs or len(self.train))

    def batches(self, epoch: int) -> list[list[int]]:
        """Return the batches of an epoch: no pair twice, neighbours of like length."""
        loop, lengths = self.settings.training, self.train.lengths()
        return epoch_batches(
            lengths, loop.batch_size, seed=self.seed, epoch=epoch, most=loop.epoch_pairs
        )

    def loss(self, encoder: Encoder, batch: Sequence[int]) -> Loss:
        """Return the objective over some of the training pairs."""
        return self._loss(encoder, self.train, batch)

    def share(
        self, batch: Sequence[int], rank: int, size: int
    ) -> tuple[Sequence[int], float] | None:
        """Return one of several processes' pairs and their weight, where each has its own loss."""
        return share_of(batch, rank, size) if self.objective in BY_SENTENCE else None

    def _loss(self, student: Encoder, data: Parallel, batch: Sequence[int]) -> Loss:
        pairs = [(data, index) for index in batch]
        return loss_of(student, pairs, self.objective, self.settings)

    def validate(self, encoder: Encoder) -> tuple[float, float]:
        """Return the held-out loss, and the MRR of finding each sentence's translation.

        The translations of all held-out sentences are the documents; late interaction scores.
        """
        size = self.settings.training.batch_size
        total, ranks = 0.0, 0.0
        for start in range(0, len(self.held_out), size):
            batch = list(range(start, min(start + size, len(self.held_out))))
            total += self._loss(encoder, self.held_out, batch).value.item() * len(batch)
            ids, mask = pad(
                [self.held_out.ids[index] for index in batch], encoder.pad_id, encoder.device
            )
            embedded = encoder.embed(ids, mask)
            for row, index in enumerate(batch):
                scores = maxsim(embedded[row][mask[row]], self.held_out.teacher)
                ranks += 1 / (1 + int((scores > scores[index]).sum()))
        return total / len(self.held_out), ranks / len(self.held_out)
