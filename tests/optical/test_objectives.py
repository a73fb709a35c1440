import numpy as np
import pytest
import torch
from torch.nn import functional

from clir_cli.optical.objectives import (
    OBJECTIVES,
    TokenBatch,
    aligned,
    cosine_cost,
    largest_entries,
)
from clir_cli.optical.transport import solve
from clir_cli.suites import load_settings

SETTINGS = load_settings("sample")
every_objective = pytest.mark.parametrize("name", OBJECTIVES)


def unit(*shape: int, seed: int) -> torch.Tensor:
    chance = torch.Generator().manual_seed(seed)
    return functional.normalize(torch.randn(*shape, generator=chance), dim=-1)


def masks(pairs: int, tokens: int, real: list[int]) -> torch.Tensor:
    return torch.arange(tokens)[None].expand(pairs, -1) < torch.tensor(real)[:, None]


@every_objective
def test_padding_changes_neither_loss_nor_gradient(name):
    student, teacher = unit(3, 5, 16, seed=0), unit(3, 7, 16, seed=1)
    near, far = masks(3, 5, [5, 3, 4]), masks(3, 7, [7, 6, 2])
    tight = student.clone().requires_grad_()
    plain = OBJECTIVES[name](TokenBatch(tight, near, teacher, far), SETTINGS)
    plain.value.backward()
    wide = torch.cat([student, 9 * unit(3, 3, 16, seed=2)], dim=1).requires_grad_()
    wider = torch.cat([teacher, 9 * unit(3, 4, 16, seed=3)], dim=1)
    more = masks(3, 8, [5, 3, 4]), masks(3, 11, [7, 6, 2])
    padded = OBJECTIVES[name](TokenBatch(wide, more[0], wider, more[1]), SETTINGS)
    padded.value.backward()
    torch.testing.assert_close(padded.value, plain.value, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(wide.grad[:, :5], tight.grad, atol=1e-5, rtol=1e-4)
    assert tight.grad[near].abs().max() > 0
    assert wide.grad[~more[0]].abs().max() == 0


@every_objective
def test_following_the_gradient_brings_the_student_to_the_teacher(name):
    teacher = unit(4, 6, 16, seed=5)
    mask = torch.ones(4, 6, dtype=torch.bool)
    student = unit(4, 6, 16, seed=6).requires_grad_()
    optimizer = torch.optim.Adam([student], lr=0.05)
    values = []
    for _ in range(60):
        batch = TokenBatch(functional.normalize(student, dim=-1), mask, teacher, mask)
        loss = OBJECTIVES[name](batch, SETTINGS).value
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.5 * values[0]


@pytest.mark.parametrize("name", ["kd-greedy", "kd-mse", "kd-cosine", "kd-score"])
def test_a_student_that_is_the_teacher_has_nothing_to_learn(name):
    vectors = unit(4, 6, 16, seed=7)
    mask = masks(4, 6, [6, 2, 5, 3])
    loss = OBJECTIVES[name](TokenBatch(vectors, mask, vectors, mask), SETTINGS)
    torch.testing.assert_close(loss.value, torch.tensor(0.0), atol=1e-5, rtol=0)


def test_transport_pairs_equal_tokens_in_any_order():
    vectors = functional.one_hot(torch.arange(5)).float()[None]
    mask = torch.ones(1, 5, dtype=torch.bool)
    order = torch.tensor([3, 1, 4, 0, 2])
    loss = OBJECTIVES["ot"](TokenBatch(vectors[:, order], mask, vectors, mask), SETTINGS)
    assert loss.value < 1e-4
    assert loss.metrics["plan_entropy"] == pytest.approx(0, abs=1e-3)


def small_batch(pairs: int = 3) -> TokenBatch:
    return TokenBatch(
        unit(pairs, 4, 8, seed=8), masks(pairs, 4, [4, 3, 2, 4][:pairs]),
        unit(pairs, 3, 8, seed=9), masks(pairs, 3, [3, 2, 3, 1][:pairs]),
    )  # fmt: skip


def test_eps_of_spread_is_that_share_of_each_pairs_deviation():
    batch = small_batch()
    spread = load_settings("sample", None, ["transport.scale=spread", "transport.eps=0.35"])
    plans = aligned(batch, cosine_cost(batch), spread.transport).plan
    for row in range(3):
        cost = cosine_cost(batch)[row][: [4, 3, 2][row], : [3, 2, 3][row]]
        eps = 0.35 * float(cost.std(correction=0))
        own = load_settings("sample", None, [f"transport.eps={eps}"])
        alone = aligned(batch, cosine_cost(batch), own.transport).plan[row]
        torch.testing.assert_close(plans[row], alone, atol=1e-3, rtol=0)


@pytest.mark.parametrize("count", [1, 2])
def test_a_plan_of_few_entries_keeps_the_mass_of_each_row(count):
    batch = small_batch()
    few = load_settings("sample", None, [f"transport.entries={count}"])
    whole = aligned(batch, cosine_cost(batch), SETTINGS.transport).plan.numpy()
    found = aligned(batch, cosine_cost(batch), few.transport).plan.numpy()
    for row, kept in zip(whole.reshape(-1, 3), found.reshape(-1, 3), strict=True):
        expected = np.where(row >= np.sort(row)[-count], row, 0)
        expected = expected * row.sum() / max(expected.sum(), 1e-9)
        np.testing.assert_allclose(kept, expected, rtol=1e-5)
    loss = OBJECTIVES["ot"](batch, few).value.item()
    assert loss == pytest.approx((found * cosine_cost(batch).numpy()).sum() / 3, rel=1e-5)


def test_more_entries_than_there_are_are_all_of_them():
    plan = aligned(small_batch(), cosine_cost(small_batch()), SETTINGS.transport).plan
    assert all(torch.equal(largest_entries(plan, count), plan) for count in (0, 3, 9))


def test_relative_entropy_is_1_for_independent_tokens_and_0_for_a_matching():
    mask = torch.ones(1, 4, dtype=torch.bool)
    matching = solve(1 - torch.eye(4)[None], mask, mask, eps=0.01)
    assert float(matching.entropy()) == pytest.approx(0, abs=1e-3)
    independent = solve(torch.zeros(1, 4, 4), mask, mask)
    assert float(independent.entropy()) == pytest.approx(1, abs=1e-3)
    single = solve(torch.zeros(1, 4, 1), mask, mask[:, :1])
    assert float(single.entropy()) == 1


def test_the_score_weight_weighs_the_scores():
    batch = small_batch()
    alone, scores = (OBJECTIVES[name](batch, SETTINGS).value for name in ("ot", "kd-score"))
    twice = load_settings("sample", None, ["objective.score_weight=2"])
    torch.testing.assert_close(OBJECTIVES["ot+score"](batch, twice).value, alone + 2 * scores)


def test_the_contrast_is_infonce_over_the_costs_of_all_plans():
    batch = small_batch(4)
    batch.teacher[3], batch.teacher_mask[3] = batch.teacher[0], batch.teacher_mask[0]  # a twin
    costs = torch.empty(4, 4)
    for i in range(4):
        for j in range(4):
            one = TokenBatch(batch.student[i : i + 1], batch.student_mask[i : i + 1],
                             batch.teacher[j : j + 1], batch.teacher_mask[j : j + 1])  # fmt: skip
            costs[i, j] = OBJECTIVES["ot"](one, SETTINGS).value
    logits = -costs / SETTINGS.objective.temperature
    logits[0, 3] = logits[3, 0] = float("-inf")
    contrast = -logits.log_softmax(dim=1).diagonal().mean()
    half = load_settings("sample", None, ["objective.contrast_weight=0.5"])
    loss = OBJECTIVES["ot+contrast"](batch, half)
    torch.testing.assert_close(
        loss.value, costs.diagonal().mean() + 0.5 * contrast, atol=1e-3, rtol=1e-3
    )


def test_the_pooled_weight_weighs_the_pooled_part():
    batch = TokenBatch(
        unit(2, 4, 8, seed=8), torch.ones(2, 4, dtype=torch.bool),
        unit(2, 3, 8, seed=9), torch.ones(2, 3, dtype=torch.bool),
    )  # fmt: skip
    alone = OBJECTIVES["ot"](batch, SETTINGS).value
    sentence = OBJECTIVES["kd-cosine"](batch, SETTINGS).value
    twice = load_settings("sample", None, ["objective.pooled_weight=2"])
    torch.testing.assert_close(OBJECTIVES["ot+pooled"](batch, twice).value, alone + 2 * sentence)


def test_the_cost_of_equal_tokens_is_zero():
    vectors = unit(2, 4, 8, seed=10)
    mask = torch.ones(2, 4, dtype=torch.bool)
    cost = cosine_cost(TokenBatch(vectors, mask, vectors, mask))
    torch.testing.assert_close(cost.diagonal(dim1=1, dim2=2), torch.zeros(2, 4), atol=1e-6, rtol=0)


# ------------------------------------------------------------------ values, by numpy


def real(vectors: torch.Tensor, mask: torch.Tensor) -> list[np.ndarray]:
    """The real tokens of each sentence, in float64."""
    return [row[real].numpy() for row, real in zip(vectors.double(), mask, strict=True)]


def cosine(one: np.ndarray, two: np.ndarray) -> float:
    return float(one @ two / np.linalg.norm(one) / np.linalg.norm(two))


def by_numpy(name: str, student: list, teacher: list, temperature: float) -> float:
    pairs = list(zip(student, teacher, strict=True))
    if name == "kd-greedy":
        return np.mean([(1 - s @ t.T).min(axis=1).mean() for s, t in pairs])
    means = [(s.mean(axis=0), t.mean(axis=0)) for s, t in pairs]
    if name == "kd-mse":
        return np.mean([((s - t) ** 2).sum() for s, t in means])
    if name == "kd-cosine":
        return np.mean([1 - cosine(s, t) for s, t in means])
    scores = [[[(q @ d.T).max(axis=1).mean() for d in teacher] for q in side]
              for side in (teacher, student)]  # fmt: skip
    p, q = (np.exp(np.array(table) / temperature) for table in scores)
    p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
    return (p * np.log(p / q)).sum() / len(p)


@pytest.mark.parametrize("temperature", [1.0, 0.05])
@pytest.mark.parametrize("name", ["kd-greedy", "kd-mse", "kd-cosine", "kd-score"])
def test_an_objective_has_the_value_of_its_formula(name, temperature):
    batch = TokenBatch(
        unit(3, 5, 16, seed=0), masks(3, 5, [5, 3, 4]),
        unit(3, 7, 16, seed=1), masks(3, 7, [7, 6, 2]),
    )  # fmt: skip
    chosen = load_settings("sample", None, [f"objective.temperature={temperature}"])
    sides = real(batch.student, batch.student_mask), real(batch.teacher, batch.teacher_mask)
    expected = by_numpy(name, *sides, temperature)
    assert OBJECTIVES[name](batch, chosen).value.item() == pytest.approx(expected, rel=1e-4)
