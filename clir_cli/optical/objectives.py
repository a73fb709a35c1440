"""What the student learns: the objectives of distillation, one function each.

All take the same batch and the same settings and return a scalar; the training loop knows nothing
else of them. Pooled vectors are means over the unit token vectors that late interaction scores.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from clir_cli.optical.transport import Transport, solve
from clir_cli.retrieval.maxsim import mean_maxsim
from clir_cli.settings import Settings, TransportSettings
from clir_cli.training.loop import MISSED, Loss


@dataclass(frozen=True)
class TokenBatch:
    """Token embeddings of B sentences and of their translations, all unit vectors.

    ``student`` (B, n, d) with ``student_mask`` (B, n), and ``teacher`` (B, m, d) with
    ``teacher_mask`` (B, m); masks are True on real tokens. The weights, (B, n) and (B, m), are the
    mass of each token in transport (optical/marginals.py); without them all have the same.
    """

    student: Tensor
    student_mask: Tensor
    teacher: Tensor
    teacher_mask: Tensor
    student_weights: Tensor | None = None
    teacher_weights: Tensor | None = None


Objective = Callable[[TokenBatch, Settings], Loss]


def cosine_cost(batch: TokenBatch) -> Tensor:
    """Return the cost (B, n, m): 1 - cosine between student and teacher tokens."""
    return 1 - batch.student @ batch.teacher.transpose(1, 2)


def optimal_transport(batch: TokenBatch, settings: Settings) -> Loss:
    """OPTICAL's loss: the inner product <P, C> of transport plan and cost, mean over pairs.

    P solves the entropic problem of each pair and is held fixed: by the envelope theorem the
    gradient of the regularised optimum is that of sum(P * C) with P constant, so nothing is
    propagated through the iterations. The value reported is the sharp cost <P, C>, without the
    entropy (Huang, Yu and Allan, WSDM 2023, section 3; arXiv 2301.12566).
    """
    cost = cosine_cost(batch)
    transport = aligned(batch, cost, settings.transport)
    return Loss(transport.value(cost).mean(), _figures(transport))


def _figures(transport: Transport, own: Tensor | slice = slice(None)) -> dict[str, float]:
    """Return figures for the log; ``own`` are the plans of sentences and their translations."""
    figures = {
        "plan_entropy": transport.entropy()[own],
        MISSED: (~transport.converged).float(),
    }
    means = torch.stack([values.mean() for values in figures.values()])
    return dict(zip(figures, means.tolist(), strict=True))


def aligned(batch: TokenBatch, cost: Tensor, settings: TransportSettings) -> Transport:
    """Return the plans of a batch with a given cost (B, n, m), under the settings."""
    masks = batch.student_mask, batch.teacher_mask
    return _plans(cost, masks, (batch.student_weights, batch.teacher_weights), settings)


def _plans(
    cost: Tensor,
    masks: tuple[Tensor, Tensor],
    weights: tuple[Tensor | None, Tensor | None],
    settings: TransportSettings,
) -> Transport:
    """Return plans; with ``scale = "spread"``, eps is a share of the spread of each pair's cost.

    Then a plan does not depend on how far apart the cosines of an encoder lie.
    """
    if settings.scale == "spread":
        cost = cost / spread(cost, *masks)
    transport = solve(
        cost,
        *masks,
        eps=settings.eps,
        tolerance=settings.tolerance,
        max_iterations=settings.max_iterations,
        solver=settings.solver,
        row_weights=weights[0],
        column_weights=weights[1],
    )
    return replace(transport, plan=largest_entries(transport.plan, settings.entries))


def largest_entries(plan: Tensor, count: int) -> Tensor:
    """Return plans (B, n, m) of the ``count`` largest entries of each row; all of them if 0.

    They are scaled so that the row keeps its mass; the columns then miss theirs.
    """
    if not 0 < count < plan.shape[2]:
        return plan
    values, columns = plan.topk(count, dim=2)
    kept = values / values.sum(2, keepdim=True).clamp(min=1e-30) * plan.sum(2, keepdim=True)
    return torch.zeros_like(plan).scatter_(2, columns, kept)


def spread(cost: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the standard deviation (B, 1, 1) of each pair's cost (B, n, m) over real tokens."""
    real = rows[:, :, None] & columns[:, None, :]
    count = real.sum((1, 2), keepdim=True)
    mean = (cost * real).sum((1, 2), keepdim=True) / count
    square = ((cost - mean).square() * real).sum((1, 2), keepdim=True) / count
    return square.sqrt().clamp(min=1e-4).detach()  # equal costs have any plan


def greedy_tokens(batch: TokenBatch, _: Settings) -> Loss:
    """Hard alignment: each student token to its nearest teacher token, mean over tokens.

    DR.DECR (Li et al., NAACL 2022; arXiv 2112.08185), the rival of a soft plan: it asks nothing of
    the teacher tokens that no student token is near to.
    """
    cost = cosine_cost(batch).masked_fill(~batch.teacher_mask[:, None, :], float("inf"))
    nearest = cost.amin(dim=2).masked_fill(~batch.student_mask, 0)
    return Loss((nearest.sum(dim=1) / batch.student_mask.sum(dim=1)).mean())


def pooled(vectors: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over real tokens: (B, n, d) with mask (B, n) to (B, d)."""
    return (vectors * mask.unsqueeze(-1)).sum(dim=1) / mask.sum(dim=1, keepdim=True)


def pooled_mse(batch: TokenBatch, _: Settings) -> Loss:
    """Squared distance of the pooled vectors, summed over dimensions, mean over pairs.

    Reimers and Gurevych (EMNLP 2020; arXiv 2004.09813), with the teacher's side fixed.
    """
    student, teacher = _pooled_sides(batch)
    return Loss((student - teacher).square().sum(dim=1).mean())


def pooled_cosine(batch: TokenBatch, _: Settings) -> Loss:
    """1 - cosine of the pooled vectors, mean over pairs."""
    return Loss((1 - functional.cosine_similarity(*_pooled_sides(batch))).mean())


def _pooled_sides(batch: TokenBatch) -> tuple[Tensor, Tensor]:
    return pooled(batch.student, batch.student_mask), pooled(batch.teacher, batch.teacher_mask)


def score_distribution(batch: TokenBatch, settings: Settings) -> Loss:
    """KL(teacher || student) of the scores over the English sides of the batch, mean over pairs.

    Each sentence scores all B English sides by mean MaxSim, encoded by the teacher from its English
    side and by the student from the other; the softmax of the scores, divided by
    ``objective.temperature``, is a distribution. As the knowledge distillation of ColBERTv2
    (Santhanam et al., NAACL 2022), with in-batch documents.
    """
    documents = batch.teacher, batch.teacher_mask
    by_teacher = mean_maxsim(batch.teacher, batch.teacher_mask, *documents)
    by_student = mean_maxsim(batch.student, batch.student_mask, *documents)
    temperature = settings.objective.temperature
    divergence = functional.kl_div(
        (by_student / temperature).log_softmax(dim=1),
        (by_teacher / temperature).log_softmax(dim=1),
        log_target=True,
        reduction="batchmean",
    )
    return Loss(divergence)


def transport_and_pooled(batch: TokenBatch, settings: Settings) -> Loss:
    """``ot`` plus ``objective.pooled_weight`` times ``kd-cosine``: tokens and sentence together."""
    tokens = optimal_transport(batch, settings)
    sentence = pooled_cosine(batch, settings)
    return Loss(tokens.value + settings.objective.pooled_weight * sentence.value, tokens.metrics)


def transport_and_scores(batch: TokenBatch, settings: Settings) -> Loss:
    """``ot`` plus ``objective.score_weight`` times ``kd-score``: tokens and ranking together."""
    tokens, scores = optimal_transport(batch, settings), score_distribution(batch, settings)
    return Loss(tokens.value + settings.objective.score_weight * scores.value, tokens.metrics)


def transport_and_contrast(batch: TokenBatch, settings: Settings) -> Loss:
    """``ot`` plus ``objective.contrast_weight`` times a contrast of transport costs over the batch.

    The negated transport costs <P_ij, C_ij> of sentence i with each English side j of the batch,
    divided by ``objective.temperature``, are the logits of InfoNCE (van den Oord et al., 2018;
    arXiv 1807.03748), so that plans of sentences that are no translations are seen too: B x B
    plans a step. Equal English sides are no negatives.
    """
    size = len(batch.student)
    cost = 1 - torch.einsum("ind,jmd->ijnm", batch.student, batch.teacher)
    masks = _of_rows(batch.student_mask), _of_columns(batch.teacher_mask)
    weights = batch.student_weights, batch.teacher_weights
    crossed = None if weights[0] is None else _of_rows(weights[0])
    against = None if weights[1] is None else _of_columns(weights[1])
    transport = _plans(cost.flatten(0, 1), masks, (crossed, against), settings.transport)
    values = transport.value(cost.flatten(0, 1)).view(size, size)
    logits = -values / settings.objective.temperature
    logits = logits.masked_fill(_equal_sides(batch), float("-inf"))
    contrast = functional.cross_entropy(logits, torch.arange(size, device=values.device))
    own = torch.arange(size, device=values.device) * (size + 1)
    value = values.diagonal().mean() + settings.objective.contrast_weight * contrast
    return Loss(value, _figures(transport, own))


def _of_rows(values: Tensor) -> Tensor:
    """Return (B * B, n) of (B, n): each row B times in turn."""
    return values.repeat_interleave(len(values), 0)


def _of_columns(values: Tensor) -> Tensor:
    """Return (B * B, m) of (B, m): all rows, B times."""
    return values.repeat(len(values), 1)


def _equal_sides(batch: TokenBatch) -> Tensor:
    """Return (B, B) bool: True where two sentences have the same English side."""
    flat = (batch.teacher * batch.teacher_mask[:, :, None]).flatten(1)
    alike = torch.cdist(flat, flat, p=float("inf")) == 0
    return alike.fill_diagonal_(False)


OBJECTIVES: dict[str, Objective] = {
    "ot": optimal_transport,
    "kd-greedy": greedy_tokens,
    "kd-mse": pooled_mse,
    "kd-cosine": pooled_cosine,
    "kd-score": score_distribution,
    "ot+pooled": transport_and_pooled,
    "ot+score": transport_and_scores,
    "ot+contrast": transport_and_contrast,
}

# Means over sentence pairs. Any other objective may compare the pairs of a batch with each other.
MEANS_OVER_PAIRS = (
    optimal_transport,
    greedy_tokens,
    pooled_mse,
    pooled_cosine,
    transport_and_pooled,
)
