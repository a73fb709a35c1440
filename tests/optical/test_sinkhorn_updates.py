"""The updates that lead to a plan."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transport_problems import examples, full, masks, violation

from clir_cli.optical.solvers import sinkhorn
from clir_cli.optical.transport import solve

# The updates themselves


@examples(200)
@given(
    mass=st.floats(1e-6, 1e6),
    omega=st.floats(1.0, 1.99),
)
def test_an_overrelaxed_update_never_lowers_the_dual(mass, omega):
    old = torch.ones(1, 1, dtype=torch.float64)
    factor = sinkhorn.overrelaxed(old, old / mass, omega).item()
    change = math.log(factor) - mass * (factor - 1)
    assert change >= -1e-9 * max(1, mass)


def test_overrelaxation_never_reaches_two():
    factors = [sinkhorn.relaxation(k) for k in range(3000)]
    assert factors == sorted(factors)
    assert factors[0] == 1
    assert factors[-1] < 2


@pytest.mark.parametrize("eps", [0.01, 0.002])
def test_scalings_that_leave_float32_are_absorbed(our_solver, eps, monkeypatch):
    absorbed = []
    absorb = sinkhorn.ScalingState.absorb

    def watched(now, which):
        absorbed.append(int(which.sum()))
        absorb(now, which)

    monkeypatch.setattr(sinkhorn.ScalingState, "absorb", watched)
    cost = 2 * torch.rand(6, 24, 31, generator=torch.Generator().manual_seed(1))
    rows, columns = masks([24, 3, 24, 1, 12, 2], 24), masks([2, 31, 31, 31, 30, 3], 31)
    found = solve(cost, rows, columns, eps=eps, solver=our_solver)
    assert sum(absorbed) > 0
    assert found.converged.all()
    assert (violation(found.plan, rows, columns) <= 1e-3 + 1e-5).all()


@pytest.mark.parametrize("far", [0.5, 1.0, 2.0])
def test_a_plan_that_nearly_falls_apart_gets_its_last_grain_across(our_solver, far, monkeypatch):
    # Two groups at no distance within and a large one between; the first has 0.15 % too much mass.
    cost = torch.full((1, 6, 6), far)
    cost[:, :3, :3] = cost[:, 3:, 3:] = 0
    weights = torch.tensor([[1.003] * 3 + [0.997] * 3])
    problem = {"eps": 0.005, "row_weights": weights, "solver": our_solver}
    found = solve(cost, full(1, 6), full(1, 6), **problem)
    assert found.converged.all()
    assert found.iterations.item() < 400
    assert found.plan[0, :3, 3:].sum().item() == pytest.approx(0.0015, abs=2e-5)

    monkeypatch.setattr(sinkhorn, "NEWTON_AFTER", 10_000)
    slow = solve(cost, full(1, 6), full(1, 6), **problem)
    assert slow.iterations.item() > 4 * found.iterations.item()
