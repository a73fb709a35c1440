"""POT's batched Sinkhorn, to compare with."""

import math

import torch

from clir_cli.errors import UserError
from clir_cli.optical.solvers.problem import Problem, Solution, violation

REPRESENTABLE = 80  # of C / eps: float32 holds its exponentials


def pot(problem: Problem, *, tolerance: float, max_iterations: int) -> Solution:
    """POT's solver; all pairs of a batch stop together.

    The scaling of exp(-C / eps) where float32 holds that on a CPU, the log domain elsewhere.

    Raises:
        UserError: POT is not installed.
    """
    try:
        from ot.batch import solve_batch
    except ImportError as error:
        raise UserError(
            "the pot solver needs POT; install it with: pip install 'POT>=0.9.6'"
        ) from error

    cost = problem.cost.where(problem.cells, 0.0)
    scaling = cost.device.type == "cpu" and cost.abs().max() / problem.eps < REPRESENTABLE
    result = solve_batch(
        cost,
        problem.eps,
        a=problem.a,
        b=problem.b,
        max_iter=max(1, max_iterations),
        # POT compares the L2 distance of the row sums, which is at least L1 / sqrt(rows).
        tol=tolerance / math.sqrt(problem.a.shape[1]),
        method="sinkhorn" if scaling else "log_sinkhorn",
        grad="detach",
    )
    plan = result.plan.masked_fill(~problem.cells, 0.0)
    iterations = torch.full_like(problem.a[:, 0], result.log["n_iter"] + 1, dtype=torch.int64)
    return Solution(plan, iterations, violation(problem, plan))
