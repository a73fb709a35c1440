"""The updates of `sinkhorn.py`, compiled into few passes over K.

torch.compile writes C++ for a CPU and Triton for a GPU. Eight updates and the violations after them
are one call, in which K is read and nothing of its size is written. The first call compiles,
which takes some seconds; further shapes do not compile again.
"""

from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import pad

from clir_cli.errors import UserError
from clir_cli.optical.solvers.problem import Problem, Solution
from clir_cli.optical.solvers.sinkhorn import CHECK_EVERY, ScalingState, advance, scale

LANES = 8  # lengths are padded to multiples of this, which fills vector registers
LACKING = ("InvalidCxxCompiler", "CppCompileError", "TritonMissing")  # a compiler, or a working one


def fused(problem: Problem, *, tolerance: float, max_iterations: int) -> Solution:
    """Over-relaxed updates in compiled code, from a start at zero potentials.

    Raises:
        UserError: there is no compiler.
    """
    eight_updates = _compiled(problem.cost.device.type)

    def advance_compiled(state: ScalingState, omegas: Sequence[float]) -> Tensor:
        if len(omegas) != CHECK_EVERY:
            return advance(state, omegas)
        state.u, state.v, violation = eight_updates(*_operands(state, omegas))
        return violation

    solution = scale(
        ScalingState(_padded(problem)),
        tolerance=tolerance,
        max_iterations=max_iterations,
        advance=advance_compiled,
    )
    pairs, n, m = problem.cost.shape
    return Solution(
        solution.plan[:pairs, :n, :m], solution.iterations[:pairs], solution.violation[:pairs]
    )


def _padded(problem: Problem) -> Problem:
    """The batch with lengths that are multiples of LANES, and a single pair repeated.

    torch.compile treats a length of one specially, and would compile again for it.
    """
    pairs, n, m = problem.cost.shape
    copies, rows, columns = 1 + (pairs == 1), -n % LANES, -m % LANES
    return Problem(
        cost=pad(problem.cost, (0, columns, 0, rows)).repeat(copies, 1, 1),
        a=pad(problem.a, (0, rows)).repeat(copies, 1),
        b=pad(problem.b, (0, columns)).repeat(copies, 1),
        eps=problem.eps,
    )


def _operands(state: ScalingState, omegas: Sequence[float]) -> tuple[Tensor, ...]:
    """What `_eight_updates` takes; the omegas as a tensor, for numbers would be compiled in."""
    beyond = torch.tensor(omegas, device=state.u.device) - 1
    sides = (state.u, state.v, state.a, state.b, state.row_floor, state.column_floor)
    return state.kernel, state.transposed, *sides, beyond


def _eight_updates(
    kernel: Tensor,
    transposed: Tensor,
    u: Tensor,
    v: Tensor,
    a: Tensor,
    b: Tensor,
    row_floor: Tensor,
    column_floor: Tensor,
    beyond: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """`sinkhorn.advance` by CHECK_EVERY updates; `beyond` holds their omega - 1."""
    for step in range(CHECK_EVERY):
        q = beyond[step]
        plain = a / ((transposed * v[:, :, None]).sum(1) + row_floor)
        u = (plain - q * u).relu() + q * plain
        plain = b / ((kernel * u[:, :, None]).sum(1) + column_floor)
        v = (plain - q * v).relu() + q * plain if step + 1 < CHECK_EVERY else plain
    sums = (transposed * v[:, :, None]).sum(1) + row_floor
    return u, v, ((u - a / sums).abs() * sums).sum(1)


@cache
def _compiled(device: str) -> Callable:
    """`_eight_updates`, compiled on a batch whose three lengths differ.

    Lengths that happen to agree in the first call would be assumed to agree always.
    """
    compiled = torch.compile(_eight_updates, dynamic=True)
    a, b = torch.full((3, 16), 1 / 16, device=device), torch.full((3, 24), 1 / 24, device=device)
    problem = Problem(torch.zeros(3, 16, 24, device=device), a, b, eps=1.0)
    try:
        compiled(*_operands(ScalingState(problem), [1.0] * CHECK_EVERY))
    except Exception as error:
        if not _lacks_compiler(error):
            raise
        compiler = "a C++ compiler (g++ or clang++)" if device == "cpu" else "Triton"
        raise UserError(
            f"the fused solver needs {compiler}, which was not found or does not work; "
            "install one, or use the default solver, geomloss"
        ) from error
    return compiled


def _lacks_compiler(error: BaseException | None) -> bool:
    """Return True if an error of torch.compile comes from a missing or broken compiler."""
    while error is not None:
        if any(name in f"{type(error).__name__} {error}" for name in LACKING):
            return True
        error = error.__cause__ or error.__context__
    return False
