"""Distillation as a task: a student reads the sentences, the teacher has read the translations."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from clir_cli.optical.batches import epoch_batches, pad_vectors
from clir_cli.optical.objectives import Loss, Objective, TokenBatch
from clir_cli.retrieval.encoder import Encoder, Packed, pad
from clir_cli.retrieval.maxsim import maxsim
from clir_cli.settings import Settings


@dataclass(frozen=True)
class Parallel:
    """Sentence pairs ready to train on: student token ids, and the teacher's embeddings."""

    ids: Sequence[Sequence[int]]
    teacher: Packed

    def __len__(self) -> int:
        return len(self.ids)

    def lengths(self) -> list[int]:
        """Return the tokens of both sides of each pair."""
        sizes = (self.teacher.offsets[1:] - self.teacher.offsets[:-1]).tolist()
        return [len(ids) + size for ids, size in zip(self.ids, sizes, strict=True)]


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
        return math.ceil(len(self.train) / self.settings.training.batch_size)

    def batches(self, epoch: int) -> list[list[int]]:
        """Return the batches of an epoch: each pair once, neighbours of like length."""
        size = self.settings.training.batch_size
        return epoch_batches(self.train.lengths(), size, seed=self.seed, epoch=epoch)

    def loss(self, encoder: Encoder, batch: Sequence[int]) -> Loss:
        """Return the objective over some of the training pairs."""
        return self._loss(encoder, self.train, batch)

    def _loss(self, student: Encoder, data: Parallel, batch: Sequence[int]) -> Loss:
        ids, mask = pad([data.ids[index] for index in batch], student.pad_id, student.device)
        teacher, teacher_mask = pad_vectors(
            [data.teacher[index] for index in batch], student.device
        )
        embedded = student.embed(ids, mask)
        return self.objective(TokenBatch(embedded, mask, teacher, teacher_mask), self.settings)

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
