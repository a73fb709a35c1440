"""The transport plan between a sentence's student tokens and its translation's teacher tokens.

OPTICAL (Huang, Yu & Allan, WSDM 2023, section 3) distils an English retriever into a query encoder
of another language. Bitext says which sentences translate each other, not which tokens; the plan
of least cost from one sentence's tokens to the other's fills that in. With S the student's
token embeddings, T the teacher's, and masses a and b on them,

    C_ij = 1 - cos(S_i, T_j)
    P    = argmin  sum_ij P_ij C_ij + eps KL(P | a b^T)     with  P 1 = a  and  P^T 1 = b
    loss = sum_ij P_ij C_ij

and the loss is differentiated with P held fixed: P is the best plan for C, so a small change
of P changes the objective in second order only (the envelope theorem). Hence plans come back
detached, and nothing is unrolled.

    plan = transport_plan(1 - student @ teacher.mT, student_mask, teacher_mask)
    loss = (plan * (1 - student @ teacher.mT)).sum((1, 2)).mean()

`solve` also reports how the plan was reached; `solvers/sinkhorn.py` has the mathematics.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from clir_cli.errors import nearest
from clir_cli.optical.solvers.problem import make_problem
from clir_cli.optical.solvers.table import SOLVERS


@dataclass(frozen=True)
class Transport:
    """Plans of a batch of pairs, and how they were reached.

    Attributes:
        plan: (B, n, m) float32, detached; exactly zero on padding.
        iterations: (B,) int64; updates of both sides.
        violation: (B,) L1 distance of the plan's marginals, both sides together, from those asked
            for, as a share of the mass of a sentence. With `rho`, the mass that one more update
            would move.
        converged: (B,) bool; whether the violation is within the tolerance.
    """

    plan: Tensor
    iterations: Tensor
    violation: Tensor
    converged: Tensor

    def entropy(self) -> Tensor:
        """(B,) entropy of the plans in nats, between 0 and log(n m)."""
        return torch.special.entr(self.plan).sum((1, 2))

    def value(self, cost: Tensor) -> Tensor:
        """(B,) sums of plan times cost, differentiable in the cost."""
        return (self.plan * cost).sum((1, 2))


def transport_plan(
    cost: Tensor,
    row_mask: Tensor,
    column_mask: Tensor,
    *,
    eps: float = 0.05,
    tolerance: float = 1e-3,
    max_iterations: int = 2000,
    **settings,
) -> Tensor:
    """Transport plans of a batch of pairs.

    Args:
        cost: (B, n, m), any floating type; what stands on padding does not matter.
        row_mask: (B, n) bool, True on real tokens.
        column_mask: (B, m) bool.
        eps: strength of the entropy, in units of the cost.
        tolerance: L1 distance of the plan's marginals from those asked for.
        max_iterations: updates after which a pair stops in any case.
        **settings: the solver, the masses and the penalty; see `solve`.

    Returns:
        (B, n, m) float32, detached; exactly zero on padding. Rows and columns sum to the masses
        of the real tokens within the tolerance, unless the iterations ran out: `solve` tells.

    Raises:
        UserError: a pair without tokens or with costs that are no numbers; or a solver that is
            not installed.
        ValueError: shapes or settings that do not fit.
    """
    return solve(
        cost,
        row_mask,
        column_mask,
        eps=eps,
        tolerance=tolerance,
        max_iterations=max_iterations,
        **settings,
    ).plan


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
    rho: float | None = None,
) -> Transport:
    """Transport plans of a batch of pairs, with iterations, violation and convergence per pair.

    Everything is computed in float32, outside autocast and without gradients, whatever the caller
    does; a pair's plan does not depend on the other pairs of its batch.

    Args:
        cost: (B, n, m), any floating type; what stands on padding does not matter.
        row_mask: (B, n) bool, True on real tokens.
        column_mask: (B, m) bool.
        eps: strength of the entropy, in units of the cost.
        tolerance: L1 distance of the plan's marginals from those asked for.
        max_iterations: updates after which a pair stops in any case.
        solver: a name in `SOLVERS`.
        row_weights: (B, n) non-negative, scaled to sum to one over real tokens; None for the
            same mass on each. `clir_cli.optical.marginals` makes some.
        column_weights: (B, m), likewise.
        rho: penalty on the marginals in place of exact ones, in units of the cost:
            the objective gains rho KL(P 1 | a) + rho KL(P^T 1 | b). None for exact marginals.

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
            rho=rho,
            row_weights=row_weights,
            column_weights=column_weights,
        )
        found = SOLVERS[solver](problem, tolerance=tolerance, max_iterations=max_iterations)
    return Transport(
        plan=found.plan,
        iterations=found.iterations,
        violation=found.residual,
        converged=found.residual <= tolerance,
    )


def greedy_plan(
    cost: Tensor,
    row_mask: Tensor,
    column_mask: Tensor,
    *,
    row_weights: Tensor | None = None,
) -> Tensor:
    """Plans that send each row to its nearest column and leave the columns' masses open.

    This is the limit of transport without the constraint on the columns, as eps falls to zero: what
    MaxSim does with a query. Of several nearest columns the first one takes the mass.

    Args:
        cost: (B, n, m), any floating type.
        row_mask: (B, n) bool, True on real tokens.
        column_mask: (B, m) bool.
        row_weights: as in `solve`.

    Returns:
        (B, n, m) float32, detached; zero on padding, rows sum to their masses.

    Raises:
        UserError: a pair without tokens or with costs that are no numbers.
        ValueError: shapes that do not fit.
    """
    with torch.no_grad():
        problem = make_problem(cost, row_mask, column_mask, eps=1.0, row_weights=row_weights)
        reachable = problem.cost.masked_fill(~column_mask[:, None, :], math.inf)
        plan = torch.zeros_like(problem.cost)
        return plan.scatter_(2, reachable.argmin(2, keepdim=True), problem.a[:, :, None])
