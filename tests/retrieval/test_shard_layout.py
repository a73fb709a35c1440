"""Layouts, receipts and shards of some documents: what lets an index live on when things change."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clir_cli.retrieval import shard_checksums, store
from clir_cli.retrieval.encoder import Packed
from clir_cli.retrieval.shard_checksums import text_digests
from clir_cli.retrieval.shard_layout import new_layout, read_layout, updated_layout, write_layout
from clir_cli.settings import IndexSettings

TEXTS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=12)


@settings(derandomize=True, deadline=None)
@given(TEXTS, TEXTS, st.integers(1, 5))
def test_an_update_has_every_document_once_and_takes_all_that_is_there(old, new, size):
    digests, before = text_digests(new), []
    for block in new_layout(len(old), size):
        before.append(text_digests(old)[block.documents])
    blocks = updated_layout(digests, before, size)
    places = [place for block in blocks for place in block.documents]
    assert sorted(places) == list(range(len(new)))
    taken = 0
    for block in blocks:
        if block.reused is None:
            assert len(block.documents) <= size
            continue
        rows = before[block.reused.shard][block.reused.rows]
        assert (rows == digests[block.documents]).all()  # each row is of its document's text
        assert block.reused.whole == (len(rows) == len(before[block.reused.shard]))
        taken += len(rows)
    shared = sum(min(old.count(text), new.count(text)) for text in set(old))
    assert taken == shared  # nothing is encoded that the index had


def test_an_unchanged_collection_has_the_layout_that_it_had(tmp_path):
    digests = text_digests([str(number) for number in range(7)])
    write_layout(tmp_path, digests, new_layout(7, 3))
    blocks = updated_layout(digests, read_layout(tmp_path), 100)
    assert [block.documents.tolist() for block in blocks] == [[0, 1, 2], [3, 4, 5], [6]]
    assert all(block.reused.whole for block in blocks)


@pytest.mark.parametrize("fault", ["missing", "cut", "no json", "other sizes"])
def test_a_damaged_layout_is_none(tmp_path, fault):
    write_layout(tmp_path, text_digests(["a", "b"]), new_layout(2, 1))
    assert len(read_layout(tmp_path)) == 2
    if fault == "missing":
        (tmp_path / "digests.bin").unlink()
    elif fault == "cut":
        (tmp_path / "digests.bin").write_bytes(bytes(17))
    elif fault == "no json":
        (tmp_path / "shards.json").write_text("{")
    else:
        (tmp_path / "shards.json").write_text(json.dumps({"documents": [1, 3]}))
    assert read_layout(tmp_path) == []


# ------------------------------------------------------------------ receipts


@pytest.fixture
def kept(tmp_path):
    digests = text_digests(["one", "two"])
    store.write_shard(tmp_path, 3, Packed(torch.randn(5, 4), torch.tensor([0, 2, 5])))
    shard_checksums.write_checksums(tmp_path, 3, "recipe", digests)
    assert shard_checksums.fault(tmp_path, 3, "recipe", digests) == ""
    return tmp_path, digests


def _flip(path):
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(bytes(raw))


DAMAGES = {
    "flipped": (_flip, "sha256 differs"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-3]), "bytes, "),
    "missing": (lambda path: path.unlink(), "missing"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("part", ["vectors.npy", "offsets.npy"])
def test_a_damaged_shard_is_told_by_the_name_of_its_file(kept, part, damage):
    folder, digests = kept
    spoil, told = DAMAGES[damage]
    spoil(folder / f"shard-00003.{part}")
    found = shard_checksums.fault(folder, 3, "recipe", digests)
    assert f"shard-00003.{part}" in found
    assert told in found


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"recipe": 1, "texts": 2, "files": 3}', "\xff"])
def test_a_damaged_receipt_is_told(kept, text):
    folder, digests = kept
    shard_checksums.checksum_path(folder, 3).write_bytes(text.encode("latin-1"))
    assert "receipt.json: damaged" in shard_checksums.fault(folder, 3, "recipe", digests)


def test_a_shard_of_other_texts_or_made_otherwise_is_told(kept):
    folder, digests = kept
    assert "something else" in shard_checksums.fault(folder, 3, "another", digests)
    assert "something else" in shard_checksums.fault(folder, 3, "recipe", digests[::-1])
    assert "missing" in shard_checksums.fault(folder, 4, "recipe", digests)


def test_a_carried_shard_is_whole_under_its_new_number(kept, tmp_path):
    folder, digests = kept
    other = tmp_path / "other"
    other.mkdir()
    store.write_shard(other, 0, Packed(torch.zeros(1, 4), torch.tensor([0, 1])))
    shard_checksums.link_shard(folder, 3, other, 0)
    assert shard_checksums.fault(other, 0, "recipe", digests) == ""
    before, after = store.read_shard(folder, 3), store.read_shard(other, 0)
    assert torch.equal(before.vectors, after.vectors)


def test_texts_that_differ_have_digests_that_differ():
    found = text_digests(["", "a", "b", "ab", "\ud800"])
    assert found.shape == (5, shard_checksums.DIGEST)
    assert len({bytes(each) for each in found}) == 5


# ------------------------------------------------------------------ some documents of a shard


@settings(derandomize=True, deadline=None, max_examples=15)
@given(
    st.lists(st.integers(1, 6), min_size=2, max_size=9),
    st.data(),
    st.sampled_from(["dense", "int8", "residual2"]),
    st.booleans(),
)
def test_some_documents_of_a_shard_are_what_they_were(tmp_path_factory, lengths, data, form, lists):
    folder = tmp_path_factory.mktemp("shard")
    chance = torch.Generator().manual_seed(sum(lengths))
    vectors = torch.nn.functional.normalize(torch.randn(sum(lengths), 8, generator=chance), dim=-1)
    packed = Packed(vectors, torch.tensor([0, *lengths]).cumsum(0))
    chosen = sorted(data.draw(st.sets(st.integers(0, len(lengths) - 1), min_size=1)))
    codec = store.train_codec(IndexSettings(format=form, lists=lists), packed)
    store.save_codec(folder, codec)
    store.write_shard(folder, 0, packed, codec)
    store.save_shard(
        folder, 1, store.select_documents(store.read_shard(folder, 0), torch.tensor(chosen))
    )
    whole, some = store.read_shard(folder, 0), store.read_shard(folder, 1)
    assert len(some) == len(chosen)
    for number, each in enumerate(chosen):
        assert torch.equal(some[number], whole[each])
    if whole.lists is None:
        assert some.lists is None
        return
    for centroid in range(len(codec.centroids)):

        def documents(found, centroid=centroid):
            low, high = found.starts[centroid : centroid + 2]
            return found.postings[low:high].tolist()

        kept = [chosen.index(each) for each in documents(whole.lists) if each in chosen]
        assert documents(some.lists) == kept
    assert some.lists.postings.dtype == np.uint16
