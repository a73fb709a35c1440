"""The training loop: one for every method, resumable to the bit, and silent about files.

It runs in one process or in several that share each batch (training/data_parallel.py).
"""

import copy
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from clir_cli.retrieval.encoder import Encoder
from clir_cli.settings import TrainingSettings
from clir_cli.training import data_parallel
from clir_cli.training.fsdp import like, shard, whole
from clir_cli.training.process_group import ALONE, Team


@dataclass(frozen=True)
class Loss:
    """The value to minimise, a scalar, and what else to tell about the batch."""

    value: Tensor
    told: Mapping[str, float] = field(default_factory=dict)


class Task(Protocol):
    """What an encoder is trained on: the batches of an epoch, their loss, and how it is judged.

    The loop knows nothing else of it. A batch is whatever the task makes of it, with a length:
    the number of examples in it. A task whose loss is a weighted mean over examples may have
    ``share(batch, rank, size)`` too: the part of a batch that one of several processes computes
    and its weight, or None where this is not so after all. Without it all compute the whole loss,
    from embeddings that they share.
    """

    @property
    def steps_per_epoch(self) -> int:
        """Return the number of batches of each epoch."""
        ...

    def batches(self, epoch: int) -> Sequence[Any]:
        """Return the batches of an epoch: a function of the task and the epoch alone."""
        ...

    def loss(self, encoder: Encoder, batch: Any) -> Loss:
        """Return the loss of a batch, differentiable."""
        ...

    def validate(self, encoder: Encoder) -> tuple[float, float]:
        """Return the loss and the MRR on what was held out; no gradients are kept."""
        ...


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
    """An encoder in training. ``run`` yields a ``Step`` after each step, for ever resumable.

    Args:
        student: The encoder to train, in place.
        task: What to train it on.
        loop: Epochs, learning rate and so on.
        seed: Decides dropout; the batches are the task's.
        team: The processes that train it together; each has its own ``Training``.
    """

    def __init__(
        self,
        student: Encoder,
        task: Task,
        loop: TrainingSettings,
        seed: int,
        team: Team = ALONE,
    ) -> None:
        self.student, self.task, self.loop, self.seed = student, task, loop, seed
        self.team, self.sharded = team, loop.shard and team.several
        self.steps_per_epoch = task.steps_per_epoch
        self.total_steps = self.steps_per_epoch * loop.epochs
        self.step = 0
        self.best = math.inf
        self._unshared = _copied(student) if self.sharded and team.main else student
        if loop.gradient_checkpointing:
            compute_twice(student.model)
        if self.sharded:
            shard(student, team)
        self.trained = student.trained
        self.parameters = [each for each in self.trained.parameters() if each.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=loop.learning_rate,
            weight_decay=loop.weight_decay,
            fused=student.device.type in ("cpu", "cuda"),
        )
        self._random: dict[str, Tensor] = {}
        self._reader = data_parallel.SharedReader(student, team) if team.several else student
        self._value = self._part
        if team.several and not self.sharded:  # fully sharded weights average by themselves
            self._value = data_parallel.averaged(self.trained, self._part)
        self._part_told: Mapping[str, float] = {}

    def run(self) -> Iterator[Step]:
        """Train to the end of the last epoch, from wherever the state stands."""
        self._set_random()
        while self.step < self.total_steps:
            epoch, done = divmod(self.step, self.steps_per_epoch)
            for batch in self.task.batches(epoch)[done:]:
                yield self._advance(batch, epoch)

    def _set_random(self) -> None:
        """Take up the dropout masks where the state left them, or at the seed.

        One of several processes takes them up anew in each step.
        """
        torch.manual_seed(self.seed)
        if "cpu" in self._random:
            torch.set_rng_state(self._random["cpu"])
        if "cuda" in self._random and self.student.device.type == "cuda":
            torch.cuda.set_rng_state(self._random["cuda"], self.student.device)

    def _advance(self, batch: Any, epoch: int) -> Step:
        started = time.perf_counter()
        rate = self.learning_rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.trained.train()
        loss = self._backward(batch)
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
            loss=float(loss.value),
            learning_rate=rate,
            pairs=len(batch),
            seconds=time.perf_counter() - started,
            told=loss.told,
            held_out_loss=held_out_loss,
            held_out_mrr=held_out_mrr,
            improved=improved,
        )

    def _backward(self, batch: Any) -> Loss:
        """Leave the gradients of a batch; return its loss, the same in every process."""
        team = self.team
        if team.several:
            torch.manual_seed(data_parallel.step_seed(self.seed, self.step, team.rank))
        value = self._value(batch)
        value.backward()
        told = self._part_told
        if not team.several:
            return Loss(value.detach(), told)
        parts = [value.item(), *told.values()]
        mean, *rest = (
            each / team.size for each in data_parallel.sum_over(team, parts, self.student.device)
        )
        return Loss(torch.tensor(mean), dict(zip(told, rest, strict=True)))

    def _part(self, batch: Any) -> Tensor:
        """Return this process's part of a loss: the average over processes is the batch's."""
        if not self.team.several:
            loss = self.task.loss(self.student, batch)
        elif (share := self._share(batch)) is None:
            loss = self.task.loss(self._reader, batch)
        else:
            own, weight = share
            loss = _weighted(self.task.loss(self.student, own), weight * self.team.size)
        self._part_told = loss.told
        return loss.value

    def _share(self, batch: Any) -> tuple[Any, float] | None:
        share = getattr(self.task, "share", None)
        return share(batch, self.team.rank, self.team.size) if share else None

    def learning_rate(self, step: int) -> float:
        """Return the rate of a step: linear warm-up, then a half cosine down to zero."""
        warm = max(1, round(self.loop.warmup * self.total_steps))
        if step < warm:
            return self.loop.learning_rate * (step + 1) / warm
        passed = (step - warm) / max(1, self.total_steps - warm)
        return self.loop.learning_rate * 0.5 * (1 + math.cos(math.pi * passed))

    @torch.no_grad()
    def validate(self) -> tuple[float, float]:
        """Return the loss and the MRR on what was held out, dropout off."""
        self.trained.eval()
        found = self.task.validate(self._reader)
        if self.team.several:
            found = tuple(data_parallel.from_main(self.team, found, self.student.device))
        return found

    def finished(self) -> Encoder:
        """Return the encoder as it stands, with whole weights in the main process.

        Where weights are sharded every process must take part.
        """
        if self.sharded:
            found = whole(self.weights())
            if self.team.main:
                self._unshared.trained.load_state_dict(found, strict=False)
        return self._unshared

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
        state = self.trained.state_dict()
        own = {name: like(value, state[name]) for name, value in tensors.items()}
        self.trained.load_state_dict(own, strict=False)

    def state(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Return all that the rest of the run depends on: tensors by name, and plain words.

        It is the same for any number of processes, which may be another when the run goes on.
        Where weights are sharded every process must take part.
        """
        tensors = whole(self.weights())
        for index, slots in self.optimizer.state_dict()["state"].items():
            tensors |= whole({f"optimizer.{index}.{name}": each for name, each in slots.items()})
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
                slots.setdefault(int(index), {})[slot] = like(value, self.parameters[int(index)])
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


def _weighted(loss: Loss, factor: float) -> Loss:
    told = {name: value * factor for name, value in loss.told.items()}
    return Loss(loss.value * factor, told)


def _copied(encoder: Encoder) -> Encoder:
    """Return a copy of an encoder on the CPU, to take up whole weights in the end."""
    model, head = copy.deepcopy(encoder.model).cpu(), copy.deepcopy(encoder.projection)
    cpu = torch.device("cpu")
    return replace(encoder, model=model, projection=head and head.cpu(), device=cpu)
