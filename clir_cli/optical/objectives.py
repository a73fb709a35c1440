"""What the student learns: the objectives of distillation, one function each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from clir_cli.optical.transport import transport_plan
from clir_cli.settings import TransportSettings


@dataclass(frozen=True)
class TokenBatch:
    """Token embeddings of B sentences and of their translations, all unit vectors.

    ``student`` (B, n, d) with ``student_mask`` (B, n), and ``teacher`` (B, m, d) with
    ``teacher_mask`` (B, m); masks are True on real tokens.
    """

    student: Tensor
    student_mask: Tensor
    teacher: Tensor
    teacher_mask: Tensor


@dataclass(frozen=True)
class Loss:
    """The value to minimise, a scalar, and what else to tell about the batch."""

    value: Tensor
    told: Mapping[str, float]


Objective = Callable[[TokenBatch, TransportSettings], Loss]


def cosine_cost(batch: TokenBatch) -> Tensor:
    """Return the cost (B, n, m): 1 - cosine between student and teacher tokens."""
    return 1 - batch.student @ batch.teacher.transpose(1, 2)


def optimal_transport(batch: TokenBatch, settings: TransportSettings) -> Loss:
    """OPTICAL's loss: the inner product <P, C> of transport plan and cost, mean over pairs.

    P solves the entropic problem of each pair and is held fixed: by the envelope theorem the
    gradient of the optimal value is that of sum(P * C) with P constant, so nothing is propagated
    through the iterations (Huang, Yu and Allan, WSDM 2023, section 3; arXiv 2301.12566).
    """
    cost = cosine_cost(batch)
    plan = transport_plan(
        cost.detach(),
        batch.student_mask,
        batch.teacher_mask,
        eps=settings.eps,
        tolerance=settings.tolerance,
        max_iterations=settings.max_iterations,
    )
    value = (plan * cost).sum(dim=(1, 2)).mean()
    return Loss(value, {"plan_entropy": plan_entropy(plan)})


def plan_entropy(plan: Tensor) -> float:
    """Return the mean entropy of the plans (B, n, m) in nats; lower is a sharper alignment."""
    return float(torch.special.entr(plan).sum(dim=(1, 2)).mean())


OBJECTIVES: dict[str, Objective] = {"ot": optimal_transport}
