"""A batch of transport problems, checked once, and its solution.

A problem is a cost matrix between the tokens of a sentence and those of its translation, the mass
of each token, and the strength eps of the entropy. A batch is padded to one shape; padding has no
mass.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from clir_cli.errors import UserError


@dataclass(frozen=True)
class Problem:
    """B transport problems of at most n by m tokens, in float32 and without a gradient.

    Attributes:
        cost: (B, n, m); finite everywhere, on padding too.
        a: (B, n) mass of the rows: non-negative, sums to one, zero on padding.
        b: (B, m) mass of the columns, likewise.
        eps: strength of the entropy, in units of the cost.
    """

    cost: Tensor
    a: Tensor
    b: Tensor
    eps: float

    @property
    def cells(self) -> Tensor:
        """(B, n, m) bool: the cells that may hold mass."""
        return (self.a > 0)[:, :, None] & (self.b > 0)[:, None, :]


class Solution(NamedTuple):
    """What a solver returns.

    Attributes:
        plan: (B, n, m).
        iterations: (B,) int64; updates of both sides, without a warm start and Newton steps.
        violation: (B,) L1 distance of the plan's marginals, both sides together, from a and b.
    """

    plan: Tensor
    iterations: Tensor
    violation: Tensor


def make_problem(
    cost: Tensor,
    row_mask: Tensor,
    column_mask: Tensor,
    *,
    eps: float,
    row_weights: Tensor | None = None,
    column_weights: Tensor | None = None,
) -> Problem:
    """Check a batch and bring it into the form that the solvers expect; arguments as `solve`.

    Raises:
        ValueError: shapes or settings that do not fit: a mistake in the calling code.
        UserError: a pair with an empty side, or with costs or weights that are no numbers; the
            message names its position in the batch.
    """
    if cost.dim() != 3:
        raise ValueError(f"cost has shape {tuple(cost.shape)}; expected (pairs, rows, columns)")
    pairs, n, m = cost.shape
    for name, mask, shape in (
        ("row_mask", row_mask, (pairs, n)),
        ("column_mask", column_mask, (pairs, m)),
    ):
        if tuple(mask.shape) != shape or mask.dtype != torch.bool:
            raise ValueError(
                f"{name} has shape {tuple(mask.shape)} and type {mask.dtype}; "
                f"expected {shape} and torch.bool"
            )
    if not 1e-30 < eps < 1e30:
        raise ValueError(f"eps is {eps}; expected a number above 0 that float32 holds")

    a = _marginals(row_weights, row_mask, "row")
    b = _marginals(column_weights, column_mask, "column")
    cost = cost.detach().float()
    if not cost.sum((1, 2)).isfinite().all():  # a sum is ten times as fast as a mask
        cost = cost.masked_fill(~(row_mask[:, :, None] & column_mask[:, None, :]), 0.0)
        infinite = ~cost.sum((1, 2)).isfinite()
        _refuse(infinite, "its costs hold NaN or infinity; check the embeddings")
    return Problem(cost, a, b, float(eps))


def violation(problem: Problem, plan: Tensor) -> Tensor:
    """(B,) L1 distance of a plan's marginals from those of the problem, both sides together."""
    rows = (plan.sum(2) - problem.a).abs().sum(1)
    columns = (plan.sum(1) - problem.b).abs().sum(1)
    return rows + columns


def _marginals(weights: Tensor | None, mask: Tensor, side: str) -> Tensor:
    """(B, k) masses that sum to one over the real tokens; uniform without weights."""
    if weights is None:
        _refuse(~mask.any(1), f"its {side} side has no tokens; leave empty sentences out")
        real = mask.float()
        return real / real.sum(1, keepdim=True)
    if weights.shape != mask.shape:
        raise ValueError(
            f"{side}_weights has shape {tuple(weights.shape)}; expected {tuple(mask.shape)}"
        )
    weights = weights.detach().float().masked_fill(~mask, 0.0)
    total = weights.sum(1, keepdim=True)
    wrong = ~(total[:, 0] > 0) | ~total[:, 0].isfinite() | (weights < 0).any(1)
    _refuse(wrong, f"its {side} side has no tokens, or weights that are not numbers of at least 0")
    return weights / total


def _refuse(wrong: Tensor, why: str) -> None:
    """Raise for the pairs where `wrong` (B,) is True, naming the first of them."""
    if wrong.any():
        positions = wrong.nonzero()[:, 0].tolist()
        more = f" (and {len(positions) - 1} more)" if len(positions) > 1 else ""
        raise UserError(f"pair {positions[0]} of the batch{more}: {why}")
