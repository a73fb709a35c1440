"""The transport plan in use: its gradient, whatever the caller does, what is told and refused."""

import subprocess
import sys

import pytest
import torch
from transport_problems import cosine_costs, full, masks, reference, unit, violation

from clir_cli.errors import UserError
from clir_cli.optical.solvers import with_geomloss
from clir_cli.optical.solvers.table import SOLVERS
from clir_cli.optical.transport import solve, transport_plan


def random_costs(pairs, n, m, seed=0):
    """Costs without any structure, which take long."""
    return torch.rand(pairs, n, m, generator=torch.Generator().manual_seed(seed))


# The gradient


def test_the_gradient_is_that_of_the_loss_with_the_plan_held_fixed():
    student = unit(3, 6, 8, seed=1, dtype=torch.float64).requires_grad_()
    teacher = unit(3, 7, 8, seed=2, dtype=torch.float64)
    rows, columns = masks([6, 4, 2], 6), masks([7, 7, 3], 7)

    def costs(points):
        return 1 - torch.nn.functional.normalize(points, dim=-1) @ teacher.mT

    plan = transport_plan(costs(student), rows, columns)
    assert not plan.requires_grad
    plan = plan.double()
    (plan * costs(student)).sum().backward()

    step = 1e-6
    numeric = torch.zeros_like(student)
    for position in range(student.numel()):
        nudge = torch.zeros(student.numel(), dtype=torch.float64)
        nudge[position] = step
        nudge = nudge.reshape(student.shape)
        with torch.no_grad():
            up, down = (plan * costs(student + nudge)), (plan * costs(student - nudge))
        numeric.view(-1)[position] = (up - down).sum() / (2 * step)
    torch.testing.assert_close(student.grad, numeric, rtol=1e-3, atol=1e-9)
    assert (student.grad[~rows] == 0).all()


def test_holding_the_plan_fixed_is_the_gradient_of_the_entropic_cost():
    cost = cosine_costs(1, 5, 6).double()
    eps = 0.1

    def entropic(cost):
        plan = reference(cost, full(1, 5), full(1, 6), eps=eps)
        return (plan * cost).sum() + eps * (plan * (plan * 30).log()).sum()

    plan = transport_plan(cost, full(1, 5), full(1, 6), eps=eps, tolerance=1e-6)
    for i, j in [(0, 0), (2, 5), (4, 1)]:
        nudge = torch.zeros_like(cost)
        nudge[0, i, j] = 1e-5
        slope = (entropic(cost + nudge) - entropic(cost - nudge)) / 2e-5
        torch.testing.assert_close(plan[0, i, j].double(), slope, rtol=1e-3, atol=1e-6)


def test_the_value_is_differentiable_in_the_cost():
    cost = cosine_costs(2, 4, 5).requires_grad_()
    found = solve(cost, full(2, 4), full(2, 5))
    found.value(cost).sum().backward()
    torch.testing.assert_close(cost.grad, found.plan)


# Whatever the caller does


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_arithmetic_is_float32_outside_autocast(solver, dtype):
    cost = cosine_costs(3, 9, 10).to(dtype)
    problem = cost, full(3, 9), full(3, 10)
    plain = transport_plan(cost.float(), *problem[1:], solver=solver)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plan = transport_plan(*problem, solver=solver)
    assert plan.dtype == torch.float32
    assert torch.equal(plan, plain)


@pytest.mark.parametrize("enabled", [True, False])
def test_the_gradient_state_is_left_as_it_was(solver, enabled, monkeypatch):
    problem = cosine_costs(2, 4, 5), full(2, 4), full(2, 5)
    with torch.set_grad_enabled(enabled):
        transport_plan(*problem, solver=solver)
        assert torch.is_grad_enabled() is enabled

        def explode(*args, **kwargs):
            torch.set_grad_enabled(not enabled)
            raise RuntimeError("in the middle of a solver")

        monkeypatch.setitem(SOLVERS, solver, explode)
        with pytest.raises(RuntimeError, match="in the middle"):
            transport_plan(*problem, solver=solver)
        assert torch.is_grad_enabled() is enabled


def test_an_exception_inside_geomloss_leaves_gradients_on(monkeypatch):
    def explode(*args):
        raise RuntimeError("in the soft minimum")

    monkeypatch.setattr(with_geomloss, "times", explode)
    with pytest.raises(RuntimeError, match="in the soft minimum"):
        transport_plan(cosine_costs(2, 4, 5), full(2, 4), full(2, 5))
    assert torch.is_grad_enabled()


def test_the_cost_is_not_written_to(solver):
    cost = cosine_costs(3, 9, 10)
    before = cost.clone()
    transport_plan(cost, masks([9, 3, 1], 9), full(3, 10), solver=solver)
    assert torch.equal(cost, before)


def test_no_solver_is_imported_until_it_is_used():
    code = (
        "import sys, clir_cli.optical.transport;"
        "print([name for name in ('geomloss', 'ot', 'torch._inductor') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


# What is told


def test_iterations_violation_and_convergence_are_told_by_pair(solver):
    cost = torch.cat([torch.zeros(1, 12, 13), random_costs(1, 12, 13)])
    found = solve(cost, full(2, 12), full(2, 13), eps=0.02, solver=solver)
    assert found.converged.tolist() == [True, True]
    assert found.violation.shape == found.iterations.shape == (2,)
    torch.testing.assert_close(
        found.violation, violation(found.plan, full(2, 12), full(2, 13)), atol=1e-5, rtol=0
    )
    if solver != "pot":  # whose pairs stop together
        assert found.iterations[0] < found.iterations[1]


def test_running_out_of_iterations_is_told(solver):
    problem = random_costs(2, 16, 18), full(2, 16), full(2, 18)
    found = solve(*problem, eps=0.01, tolerance=1e-6, max_iterations=3, solver=solver)
    assert not found.converged.any()
    assert (found.violation > 1e-6).all()
    assert found.plan.isfinite().all()


@pytest.mark.parametrize("most", [0, 1, 5, 8, 13])
def test_no_more_iterations_than_asked_for(our_solver, most):
    problem = random_costs(2, 16, 18), full(2, 16), full(2, 18)
    found = solve(*problem, eps=0.005, tolerance=1e-6, max_iterations=most, solver=our_solver)
    assert found.iterations.tolist() == [most, most]
    torch.testing.assert_close(
        found.violation, violation(found.plan, *problem[1:]), atol=1e-5, rtol=0
    )


def test_entropy_lies_between_a_permutation_and_the_product():
    problem = torch.zeros(1, 8, 8), full(1, 8), full(1, 8)
    product = solve(*problem).entropy()
    torch.testing.assert_close(product, torch.ones(1), atol=1e-4, rtol=0)
    permutation = solve(1 - torch.eye(8)[None], *problem[1:], eps=0.01).entropy()
    torch.testing.assert_close(permutation, torch.zeros(1), atol=1e-4, rtol=0)


# What is refused


@pytest.mark.parametrize("side", ["row", "column"])
def test_an_empty_sentence_is_refused_with_its_position(solver, side):
    rows, columns = full(3, 4), full(3, 5)
    (rows if side == "row" else columns)[1] = False
    with pytest.raises(UserError, match=rf"pair 1 of the batch: its {side} side has no tokens"):
        transport_plan(torch.zeros(3, 4, 5), rows, columns, solver=solver)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_costs_that_are_no_numbers_are_refused_with_their_position(bad):
    cost = torch.zeros(3, 4, 5)
    cost[2, 1, 1] = bad
    with pytest.raises(UserError, match="pair 2 of the batch"):
        transport_plan(cost, full(3, 4), full(3, 5))


@pytest.mark.parametrize(
    ("cost", "rows", "columns"),
    [
        (torch.zeros(4, 5), full(4), full(5)),
        (torch.zeros(2, 4, 5), full(2, 5), full(2, 5)),
        (torch.zeros(2, 4, 5), full(2, 4), full(1, 5)),
        (torch.zeros(2, 4, 5), torch.ones(2, 4), full(2, 5)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(cost, rows, columns):
    with pytest.raises(ValueError, match="expected"):
        transport_plan(cost, rows, columns)


@pytest.mark.parametrize(
    "settings",
    [
        {"eps": 0},
        {"eps": -1},
        {"eps": torch.nan},
        {"eps": 1e-40},
        {"eps": 1e300},
        {"tolerance": 0},
        {"max_iterations": -1},
        {"solver": "geomlos"},
        {"row_weights": torch.ones(1, 3)},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        transport_plan(torch.zeros(1, 2, 2), full(1, 2), full(1, 2), **settings)


def test_an_unknown_solver_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean geomloss"):
        transport_plan(torch.zeros(1, 2, 2), full(1, 2), full(1, 2), solver="geomlos")


@pytest.mark.parametrize(
    ("solver", "module", "advice"),
    [
        ("geomloss", "geomloss._legacy.sinkhorn_divergence", "pip install geomloss==0.3.1"),
        ("geomloss-only", "geomloss._legacy.sinkhorn_divergence", "pip install geomloss"),
        ("pot", "ot.batch", "pip install 'POT"),
    ],
)
def test_a_solver_that_is_not_installed_says_how_to_install_it(monkeypatch, solver, module, advice):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=advice):
        transport_plan(torch.zeros(1, 2, 2), full(1, 2), full(1, 2), solver=solver)


def test_the_fused_solver_without_a_compiler_says_what_to_install(monkeypatch):
    from clir_cli.optical.solvers import fused

    def lacking(*args, **kwargs):
        def compiled(*args):
            raise RuntimeError("InvalidCxxCompiler: no working C++ compiler found")

        return compiled

    monkeypatch.setattr(torch, "compile", lacking)
    fused._compiled.cache_clear()
    with pytest.raises(UserError, match=r"needs a C\+\+ compiler"):
        transport_plan(torch.zeros(1, 2, 2), full(1, 2), full(1, 2), solver="fused")
    monkeypatch.undo()
    fused._compiled.cache_clear()
