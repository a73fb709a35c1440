"""The updates of `clir_cli.optical.solvers.sinkhorn`, compiled into few passes over K.

torch.compile writes C++ for a CPU and Triton for a GPU. Eight updates and the residuals after them
are one call, in which K is read and nothing of its size is written. The first call compiles,
which takes some seconds; further shapes do not compile again.
"""

from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import pad

from clir_cli.errors import UserError
from clir_cli.optical.solvers.problem import Problem
from clir_cli.optical.solvers.sinkhorn import CHECK_EVERY, Running, Scaling, Solved, advance, scale

# Lengths are padded to multiples of this, which fills vector registers.
LANES = 8


def fused(problem: Problem, *, tolerance: float, max_iterations: int) -> Solved:
    """Over-relaxed updates in compiled code, from a start at zero potentials.

    Raises:
        UserError: there is no compiler.
        ValueError: the problem has a penalty in place of exact marginals.
    """
    if problem.damping < 1:
        raise ValueError("the fused solver knows exact marginals only; leave rho out")
    eight_updates = _compiled(problem.cost.device.type)

    def advance_compiled(now: Running, omegas: Sequence[float]) -> Tensor:
        if len(omegas) != CHECK_EVERY:
            return advance(now, omegas)
        now.u, now.v, residual = eight_updates(*_operands(now, omegas))
        return residual

    found = scale(
        Running(Scaling(_padded(problem))),
        tolerance=tolerance,
        max_iterations=max_iterations,
        advance=advance_compiled,
    )
    pairs, n, m = problem.cost.shape
    return Solved(found.plan[:pairs, :n, :m], found.iterations[:pairs], found.residual[:pairs])


def _padded(problem: Problem) -> Problem:
    """The batch with lengths that are multiples of LANES, and a single pair repeated.

    torch.compile takes a length of one for special, and would compile again for it.
    """
    pairs, n, m = problem.cost.shape
    more, rows, columns = int(pairs == 1), -n % LANES, -m % LANES
    if not (more or rows or columns):
        return problem
    return Problem(
        cost=pad(problem.cost, (0, columns, 0, rows)).repeat(1 + more, 1, 1),
        a=pad(problem.a, (0, rows)).repeat(1 + more, 1),
        b=pad(problem.b, (0, columns)).repeat(1 + more, 1),
        eps=problem.eps,
    )


def _operands(now: Running, omegas: Sequence[float]) -> tuple[Tensor, ...]:
    """What `_eight_updates` takes; the omegas as a tensor, for numbers would be compiled in."""
    beyond = torch.tensor(omegas, device=now.u.device) - 1
    sides = (now.u, now.v, now.alpha, now.beta, now.row_floor, now.column_floor)
    return now.kernel, now.transposed, *sides, beyond


def _eight_updates(
    kernel: Tensor,
    transposed: Tensor,
    u: Tensor,
    v: Tensor,
    alpha: Tensor,
    beta: Tensor,
    row_floor: Tensor,
    column_floor: Tensor,
    beyond: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """`sinkhorn.advance` by CHECK_EVERY updates; `beyond` holds their omega - 1."""
    for step in range(CHECK_EVERY):
        q = beyond[step]
        plain = alpha / ((transposed * v[:, :, None]).sum(1) + row_floor)
        u = (plain - q * u).relu() + q * plain
        plain = beta / ((kernel * u[:, :, None]).sum(1) + column_floor)
        v = (plain - q * v).relu() + q * plain if step + 1 < CHECK_EVERY else plain
    sums = (transposed * v[:, :, None]).sum(1) + row_floor
    return u, v, ((u - alpha / sums).abs() * sums).sum(1)


@cache
def _compiled(device: str) -> Callable:
    """`_eight_updates`, compiled on a batch whose three lengths differ.

    Lengths that happen to agree in the first call are taken to agree always.
    """
    compiled = torch.compile(_eight_updates, dynamic=True)
    a, b = torch.full((3, 16), 1 / 16, device=device), torch.full((3, 24), 1 / 24, device=device)
    problem = Problem(torch.zeros(3, 16, 24, device=device), a, b, eps=1.0)
    try:
        compiled(*_operands(Running(Scaling(problem)), [1.0] * CHECK_EVERY))
    except Exception as error:
        if not _lacks_compiler(error):
            raise
        what = "a C++ compiler (g++ or clang++)" if device == "cpu" else "Triton"
        raise UserError(
            f"the fused solver needs {what}, which was not found or does not work; "
            "install one, or use the default solver, geomloss"
        ) from error
    return compiled


def _lacks_compiler(error: BaseException | None) -> bool:
    """Whether an error of torch.compile comes down to a compiler that is missing or broken."""
    names = ("InvalidCxxCompiler", "CppCompileError", "TritonMissing")
    while error is not None:
        if any(name in type(error).__name__ or name in str(error) for name in names):
            return True
        error = error.__cause__ or error.__context__
    return False
