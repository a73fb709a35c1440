"""Passages: how texts are split, and that the best of a document's passages scores it."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_encoders import tiny_bert
from torch.nn.functional import normalize

from clir_cli.cluster.shard_search import ShardedRanker, open_part, partition
from clir_cli.errors import UserError
from clir_cli.retrieval import store
from clir_cli.retrieval.encoder import Packed, load_encoder
from clir_cli.retrieval.passages import Passages, read_passages, split, windows, write_passages
from clir_cli.retrieval.ranking import Ranker, best_indices
from clir_cli.settings import IndexSettings


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.sets(st.integers(1, 40)), st.integers(0, 40), st.integers(1, 12), st.integers(0, 11))
def test_windows_cover_all_tokens_in_order_and_begin_at_words(words, count, room, overlap):
    overlap %= room
    begins = sorted({0, *words} & set(range(count)))
    runs = windows(begins, count, room, overlap)
    assert runs[0][0] == 0 and runs[-1][1] == count
    assert all(high - low <= room for low, high in runs)
    for (low, high), (following, end) in pairwise(runs):
        assert low < following <= high < end
        assert high - following <= overlap
        longest = max(b - a for a, b in zip(begins, [*begins[1:], count], strict=True))
        assert following in begins or longest > room


@pytest.fixture(scope="module")
def teacher(models, tmp_path_factory):
    folder = tiny_bert(tmp_path_factory.mktemp("teacher"), models)
    return load_encoder(folder, torch.device("cpu"))


def test_the_passages_of_a_text_are_its_words_in_the_tokens_that_were_asked_for(teacher):
    long = "  The internationalisation of bookkeeping, they say, " + "is slow. " * 9 + "It ends. "
    asked = IndexSettings(passage_tokens=12, passage_overlap=3)
    found = split(teacher, ["Short.", "", long], asked, 256)
    assert found.documents.tolist()[:2] == [0, 1] and set(found.documents.tolist()[2:]) == {2}
    assert found.spans[:2].tolist() == [[0, 6], [0, 0]]
    texts = [long[begin:end] for begin, end in found.spans[2:].tolist()]
    assert texts[0] == "  The internationalisation of bookkeeping, they say,"  # 10 tokens
    assert texts[1].startswith("they say, is slow.")
    assert texts[-1].endswith("It ends. ")
    assert max(map(len, teacher.tokenize(texts, 256))) == 12


@pytest.mark.parametrize(
    ("chosen", "limit", "fault"),
    [
        ({"passage_tokens": 300}, 256, "passage_tokens=300: this teacher takes 256 tokens"),
        ({"passage_tokens": 34, "passage_overlap": 32}, 256, "has room for 32 tokens of text"),
        ({"passage_tokens": 1, "passage_overlap": 0}, 256, "has room for 0 tokens of text"),
    ],
)
def test_passages_that_cannot_be_are_refused(teacher, chosen, limit, fault):
    with pytest.raises(UserError, match=fault):
        split(teacher, ["a"], IndexSettings(**chosen), limit)


ROWS, DOCUMENTS = 90, 20
QUERIES = 12


def unit_texts(count: int, seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 9, (count,), generator=generator).tolist()
    return [normalize(torch.randn(n, 16, generator=generator), dim=-1) for n in lengths]


@pytest.fixture(params=["dense", "int8", "residual2"])
def folder(request, tmp_path):
    """An index of 90 passages of 20 documents, those of a document in several shards."""
    texts = unit_texts(ROWS, seed=1)
    codec = store.train_codec(IndexSettings(format=request.param, lists=True), Packed.of(texts))
    store.save_codec(tmp_path, codec)
    for number, start in enumerate(range(0, ROWS, 13)):
        store.write_shard(tmp_path, number, Packed.of(texts[start : start + 13]), codec)
    generator = torch.Generator().manual_seed(2)
    documents = torch.randint(0, DOCUMENTS, (ROWS,), generator=generator)
    documents[:DOCUMENTS] = torch.arange(DOCUMENTS)
    spans = torch.zeros(ROWS, 2, dtype=torch.long).numpy()
    write_passages(tmp_path, Passages(documents, spans))
    return tmp_path


def brute_force(folder) -> torch.Tensor:
    """The score (queries, documents) of each best passage, one number at a time."""
    stored = [shard[row] for shard in store.read_shards(folder) for row in range(len(shard))]
    documents = read_passages(folder).documents.tolist()
    scores = torch.full((QUERIES, DOCUMENTS), float("-inf"))
    for query, tokens in enumerate(unit_texts(QUERIES, seed=3)):
        for vectors, document in zip(stored, documents, strict=True):
            score = (tokens @ vectors.float().T).max(dim=1).values.sum()
            scores[query, document] = max(scores[query, document], score)
    return scores


@pytest.mark.parametrize("candidates", [0, 1.0, 12])
@pytest.mark.parametrize("workers", [0, 3])
def test_a_document_scores_as_its_best_passage(folder, candidates, workers):
    shards, exact = list(store.read_shards(folder)), brute_force(folder)
    top_k = 5 if candidates != 1.0 else DOCUMENTS
    ranker = Ranker(shards, top_k, candidates, passages=read_passages(folder))
    if workers:
        parts = partition(shards, workers)
        searchers = [open_part(folder, parts, number, "cpu", None) for number in range(len(parts))]
        ranker = ShardedRanker(
            shards, top_k, candidates, passages=ranker.passages,
            ask=lambda request: [request(each) for each in searchers],
        )  # fmt: skip
    for query, scores in enumerate(ranker.rank(Packed.of(unit_texts(QUERIES, seed=3)))):
        assert scores.shape == (DOCUMENTS,)
        found = torch.nonzero(scores > float("-inf")).flatten()
        if candidates != 12:
            best = best_indices(exact[query], top_k)
            assert best_indices(scores, top_k).tolist() == best.tolist()
            found = best  # of others a worker may have a lesser passage alone
        else:
            assert len(found) in (10, 12)  # of those in int8 twice top_k are scored again
        torch.testing.assert_close(scores[found], exact[query][found], atol=1e-5, rtol=1e-5)
