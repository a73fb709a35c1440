"""Held-out ranks: those of each query alone, whatever is ranked beside it."""

import pytest
import torch
from torch.nn.functional import normalize

from clir_cli.retrieval.encoder import Packed
from clir_cli.training.held_out import reciprocal_ranks


def packed(lengths, seed):
    chance = torch.Generator().manual_seed(seed)
    return Packed.of([normalize(torch.randn(n, 8, generator=chance), dim=1) for n in lengths])


def test_ranks_are_those_of_each_query_alone():
    queries, documents = packed([3, 1, 5, 2, 4], 0), packed([4, 2, 7, 3, 3, 1, 6], 1)
    right = [[0], [2, 5], [6], [1], [3]]
    neutral = [[0], [2, 5, 1], [6], [1, 0], [3]]
    expected = []
    for row, answers in enumerate(right):
        scores = [(queries[row] @ documents[d].T).max(dim=1).values.sum().item() for d in range(7)]
        best = max(scores[d] for d in answers)
        wrong = set(range(7)) - set(answers) - set(neutral[row])
        expected.append(1 / (1 + sum(scores[d] > best for d in wrong)))
    assert 0.2 < sum(expected) / 5 < 0.9
    assert reciprocal_ranks(queries, documents, right, neutral) == pytest.approx(expected)


def test_an_equal_document_does_not_push_the_answer_down():
    query, document = packed([3], 2), packed([4], 3)
    twins = Packed.of([document[0], document[0], query[0]])
    assert reciprocal_ranks(query, twins, [[1]], [[1]]) == [0.5]
    assert reciprocal_ranks(query, twins, [[1]], [[1, 2]]) == [1.0]
