"""The transport plan between a sentence's student tokens and its translation's teacher tokens.

OPTICAL (Huang, Yu & Allan, WSDM 2023, section 3) distils an English retriever into a query encoder
of another language. Bitext says which sentences translate each other, not which tokens; the plan
of least cost from one sentence's tokens to the other's fills that in. With S the student's
token embeddings, T the teacher's, and marginals a and b (the mass of each token),

    C_ij = 1 - cos(S_i, T_j)
    P    = argmin  sum_ij P_ij C_ij + eps KL(P | a b^T)     with  P 1 = a  and  P^T 1 = b
    loss = sum_ij P_ij C_ij

and the loss is differentiated with P held fixed. P is the optimum for C, so a small change of P
changes the regularised objective in second order only (the envelope theorem); the loss itself is
the sharp cost, without the entropy. Hence plans are detached, and nothing is unrolled.

    plan = transport_plan(1 - student @ teacher.mT, student_mask, teacher_mask)
    loss = (plan * (1 - student @ teacher.mT)).sum((1, 2)).mean()

`solve` also reports how the plan was reached; `solvers/sinkhorn.py` has the mathematics.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clir_cli.errors import nearest
from clir_cli.optical.solvers.problem import make_problem
from clir_cli.optical.solvers.table import SOLVERS
from clir_cli.settings import TransportSettings


@dataclass(frozen=True)
class Transport:
    """Plans of a batch of pairs, and how they were reached.

    Attributes:
        plan: (B, n, m) float32, detached; exactly zero on padding.
        iterations: (B,) int64; updates of both sides.
        violation: (B,) L1 distance of the plan's marginals, both sides together, from those asked
            for, as a share of the mass of a sentence.
        converged: (B,) bool; True if the violation is within the tolerance.
    """

    plan: Tensor
    iterations: Tensor
    violation: Tensor
    converged: Tensor

    def entropy(self) -> Tensor:
        """(B,) relative entropy of the plans: 0 one column a row, 1 the independent coupling.

        It is H(P) - H(a) as a share of H(b): the mean entropy of a row, with a and b the
        marginals. 1 where there is one column alone.
        """
        rows, columns = (torch.special.entr(self.plan.sum(side)).sum(1) for side in (2, 1))
        shared = torch.special.entr(self.plan).sum((1, 2)) - rows
        return torch.where(columns > 0, shared / columns.clamp(min=1e-9), 1.0).clamp(0, 1)

    def value(self, cost: Tensor) -> Tensor:
        """(B,) sums of plan times cost, differentiable in the cost."""
        return (self.plan * cost).sum((1, 2))


def missed_line(missed: int, plans: int, settings: TransportSettings) -> str:
    """Return a line for people: how many plans did not converge, and which settings help."""
    return (
        f"{missed:,} of {plans:,} transport plans did not converge within transport.max_iterations="
        f"{settings.max_iterations}: their marginals miss transport.tolerance="
        f"{settings.tolerance:g}; raise one of the two, or transport.eps={settings.eps:g}"
    )


def transport_plan(cost: Tensor, row_mask: Tensor, column_mask: Tensor, **settings: Any) -> Tensor:
    """Transport plans of a batch of pairs: (B, n, m) float32, detached; see `solve`."""
    return solve(cost, row_mask, column_mask, **settings).plan


def solve(
    cost: Tensor,
    row_mask: Tensor,
    column_mask: Tensor,
    *,
    eps: float = 0.05,
    tolerance: float = 1e-3,
    max_iterations: int = 2000,
    solver: str = "geomloss",
    row_weights: Tensor | None = None,
    column_weights: Tensor | None = None,
) -> Transport:
    """Transport plans of a batch of pairs, with iterations, violation and convergence per pair.

    Everything is computed in float32, outside autocast and without gradients, whatever the caller
    does; a pair's plan does not depend on the other pairs of its batch. Rows and columns of a plan
    sum to the masses of the real tokens within the tolerance, unless the iterations ran out.

    Args:
        cost: (B, n, m), any floating type; values on padding are ignored.
        row_mask: (B, n) bool, True on real tokens.
        column_mask: (B, m) bool.
        eps: strength of the entropy, in units of the cost.
        tolerance: L1 distance of the plan's marginals from those asked for.
        max_iterations: updates after which a pair stops in any case.
        solver: a name in `SOLVERS`.
        row_weights: (B, n) non-negative, scaled to sum to one over real tokens; None for the
            same mass on each. See `marginals.py`.
        column_weights: (B, m), likewise.

    Raises:
        UserError: a pair without tokens or with costs that are no numbers; or a solver that is
            not installed.
        ValueError: shapes or settings that do not fit.
    """
    if solver not in SOLVERS:
        raise ValueError(f"unknown solver {solver!r}; {nearest(solver, SOLVERS)}")
    if not tolerance > 0 or max_iterations < 0:
        raise ValueError(f"tolerance {tolerance} or max_iterations {max_iterations} is too small")
    # no_grad also restores what geomloss sets: it switches gradients off for everyone, and an
    # exception in it leaves them off.
    with torch.no_grad(), torch.autocast(cost.device.type, enabled=False):
        problem = make_problem(
            cost,
            row_mask,
            column_mask,
            eps=eps,
            row_weights=row_weights,
            column_weights=column_weights,
        )
        solution = SOLVERS[solver](problem, tolerance=tolerance, max_iterations=max_iterations)
    return Transport(*solution, converged=solution.violation <= tolerance)
