"""Unbalanced transport: a token whose counterpart is far may keep some of its mass to itself.

The masses a and b are no longer met exactly; missing them costs rho times a KL divergence,

    P = argmin  sum_ij P_ij C_ij + eps KL(P | a b^T) + rho KL(P 1 | a) + rho KL(P^T 1 | b)

(Chizat, Peyré, Schmitzer & Vialard 2018; Séjourné, Feydy, Vialard, Trouvé & Peyré 2019, arXiv
1910.12958). Sinkhorn's updates are then damped by rho / (rho + eps). What is left slow, with a
large rho, is a constant that moves from f to g: each update sets it to its best value (Séjourné,
Vialard & Peyré 2022, arXiv 2201.00730).

These updates are our own: geomloss's loop takes neither a tolerance nor a start, and POT solves
one problem at a time. They run in the log domain, since no scaling bounds the potentials.
"""

import torch
from torch import Tensor

from clir_cli.optical.solvers.problem import Problem, Solution


def unbalanced(
    problem: Problem, *, reach: float, tolerance: float, max_iterations: int
) -> tuple[Solution, Tensor]:
    """Return plans that are scaled to sum to one, and the mass (B,) that they move before.

    The violation is the L1 distance of the rows from those of an optimal plan, a exp(-f / rho), as
    a share of the mass that is moved; the columns have none. A pair stops when it is at most
    ``tolerance``. ``reach`` is rho, in units of the cost.
    """
    rho = reach / problem.eps  # potentials are in units of eps, as the cost here
    log_a, log_b = problem.a.log(), problem.b.log()  # minus infinity on padding
    kernel = problem.cost.where(problem.cells, 0.0) / -problem.eps
    f, g = torch.zeros_like(log_a), torch.zeros_like(log_b)
    iterations = torch.zeros_like(log_a[:, 0], dtype=torch.int64)
    while True:
        sums = (kernel + (g + log_b)[:, None, :]).logsumexp(2)
        rows = log_a + f + sums
        mass = rows.logsumexp(1, keepdim=True)
        wanted = log_a - f / rho
        violation = ((rows - mass).exp() - (wanted - mass).exp()).abs().sum(1)
        running = (violation > tolerance) & (iterations < max_iterations)
        if not running.any():
            break
        f_new = -sums * rho / (1 + rho)
        shift = (log_a - f_new / rho).logsumexp(1) - (log_b - g / rho).logsumexp(1)
        f_new = f_new + shift[:, None] * rho / 2
        g_new = -(kernel + (f_new + log_a)[:, :, None]).logsumexp(1) * rho / (1 + rho)
        f = torch.where(running[:, None], f_new, f)
        g = torch.where(running[:, None], g_new, g)
        iterations += running
    plan = kernel + (f + log_a - mass)[:, :, None] + (g + log_b)[:, None, :]
    return Solution(plan.exp(), iterations, violation), mass[:, 0].exp()
