"""The training loop: one for every method, with bit-exact resumption; it does no I/O.

It runs in one process or in several that share each batch (training/data_parallel.py).
"""

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from clir_cli.errors import UserError
from clir_cli.files import is_out_of_memory
from clir_cli.retrieval.encoder import Encoder
from clir_cli.retrieval.loading import freeze
from clir_cli.settings import TrainingSettings
from clir_cli.training.data_parallel import SharedEncoder, averaged, mean_over, step_seed
from clir_cli.training.fsdp import like, shard, whole
from clir_cli.training.in_parts import losses, random_states, set_random_states
from clir_cli.training.model_modes import (
    attention_of_training,
    recompute_activations,
    remove_dropout,
)
from clir_cli.training.process_group import ALONE, ProcessGroup
from clir_cli.training.reached_rows import ReachedRows, with_reached_rows

MISSED = "missed_plans"  # the metric: share of a batch whose transport plans did not converge


@dataclass(frozen=True)
class Loss:
    """The value to minimise, a scalar, and metrics of the batch by name."""

    value: Tensor
    metrics: Mapping[str, float] = field(default_factory=dict)


class Task(Protocol):
    """What an encoder is trained on: the batches of an epoch, their loss, and its validation.

    A batch is of any type that has a length: the number of examples in it. A task whose loss is a
    weighted mean over examples may have ``share(batch, rank, size)`` too: the part of a batch that
    one of several processes computes and its weight, or None if the loss is not such a mean after
    all. Without it all compute the whole loss, from embeddings that they share.

    A task may have ``begin(encoder, epoch)`` too, which is called before the batches of an epoch
    and may put tensors that these depend on into ``kept``, a dictionary that checkpoints hold. It
    may have ``tokens()``: the ids of all tokens that its batches hold, so that other rows of the
    embedding table need no gradient. Its ``score`` names what is measured on held-out data if that
    is not the MRR. If its ``by_score`` is true, the epoch with the best score is kept, not the one
    with the best loss. Training ends before its last epoch if ``patience`` epochs one after another
    are no better, or if it has taken ``seconds`` by the end of an epoch; 0 is no limit.
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
        """Return the loss and the score on held-out data; no gradients are kept."""
        ...


@dataclass(frozen=True)
class Step:
    """The report of one optimisation step. Held-out figures come at the end of an epoch only."""

    number: int
    epoch: int
    loss: float
    learning_rate: float
    pairs: int
    seconds: float
    metrics: Mapping[str, float]
    held_out_loss: float | None = None
    held_out_score: float | None = None
    improved: bool = False


class Training:
    """An encoder in training. ``run`` yields a ``Step`` after each step and can always be resumed.

    ``encoder`` is trained in place; ``seed`` is for dropout, as the task orders its batches. Each
    process of the group has its own ``Training``.
    """

    def __init__(
        self,
        encoder: Encoder,
        task: Task,
        settings: TrainingSettings,
        seed: int,
        group: ProcessGroup = ALONE,
    ) -> None:
        self.encoder, self.task, self.settings, self.seed = encoder, task, settings, seed
        self.group, self.sharded = group, settings.shard and group.several
        self.steps_per_epoch = task.steps_per_epoch
        self.total_steps = self.steps_per_epoch * settings.epochs
        self.step = 0
        self.parts = 1  # in which each batch is computed
        self.best = math.inf
        self.score: str = getattr(task, "score", "MRR")
        self.waited = 0  # epochs since the best one
        self.seconds = 0.0  # of all steps, those before an interruption included
        self.plans = self.missed = 0  # transport plans so far, and those that did not converge
        freeze(encoder.model, settings.freeze)
        if not settings.dropout:
            remove_dropout(encoder.model)
        self._unsharded = _copy(encoder) if self.sharded and group.is_main else encoder
        if settings.gradient_checkpointing:
            recompute_activations(encoder.model)
        self._rows: ReachedRows | None = None
        if self.sharded:
            shard(encoder, group)
        elif self.total_steps and hasattr(task, "tokens"):
            self._rows = with_reached_rows(encoder, task.tokens())
        self.trained = encoder.trained
        self.parameters = [value for value in self.trained.parameters() if value.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=encoder.device.type in ("cpu", "cuda"),
        )
        self._rng_states: dict[str, Tensor] = {}
        self._shared = cast(Encoder, SharedEncoder(encoder, group)) if group.several else encoder
        self._value: Callable[[Any], Tensor] = self._partial_loss
        if group.several and not self.sharded:  # fully sharded weights average by themselves
            self._value = averaged(self.trained, self._partial_loss)
        self._metrics: Mapping[str, float] = {}

    def run(self) -> Iterator[Step]:
        """Train to the end of the last epoch, from the present state.

        Raises:
            UserError: A loss or a gradient is not finite; the message names the step.
        """
        self._restore_rng()
        while not self.is_over:
            epoch, done = divmod(self.step, self.steps_per_epoch)
            begin = None if done else getattr(self.task, "begin", None)
            if begin:
                begin(self._shared, epoch)
            for batch in self.task.batches(epoch)[done:]:
                yield self._advance(batch, epoch)

    @property
    def is_over(self) -> bool:
        """Return True after the last step: of the last epoch, or of one that ends it early."""
        patience, seconds = (getattr(self.task, name, 0) for name in ("patience", "seconds"))
        is_late = self.step % self.steps_per_epoch == 0 and 0 < seconds <= self.seconds
        return self.step >= self.total_steps or 0 < patience <= self.waited or is_late

    def _restore_rng(self) -> None:
        """Continue the dropout masks of the state, or start them at the seed.

        One of several processes seeds them in each step.
        """
        torch.manual_seed(self.seed)
        set_random_states(self._rng_states, self.encoder.device)

    def _advance(self, batch: Any, epoch: int) -> Step:
        started = time.perf_counter()
        learning_rate = self.learning_rate(self.step)
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = learning_rate
        self.trained.train()
        with attention_of_training(self.encoder):
            loss = self._backward(batch)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self._rows:
            self._rows.decay *= 1 - learning_rate * self.settings.weight_decay
        self.step += 1
        value = self._finite("loss", float(loss.value))
        self._finite("norm of the gradient", float(whole({"norm": norm})["norm"]))
        held_out: dict[str, Any] = {}
        if self.step % self.steps_per_epoch == 0:
            held, score = self.validate()
            # Among equal scores the loss decides.
            rated = 1e-6 * held - score if getattr(self.task, "by_score", False) else held
            improved = rated < self.best
            held_out = {"held_out_loss": held, "held_out_score": score, "improved": improved}
            self.best, self.waited = min(self.best, rated), 0 if improved else self.waited + 1
        if MISSED in loss.metrics:
            self.plans += len(batch)
            self.missed += round(loss.metrics[MISSED] * len(batch))
        seconds = time.perf_counter() - started
        self.seconds += seconds
        if held_out:  # all processes end after the same epoch
            self.seconds = self.group.broadcast(self.seconds)
        return Step(
            self.step, epoch, value, learning_rate, len(batch), seconds, loss.metrics,
            **held_out,
        )  # fmt: skip

    def _backward(self, batch: Any) -> Loss:
        """Compute the gradients of a batch; return its loss, the same in every process."""
        if self.group.several:
            torch.manual_seed(step_seed(self.seed, self.step, self.group.rank))
        elif self.settings.halve:
            return self._backward_that_fits(batch)
        value = self._value(batch)
        value.backward()
        metrics = self._metrics
        if not self.group.several:
            return Loss(value.detach(), metrics)
        mean, *rest = mean_over(self.group, [value.item(), *metrics.values()])
        return Loss(torch.tensor(mean), dict(zip(metrics, rest, strict=True)))

    def _backward_that_fits(self, batch: Any) -> Loss:
        """Compute the gradients of a batch, in twice as many parts each time memory runs out."""
        states = random_states(self.encoder.device)
        while True:
            try:
                return self._backward_in_parts(batch)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or self.parts >= len(batch):
                    raise
            # Not in the handler, which holds what was computed.
            self.parts = min(2 * self.parts, len(batch))
            self.optimizer.zero_grad(set_to_none=True)
            if self.encoder.device.type == "cuda":
                torch.cuda.empty_cache()
            set_random_states(states, self.encoder.device)

    def _backward_in_parts(self, batch: Any) -> Loss:
        if self.parts == 1:
            value = self._value(batch)
            value.backward()
            return Loss(value.detach(), self._metrics)
        total, metrics = torch.zeros((), device=self.encoder.device), dict[str, float]()
        for loss, weight in losses(self.task, self.encoder, batch, min(self.parts, len(batch))):
            (loss.value * weight).backward()
            total += loss.value.detach() * weight
            for name, value in loss.metrics.items():
                metrics[name] = metrics.get(name, 0.0) + value * weight
        return Loss(total, metrics)

    def _partial_loss(self, batch: Any) -> Tensor:
        """Return this process's part of a loss: the average over processes is the batch's."""
        share = getattr(self.task, "share", None) if self.group.several else None
        part = share(batch, self.group.rank, self.group.size) if share else None
        if part is None:
            loss, factor = self.task.loss(self._shared, batch), 1
        else:
            examples, weight = part
            loss, factor = self.task.loss(self.encoder, examples), weight * self.group.size
        self._metrics = {name: value * factor for name, value in loss.metrics.items()}
        return loss.value * factor

    def learning_rate(self, step: int) -> float:
        """Return the rate of a step: linear warm-up, then a half cosine down to zero."""
        warm = max(1, round(self.settings.warmup * self.total_steps))
        if step < warm:
            return self.settings.learning_rate * (step + 1) / warm
        passed = (step - warm) / max(1, self.total_steps - warm)
        return self.settings.learning_rate * 0.5 * (1 + math.cos(math.pi * passed))

    @torch.no_grad()
    def validate(self) -> tuple[float, float]:
        """Return the loss and the score on held-out data, without dropout; the main process's."""
        self.trained.eval()
        loss, score = self.group.broadcast(self.task.validate(self._shared))
        return self._finite("held-out loss", loss), score

    def _finite(self, what: str, value: float) -> float:
        """Return a value; UserError if it is NaN or infinite, since no later step mends that."""
        if not math.isfinite(value):
            raise UserError(
                f"the training diverged: the {what} is not finite ({value}) at step {self.step} of "
                f"{self.total_steps}; lower training.learning_rate, or the recipe's own, which is "
                f"{self.settings.learning_rate:g}"
            )
        return value

    def finished(self) -> Encoder:
        """Return the encoder in its present state, with whole weights in the main process.

        Nothing is trained after it. If weights are sharded every process must take part.
        """
        if self._rows:
            self.encoder.model.set_input_embeddings(self._rows.whole())
            self._rows = None
        if self.sharded:
            weights = whole(self.weights())
            if self.group.is_main:
                self._unsharded.trained.load_state_dict(weights, strict=False)
        return self._unsharded

    def weights(self) -> dict[str, Tensor]:
        """Return what training changes: the model and the projection, without frozen weights.

        A weight that has several names, such as tied embeddings, is there once.
        """
        named = self.trained.named_parameters()
        kept = {name for name, value in named if value.requires_grad}
        kept |= {name for name, _ in self.trained.named_buffers()}
        return {name: value for name, value in self.trained.state_dict().items() if name in kept}

    def load_weights(self, tensors: Mapping[str, Tensor]) -> None:
        """Set the weights: tensors by name, each of the whole shape that ``weights`` has.

        Raises:
            ValueError: They are of another student.
        """
        shapes = {name: value.shape for name, value in self.weights().items()}
        if shapes != {name: value.shape for name, value in tensors.items()}:
            raise ValueError("these are the weights of another student")
        state = self.trained.state_dict()
        sharded = {name: like(value, state[name]) for name, value in tensors.items()}
        self.trained.load_state_dict(sharded, strict=False)

    def state(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Return all that the rest of the run depends on: tensors by name, and metadata.

        Names are those of ``weights``, ``optimizer.INDEX.SLOT`` (of the shape of that parameter, or
        a scalar), ``task.NAME`` and ``random.cpu`` and ``random.cuda`` (bytes). The state is the
        same for any number of processes, which may change when the run is resumed. If weights are
        sharded every process must take part.
        """
        tensors = whole(self.weights())
        for index, slots in self.optimizer.state_dict()["state"].items():
            tensors |= whole({f"optimizer.{index}.{name}": slot for name, slot in slots.items()})
        kept: dict[str, Tensor] = getattr(self.task, "kept", {})
        tensors |= {f"task.{name}": value for name, value in kept.items()}
        states = random_states(self.encoder.device)
        tensors |= {f"random.{name}": value for name, value in states.items()}
        counts = ("step", "plans", "missed", "waited", "best", "seconds")
        return tensors, {name: repr(getattr(self, name)) for name in counts}

    def restore(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
        """Continue from tensors and metadata as ``state`` returns them."""
        weights: dict[str, Tensor] = {}
        slots: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            kind, _, rest = name.partition(".")
            if kind == "optimizer":
                index, slot = rest.split(".")
                slots.setdefault(int(index), {})[slot] = like(value, self.parameters[int(index)])
            elif kind == "random":
                self._rng_states[rest] = value
            elif kind == "task":
                cast(Any, self.task).kept[rest] = value
            else:
                weights[name] = value
        self.load_weights(weights)
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": slots, "param_groups": groups})
        self.step, self.best = int(metadata["step"]), float(metadata["best"])
        self.seconds = float(metadata.get("seconds", 0))
        for name in ("plans", "missed", "waited"):
            setattr(self, name, int(metadata.get(name, 0)))


def _copy(encoder: Encoder) -> Encoder:
    model, head = copy.deepcopy(encoder.model).cpu(), copy.deepcopy(encoder.projection)
    cpu = torch.device("cpu")
    return replace(encoder, model=model, projection=head and head.cpu(), device=cpu)
