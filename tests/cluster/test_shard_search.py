"""Ranking in parts: whoever holds which shards, the ranking is that of one process."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from clir_cli.cluster.shard_search import ShardedRanker, open_part, partition
from clir_cli.errors import UserError
from clir_cli.retrieval import store
from clir_cli.retrieval.encoder import Packed
from clir_cli.retrieval.maxsim import top_documents
from clir_cli.retrieval.ranking import Ranker
from clir_cli.settings import IndexSettings


def texts(count: int, seed: int, levels: int = 0) -> list[torch.Tensor]:
    """Unit vectors of random texts; few ``levels`` make many scores equal."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 9, (count,), generator=generator).tolist()
    drawn = [torch.randn(length, 16, generator=generator) for length in lengths]
    if levels:
        drawn = [
            torch.eye(16)[torch.randint(0, levels, (length,), generator=generator)]
            for length in lengths
        ]
    return [normalize(each, dim=-1) for each in drawn]


def store_of(folder, documents, size: int, **chosen) -> list[store.Shard]:
    codec = store.train_codec(IndexSettings(**chosen), Packed.of(documents))
    store.save_codec(folder, codec)
    for number, start in enumerate(range(0, len(documents), size)):
        store.write_shard(folder, number, Packed.of(documents[start : start + size]), codec)
    return list(store.read_shards(folder))


def spread(folder, ranker: Ranker, workers: int) -> ShardedRanker:
    parts = partition(ranker.shards, workers)
    searchers = [open_part(folder, parts, worker, "cpu", None) for worker in range(len(parts))]
    names = ("shards", "top_k", "candidates", "memory", "allowed")
    told = {name: getattr(ranker, name) for name in names}
    return ShardedRanker(**told, ask=lambda request: [request(each) for each in searchers])


def ranked(ranker: Ranker, queries: Packed) -> list[list[tuple[str, float]]]:
    ids = [f"d{number * 7919 % 1000}" for number in range(ranker.documents)]
    return [top_documents(scores, ids, ranker.top_k) for scores in ranker.rank(queries)]


@pytest.mark.parametrize(
    ("chosen", "candidates"),
    [
        ({}, 0),
        ({"format": "int8"}, 0),
        ({"format": "residual2"}, 0),
        ({"lists": True}, 12),
        ({"format": "residual4"}, 0.5),
    ],
    ids=["dense", "int8", "residual2", "lists", "residual4-candidates"],
)
def test_parts_rank_as_the_whole_does(tmp_path, chosen, candidates):
    shards = store_of(tmp_path, texts(60, seed=1), 7, **chosen)
    queries = Packed.of(texts(40, seed=2))
    whole = Ranker(shards, top_k=5, candidates=candidates)
    expected = ranked(whole, queries)
    assert len(expected) == 40 and all(len(each) == 5 for each in expected)
    for workers in (1, 2, 4, 9, 50):
        assert ranked(spread(tmp_path, whole, workers), queries) == expected


@pytest.mark.parametrize("chosen", [{}, {"format": "int8"}], ids=["dense", "int8"])
def test_parts_rank_allowed_documents_as_the_whole_does(tmp_path, chosen):
    shards = store_of(tmp_path, texts(60, seed=1), 7, **chosen)
    allowed = torch.arange(60) >= 40  # some workers have none of them
    whole = Ranker(shards, top_k=5, allowed=allowed)
    queries = Packed.of(texts(12, seed=2))
    expected = ranked(whole, queries)
    assert all(len(each) == 5 for each in expected)
    for workers in (2, 4):
        assert ranked(spread(tmp_path, whole, workers), queries) == expected


def test_ids_decide_among_equals_of_several_parts(tmp_path):
    shards = store_of(tmp_path, texts(50, seed=3, levels=2), 6)
    queries = Packed.of(texts(10, seed=4, levels=3))
    whole = Ranker(shards, top_k=8)
    expected = ranked(whole, queries)
    assert any(len({score for _, score in each}) < len(each) for each in expected)
    assert ranked(spread(tmp_path, whole, 3), queries) == expected


def test_more_wanted_than_there_are(tmp_path):
    shards = store_of(tmp_path, texts(9, seed=5), 4)
    whole = Ranker(shards, top_k=100)
    queries = Packed.of(texts(3, seed=6))
    assert ranked(spread(tmp_path, whole, 2), queries) == ranked(whole, queries)


def test_no_lists_no_candidates(tmp_path):
    whole = Ranker(store_of(tmp_path, texts(9, seed=5), 4), top_k=3)
    with pytest.raises(UserError, match="needs an index with lists"):
        ranked(replace(spread(tmp_path, whole, 2), candidates=4), Packed.of(texts(1, seed=6)))


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 500), min_size=1, max_size=30), st.integers(1, 40))
def test_every_shard_has_one_worker_and_loads_are_even(sizes, workers):
    shards = [
        store.Shard(store.Codec(), torch.tensor([0, size]), {}) for size in sizes
    ]  # sizes are all that is looked at
    parts = partition(shards, workers)
    assert sorted(number for part in parts for number in part) == list(range(len(sizes)))
    assert len(parts) == min(workers, len(sizes)) and all(parts)
    assert all(part == sorted(part) for part in parts)
    loads = [sum(sizes[number] for number in part) for part in parts]
    assert max(loads) - min(loads) <= max(sizes)
