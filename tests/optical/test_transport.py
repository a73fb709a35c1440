"""The transport plan: closed forms, references in float64, and what must hold for any batch."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transport_problems import cosine_costs, examples, full, masks, reference, unit, violation

from clir_cli.optical.transport import solve, transport_plan

EPS = [0.2, 0.1, 0.05, 0.02, 0.01, 0.005]


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
