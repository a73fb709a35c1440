"""The transport plan: closed forms, references in float64, and what must hold for any batch."""

import math
import subprocess
import sys
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clir_cli.errors import UserError
from clir_cli.optical import sinkhorn, solvers
from clir_cli.optical.marginals import document_frequencies, idf_weights, norm_weights
from clir_cli.optical.solvers import SOLVERS
from clir_cli.optical.transport import greedy_plan, solve, transport_plan

EPS = [0.2, 0.1, 0.05, 0.02, 0.01, 0.005]
OURS = ["geomloss", "fused"]  # to be used; the others are there to compare with


def examples(count):
    """The same examples in every run, of which none has to be quick."""
    return settings(max_examples=count, derandomize=True, deadline=None, database=None)


@pytest.fixture(scope="session")
def compiled():
    """Compile the fused solver once, or say why its tests are left out."""
    pair = torch.ones(1, 1, 1), torch.ones(1, 1, dtype=torch.bool), torch.ones(1, 1).bool()
    try:
        solve(*pair, solver="fused")
    except UserError as error:
        return str(error)
    return ""


@pytest.fixture(params=sorted(SOLVERS))
def solver(request):
    """Each solver in turn."""
    return ready(request)


@pytest.fixture(params=OURS)
def our_solver(request):
    """The solvers that are meant to be used."""
    return ready(request)


def ready(request):
    if request.param == "pot":
        pytest.importorskip("ot")
    if request.param == "fused" and (reason := request.getfixturevalue("compiled")):
        pytest.skip(reason)
    return request.param


def masks(lengths, width):
    return torch.arange(width) < torch.tensor(lengths)[:, None]


def full(*shape):
    return torch.ones(shape, dtype=torch.bool)


def unit(*shape, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return torch.nn.functional.normalize(points, dim=-1).to(dtype)


def cosine_costs(pairs, n, m, *, dim=16, noise=0.4, seed=0):
    """Costs between tokens and a noisy, shuffled translation of them."""
    generator = torch.Generator().manual_seed(seed)
    meanings = unit(pairs, max(n, m), dim, seed=seed)
    order = torch.randperm(max(n, m), generator=generator)
    rows = meanings[:, :n]
    columns = meanings[:, order][:, :m] + noise * unit(pairs, m, dim, seed=seed + 1)
    return 1 - rows @ torch.nn.functional.normalize(columns, dim=-1).mT


def random_costs(pairs, n, m, seed=0):
    """Costs without any structure, which take long."""
    return torch.rand(pairs, n, m, generator=torch.Generator().manual_seed(seed))


def violation(plan, row_mask, column_mask):
    rows = row_mask / row_mask.sum(1, keepdim=True)
    columns = column_mask / column_mask.sum(1, keepdim=True)
    return (plan.sum(2) - rows).abs().sum(1) + (plan.sum(1) - columns).abs().sum(1)


def reference(cost, row_mask, column_mask, *, eps, rho=None, updates=20_000):
    """The plan by plain log-domain updates in float64, run to a standstill."""
    cost = cost.double()
    log_a = (row_mask.double() / row_mask.sum(1, keepdim=True)).log()
    log_b = (column_mask.double() / column_mask.sum(1, keepdim=True)).log()
    damping = 1.0 if rho is None else rho / (rho + eps)
    g = torch.zeros_like(log_b)
    for _ in range(updates):
        f = -damping * eps * ((g / eps + log_b)[:, None, :] - cost / eps).logsumexp(2)
        new = -damping * eps * ((f / eps + log_a)[:, :, None] - cost / eps).logsumexp(1)
        moved, g = (new - g).nan_to_num().abs().max(), new
        if moved < 1e-10:
            break
    density = (f[:, :, None] + g[:, None, :] - cost) / eps
    return (density + log_a[:, :, None] + log_b[:, None, :]).exp()


# Closed forms


@pytest.mark.parametrize("eps", [0.2, 0.05, 0.01])
def test_two_points_a_side_have_their_closed_form(solver, eps):
    far = 0.3
    cost = torch.tensor([[[0.0, far], [far, 0.0]]])
    plan = transport_plan(cost, full(1, 2), full(1, 2), eps=eps, tolerance=1e-6, solver=solver)
    near = 0.5 / (1 + torch.tensor(-far / eps).exp())
    expected = torch.stack([near, 0.5 - near, 0.5 - near, near]).reshape(1, 2, 2)
    torch.testing.assert_close(plan, expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize("constant", [0.0, 0.7, 2.0])
@pytest.mark.parametrize("eps", EPS)
def test_costs_all_equal_give_the_product_of_the_masses(solver, constant, eps):
    cost = torch.full((2, 5, 7), constant)
    rows, columns = masks([5, 3], 5), masks([2, 7], 7)
    plan = transport_plan(cost, rows, columns, eps=eps, solver=solver)
    a, b = rows / rows.sum(1, keepdim=True), columns / columns.sum(1, keepdim=True)
    torch.testing.assert_close(plan, a[:, :, None] * b[:, None, :], atol=1e-6, rtol=0)


def test_identical_points_couple_with_themselves_as_eps_falls(solver):
    points = unit(3, 12, 32)
    mask = masks([12, 7, 1], 12)
    off_diagonal = []
    for eps in EPS:
        plan = transport_plan(1 - points @ points.mT, mask, mask, eps=eps, solver=solver)
        off_diagonal.append(1 - plan.diagonal(dim1=1, dim2=2).sum(1).min().item())
    for higher, lower in pairwise(off_diagonal):
        assert lower <= higher + 1e-6
    assert off_diagonal[0] > 0.01
    assert abs(off_diagonal[-1]) < 1e-6


def test_a_permutation_is_recovered(solver):
    points = unit(4, 20, 32, seed=3)
    order = torch.stack(
        [torch.randperm(20, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    )
    shuffled = points.gather(1, order[:, :, None].expand_as(points))
    plan = transport_plan(
        1 - shuffled @ points.mT, full(4, 20), full(4, 20), eps=0.02, solver=solver
    )
    assert torch.equal(plan.argmax(2), order)
    torch.testing.assert_close(plan.amax(2), torch.full((4, 20), 1 / 20), atol=1e-5, rtol=0)


def test_a_translation_moves_each_point_to_its_image(our_solver):
    points = torch.rand(2, 9, 2, generator=torch.Generator().manual_seed(0))
    images = points + torch.tensor([3.0, -1.0])
    cost = (points[:, :, None, :] - images[:, None, :, :]).square().sum(3)
    found = solve(cost, full(2, 9), full(2, 9), eps=1e-3, solver=our_solver)
    assert found.converged.all()
    assert torch.equal(found.plan.argmax(2), torch.arange(9).expand(2, 9))
    torch.testing.assert_close(found.value(cost), torch.full((2,), 10.0), rtol=1e-3, atol=0)


# References


@pytest.mark.parametrize("eps", [0.2, 0.05, 0.02])
def test_the_loss_agrees_with_float64(solver, eps):
    cost = cosine_costs(6, 14, 17, seed=1)
    rows, columns = masks([14, 14, 9, 3, 1, 6], 14), masks([17, 12, 9, 16, 5, 1], 17)
    found = solve(cost, rows, columns, eps=eps, tolerance=2e-5, max_iterations=5000, solver=solver)
    expected = reference(cost, rows, columns, eps=eps)
    value = (found.plan.double() * cost).sum((1, 2))
    torch.testing.assert_close(value, (expected * cost).sum((1, 2)), rtol=1e-4, atol=0)
    assert solver == "geomloss-only" or found.converged.all()


def test_the_loss_approaches_exact_transport_as_eps_falls(our_solver):
    ot = pytest.importorskip("ot")
    cost = cosine_costs(4, 11, 15, seed=5)
    rows, columns = masks([11, 11, 4, 1], 11), masks([15, 8, 15, 6], 15)
    exact = torch.tensor(
        [
            ot.emd2([], [], cost[i][rows[i]][:, columns[i]].double().numpy())
            for i in range(len(cost))
        ]
    )
    excess = []
    for eps in EPS:
        plan = transport_plan(cost, rows, columns, eps=eps, tolerance=1e-5, solver=our_solver)
        excess.append(((plan * cost).sum((1, 2)) - exact).max().item())
    for higher, lower in pairwise(excess):
        assert lower <= higher + 1e-6
    assert -1e-5 < excess[-1] < 1e-3 * exact.max()


@pytest.mark.parametrize("rho", [0.05, 1.0])
@pytest.mark.parametrize("eps", [0.1, 0.02])
def test_a_penalty_agrees_with_float64(eps, rho):
    cost = cosine_costs(4, 10, 12, seed=2)
    rows, columns = masks([10, 4, 1, 10], 10), masks([12, 12, 5, 3], 12)
    found = solve(cost, rows, columns, eps=eps, rho=rho, tolerance=1e-5)
    assert found.converged.all()
    expected = reference(cost, rows, columns, eps=eps, rho=rho)
    assert (found.plan - expected).abs().sum((1, 2)).max() < 1e-4
    assert (found.plan.sum((1, 2)) < 1).all()


def test_a_large_penalty_is_exact_marginals():
    problem = cosine_costs(3, 8, 9, seed=4), masks([8, 5, 2], 8), masks([9, 9, 3], 9)
    exact = transport_plan(*problem, tolerance=1e-6)
    for rho, near in [(1e3, 1e-3), (1e9, 1e-5)]:
        plan = transport_plan(*problem, tolerance=1e-6, rho=rho)
        assert (plan - exact).abs().sum((1, 2)).max() < near


# Any batch


@st.composite
def batches(draw, max_pairs=4, max_length=64):
    pairs = draw(st.integers(1, max_pairs))
    longest = draw(st.sampled_from([1, 2, 9, 33, max_length]))
    lengths = st.lists(st.integers(1, longest), min_size=pairs, max_size=pairs)
    rows, columns = draw(lengths), draw(lengths)
    n, m = max(rows) + draw(st.integers(0, 2)), max(columns) + draw(st.integers(0, 2))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    kind = draw(st.sampled_from(["cosine", "uniform", "steps", "line", "equal", "zero"]))
    cost = {
        "cosine": lambda: cosine_costs(pairs, n, m, seed=generator.initial_seed()),
        "uniform": lambda: 2 * torch.rand(pairs, n, m, generator=generator),
        "steps": lambda: (torch.rand(pairs, n, m, generator=generator) < 0.2).float() * 2,
        "line": lambda: (
            torch.rand(pairs, n, 1, generator=generator)
            - torch.rand(pairs, 1, m, generator=generator)
        ).square(),
        "equal": lambda: torch.full((pairs, n, m), 1.3),
        "zero": lambda: torch.zeros(pairs, n, m),
    }[kind]()
    return cost, masks(rows, n), masks(columns, m)


@examples(120)
@given(batch=batches(), eps=st.sampled_from(EPS))
def test_any_plan_has_its_marginals_and_nothing_on_padding(batch, eps):
    cost, rows, columns = batch
    found = solve(cost, rows, columns, eps=eps)
    assert found.plan.isfinite().all()
    assert (found.plan >= 0).all()
    assert (found.plan[~(rows[:, :, None] & columns[:, None, :])] == 0).all()
    assert found.converged.all()
    assert (violation(found.plan, rows, columns) <= 1e-3 + 1e-5).all()
    torch.testing.assert_close(
        violation(found.plan, rows, columns), found.violation, atol=1e-5, rtol=0
    )


@examples(30)
@given(batch=batches(), eps=st.sampled_from(EPS))
def test_any_fused_plan_is_the_plan(compiled, batch, eps):
    if compiled:
        pytest.skip(compiled)
    cost, rows, columns = batch
    found = solve(cost, rows, columns, eps=eps, solver="fused")
    assert found.plan.shape == cost.shape
    assert found.converged.all()
    assert (found.plan[~(rows[:, :, None] & columns[:, None, :])] == 0).all()
    assert (violation(found.plan, rows, columns) <= 1e-3 + 1e-5).all()


@examples(40)
@given(batch=batches(max_length=40), eps=st.sampled_from(EPS))
def test_a_pair_has_the_same_plan_alone_and_in_a_batch(batch, eps):
    cost, rows, columns = batch
    together = transport_plan(cost, rows, columns, eps=eps)
    for i in range(len(cost)):
        n, m = rows[i].sum(), columns[i].sum()
        alone = transport_plan(cost[i : i + 1, :n, :m], full(1, n), full(1, m), eps=eps)
        torch.testing.assert_close(together[i, :n, :m], alone[0], atol=1e-6, rtol=0)


@pytest.mark.parametrize("eps", [0.1, 0.02, 0.005])
def test_a_plan_does_not_depend_on_the_neighbours(our_solver, eps):
    cost = cosine_costs(24, 20, 24, seed=8)
    rows = masks([1 + i % 20 for i in range(24)], 20)
    columns = masks([1 + (7 * i) % 24 for i in range(24)], 24)
    together = transport_plan(cost, rows, columns, eps=eps, solver=our_solver)
    for part in ([3], [0, 23], list(range(12))):
        some = transport_plan(cost[part], rows[part], columns[part], eps=eps, solver=our_solver)
        torch.testing.assert_close(some, together[part], atol=1e-6, rtol=0)


@examples(30)
@given(
    n=st.integers(1, 24), m=st.integers(1, 24), seed=st.integers(0, 99), eps=st.sampled_from(EPS)
)
def test_permuting_tokens_permutes_the_plan(n, m, seed, eps):
    cost = cosine_costs(1, n, m, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    p, q = torch.randperm(n, generator=generator), torch.randperm(m, generator=generator)
    plan = transport_plan(cost, full(1, n), full(1, m), eps=eps)
    permuted = transport_plan(cost[:, p][:, :, q], full(1, n), full(1, m), eps=eps)
    torch.testing.assert_close(permuted, plan[:, p][:, :, q], atol=1e-6, rtol=0)


@pytest.mark.parametrize("eps", EPS)
def test_very_different_lengths_converge(our_solver, eps):
    cost = cosine_costs(4, 64, 64, seed=6, noise=0.8)
    rows, columns = masks([64, 1, 64, 2], 64), masks([1, 64, 64, 63], 64)
    found = solve(cost, rows, columns, eps=eps, solver=our_solver)
    assert found.converged.all()
    assert (violation(found.plan, rows, columns) <= 1e-3 + 1e-5).all()


def test_what_stands_on_padding_does_not_matter(solver):
    cost = cosine_costs(2, 6, 7)
    rows, columns = masks([4, 6], 6), masks([7, 3], 7)
    clean = transport_plan(cost, rows, columns, solver=solver)
    padding = ~(rows[:, :, None] & columns[:, None, :])
    for junk in (1e4, -1e4, torch.nan, torch.inf):
        plan = transport_plan(cost.masked_fill(padding, junk), rows, columns, solver=solver)
        torch.testing.assert_close(plan, clean, atol=1e-6, rtol=0)


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

    monkeypatch.setattr(solvers, "times", explode)
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
    torch.testing.assert_close(product, torch.tensor([64.0]).log(), atol=1e-4, rtol=0)
    permutation = solve(1 - torch.eye(8)[None], *problem[1:], eps=0.01).entropy()
    torch.testing.assert_close(permutation, torch.tensor([8.0]).log(), atol=1e-4, rtol=0)


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
        {"rho": 0},
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
    from clir_cli.optical import fused

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


@pytest.mark.parametrize("solver", ["fused", "geomloss-only", "pot"])
def test_a_penalty_is_refused_by_solvers_that_know_none(solver):
    with pytest.raises(ValueError, match="exact marginals only"):
        transport_plan(torch.zeros(1, 2, 2), full(1, 2), full(1, 2), solver=solver, rho=1.0)


# Masses


def test_given_masses_are_met(solver):
    cost = cosine_costs(2, 6, 7)
    rows, columns = masks([6, 4], 6), masks([7, 5], 7)
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 6, generator=generator), torch.rand(2, 7, generator=generator)
    a[0, 2] = 0  # a real token that holds nothing
    plan = transport_plan(cost, rows, columns, row_weights=a, column_weights=b, solver=solver)
    a, b = a * rows, b * columns
    assert (plan.sum(2) - a / a.sum(1, keepdim=True)).abs().sum() < 3e-3
    assert (plan.sum(1) - b / b.sum(1, keepdim=True)).abs().sum() < 3e-3
    assert (plan[0, 2] == 0).all()


def test_very_uneven_masses_converge():
    cost = cosine_costs(2, 10, 10)
    weights = torch.logspace(0, -6, 10).expand(2, 10)
    found = solve(cost, full(2, 10), full(2, 10), row_weights=weights, eps=0.01)
    assert found.converged.all()


@pytest.mark.parametrize("weights", [[1.0, -1.0], [0.0, 0.0], [torch.nan, 1.0]])
def test_weights_that_are_no_masses_are_refused(weights):
    with pytest.raises(UserError, match="pair 1 of the batch"):
        weights = torch.tensor([[1.0, 1.0], weights])
        transport_plan(torch.zeros(2, 2, 2), full(2, 2), full(2, 2), row_weights=weights)


def test_norm_weights_are_lengths_of_real_tokens():
    embeddings = torch.tensor([[[3.0, 4.0], [0.0, 2.0], [9.0, 9.0]]], requires_grad=True)
    weights = norm_weights(embeddings, masks([2], 3))
    assert weights.tolist() == [[5.0, 2.0, 0.0]]
    assert not weights.requires_grad


def test_idf_weights_are_larger_for_rarer_tokens():
    tokens, mask = torch.tensor([[7, 0, 3, 0], [7, 5, 7, 0]]), masks([3, 3], 4)
    frequencies = document_frequencies(tokens, mask, vocabulary=9)
    assert frequencies.tolist() == [1, 0, 0, 1, 0, 1, 0, 2, 0]
    weights = idf_weights(tokens, mask, frequencies, documents=2)
    assert weights[0, 0] < weights[0, 2]
    assert (weights[mask] >= 1).all()
    assert (weights[~mask] == 0).all()


# The greedy limit


def test_the_greedy_plan_sends_each_row_to_its_nearest_column():
    cost = torch.tensor([[[0.3, 0.1, 0.0], [0.2, 0.2, 0.0], [0.0, 0.0, 0.0]]])
    plan = greedy_plan(cost, masks([2], 3), masks([2], 3))
    assert plan.tolist() == [[[0.0, 0.5, 0.0], [0.5, 0.0, 0.0], [0.0, 0.0, 0.0]]]


def test_the_greedy_plan_costs_at_most_what_transport_costs():
    cost, rows, columns = cosine_costs(4, 9, 12), masks([9, 5, 1, 9], 9), masks([12, 4, 7, 1], 12)
    greedy = greedy_plan(cost, rows, columns)
    plan = transport_plan(cost, rows, columns, eps=0.005, tolerance=1e-5)
    assert ((greedy * cost).sum((1, 2)) <= (plan * cost).sum((1, 2)) + 1e-5).all()
    with pytest.raises(UserError, match="pair 0"):
        greedy_plan(cost, rows & False, columns)


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
    absorb = sinkhorn.Running.absorb

    def watched(now, which):
        absorbed.append(int(which.sum()))
        absorb(now, which)

    monkeypatch.setattr(sinkhorn.Running, "absorb", watched)
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
