"""The solvers by name. What a solver imports, it imports when it is first used."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from clir_cli.errors import UserError
from clir_cli.optical.solvers.problem import Problem
from clir_cli.optical.solvers.sinkhorn import NEGLIGIBLE, Running, Scaling, Solved, scale, times

# geomloss alone: temperatures from this one down to eps, halved each time, and then updates
# at eps, so many between two looks at the marginals.
HOTTEST = 1.0
HOLD = 20


def geomloss(problem: Problem, *, tolerance: float, max_iterations: int) -> Solved:
    """First steps by geomloss; over-relaxed updates bring the marginals in."""
    now = Running(Scaling(problem))
    now.begin_at(warm_start(now))
    return scale(now, tolerance=tolerance, max_iterations=max_iterations)


def warm_start(now: Running) -> Tensor:
    """Row potentials from geomloss's loop at the temperature eps: (B, n).

    geomloss takes the soft minimum, minus log sum_j exp(h_j - C_ij), as an argument, and what it
    calls the cost is passed on to it unread. So the loop is geomloss's own, and the soft minimum
    is a product with K.
    """
    scaling, problem = now.scaling, now.scaling.problem
    floor = torch.full((1, 1), NEGLIGIBLE, device=problem.a.device)

    def softmin(_: float, cost: tuple[Tensor, Tensor, Tensor], h: Tensor) -> Tensor:
        kernel, own, other = cost  # K of the reduced cost, and what was taken off either side
        h = h - other
        top = h.amax(1, keepdim=True)
        return own - times(h.sub_(top).exp_(), kernel, floor).log_().add_(top)

    _, _, _, f = geomloss_loop()(
        softmin,
        problem.a.log().clamp_min_(-1e5),
        problem.b.log().clamp_min_(-1e5),
        None,
        None,
        (now.transposed, scaling.f0, scaling.g0),
        (now.kernel, scaling.g0, scaling.f0),
        [1.0],  # annealing from higher temperatures costs more than it saves here
        None if problem.rho is None else problem.rho / problem.eps,
        debias=False,
    )
    return f - scaling.f0


def geomloss_loop() -> Callable:
    """The annealed loop of geomloss.

    Raises:
        UserError: geomloss is missing, or of another release.
    """
    try:
        from geomloss._legacy.sinkhorn_divergence import sinkhorn_loop
    except ImportError as error:
        raise UserError(
            "the geomloss solver needs geomloss 0.3.1; install it with: pip install geomloss==0.3.1"
        ) from error
    return sinkhorn_loop


def geomloss_only(problem: Problem, *, tolerance: float, max_iterations: int) -> Solved:
    """The loop of geomloss in the log domain, annealed and then held at eps; for comparison.

    geomloss has no stopping rule and takes no potentials to start from. So it is called for some
    updates at a time, on the cost with the potentials so far taken off.
    """
    _exact_marginals_only(problem, "geomloss-only")
    loop = geomloss_loop()
    from geomloss._legacy.sinkhorn_samples import softmin_tensorized

    eps, a, b = problem.eps, problem.a, problem.b
    log_a, log_b = a.log().clamp_min(-1e5), b.log().clamp_min(-1e5)
    halvings = max(0, math.ceil(math.log2(HOTTEST / eps)))
    schedule = [eps * 2**k for k in range(halvings, 0, -1)] + [eps] * HOLD

    cost = problem.cost.where(problem.cells, 0.0)
    plan = torch.zeros_like(cost)
    iterations = torch.zeros_like(a[:, 0], dtype=torch.int64)
    residuals = torch.full_like(a[:, 0], torch.inf)
    done = 0
    while True:
        transposed = cost.mT.contiguous()
        _, _, g, f = loop(
            softmin_tensorized,
            log_a,
            log_b,
            None,
            None,
            cost,
            transposed,
            schedule,
            None,
            debias=False,
        )
        done += len(schedule) + 2
        cost -= f[:, :, None] + g[:, None, :]
        density = (cost / -eps).masked_fill(~problem.cells, -torch.inf).exp()
        found = a[:, :, None] * b[:, None, :] * density
        violation = _violation(problem, found)

        running = ~(residuals <= tolerance)
        plan[running] = found[running]
        residuals[running], iterations[running] = violation[running], done
        if bool((residuals <= tolerance).all()) or done >= max_iterations:
            return Solved(plan, iterations, residuals)
        schedule = [eps] * min(HOLD, max_iterations - done)


def pot(problem: Problem, *, tolerance: float, max_iterations: int) -> Solved:
    """POT's batched Sinkhorn; for comparison. All pairs of a batch stop together.

    The scaling of exp(-C / eps) where float32 holds that on a CPU, the log domain elsewhere.
    """
    _exact_marginals_only(problem, "pot")
    try:
        from ot.batch import solve_batch
    except ImportError as error:
        raise UserError(
            "the pot solver needs POT; install it with: pip install 'POT>=0.9.6'"
        ) from error

    rows = problem.a.shape[1]
    cost = problem.cost.where(problem.cells, 0.0)
    representable = cost.abs().max() / problem.eps < 80
    found = solve_batch(
        cost,
        problem.eps,
        a=problem.a,
        b=problem.b,
        max_iter=max(1, max_iterations),
        # POT compares the L2 distance of the row sums, which is at least L1 / sqrt(rows).
        tol=tolerance / math.sqrt(rows),
        method="sinkhorn"
        if representable and problem.cost.device.type == "cpu"
        else "log_sinkhorn",
        grad="detach",
    )
    plan = found.plan.masked_fill(~problem.cells, 0.0)
    iterations = torch.full_like(problem.a[:, 0], found.log["n_iter"] + 1, dtype=torch.int64)
    return Solved(plan, iterations, _violation(problem, plan))


def fused(problem: Problem, *, tolerance: float, max_iterations: int) -> Solved:
    """The updates of the default solver in compiled code."""
    from clir_cli.optical.solvers.fused import fused as solver

    return solver(problem, tolerance=tolerance, max_iterations=max_iterations)


def _violation(problem: Problem, plan: Tensor) -> Tensor:
    """(B,) L1 distance of the marginals from those asked for, both sides together."""
    rows = (plan.sum(2) - problem.a).abs().sum(1)
    columns = (plan.sum(1) - problem.b).abs().sum(1)
    return rows + columns


def _exact_marginals_only(problem: Problem, solver: str) -> None:
    if problem.rho is not None:
        raise ValueError(f"the {solver} solver knows exact marginals only; leave rho out")


SOLVERS: dict[str, Callable[..., Solved]] = {
    "geomloss": geomloss,
    "geomloss-only": geomloss_only,
    "pot": pot,
    "fused": fused,
}
