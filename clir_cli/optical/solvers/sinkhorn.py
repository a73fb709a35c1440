"""Entropic transport by scaling a positive matrix, for many small problems at once.

The plan of least cost, smoothed by entropy, between masses a and b,

    P = argmin  sum_ij P_ij C_ij + eps KL(P | a b^T)   with  P 1 = a,  P^T 1 = b,

has the form P = diag(u) K diag(v). Sinkhorn's algorithm (Cuturi 2013) sets u so that the rows
carry their mass, then v so that the columns do, and again: two products of a matrix and a vector
an iteration. Five things make it exact and fast on token costs:

1.  K is not exp(-C / eps), which underflows for small eps, but that of a reduced cost with a zero
    in every row and column. When u or v grow large all the same, they are absorbed into K
    (Schmitzer 2019), pair by pair.
2.  geomloss's symmetric loop (Feydy 2020, algorithm 3.5) takes the first steps, with products with
    K in place of its log-sum-exps, at a fifth of the time. See `solvers.warm_start`.
3.  The updates are over-relaxed (Thibault, Chizat, Dossal & Papadakis 2021), with a bound that
    keeps every single step an ascent of the dual. See `overrelaxed`.
4.  Only every eighth iteration looks at the marginals. It sets the columns by a plain update, which
    smooths out what over-relaxation stirred up and leaves one side to look at.
5.  Every pair stops by itself, and pairs that have stopped leave the batch. To the few that take
    long, whose plans nearly fall apart into pieces, a damped Newton step is given now and then.

With a penalty rho in place of exact marginals (Chizat, Peyre, Schmitzer & Vialard 2018) the same
loop holds, with each update damped by rho / (rho + eps), none over-relaxed, and the masses of both
sides evened out in between (Sejourne, Vialard & Peyre 2022).

Potentials are held in units of eps throughout.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import threshold_

from clir_cli.optical.solvers.problem import Problem

# Added to sums, so that no update divides by an underflow. A scaling that this holds back leaves
# SAFE, and absorbing it brings its sum into range.
TINY = 1e-15
SAFE = 1e6
# Shares of a column's mass below this are none. Exponentials are slow below LOWEST, and so is
# arithmetic on the subnormal numbers that come out.
NEGLIGIBLE = 1e-30
LOWEST = -80.0

CHECK_EVERY = 8
NEWTON_AFTER = 128  # updates: few pairs take so many, and nearly all do with Newton's help
SHRINK_BELOW = 0.5  # of the batch still running: then copying the rest pays


@dataclass(frozen=True)
class Solved:
    """What a solver found.

    Attributes:
        plan: (B, n, m).
        iterations: (B,) int64; updates of both sides, without a warm start and Newton steps.
        residual: (B,) mass that one more update of each side would move. With exact marginals
            this is the L1 distance of the plan's marginals from a and b.
    """

    plan: Tensor
    iterations: Tensor
    residual: Tensor


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
    Below q, the bound t >= q y takes over, and the change goes on growing. So every step is
    an ascent, and the updates converge for any omega in [1, 2) as they do for omega = 1.

    Returns:
        max(old + omega (plain - old), (omega - 1) plain), written with two passes fewer.
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

    The plan is the same, and as few exponentials underflow as can be.

    Returns:
        logits: (B, n, m); minus the reduced cost over eps, minus infinity on padding.
        f0: (B, n) what was taken off the rows of the cost, over eps.
        g0: (B, m) what was taken off its columns, over eps.
    """
    real_column = torch.where(problem.b > 0, 0.0, -torch.inf)
    real_row = torch.where(problem.a > 0, 0.0, -torch.inf)
    logits = torch.add(real_column[:, None, :], problem.cost, alpha=-1 / problem.eps)
    f0 = torch.where(problem.a > 0, -logits.amax(2), 0.0)
    logits += (f0 + real_row)[:, :, None]
    g0 = -_finite(logits.amax(1))
    logits += g0[:, None, :]
    return logits, f0, g0


def updated(target: Tensor, sums: Tensor, damping: float) -> Tensor:
    """A plain update: the scalings at which the sums, scaled, meet the target."""
    return target / sums if damping == 1 else target * sums.pow(-damping)


class Scaling:
    """A batch with its cost reduced, and K for any row potentials.

    Attributes:
        problem: the batch.
        logits, f0, g0: see `reduced`. Potentials are relative to the reduced cost.
    """

    def __init__(self, problem: Problem):
        self.problem = problem
        self.logits, self.f0, self.g0 = reduced(problem)

    def kernel(
        self, f: Tensor | None = None, pairs: Tensor | slice = slice(None)
    ) -> tuple[Tensor, Tensor, Tensor]:
        """K with row potentials absorbed, so that u = 1 stands for them.

        Args:
            f: (k, n) row potentials; None for zeros.
            pairs: (k,) which of the batch.

        Returns:
            K: (k, n, m) with a largest entry of 1 in each column.
            alpha: (k, n); a plain update is u = alpha (K v)^-damping. 1 on padding.
            beta: (k, m); a plain update is v = beta (K^T u)^-damping. 1 on padding.
        """
        logits, a, b = self.logits[pairs], self.problem.a[pairs], self.problem.b[pairs]
        if f is None:  # the reduced cost has a zero in each column
            f, top = torch.zeros_like(a), torch.zeros_like(b)
        else:
            logits = logits + f[:, :, None]
            top = _finite(logits.amax(1))
            logits = logits.sub_(top[:, None, :])
        kernel = threshold_(logits.clamp_min(LOWEST).exp_(), NEGLIGIBLE, 0.0)
        if self.problem.damping < 1:
            # Damping applies to the potentials under the full cost, f0 + f and g0 - top.
            kept = 1 - self.problem.damping
            a = a * (-kept * (f + self.f0[pairs])).exp()
            b = b * (-kept * (self.g0[pairs] - top)).exp()
        return kernel, _or_one(a), _or_one(b)


class Running:
    """The pairs of a batch that have not stopped, and where they stand: P = diag(u) K diag(v).

    Attributes:
        scaling: the whole batch.
        whole: (B, n, m) K of the whole batch.
        pairs: (k,) positions in the batch of those still here.
        stopped: (k,) bool; among them, those that have stopped but were not worth leaving out.
        kernel, transposed: K and its transpose.
        f: (k, n) the row potentials absorbed into K.
        a: (k, n) masses of the rows, and 1 on padding.
        alpha, beta: see `Scaling.kernel`.
        u, v: (k, n), (k, m) the scalings, 1 on padding.
        row_floor, column_floor: what is added to sums: TINY, and 1 on padding, where K is zero.
    """

    def __init__(self, scaling: Scaling):
        a, b = scaling.problem.a, scaling.problem.b
        self.scaling, self.damping = scaling, scaling.problem.damping
        self.kernel, self.alpha, self.beta = scaling.kernel()
        self.whole, self.transposed = self.kernel, self.kernel.mT.contiguous()
        self.f = torch.zeros_like(a)
        self.a = self.u = _or_one(a)
        self.row_floor = (a == 0).float().clamp_min_(TINY)
        self.column_floor = (b == 0).float().clamp_min_(TINY)
        self.v = self.fresh_columns()
        self.pairs = torch.arange(len(a), device=a.device)
        self.stopped = torch.zeros_like(self.pairs, dtype=torch.bool)

    def fresh_columns(self) -> Tensor:
        """(k, m) the plain update of v."""
        return updated(self.beta, times(self.u, self.kernel, self.column_floor), self.damping)

    def even_out(self) -> None:
        """With a penalty, find the constant between f and g, for which plain updates take longest.

        At the best one, rows and columns ask for the same mass in sum.
        """
        if self.damping == 1:
            return
        kept = 1 / self.damping - 1  # eps / rho
        rows = (self.alpha.pow(1 + kept) * self.u.pow(-kept) * (self.row_floor < 1)).sum(1)
        columns = (self.beta.pow(1 + kept) * self.v.pow(-kept) * (self.column_floor < 1)).sum(1)
        shift = (rows / columns).pow(0.5 / kept)[:, None]
        self.u = torch.where(self.row_floor < 1, self.u * shift, self.u)
        self.v = torch.where(self.column_floor < 1, self.v / shift, self.v)

    def begin_at(self, f: Tensor) -> None:
        """Start from (B, n) row potentials, which are absorbed into K where they vary widely."""
        padding = self.scaling.problem.a == 0
        if self.damping == 1:  # then a constant may go from f to g; u is at most a
            f = f - f.masked_fill(padding, -torch.inf).amax(1, keepdim=True)
        f = f.masked_fill(padding, 0.0)
        wide = f.abs().amax(1) > math.log(SAFE)
        self.f = torch.where(wide[:, None], f, 0.0)
        self.u = self.a * torch.where(wide[:, None], 0.0, f).exp()
        self.v = self.fresh_columns()
        self.absorb(wide)

    def absorb(self, which: Tensor) -> None:
        """Move u into K for some of the pairs, (k,) bool; the columns are updated."""
        where = which.nonzero()[:, 0]
        if not len(where):
            return
        pairs = self.pairs[where]
        self.f[where] += (self.u[where] / self.a[where]).log()
        self.u[where] = self.a[where]
        kernel, self.alpha[where], self.beta[where] = self.scaling.kernel(self.f[where], pairs)
        self.kernel[where], self.transposed[where], self.whole[pairs] = kernel, kernel.mT, kernel
        sums = times(self.u[where], kernel, self.column_floor[where])
        self.v[where] = updated(self.beta[where], sums, self.damping)

    def newton(self) -> None:
        """One damped Newton step on the dual as a function of u alone, v being its best answer.

        In log u, the gradient of that dual is a - P 1, and minus its Hessian is the Laplacian of
        a graph, diag(P 1) - P diag(1 / b) P^T: rows are joined by the columns that they share.
        Along a step whose entries span a range r, third derivatives are at most r times second
        ones. So the dual gains at least what the bound that follows from this gains, which is
        most at log(1 + r) / r of the step (generalised self-concordance, Sun & Tran-Dinh 2019).
        """
        real = self.row_floor < 1
        plan = (self.kernel * self.u[:, :, None] * self.v[:, None, :]).double()
        joined = (plan / plan.sum(1, keepdim=True).clamp_min(NEGLIGIBLE)) @ plan.mT
        joined.diagonal(dim1=1, dim2=2).zero_()
        mass = torch.where(real, self.a, 0.0).double()
        # Degrees are summed from what joins, not from P 1, which would cancel. The Laplacian
        # leaves constants open, and the balance between parts that share no column: a a^T
        # settles the first, and a trace of a the second.
        degrees = torch.where(real, joined.sum(2) + 1e-14 * mass, 1.0)
        laplacian = degrees.diag_embed() - joined + mass[:, :, None] * mass[:, None, :]
        factor, failed = torch.linalg.cholesky_ex(laplacian)
        gradient = torch.where(real, mass - plan.sum(2), 0.0)
        step = torch.cholesky_solve(gradient[:, :, None], factor)[:, :, 0]
        step = torch.where(real & (failed == 0)[:, None], step, 0.0)
        span = step.amax(1, keepdim=True) - step.amin(1, keepdim=True)
        length = span.log1p().clamp_max(math.log(SAFE)) / span.clamp_min(NEGLIGIBLE)
        self.u = self.u * (length * step).exp().float()
        self.v = self.fresh_columns()

    def shrink(self) -> None:
        """Leave out the pairs that have stopped, but keep two: compiled code dislikes one."""
        rest = self.stopped.int().argsort(stable=True)[: max(2, int((~self.stopped).sum()))]
        for name, value in vars(self).items():
            if isinstance(value, Tensor) and name != "whole":
                setattr(self, name, value[rest])


def advance(now: Running, omegas: Sequence[float]) -> Tensor:
    """Update u and v once for every omega, the last v by a plain update.

    Returns:
        (k,) the residuals afterwards: mass that the next update of u would move. The columns have
        none, having just been set.
    """
    for step, omega in enumerate(omegas, start=1):
        row_sums = times(now.v, now.transposed, now.row_floor)
        now.u = overrelaxed(now.u, updated(now.alpha, row_sums, now.damping), omega)
        fresh = now.fresh_columns()
        if step == len(omegas):
            now.v = fresh
        else:
            now.v = overrelaxed(now.v, fresh, omega)
            now.even_out()

    row_sums = times(now.v, now.transposed, now.row_floor)
    return (now.u - updated(now.alpha, row_sums, now.damping)).abs_().mul_(row_sums).sum(1)


def scale(
    now: Running,
    *,
    tolerance: float,
    max_iterations: int,
    advance: Callable[[Running, Sequence[float]], Tensor] = advance,
) -> Solved:
    """Update u and v in turn until every pair's plan has its marginals.

    Args:
        now: the batch, at potentials to start from.
        tolerance: a pair stops when its residual is at most this.
        max_iterations: and after so many updates of both sides in any case.
        advance: some updates at a time; a compiled one may take the place of the plain one.
    """
    u, v = torch.ones_like(now.u), torch.ones_like(now.v)
    iterations, residuals = torch.zeros_like(now.pairs), torch.zeros_like(u[:, 0])
    omega_of = relaxation if now.damping == 1 else lambda _: 1.0

    newton_helps = now.damping == 1 and u.device.type != "mps"  # which has no float64
    # Newton steps magnify rounding as much as progress: go on until neither shows in the plan.
    fine = min(tolerance, max(tolerance / 100, 1e-5)) if newton_helps else tolerance

    done, residual = 0, advance(now, ())
    while True:
        if done >= max_iterations:
            finished = ~now.stopped
        else:
            finished = residual <= (tolerance if done <= NEWTON_AFTER else fine)
        leaving = torch.maximum(now.u.amax(1), now.v.amax(1)) > SAFE
        if (finished | leaving).any():
            finished &= ~now.stopped
            where = finished.nonzero()[:, 0]
            pairs = now.pairs[where]
            u[pairs], v[pairs] = now.u[where], now.v[where]
            iterations[pairs], residuals[pairs] = done, residual[where]

            now.stopped |= finished
            running = len(now.stopped) - int(now.stopped.sum())
            if not running:
                break
            now.absorb(leaving & ~now.stopped)
            if running <= SHRINK_BELOW * len(now.stopped):
                now.shrink()
        if done >= NEWTON_AFTER and newton_helps:
            now.newton()
        steps = min(CHECK_EVERY, max_iterations - done)
        residual = advance(now, [omega_of(done + step) for step in range(steps)])
        done += steps
    return Solved(now.whole.mul_(u[:, :, None]).mul_(v[:, None, :]), iterations, residuals)


def _finite(maxima: Tensor) -> Tensor:
    """Maxima with those over padding alone, which are minus infinity, set to zero."""
    return maxima.nan_to_num_(neginf=0.0)


def _or_one(masses: Tensor) -> Tensor:
    """Masses with the zeros of padding replaced by one, so that updates leave its scaling at 1."""
    return masses.masked_fill(masses == 0, 1.0)
