"""The training loop: one for every method, resumable to the bit, and silent about files."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

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
class Step:
    """What one optimisation step tells. Held-out figures stand at the end of an epoch only."""

    number: int
    epoch: int
    loss: float
    learning_rate: float
    pairs: int
    seconds: float
    told: Mapping[str, float]
    held_out_loss: float | None = None
    held_out_mrr: float | None = None
    improved: bool = False


class Training:
    """A student in training. ``run`` yields a ``Step`` after each step, for ever resumable.

    Args:
        student: The encoder to train, in place.
        train: Pairs to train on.
        held_out: Pairs for model selection.
        objective: What to minimise.
        settings: Epochs, batch size, learning rate and so on; passed on to the objective.
        seed: Decides the batches and dropout.
    """

    def __init__(
        self,
        student: Encoder,
        train: Parallel,
        held_out: Parallel,
        objective: Objective,
        settings: Settings,
        seed: int,
    ) -> None:
        self.student, self.train, self.held_out = student, train, held_out
        self.objective, self.settings, self.loop = objective, settings, settings.training
        self.seed = seed
        self.steps_per_epoch = math.ceil(len(train) / self.loop.batch_size)
        self.total_steps = self.steps_per_epoch * self.loop.epochs
        self.step = 0
        self.best = math.inf
        self.trained = student.trained
        if self.loop.gradient_checkpointing:
            compute_twice(student.model)
        self.parameters = [each for each in self.trained.parameters() if each.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=self.loop.learning_rate,
            weight_decay=self.loop.weight_decay,
            fused=student.device.type in ("cpu", "cuda"),
        )
        self._random: dict[str, Tensor] = {}

    def run(self) -> Iterator[Step]:
        """Train to the end of the last epoch, from wherever the state stands."""
        self._set_random()
        lengths = self.train.lengths()
        while self.step < self.total_steps:
            epoch, done = divmod(self.step, self.steps_per_epoch)
            batches = epoch_batches(lengths, self.loop.batch_size, seed=self.seed, epoch=epoch)
            for batch in batches[done:]:
                yield self._advance(batch, epoch)

    def _set_random(self) -> None:
        """Take up the dropout masks where the state left them, or at the seed."""
        torch.manual_seed(self.seed)
        if "cpu" in self._random:
            torch.set_rng_state(self._random["cpu"])
        if "cuda" in self._random and self.student.device.type == "cuda":
            torch.cuda.set_rng_state(self._random["cuda"], self.student.device)

    def _advance(self, batch: list[int], epoch: int) -> Step:
        started = time.perf_counter()
        rate = self.learning_rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.trained.train()
        loss = self._loss(self.train, batch)
        loss.value.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, self.loop.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        held_out_loss = held_out_mrr = None
        improved = False
        if self.step % self.steps_per_epoch == 0:
            held_out_loss, held_out_mrr = self.validate()
            improved = held_out_loss < self.best
            self.best = min(self.best, held_out_loss)
        return Step(
            number=self.step,
            epoch=epoch,
            loss=loss.value.item(),
            learning_rate=rate,
            pairs=len(batch),
            seconds=time.perf_counter() - started,
            told=loss.told,
            held_out_loss=held_out_loss,
            held_out_mrr=held_out_mrr,
            improved=improved,
        )

    def learning_rate(self, step: int) -> float:
        """Return the rate of a step: linear warm-up, then a half cosine down to zero."""
        warm = max(1, round(self.loop.warmup * self.total_steps))
        if step < warm:
            return self.loop.learning_rate * (step + 1) / warm
        passed = (step - warm) / max(1, self.total_steps - warm)
        return self.loop.learning_rate * 0.5 * (1 + math.cos(math.pi * passed))

    def _loss(self, data: Parallel, batch: Sequence[int]) -> Loss:
        device = self.student.device
        ids, mask = pad([data.ids[index] for index in batch], self.student.pad_id, device)
        teacher, teacher_mask = pad_vectors([data.teacher[index] for index in batch], device)
        embedded = self.student.embed(ids, mask)
        return self.objective(TokenBatch(embedded, mask, teacher, teacher_mask), self.settings)

    @torch.no_grad()
    def validate(self) -> tuple[float, float]:
        """Return the held-out loss, and the MRR of finding each sentence's translation.

        The translations of all held-out sentences are the documents; late interaction scores.
        """
        self.trained.eval()
        size = self.loop.batch_size
        total, ranks = 0.0, 0.0
        for start in range(0, len(self.held_out), size):
            batch = list(range(start, min(start + size, len(self.held_out))))
            total += self._loss(self.held_out, batch).value.item() * len(batch)
            ids, mask = pad(
                [self.held_out.ids[index] for index in batch],
                self.student.pad_id,
                self.student.device,
            )
            embedded = self.student.embed(ids, mask)
            for row, index in enumerate(batch):
                scores = maxsim(embedded[row][mask[row]], self.held_out.teacher)
                ranks += 1 / (1 + int((scores > scores[index]).sum()))
        return total / len(self.held_out), ranks / len(self.held_out)

    def weights(self) -> dict[str, Tensor]:
        """Return what training changes: the model and the projection, without frozen weights."""
        frozen = {name for name, each in self.trained.named_parameters() if not each.requires_grad}
        state = self.trained.state_dict()
        return {name: value for name, value in state.items() if name not in frozen}

    def load_weights(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what ``weights`` returned.

        Raises:
            ValueError: It is of another student.
        """
        if tensors.keys() != self.weights().keys():
            raise ValueError("these are the weights of another student")
        self.trained.load_state_dict(dict(tensors), strict=False)

    def state(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Return all that the rest of the run depends on: tensors by name, and plain words."""
        tensors = {
            name: value.detach().cpu().contiguous() for name, value in self.weights().items()
        }
        for index, slots in self.optimizer.state_dict()["state"].items():
            for name, value in slots.items():
                tensors[f"optimizer.{index}.{name}"] = value.detach().cpu().contiguous()
        tensors["random.cpu"] = torch.get_rng_state()
        if self.student.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.student.device)
        return tensors, {"step": str(self.step), "best": repr(self.best)}

    def restore(self, tensors: Mapping[str, Tensor], words: Mapping[str, str]) -> None:
        """Continue from what ``state`` returned."""
        others = ("optimizer.", "random.")
        self.load_weights({n: value for n, value in tensors.items() if not n.startswith(others)})
        slots: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, index, slot = name.split(".")
                slots.setdefault(int(index), {})[slot] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": slots, "param_groups": groups})
        self._random = {
            name.removeprefix("random."): value
            for name, value in tensors.items()
            if name.startswith("random.")
        }
        self.step, self.best = int(words["step"]), float(words["best"])


def compute_twice(model: PreTrainedModel) -> None:
    """Have a model keep only the input of each layer, and compute the rest again going back."""
    # transformers renamed it within its fifth version; the old name warns where the new one is.
    enable = getattr(model, "activation_checkpointing_enable", None)
    (enable or model.gradient_checkpointing_enable)({"use_reentrant": False})
