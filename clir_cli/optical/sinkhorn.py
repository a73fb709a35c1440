r"""Entropic transport by scaling a positive matrix, for many small problems at once.

The plan of least cost, smoothed by entropy, between masses a and b,

    P = argmin  sum_ij P_ij C_ij + eps KL(P | a b^T)   with  P 1 = a,  P^T 1 = b,

has the form P = diag(u) K diag(v). Sinkhorn's algorithm (Cuturi 2013) sets u so that the rows
carry their mass, then v so that the columns do, and again: two products of a matrix and a vector
an iteration. Four things make it exact and fast on token costs:

1.  K is not exp(-C / eps), which underflows for small eps, but the same matrix rescaled so that
    every column carries its mass already: its entries are shares of mass, at most 1, whatever
    eps is. When u or v grow large, they are absorbed into K (Schmitzer 2019), pair by pair.
2.  geomloss's annealed loop (Feydy 2020, algorithm 3.5) finds where to start; `warm_start` lends
    it K in place of its logarithms, which costs a tenth.
3.  The updates are over-relaxed (Thibault, Chizat, Dossal & Papadakis 2021), with a bound that
    keeps every single step an ascent of the dual. See `overrelaxed`.
4.  Every pair stops by itself, and pairs that have stopped leave the batch.

With a penalty rho in place of exact marginals (Chizat, Peyre, Schmitzer & Vialard 2018) the same
loop holds, each update damped by rho / (rho + eps) and none over-relaxed.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import threshold_

from clir_cli.errors import UserError
from clir_cli.optical.problem import Problem

# Added to sums, so that no update divides by an underflow. A scaling that this holds back leaves
# SAFE, and absorbing it brings its sum into range.
TINY = 1e-15
SAFE = 1e6
# Shares of a column's mass below this are none: arithmetic on subnormal numbers is slow.
NEGLIGIBLE = 1e-30

CHECK_EVERY = 8
SHRINK_BELOW = 0.5  # of the batch still running: then copying the rest pays

# Temperatures of the warm start, as multiples of eps: each half the one before.
ANNEALING = (4, 2, 1)


@dataclass(frozen=True)
class Solved:
    """What a solver found, before anything is made of it.

    Attributes:
        plan: (B, n, m).
        iterations: (B,) int64; updates of both sides, those of the warm start included.
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

    Where x is the present mass of a token over its target, the plain update multiplies the
    scaling by 1 / x and the over-relaxed one by t = 1 + omega (1 / x - 1). Either changes the dual
    by eps times the target times (log t - x (t - 1)), which is positive for any x < 1, and for
    x > 1 as long as t >= (omega - 1) / x: at the smallest such t on the line, with
    q = omega - 1 and x = 1 / q, it is 2 log q + 1 / q - q, positive for q < 1. So that bound
    is kept, and the updates converge for every omega in [1, 2) as they do for omega = 1.
    """
    if omega == 1:
        return plain
    beyond = torch.sub(plain, old, alpha=omega - 1).relu_()
    return beyond.add_(plain, alpha=omega - 1)


def relaxation(iteration: int) -> float:
    """The factor omega by iteration: the longer a pair takes, the further its steps may reach.

    A pair whose plain updates contract by eta is fastest at omega = 2 / (1 + sqrt(1 - eta))
    (Lehmann et al. 2022). That it has not stopped yet is the sign of a large eta.
    """
    for until, omega in ((1, 1.0), (8, 1.5), (16, 1.7), (32, 1.8), (64, 1.85)):
        if iteration < until:
            return omega
    return 1.9


class Scaling:
    """The matrices K of a batch, from the costs and the row potentials found so far.

    Potentials are held in units of eps, and relative to a reduced cost that has a zero in every
    row and every column (the first step of the Hungarian method), so that as few exponentials
    underflow as can be.

    Attributes:
        problem: the batch.
        logits: (B, n, m); minus the reduced cost over eps, minus infinity on padding.
        f0: (B, n) what was taken off the rows of the cost, over eps.
        g0: (B, m) what was taken off its columns, over eps.
    """

    def __init__(self, problem: Problem):
        self.problem = problem
        logits = torch.where(problem.cells, problem.cost * (-1 / problem.eps), -torch.inf)
        self.f0 = -_finite(logits.amax(2))
        logits += self.f0[:, :, None]
        self.g0 = -_finite(logits.amax(1))
        logits += self.g0[:, None, :]
        self.logits = logits

    def kernel(self, f: Tensor, pairs: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """K with the row potentials f in it and the column potentials that answer f.

        Args:
            f: (k, n) row potentials.
            pairs: (k,) positions in the batch; None for all.

        Returns:
            K: (k, n, m), the plan at u = v = 1. With exact marginals its columns carry theirs.
            alpha: (k, n); a plain update is u = alpha (K v)^-damping. 1 on padding.
            beta: (k, m); a plain update is v = beta (K^T u)^-damping. 1 on padding.
        """
        a, b, f0, g0, logits = (
            whole if pairs is None else whole[pairs]
            for whole in (self.problem.a, self.problem.b, self.f0, self.g0, self.logits)
        )
        damping = self.problem.damping
        weighted = logits + (a.log() + f)[:, :, None]
        top = _finite(weighted.amax(1))
        kernel = threshold_(weighted.sub_(top[:, None, :]).exp_(), NEGLIGIBLE, 0.0)
        mass = kernel.sum(1).clamp_min_(TINY)
        # Damping applies to the potential under the full cost, g0 + g.
        g = -damping * (top + mass.log()) - (1 - damping) * g0
        kernel *= (b * (top + g).exp())[:, None, :]
        if self.problem.rho is None:
            return kernel, _or_one(a), _or_one(b)
        alpha = a.pow(damping) * ((damping - 1) * (f0 + f)).exp()
        beta = b.pow(damping) * ((damping - 1) * (g0 + g)).exp()
        return kernel, _or_one(alpha), _or_one(beta)


class _Running:
    """The pairs of a batch that have not stopped: their matrices and where they stand.

    Attributes:
        pairs: (k,) their positions in the batch.
        stopped: (k,) bool; among them, those that have stopped but were not worth leaving out.
        kernel, transposed: K and its transpose.
        alpha, beta: see `Scaling.kernel`.
        u, v: the scalings, 1 on padding.
        row_floor, column_floor: what is added to sums: TINY, and 1 on padding, where K is zero.
    """

    def __init__(self, scaling: Scaling, f: Tensor):
        self.damping = scaling.problem.damping
        self.kernel, self.alpha, self.beta = scaling.kernel(f)
        self.transposed = self.kernel.mT.contiguous()
        self.u, self.v = torch.ones_like(self.alpha), torch.ones_like(self.beta)
        a, b = scaling.problem.a, scaling.problem.b
        self.row_floor = (a == 0).float().clamp_min_(TINY)
        self.column_floor = (b == 0).float().clamp_min_(TINY)
        self.pairs = torch.arange(len(a), device=a.device)
        self.stopped = torch.zeros(len(a), dtype=torch.bool, device=a.device)

    def rows(self) -> tuple[Tensor, Tensor]:
        """(k, n) sums K v and the plain update of u that they ask for."""
        sums = times(self.v, self.transposed, self.row_floor)
        return sums, _plain(self.alpha, sums, self.damping)

    def columns(self) -> tuple[Tensor, Tensor]:
        """(k, m) sums K^T u and the plain update of v that they ask for."""
        sums = times(self.u, self.kernel, self.column_floor)
        return sums, _plain(self.beta, sums, self.damping)

    def leaving_range(self) -> Tensor:
        """(k,) bool: pairs whose scalings should be absorbed into K."""
        return torch.maximum(self.u.amax(1), self.v.amax(1)) > SAFE

    def absorb(self, which: Tensor, kernel: Tensor, alpha: Tensor, beta: Tensor) -> None:
        """Replace the matrices of some pairs by those with u and v in them."""
        self.kernel[which], self.transposed[which] = kernel, kernel.mT
        self.alpha[which], self.beta[which] = alpha, beta
        self.u[which], self.v[which] = 1.0, 1.0

    def shrink(self) -> None:
        """Leave out the pairs that have stopped."""
        rest = (~self.stopped).nonzero()[:, 0]
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value[rest])


def scale(
    scaling: Scaling, f: Tensor | None = None, *, tolerance: float, max_iterations: int
) -> Solved:
    """Alternate the updates of u and v until every pair's plan has its marginals.

    Args:
        scaling: the batch.
        f: (B, n) row potentials to start from, in units of eps and relative to the reduced
            cost; None starts from zero.
        tolerance: a pair stops when one more update would move at most this much mass.
        max_iterations: and after so many updates of both sides in any case.
    """
    f = torch.zeros_like(scaling.f0) if f is None else f.clone()
    now = _Running(scaling, f)
    kernel, u, v = now.kernel, torch.ones_like(now.u), torch.ones_like(now.v)
    iterations = torch.zeros_like(now.pairs)
    residuals = torch.zeros_like(f[:, 0])

    for k in range(max_iterations + 1):
        sums, plain = now.rows()
        if _due(k, max_iterations):
            residual = (now.u - plain).abs_().mul_(sums).sum(1)  # the columns are fresh
            finished = residual <= tolerance if k < max_iterations else ~now.stopped
            absorbing = now.leaving_range()
            if (finished | absorbing).any():
                finished &= ~now.stopped
                absorbing &= ~(now.stopped | finished)

                where = finished.nonzero()[:, 0]
                pairs = now.pairs[where]
                u[pairs], v[pairs] = now.u[where], now.v[where]
                iterations[pairs], residuals[pairs] = k, residual[where]
                now.stopped |= finished

                where = absorbing.nonzero()[:, 0]
                if len(where):
                    pairs = now.pairs[where]
                    f[pairs] += now.u[where].log()
                    fresh = scaling.kernel(f[pairs], pairs)
                    now.absorb(where, *fresh)
                    kernel[pairs] = fresh[0]

                running = len(now.stopped) - int(now.stopped.sum())
                if not running:
                    break
                if running <= SHRINK_BELOW * len(now.stopped):
                    now.shrink()
                sums, plain = now.rows()
        omega = relaxation(k) if scaling.problem.rho is None else 1.0
        now.u = overrelaxed(now.u, plain, omega)
        _, plain = now.columns()
        now.v = overrelaxed(now.v, plain, 1.0 if _due(k + 1, max_iterations) else omega)
    return Solved(kernel.mul_(u[:, :, None]).mul_(v[:, None, :]), iterations, residuals)


def warm_start(scaling: Scaling) -> Tensor:
    """Row potentials from geomloss's loop, annealed from some multiple of eps down to eps.

    geomloss takes the soft minimum as an argument, and what it calls the cost is passed on to
    it unread. So the loop is geomloss's own, and the soft minimum is a product with K, kept for
    every temperature: K at half the temperature is K squared.

    Returns:
        (B, n), in the units of `scale`.
    """
    loop = geomloss_loop()
    problem = scaling.problem
    by_row, by_column = {}, {}
    # Costs of more than 80 eps are taken for 80 here, which keeps float32 in its normal range.
    kernel = scaling.logits.clamp_min(-80.0).div_(ANNEALING[0]).exp_().mul_(problem.cells)
    for temperature in ANNEALING:
        if temperature != ANNEALING[0]:
            kernel = kernel * kernel
        by_row[temperature], by_column[temperature] = kernel.mT.contiguous(), kernel

    floor = torch.tensor(NEGLIGIBLE, device=kernel.device).expand(1, 1)

    def softmin(temperature: float, cost: tuple, h: Tensor) -> Tensor:
        kernels, outer, inner = cost
        h = torch.sub(h, inner, alpha=1 / temperature)
        top = h.amax(1, keepdim=True)
        mass = times(h.sub_(top).exp_(), kernels[temperature], floor)
        return torch.sub(outer, mass.log_().add_(top), alpha=temperature)

    _, _, _, f = loop(
        softmin,
        problem.a.log().clamp_min_(-1e5),
        problem.b.log().clamp_min_(-1e5),
        None,
        None,
        (by_row, scaling.f0, scaling.g0),
        (by_column, scaling.g0, scaling.f0),
        ANNEALING,
        None if problem.rho is None else problem.rho / problem.eps,
        debias=False,
    )
    return f - scaling.f0


def geomloss_loop() -> Callable:
    """geomloss's annealed loop.

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


def _plain(target: Tensor, sums: Tensor, damping: float) -> Tensor:
    return target / sums if damping == 1 else target * sums.pow(-damping)


def _due(k: int, last: int) -> bool:
    """Whether to look at the residuals after k updates."""
    return k % CHECK_EVERY == 0 or k == last


def _finite(maxima: Tensor) -> Tensor:
    """Maxima with those over padding alone, which are minus infinity, set to zero."""
    return maxima.nan_to_num_(neginf=0.0)


def _or_one(masses: Tensor) -> Tensor:
    """Masses with the zeros of padding replaced by one, so that updates leave its scaling at 1."""
    return masses.masked_fill(masses == 0, 1.0)
