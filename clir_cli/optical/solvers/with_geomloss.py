"""The two solvers that geomloss takes part in: with our updates behind it, and alone."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from clir_cli.errors import UserError
from clir_cli.optical.solvers.problem import Problem, Solution, violation
from clir_cli.optical.solvers.sinkhorn import NEGLIGIBLE, ScalingState, scale, times

# geomloss alone: temperatures from HOTTEST down to eps, halved each time, and then HOLD updates
# at eps between two checks of the marginals.
HOTTEST = 1.0
HOLD = 20
LOWEST_LOG = -1e5  # of a mass, in place of log 0 on padding


def geomloss(problem: Problem, *, tolerance: float, max_iterations: int) -> Solution:
    """First steps by geomloss; over-relaxed updates bring the marginals in."""
    state = ScalingState(problem)
    state.begin_at(warm_start(problem, state))
    return scale(state, tolerance=tolerance, max_iterations=max_iterations)


def warm_start(problem: Problem, state: ScalingState) -> Tensor:
    """Row potentials from geomloss's loop at the temperature eps: (B, n).

    geomloss takes the soft minimum, minus log sum_j exp(h_j - C_ij), as an argument, and passes
    what it calls the cost on to it unread. So the loop is geomloss's own, and the soft minimum
    is a product with K.
    """
    floor = torch.full((1, 1), NEGLIGIBLE, device=problem.a.device)

    def softmin(_: float, cost: tuple[Tensor, Tensor, Tensor], h: Tensor) -> Tensor:
        kernel, own, other = cost  # K of the reduced cost, and what either side was reduced by
        h = h - other
        top = h.amax(1, keepdim=True)
        return own - times(h.sub_(top).exp_(), kernel, floor).log_().add_(top)

    _, _, _, f = geomloss_loop()(
        softmin,
        problem.a.log().clamp_min_(LOWEST_LOG),
        problem.b.log().clamp_min_(LOWEST_LOG),
        None,
        None,
        (state.transposed, state.f0, state.g0),
        (state.kernel, state.g0, state.f0),
        [1.0],  # annealing from higher temperatures costs more than it saves here
        None,
        debias=False,
    )
    return f - state.f0


def geomloss_loop() -> Callable:
    """The annealed loop of geomloss; UserError if geomloss is missing, or of another release."""
    try:
        from geomloss._legacy.sinkhorn_divergence import sinkhorn_loop
    except ImportError as error:
        raise UserError(
            "the geomloss solver needs geomloss 0.3.1; install it with: pip install geomloss==0.3.1"
        ) from error
    return sinkhorn_loop


def geomloss_only(problem: Problem, *, tolerance: float, max_iterations: int) -> Solution:
    """The loop of geomloss in the log domain, annealed and then held at eps; for comparison.

    geomloss has no stopping rule and takes no potentials to start from. So it is called for some
    updates at a time, on the cost reduced by the potentials so far.
    """
    loop = geomloss_loop()
    from geomloss._legacy.sinkhorn_samples import softmin_tensorized

    eps, a, b = problem.eps, problem.a, problem.b
    log_a, log_b = a.log().clamp_min(LOWEST_LOG), b.log().clamp_min(LOWEST_LOG)
    halvings = max(0, math.ceil(math.log2(HOTTEST / eps)))
    schedule = [eps * 2**k for k in range(halvings, 0, -1)] + [eps] * HOLD

    cost = problem.cost.where(problem.cells, 0.0)
    plan = torch.zeros_like(cost)
    iterations = torch.zeros_like(a[:, 0], dtype=torch.int64)
    violations = torch.full_like(a[:, 0], torch.inf)
    done = 0
    while True:
        sides = (log_a, log_b, None, None, cost, cost.mT.contiguous())
        _, _, g, f = loop(softmin_tensorized, *sides, schedule, None, debias=False)
        done += len(schedule) + 2
        cost -= f[:, :, None] + g[:, None, :]
        density = (cost / -eps).masked_fill(~problem.cells, -torch.inf).exp()
        present = a[:, :, None] * b[:, None, :] * density

        running = ~(violations <= tolerance)
        plan[running] = present[running]
        violations[running], iterations[running] = violation(problem, present)[running], done
        if bool((violations <= tolerance).all()) or done >= max_iterations:
            return Solution(plan, iterations, violations)
        schedule = [eps] * min(HOLD, max_iterations - done)
