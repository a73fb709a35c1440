"""The masses of tokens: given ones are met, and those that weigh by norm and by rarity."""

import pytest
import torch
from transport_problems import cosine_costs, full, masks

from clir_cli.errors import UserError
from clir_cli.optical.marginals import (
    document_frequencies,
    idf_weights,
    inverse_document_frequencies,
    norm_weights,
)
from clir_cli.optical.transport import solve, transport_plan
from clir_cli.ragged import Ragged


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
    frequencies = document_frequencies(Ragged.of([[7, 0, 3], [7, 5, 7]]), vocabulary=9)
    assert frequencies.tolist() == [1, 0, 0, 1, 0, 1, 0, 2, 0]
    weights = idf_weights(tokens, mask, inverse_document_frequencies(frequencies, documents=2))
    assert weights[0, 0] < weights[0, 2]
    assert (weights[mask] >= 1).all()
    assert (weights[~mask] == 0).all()
