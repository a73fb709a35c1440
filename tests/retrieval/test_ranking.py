from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from clir_cli.errors import UserError
from clir_cli.retrieval import candidates, index_recall, ranking, store
from clir_cli.retrieval.encoder import Packed
from clir_cli.retrieval.maxsim import maxsim, maxsim_batch, rounding_pays, top_documents
from clir_cli.retrieval.ranking import Ranker
from clir_cli.settings import IndexSettings

CPU = torch.device("cpu")


def texts(lengths: list[int], seed: int = 0, dimensions: int = 32) -> Packed:
    chance = torch.Generator().manual_seed(seed)
    sense = torch.randn(40, dimensions, generator=torch.Generator().manual_seed(99))
    of = torch.randint(0, 40, (sum(lengths),), generator=chance)
    vectors = sense[of] + 0.5 * torch.randn(sum(lengths), dimensions, generator=chance)
    return Packed(normalize(vectors, dim=-1), torch.tensor([0, *lengths]).cumsum(0))


def lengths(count: int, seed: int = 0) -> list[int]:
    chance = torch.Generator().manual_seed(seed)
    return torch.randint(1, 40, (count,), generator=chance).tolist()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of one collection of 300 documents in three shards, by format."""
    found = {}
    for name in store.FORMATS:
        folder = found[name] = tmp_path_factory.mktemp(name)
        parts = [texts(lengths(100, seed), seed) for seed in range(3)]
        sample = Packed.of([part[number] for part in parts for number in range(len(part))])
        codec = store.train_codec(IndexSettings(format=name, lists=True), sample)
        store.save_codec(folder, codec)
        for number, part in enumerate(parts):
            store.write_shard(folder, number, part, codec)
    return found


QUERIES = texts([5, 1, 9, 30, 7], seed=50)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=20),
    st.lists(st.integers(1, 6), min_size=1, max_size=5),
    st.data(),
)
def test_a_batch_scores_as_each_query_and_each_document_alone(sizes, asked, data):
    documents, queries = texts(sizes, 1), texts(asked, 2)
    chosen = sorted(data.draw(st.sets(st.integers(0, len(sizes) - 1), min_size=1)))
    some = store.gather([store.Shard.of(documents)], torch.tensor(chosen))
    scores = maxsim_batch(queries, some)
    for row in range(len(asked)):
        for column, number in enumerate(chosen):
            one = documents[number]
            if len(one):
                expected = (queries[row] @ one.T).max(dim=1).values.sum()
                torch.testing.assert_close(scores[row, column], expected, atol=1e-5, rtol=1e-5)
            else:  # a document without tokens is never found
                assert scores[row, column] == float("-inf")


def test_whole_numbers_score_as_the_vectors_that_they_stand_for(folders):
    if not rounding_pays(CPU):
        pytest.skip("no VNNI on this processor")
    for shard in store.read_shards(folders["int8"]):
        exact = maxsim_batch(QUERIES, shard)
        found = maxsim_batch(QUERIES, shard, rounded=True)
        tokens = QUERIES.offsets.diff()[:, None]
        assert ((found - exact).abs() <= 0.01 * tokens).all()


@pytest.mark.parametrize("name", store.FORMATS)
def test_the_best_are_those_of_exact_scores_over_the_stored_vectors(folders, name):
    shards = list(store.read_shards(folders[name]))
    for number, scores in enumerate(Ranker(shards, top_k=10).rank(QUERIES)):
        exact = torch.cat([maxsim(QUERIES[number], shard) for shard in shards])
        best = ranking.best_indices(exact, 10)
        torch.testing.assert_close(scores[best], exact[best], atol=1e-5, rtol=1e-5)
        assert ranking.best_indices(scores, 10).tolist() == best.tolist()


@pytest.mark.parametrize("candidates_", [0, 40])
@pytest.mark.parametrize("name", store.FORMATS)
def test_only_allowed_documents_are_found_and_as_many_as_are_wanted(folders, name, candidates_):
    shards = list(store.read_shards(folders[name]))
    if candidates_ and not shards[0].lists:
        pytest.skip("no lists")
    whole = Ranker(shards, top_k=10, candidates=candidates_)
    allowed = torch.arange(whole.documents) % 3 == 0
    for number, scores in enumerate(replace(whole, allowed=allowed).rank(QUERIES)):
        found = scores > float("-inf")
        assert not (found & ~allowed).any() and found.sum() >= 10
        exact = torch.cat([maxsim(QUERIES[number], shard) for shard in shards])
        exact[~allowed] = float("-inf")
        best = ranking.best_indices(exact, 10)
        if not candidates_:
            assert ranking.best_indices(scores, 10).tolist() == best.tolist()


@pytest.mark.parametrize("name", store.FORMATS)
def test_as_many_candidates_as_documents_are_an_exact_search(folders, name):
    shards = list(store.read_shards(folders[name]))
    exact = Ranker(shards, top_k=10).rank(QUERIES)
    for candidates_ in (1.0, 300.0, 1e6):  # one is a number, not a share
        found = Ranker(shards, top_k=300 if candidates_ == 1 else 10, candidates=candidates_)
        for scores, whole in zip(found.rank(QUERIES), exact, strict=False):
            best = ranking.best_indices(whole, 10)
            torch.testing.assert_close(scores[best], whole[best], atol=1e-5, rtol=1e-5)


def test_more_candidates_find_more_and_only_they_have_scores(folders):
    shards = list(store.read_shards(folders["residual2"]))
    queries = index_recall.sampled_queries(
        index_recall.documents_at(shards, index_recall.evenly_spaced(300, 20))
    )
    ranker = Ranker(shards, top_k=10)
    found = index_recall.candidate_recall(ranker, queries, [10, 40, 300])
    assert found[10] <= found[40] <= found[300] == 1
    assert found[40] > 0.9
    (scores,) = Ranker(shards, 10, candidates=0.1).rank(Packed.of([queries[0]]))
    assert 0 < (scores > float("-inf")).sum() <= 30


@pytest.mark.parametrize("probes", [1, 7, 1000])
def test_candidates_score_as_if_tokens_were_their_centroids(folders, probes):
    shard = store.read_shard(folders["residual1"], 0)
    lists, worth = candidates.nearest_lists(QUERIES, shard.codec, probes)
    found = candidates.approximate(QUERIES, shard, lists, worth)
    nearest = torch.from_numpy(shard.arrays["nearest"].astype("int64"))
    for row in range(len(QUERIES)):
        similar = QUERIES[row] @ shard.codec.centroids.T
        floor = similar.topk(min(probes + 1, similar.shape[1])).values[:, -1:]
        worths = (similar - floor).clamp_min(0)[:, nearest]
        for number in range(len(shard)):
            low, high = shard.offsets[number : number + 2]
            expected = worths[:, low:high].max(dim=1).values.sum()
            torch.testing.assert_close(found[row, number], expected, atol=1e-4, rtol=1e-4)


def test_candidates_without_lists_say_what_makes_them(tmp_path):
    store.write_shard(tmp_path, 0, texts([3, 4]))
    with pytest.raises(UserError, match=r"index\.lists=true"):
        list(Ranker(list(store.read_shards(tmp_path)), candidates=1000).rank(QUERIES))


@pytest.mark.parametrize("name", ["dense", "int8", "residual2"])
@pytest.mark.parametrize("chosen", [0, 50])
def test_a_limit_of_memory_changes_the_batches_and_not_the_scores(folders, name, chosen):
    shards = list(store.read_shards(folders[name]))
    free = list(Ranker(shards, 10, chosen).rank(QUERIES))
    needed = ranking.resident_bytes() + (200 << 20)
    limited = Ranker(shards, 10, chosen, memory=needed)
    for one, two in zip(limited.rank(QUERIES), free, strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)


def test_too_small_a_limit_says_how_much_is_needed(folders):
    shards = list(store.read_shards(folders["dense"]))
    with pytest.raises(UserError, match=r"index\.memory=0\.00GB is too small.*give"):
        list(Ranker(shards, memory=1000).rank(QUERIES))


def test_the_same_document_twice_is_ordered_by_id_wherever_it_lies(tmp_path):
    one = texts([6, 11, 6, 3, 6], 3)
    again = Packed.of([one[0], one[1], one[0], one[3], one[0]])
    for number in range(2):
        store.write_shard(tmp_path, number, again)
    shards = list(store.read_shards(tmp_path))
    (scores,) = Ranker(shards).rank(Packed.of([one[0]]))
    names = [f"d{number}" for number in range(10)]
    assert [name for name, _ in top_documents(scores, names, 6)] == [
        "d9", "d7", "d5", "d4", "d2", "d0",
    ]  # fmt: skip


def test_a_rounded_format_keeps_less_of_the_ranking_the_fewer_its_bits():
    documents = texts(lengths(80))
    fresh = [documents[number] for number in range(80)]
    rounded = {}
    for name in ("residual1", "residual4"):
        codec = store.train_codec(IndexSettings(format=name), documents)
        near = codec.clusters.nearest(documents.vectors)
        part = store.FORMATS[name]
        arrays = {**part.encode(codec, documents.vectors, near), "nearest": near}
        back = Packed(part.decode(codec, arrays), documents.offsets)
        rounded[name] = index_recall.format_recall(fresh, [back[number] for number in range(80)])
    assert rounded["residual1"] < rounded["residual4"] <= 1
    assert index_recall.format_recall(fresh, fresh) == 1


@pytest.mark.parametrize("rounded", [False, True], ids=["exact", "rounded"])
@pytest.mark.parametrize("name", ["dense", "int8"])
def test_nan_in_an_index_is_refused_and_no_document_is_lost(tmp_path, monkeypatch, name, rounded):
    part = texts([3] * 9)
    store.write_shard(tmp_path, 0, part, store.Codec(name))
    shard = store.read_shard(tmp_path, 0, store.Codec(name))
    broken = dict(shard.arrays)
    last = "vectors" if name == "dense" else "scales"
    broken[last] = broken[last].copy()
    broken[last][4] = np.nan  # as an index of an older version may have it
    monkeypatch.setattr(ranking, "rounding_pays", lambda _: rounded)
    ranker = Ranker([replace(shard, arrays=broken)], top_k=2)
    with pytest.raises(UserError, match="not finite numbers"):
        for scores in ranker.rank(QUERIES):
            top_documents(scores, list("abcdefghi"), 2)
