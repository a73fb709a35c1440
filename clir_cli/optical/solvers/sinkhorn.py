"""Entropic transport by scaling a positive matrix, for many small problems at once.

The plan of least cost, smoothed by entropy, between masses a and b,

    P = argmin  sum_ij P_ij C_ij + eps KL(P | a b^T)   with  P 1 = a,  P^T 1 = b,

has the form P = diag(u) K diag(v). Sinkhorn's algorithm (Cuturi 2013) sets u so that the rows
have their mass, then v so that the columns do, and so on: two products of a matrix and a vector
per iteration. Five things make it exact and fast on token costs:

1.  K is not exp(-C / eps), which underflows for small eps, but that of a reduced cost with a zero
    in every row and column. If u or v still grow large, they are absorbed into K (Schmitzer 2019),
    pair by pair.
2.  geomloss's symmetric loop (Feydy 2020, algorithm 3.5) takes the first steps, with products with
    K in place of its log-sum-exps, at a fifth of the time. See `with_geomloss.py`.
3.  The updates are over-relaxed (Thibault, Chizat, Dossal & Papadakis 2021), with a bound that
    keeps every single step an ascent of the dual. See `overrelaxed`.
4.  The marginals are checked every eighth iteration only. It sets the columns by a plain update,
    which smooths what over-relaxation stirred up and leaves one side to check.
5.  Every pair stops by itself, and pairs that have stopped leave the batch. The few that take
    long, whose plans nearly fall apart into pieces, get a damped Newton step now and then.

Potentials are in units of eps throughout.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, threshold_

from clir_cli.optical.solvers.problem import Problem, Solution

# Added to sums, so that no update divides by an underflow. A scaling that this holds back leaves
# SAFE, and absorbing it brings its sum into range.
TINY = 1e-15
SAFE = 1e6
# Shares of a column's mass below this count as zero. Exponentials are slow below LOWEST, and so is
# arithmetic on the subnormal numbers that come out.
NEGLIGIBLE = 1e-30
LOWEST = -80.0

CHECK_EVERY = 8
NEWTON_AFTER = 128  # updates: few pairs take so many, and nearly all do with Newton's help
SHRINK_BELOW = 0.5  # of the batch still running: then copying the rest pays


def times(vector: Tensor, matrix: Tensor, floor: Tensor) -> Tensor:
    """Products of (B, n) row vectors with (B, n, m) matrices, plus a floor: (B, m).

    With the vector on the left, the product runs along the rows as they lie in memory, six times
    as fast as with the vector on the right. So K is kept twice, once transposed.
    """
    return torch.baddbmm(floor[:, None, :], vector[:, None, :], matrix)[:, 0]


def overrelaxed(old: Tensor, plain: Tensor, omega: float) -> Tensor:
    """Scalings a little beyond the plain update; never a step down of the dual.

    Where a plain update multiplies a scaling by y, an over-relaxed one multiplies it by
    t = 1 + omega (y - 1). Any factor t changes the dual by log t - (t - 1) / y, times eps and the
    target. Along that line the change is 0 at y = 1, and its slope in y has the sign of
    (y - 1)(y - q), where q = omega - 1: it grows from y = 1 upwards, and from y = 1 down to q.
    Below q, the bound t >= q y takes over, and the change continues to grow. So every step is
    an ascent, and the updates converge for any omega in [1, 2) as they do for omega = 1.

    Returns:
        max(old + omega (plain - old), (omega - 1) plain), of the shape (k, n) of both, written with
        two passes fewer.
    """
    if omega == 1:
        return plain
    return torch.sub(plain, old, alpha=omega - 1).relu_().add_(plain, alpha=omega - 1)


def relaxation(iteration: int) -> float:
    """The factor omega by iteration: the longer a pair takes, the further its steps may reach.

    A pair whose plain updates contract by eta is fastest at omega = 2 / (1 + sqrt(1 - eta))
    (Lehmann et al. 2022). That it has not stopped yet is the sign of a large eta.
    """
    for until, omega in ((1, 1.0), (8, 1.5), (16, 1.7), (32, 1.8), (64, 1.85)):
        if iteration < until:
            return omega
    return 1.9


def reduced(problem: Problem) -> tuple[Tensor, Tensor, Tensor]:
    """The cost with a zero in each row and column: what the Hungarian method starts with.

    The plan is the same, and as few exponentials underflow as possible.

    Returns:
        logits: (B, n, m); minus the reduced cost over eps, minus infinity on padding.
        f0: (B, n) what was subtracted from the rows of the cost, over eps.
        g0: (B, m) what was subtracted from its columns, over eps.
    """
    real_column = torch.where(problem.b > 0, 0.0, -torch.inf)
    real_row = torch.where(problem.a > 0, 0.0, -torch.inf)
    logits = torch.add(real_column[:, None, :], problem.cost, alpha=-1 / problem.eps)
    f0 = torch.where(problem.a > 0, -logits.amax(2), 0.0)
    logits += (f0 + real_row)[:, :, None]
    g0 = -logits.amax(1).nan_to_num_(neginf=0.0)
    logits += g0[:, None, :]
    return logits, f0, g0


class ScalingState:
    """The pairs of a batch that have not stopped, and their state: P = diag(u) K diag(v).

    K has the row potentials f absorbed, so that u = 1 represents them, and a largest entry of 1 in
    each column. A plain update is u = a / (K v), then v = b / (K^T u).

    Attributes:
        logits, f0, g0: of the whole batch, see `reduced`. Potentials are relative to it.
        whole: (B, n, m) K of the whole batch.
        pairs: (k,) positions in the batch of those still here.
        stopped: (k,) bool; among them, those that have stopped but were not worth leaving out.
        kernel, transposed: (k, n, m), (k, m, n) K and its transpose.
        f: (k, n) the row potentials absorbed into K.
        a, b: (k, n), (k, m) masses, and 1 on padding, so that updates leave its scaling at 1.
        u, v: (k, n), (k, m) the scalings, 1 on padding.
        row_floor, column_floor: added to sums: TINY, and 1 on padding, where K is zero.
    """

    SHRINKING = (
        "pairs", "stopped", "kernel", "transposed", "f", "a", "b", "u", "v",
        "row_floor", "column_floor",
    )  # fmt: skip

    def __init__(self, problem: Problem):
        a, b = problem.a, problem.b
        self.logits, self.f0, self.g0 = reduced(problem)
        self.kernel = self.whole = _exp(self.logits)
        self.transposed = self.kernel.mT.contiguous()
        self.f = torch.zeros_like(a)
        self.a, self.b = a.masked_fill(a == 0, 1.0), b.masked_fill(b == 0, 1.0)
        self.row_floor = (a == 0).float().clamp_min_(TINY)
        self.column_floor = (b == 0).float().clamp_min_(TINY)
        self.u = self.a
        self.v = self.plain_v()
        self.pairs = torch.arange(len(a), device=a.device)
        self.stopped = torch.zeros_like(self.pairs, dtype=torch.bool)

    @property
    def real(self) -> Tensor:
        """(k, n) bool, True on real rows."""
        return self.row_floor < 1

    def plain_v(self) -> Tensor:
        """(k, m) the plain update of v."""
        return self.b / times(self.u, self.kernel, self.column_floor)

    def row_sums(self) -> Tensor:
        """(k, n) K v; a plain update of u divides the masses by it."""
        return times(self.v, self.transposed, self.row_floor)

    def begin_at(self, f: Tensor) -> None:
        """Start from (B, n) row potentials, which are absorbed into K where they vary widely."""
        # A constant may go from f to g; then u is at most a.
        f = f - f.masked_fill(~self.real, -torch.inf).amax(1, keepdim=True)
        f = f.masked_fill(~self.real, 0.0)
        wide = f.abs().amax(1) > math.log(SAFE)
        self.f = torch.where(wide[:, None], f, 0.0)
        self.u = self.a * torch.where(wide[:, None], 0.0, f).exp()
        self.v = self.plain_v()
        self.absorb(wide)

    def absorb(self, which: Tensor) -> None:
        """Move u into K for some of the pairs, (k,) bool; the columns are updated."""
        where = which.nonzero()[:, 0]
        if not len(where):
            return
        pairs = self.pairs[where]
        self.f[where] += (self.u[where] / self.a[where]).log()
        self.u[where] = self.a[where]
        logits = self.logits[pairs] + self.f[where][:, :, None]
        kernel = _exp(logits.sub_(logits.amax(1).nan_to_num_(neginf=0.0)[:, None, :]))
        self.kernel[where], self.transposed[where], self.whole[pairs] = kernel, kernel.mT, kernel
        self.v[where] = self.b[where] / times(self.u[where], kernel, self.column_floor[where])

    def newton(self) -> None:
        """One damped Newton step on the dual as a function of u alone, v being its best answer.

        In log u, the gradient of that dual is a - P 1, and minus its Hessian is the Laplacian of
        a graph, diag(P 1) - P diag(1 / b) P^T: rows are joined by the columns that they share.
        Along a step whose entries span a range r, third derivatives are at most r times second
        ones. So the dual gains at least what the bound that follows from this gains, which is
        most at log(1 + r) / r of the step (generalised self-concordance, Sun & Tran-Dinh 2019).
        """
        plan = (self.kernel * self.u[:, :, None] * self.v[:, None, :]).double()
        joined = (plan / plan.sum(1, keepdim=True).clamp_min(NEGLIGIBLE)) @ plan.mT
        joined.diagonal(dim1=1, dim2=2).zero_()
        mass = torch.where(self.real, self.a, 0.0).double()
        # Degrees are summed from what joins, not from P 1, which would cancel. The Laplacian
        # leaves constants open, and the balance between parts that share no column: a a^T
        # settles the first, and a trace of a the second.
        degrees = torch.where(self.real, joined.sum(2) + 1e-14 * mass, 1.0)
        laplacian = degrees.diag_embed() - joined + mass[:, :, None] * mass[:, None, :]
        factor, failed = torch.linalg.cholesky_ex(laplacian)
        gradient = torch.where(self.real, mass - plan.sum(2), 0.0)
        step = torch.cholesky_solve(gradient[:, :, None], factor)[:, :, 0]
        step = torch.where(self.real & (failed == 0)[:, None], step, 0.0)
        span = step.amax(1, keepdim=True) - step.amin(1, keepdim=True)
        length = span.log1p().clamp_max(math.log(SAFE)) / span.clamp_min(NEGLIGIBLE)
        self.u = self.u * (length * step).exp().float()
        self.v = self.plain_v()

    def shrink(self) -> None:
        """Leave out the pairs that have stopped, but keep two: compiled code dislikes one."""
        rest = self.stopped.int().argsort(stable=True)[: max(2, int((~self.stopped).sum()))]
        for name in self.SHRINKING:
            setattr(self, name, getattr(self, name)[rest])


def advance(state: ScalingState, omegas: Sequence[float]) -> Tensor:
    """Update u and v once for every omega, the last v by a plain update.

    Returns:
        (k,) violations afterwards: mass that the next update of u would move. The columns have
        none, since they have just been set.
    """
    for step, omega in enumerate(omegas, start=1):
        state.u = overrelaxed(state.u, state.a / state.row_sums(), omega)
        state.v = overrelaxed(state.v, state.plain_v(), omega if step < len(omegas) else 1.0)
    sums = state.row_sums()
    return (state.u - state.a / sums).abs_().mul_(sums).sum(1)


def scale(
    state: ScalingState,
    *,
    tolerance: float,
    max_iterations: int,
    advance: Callable[[ScalingState, Sequence[float]], Tensor] = advance,
) -> Solution:
    """Update u and v in turn until every pair's plan has its marginals.

    Args:
        state: the batch, at potentials to start from.
        tolerance: a pair stops when its violation is at most this.
        max_iterations: it stops after this many updates of both sides in any case.
        advance: some updates at a time; a compiled function may replace the plain one.
    """
    u, v = torch.ones_like(state.u), torch.ones_like(state.v)
    iterations, violations = torch.zeros_like(state.pairs), torch.zeros_like(u[:, 0])
    newton_helps = u.device.type != "mps"  # which has no float64
    # Newton steps magnify rounding as much as progress: continue until neither shows in the plan.
    fine = min(tolerance, max(tolerance / 100, 1e-5)) if newton_helps else tolerance

    done, violation = 0, advance(state, ())
    while True:
        if done >= max_iterations:
            finished = ~state.stopped
        else:
            finished = violation <= (tolerance if done <= NEWTON_AFTER else fine)
        leaving = torch.maximum(state.u.amax(1), state.v.amax(1)) > SAFE
        if (finished | leaving).any():
            finished &= ~state.stopped
            where = finished.nonzero()[:, 0]
            pairs = state.pairs[where]
            u[pairs], v[pairs] = state.u[where], state.v[where]
            iterations[pairs], violations[pairs] = done, violation[where]

            state.stopped |= finished
            running = len(state.stopped) - int(state.stopped.sum())
            if not running:
                break
            state.absorb(leaving & ~state.stopped)
            if running <= SHRINK_BELOW * len(state.stopped):
                state.shrink()
        if done >= NEWTON_AFTER and newton_helps:
            state.newton()
        steps = min(CHECK_EVERY, max_iterations - done)
        violation = advance(state, [relaxation(done + step) for step in range(steps)])
        done += steps
    return Solution(state.whole.mul_(u[:, :, None]).mul_(v[:, None, :]), iterations, violations)


def _exp(logits: Tensor) -> Tensor:
    """K of logits whose largest in each column is 0; zero where it is negligible."""
    return threshold_(logits.clamp_min(LOWEST).exp_(), NEGLIGIBLE, 0.0)
