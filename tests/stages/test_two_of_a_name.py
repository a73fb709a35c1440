"""Two things of one name: what the first has made is neither used for the second nor replaced."""

import json
import shutil

import pytest
from outcomes import well

SW, BM25 = ("--lang", "sw-en"), ("--method", "bm25")


def refused(outcome) -> str:
    assert outcome.code == 2, outcome.err
    return outcome.err.splitlines()[-1]


@pytest.fixture
def two(small_collection, tmp_path):
    """Two folders of one name, with other documents and other queries."""
    folders = tmp_path / "a" / "data", tmp_path / "b" / "data"
    for folder in folders:
        shutil.copytree(small_collection, folder)
    for name in ("corpus.jsonl", "queries.sw.jsonl"):
        lines = (folders[1] / name).read_text(encoding="utf-8").splitlines()
        changed = [json.loads(line) | {"text": "maji na moto"} for line in lines[:1]]
        lines = [json.dumps(row) for row in changed] + lines[1:]
        (folders[1] / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folders


def test_the_index_of_another_folder_is_neither_used_nor_replaced(clir, quick, home, two):
    def call(verb, folder, *words):
        return clir(verb, *quick, "--collection", folder, *words, "--home", home)

    well(call("index", two[0]))
    well(call("search", two[0], *SW, *BM25))
    manifests = {path: path.read_bytes() for path in (home / "sample").rglob("manifest.json")}
    zero_shot = (*SW, "--method", "zero-shot")
    for words in (
        ("index",), ("index", "--update"), ("index", "--repair"), ("search", *SW, *BM25),
        ("search", *zero_shot), ("search", *zero_shot, "--query", "maji"),
        ("evaluate", *SW, *BM25, "--metric", "map"),
    ):  # fmt: skip
        said = refused(call(words[0], two[1], *words[1:]))
        assert f"is of {two[0]}, and {two[1]} has the same name; rename one" in said, words
        assert "--force" not in said
        assert "--update" not in said
    assert all(path.read_bytes() == content for path, content in manifests.items())
    # Changed in place, it is the same folder.
    shutil.copy(two[1] / "corpus.jsonl", two[0])
    assert "--update encodes what is new" in refused(call("index", two[0]))
    well(call("index", two[0], "--update"))
    # The same documents in another place are the same index.
    shutil.copytree(two[0], two[0].parent.parent / "c" / "data")
    assert "is current" in well(call("index", two[0].parent.parent / "c" / "data")).err


def test_a_folder_called_as_a_collection_of_the_catalogue_has_a_name_of_its_own(
    clir, quick, home, small_collection, tmp_path
):
    own = tmp_path / "mine" / "sample"
    shutil.copytree(small_collection, own)
    chosen = ("--set", "collection=sample", "--home", home)
    well(clir("search", *quick, *chosen, *SW, *BM25))
    well(clir("search", *quick, *chosen, *SW, *BM25, "--collection", own))
    runs = sorted(path.name for path in (home / "sample/sw-en/bm25/runs").iterdir())
    assert runs[0] == "sample"
    assert runs[1].startswith("sample-")
    trained = ("--set", "contrastive.collection=sample", "--set", f"collection={own}")
    outcome = clir("train", "--recipe", "hybrid", *quick, *SW, *trained, "--home", home)
    assert "is the collection that tests" in refused(outcome)
