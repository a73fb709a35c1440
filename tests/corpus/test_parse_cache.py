"""What is remembered of a collection is what reading it again would give."""

import json
import os
import time

import pytest

from clir_cli.corpus.collections import load_collection
from clir_cli.errors import UserError

LONG_AGO = time.time_ns() - 10**12 + 1  # and not a whole second


@pytest.fixture
def own(tmp_path, small_collection):
    (tmp_path / "home" / "models").mkdir(parents=True)
    for path in small_collection.rglob("*"):
        os.utime(path, ns=(LONG_AGO, LONG_AGO))
    return small_collection


def load(own, language="sw"):
    return load_collection(str(own), language, own.parent / "home" / "downloads")


def kept(own):
    return sorted((own.parent / "home" / "downloads" / ".read").glob("*.json"))


def touch(path, text, stamp=LONG_AGO + 1000):
    path.write_text(text, encoding="utf-8")
    os.utime(path, ns=(stamp, stamp))


def test_documents_are_read_when_one_is_wanted(own):
    first = load(own)
    assert len(kept(own)) == 1
    corpus, text = own / "corpus.jsonl", (own / "corpus.jsonl").read_text(encoding="utf-8")
    again = load(own)
    corpus.write_text("what is no longer read")
    assert len(again.documents) == len(first.documents)
    assert (again.digests, again.queries, again.qrels) == (
        first.digests, first.queries, first.qrels,
    )  # fmt: skip
    with pytest.raises(UserError, match="line 1: not JSON"):
        again.documents[0]
    touch(corpus, text, LONG_AGO)
    again = load(own)
    assert again == first
    assert again.documents[3] == first.documents[3]
    assert again.documents[-2:] == first.documents[-2:]


def test_documents_that_changed_meanwhile_are_told(own):
    load(own)
    again, corpus = load(own), own / "corpus.jsonl"
    text = corpus.read_text(encoding="utf-8")
    corpus.write_text(text.replace("the", "teh"), encoding="utf-8")
    with pytest.raises(UserError, match="was changed while it was read"):
        list(again.documents)


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.sw.jsonl", "qrels/test.tsv"])
def test_a_changed_file_is_read_again(own, name):
    before, path = load(own).digests, own / name
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    changed = {
        "corpus.jsonl": text + json.dumps({"_id": "more", "text": "More."}) + "\n",
        "queries.sw.jsonl": text.replace('"text": "', '"text": "je '),
        "qrels/test.tsv": "".join([lines[0], lines[1].rstrip()[:-1] + "7\n", *lines[2:]]),
    }[name]
    touch(path, changed)
    part = {"corpus.jsonl": "documents", "qrels/test.tsv": "qrels"}.get(name, "queries.sw")
    after = load(own).digests
    assert {key for key in after if before[key] != after[key]} == {part}
    assert len(kept(own)) == 1  # it takes the place of what is out of date


def test_languages_are_remembered_apart(own):
    assert load(own, "sw").queries.keys() == {"sw", "en"}
    assert load(own, "en").queries.keys() == {"en"}
    assert load(own, "sw").queries.keys() == {"sw", "en"}
    assert len(kept(own)) == 2


@pytest.mark.parametrize("spoil", [b"", b"\xff", b"{}", None])
def test_a_damaged_memory_is_none(own, spoil):
    first = load(own)
    (path,) = kept(own)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"queries", b"querles", 1) if spoil is None else spoil)
    assert load(own) == first
    assert path.read_bytes() == whole


def test_a_file_that_was_changed_a_moment_ago_is_not_remembered(own):
    touch(own / "corpus.jsonl", (own / "corpus.jsonl").read_text(encoding="utf-8"), time.time_ns())
    load(own)
    assert kept(own) == []
    whole_second = time.time_ns() // 10**9 * 10**9 - 10**9  # a disk that counts in seconds
    os.utime(own / "corpus.jsonl", ns=(whole_second, whole_second))
    load(own)
    assert kept(own) == []


def test_where_there_is_no_home_nothing_is_written(own):
    folder = own.parent / "nowhere" / "downloads"
    load_collection(str(own), "sw", folder)
    assert not folder.parent.exists()


def test_a_collection_of_the_catalogue_is_remembered(own):
    downloads = own.parent / "home" / "downloads"
    first = load_collection("sample", "fi", downloads)
    assert load_collection("sample", "fi", downloads) == first
    assert len(kept(own)) == 1


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("corpus.jsonl", " the ", " teh "),
        ("queries.sw.jsonl", '?"', '!"'),
        ("qrels/test.tsv", "\t1\n", "\t2\n"),
    ],
)
def test_an_edit_that_keeps_size_and_time_is_read(own, name, old, new):
    before, path = load(own), own / name
    text = path.read_text(encoding="utf-8")
    with path.open("r+", encoding="utf-8") as stream:  # the same inode
        stream.write(text.replace(old, new, 1))
    os.utime(path, ns=(LONG_AGO, LONG_AGO))
    assert load(own).digests != before.digests
