"""Unbalanced plans (`transport.reach`): closed forms, references in float64, and their unit."""

import numpy as np
import pytest
import torch
from transport_problems import cosine_costs, full, masks, unit

from clir_cli.optical.objectives import OBJECTIVES, TokenBatch, aligned, cosine_cost
from clir_cli.optical.transport import Transport, solve
from clir_cli.suites import load_settings

EXACT = {"tolerance": 1e-6, "max_iterations": 5000}
ROWS, COLUMNS = [9, 4, 1], [3, 10, 6]


def plain(cost, eps, reach, updates=3000):
    """Return the plan (n, m) by damped updates of exponentials, in float64."""
    n, m = cost.shape
    kernel, power = np.exp(-cost / eps) / (n * m), reach / (reach + eps)
    u, v = np.ones(n), np.ones(m)
    for _ in range(updates):
        u = ((1 / n) / (kernel @ v)) ** power
        v = ((1 / m) / (kernel.T @ u)) ** power
    return u[:, None] * kernel * v


def batch_of(**changes):
    rows, columns = masks(ROWS, 9), masks(COLUMNS, 10)
    cost = cosine_costs(3, 9, 10, seed=4)
    return cost, rows, columns, solve(cost, rows, columns, **{**EXACT, **changes})


@pytest.mark.parametrize("reach", [0.03, 0.2, 1.0, 20.0])
@pytest.mark.parametrize("eps", [0.5, 0.05])
def test_plan_and_mass_are_those_of_plain_updates(eps, reach):
    cost, _, _, found = batch_of(eps=eps, reach=reach)
    assert found.converged.all()
    for row, (n, m) in enumerate(zip(ROWS, COLUMNS, strict=True)):
        expected = plain(cost[row, :n, :m].double().numpy(), eps, reach)
        assert found.mass[row].item() == pytest.approx(expected.sum(), rel=1e-4)
        np.testing.assert_allclose(
            found.plan[row, :n, :m], expected / expected.sum(), atol=2e-5, rtol=0
        )
        assert found.plan[row].sum().item() == pytest.approx(1, abs=1e-5)
        assert not found.plan[row, n:].any()
        assert not found.plan[row, :, m:].any()


@pytest.mark.parametrize("reach", [0.1, 1.0])
def test_plan_and_mass_are_those_of_pot(reach):
    unbalanced = pytest.importorskip("ot").unbalanced
    cost, _, _, found = batch_of(eps=0.1, reach=reach)
    for row, (n, m) in enumerate(zip(ROWS, COLUMNS, strict=True)):
        sides = np.full(n, 1 / n), np.full(m, 1 / m), cost[row, :n, :m].double().numpy()
        expected = unbalanced.sinkhorn_unbalanced(
            *sides, 0.1, reach, reg_type="kl", numItermax=20_000, stopThr=1e-12
        )
        assert found.mass[row].item() == pytest.approx(expected.sum(), rel=1e-4)
        np.testing.assert_allclose(
            found.plan[row, :n, :m], expected / expected.sum(), atol=2e-5, rtol=0
        )


def test_equal_costs_have_their_closed_form():
    cost = torch.full((2, 5, 4), 0.7)
    found = solve(cost, masks([5, 2], 5), masks([4, 3], 4), eps=0.1, reach=0.3, **EXACT)
    expected = torch.full((2,), -0.7 / (0.1 + 2 * 0.3)).exp()
    torch.testing.assert_close(found.mass, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.plan[0], torch.full((5, 4), 0.05), atol=1e-6, rtol=0)


def test_a_long_reach_is_balanced_transport():
    cost, rows, columns, found = batch_of(reach=1e3)
    balanced = solve(cost, rows, columns, **EXACT)
    torch.testing.assert_close(found.plan, balanced.plan, atol=1e-3, rtol=0)
    torch.testing.assert_close(found.mass, torch.ones(3), atol=1e-3, rtol=0)
    assert balanced.mass is None


def test_a_word_without_counterpart_is_left_out():
    cost = 1 - torch.eye(4)[None]
    cost[0, 3, 3] = 1.0  # nothing on the other side is like the last word
    shares = [
        solve(cost, full(1, 4), full(1, 4), eps=0.02, reach=reach, **EXACT).plan[0].sum(1)
        for reach in (0.0, 0.3, 0.1)
    ]
    lonely = [each[3].item() for each in shares]
    assert lonely[0] == pytest.approx(0.25, abs=1e-3)
    assert 0.1 > lonely[1] > 10 * lonely[2]
    assert shares[1][:3].tolist() == pytest.approx([(1 - lonely[1]) / 3] * 3, abs=1e-3)


def test_a_plan_does_not_depend_on_its_batch_and_hides_padding():
    cost, rows, columns, together = batch_of(reach=0.2)
    junk = cost.masked_fill(~(rows[:, :, None] & columns[:, None, :]), torch.nan)
    hidden = solve(junk, rows, columns, reach=0.2, **EXACT)
    torch.testing.assert_close(hidden.plan, together.plan, atol=1e-6, rtol=0)
    for row, (n, m) in enumerate(zip(ROWS, COLUMNS, strict=True)):
        alone = solve(cost[row : row + 1, :n, :m], full(1, n), full(1, m), reach=0.2, **EXACT)
        torch.testing.assert_close(alone.plan[0], together.plan[row, :n, :m], atol=1e-5, rtol=0)


def test_given_masses_are_what_is_asked_for():
    cost, weights = torch.zeros(1, 3, 2), torch.tensor([[4.0, 0.0, 1.0]])
    found = solve(cost, full(1, 3), full(1, 2), row_weights=weights, reach=0.5, **EXACT)
    torch.testing.assert_close(found.plan.sum(2), torch.tensor([[0.8, 0.0, 0.2]]))


def test_running_out_of_iterations_is_told():
    _, _, _, found = batch_of(eps=0.005, reach=1.0, max_iterations=3)
    assert found.iterations.tolist() == [3, 3, 3]
    assert not found.converged[1]
    assert found.plan.isfinite().all()
    with pytest.raises(ValueError, match="reach -1"):
        batch_of(reach=-1)


def small(*changes):
    batch = TokenBatch(unit(3, 9, 16), masks(ROWS, 9), unit(3, 10, 16, seed=1), masks(COLUMNS, 10))
    return batch, load_settings("sample", None, ["transport.reach=0.4", *changes])


def test_the_loss_is_the_mean_cost_of_what_is_moved():
    batch, settings = small("transport.tolerance=1e-6")
    loss = OBJECTIVES["ot"](batch, settings)
    values, moved = [], []
    for row, (n, m) in enumerate(zip(ROWS, COLUMNS, strict=True)):
        cost = cosine_cost(batch)[row, :n, :m].double().numpy()
        plan = plain(cost, 0.05, 0.4)
        values.append((plan * cost).sum() / plan.sum())
        moved.append(plan.sum())
    assert loss.value.item() == pytest.approx(np.mean(values), abs=1e-4)
    assert loss.metrics["plan_mass"] == pytest.approx(np.mean(moved), abs=1e-4)


def test_with_spread_a_plan_is_the_same_wherever_the_costs_lie():
    batch, settings = small("transport.scale=spread", "transport.eps=0.35")

    def solved(cost: torch.Tensor) -> Transport:
        return aligned(batch, cost, settings.transport)

    cost = cosine_cost(batch)
    found, moved = solved(cost), solved(0.1 * cost + 0.05)
    torch.testing.assert_close(moved.plan, found.plan, atol=1e-3, rtol=0)
    torch.testing.assert_close(moved.mass, found.mass, atol=1e-3, rtol=0)
    n, m = ROWS[0], COLUMNS[0]
    own = cost[0, :n, :m].double().numpy()
    expected = plain((own - own.min()) / own.std(), 0.35, 0.4)
    assert found.mass[0].item() == pytest.approx(expected.sum(), abs=1e-3)
    # In units of the cost it is not.
    _, settings = small()
    assert (solved(0.1 * cost + 0.05).mass - solved(cost).mass).abs().min() > 0.05


def test_all_of_a_batch_are_told_by_the_contrast_too():
    batch, settings = small("transport.debias=true")
    same = TokenBatch(batch.teacher, batch.teacher_mask, batch.teacher, batch.teacher_mask)
    assert OBJECTIVES["ot"](same, settings).value.item() == pytest.approx(0, abs=1e-5)
    figures = [OBJECTIVES[name](batch, settings).metrics for name in ("ot", "ot+contrast")]
    assert figures[1] == pytest.approx(figures[0], abs=1e-3)
