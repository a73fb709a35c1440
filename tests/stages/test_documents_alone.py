"""A folder of documents can be indexed and asked; with queries it has runs, and no scores."""

import shutil

import pytest
from command_words import refused, tree

PAIR = ("--lang", "sw-en")


@pytest.fixture
def call(clir, quick, home, tmp_path):
    def run(verb, *words):
        results = ("--results", tmp_path / "results") if verb == "evaluate" else ()
        return clir(verb, *words, *quick, *results, "--home", home)

    return run


def test_documents_alone_are_indexed_and_asked(call, small_collection, home, tmp_path):
    for path in (small_collection / "qrels", *small_collection.glob("queries*")):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert tree(small_collection) == ["corpus.jsonl"]
    assert call("index").code == 0
    for method in ("zero-shot", "bm25"):
        words = (*PAIR, "--method", method, "--query", "maize in the sun", "--json")
        hits = call("search", *words).json
        assert [hit["rank"] for hit in hits] == [1, 2, 3, 4, 5]
        for hit in hits:
            assert sum(part["score"] for part in hit["parts"]) == pytest.approx(hit["score"], 1e-2)
            assert hit["passage"] in hit["text"]
    assert {part["of"] for part in hits[0]["parts"]} <= {"maize", "in", "the", "sun"}
    assert "farming" in hits[0]["document"]  # of BM25: the words are English
    line = refused(call("search", *PAIR))
    assert "has no queries in 'sw' and 'en'" in line
    assert "ask it with --query TEXT, or add queries.jsonl" in line
    line = refused(call("search", *PAIR, "--method", "bm25"))
    assert "no queries in 'sw' for method bm25; add queries.sw.jsonl" in line
    line = refused(call("evaluate", *PAIR, "--metric", "map", "--method", "bm25"))
    assert "no queries in 'sw'" in line
    assert not (tmp_path / "results").exists()


def test_queries_without_judgments_give_a_run_and_no_score(call, small_collection, home, tmp_path):
    shutil.rmtree(small_collection / "qrels")
    words = (*PAIR, "--method", "english-bm25")
    assert call("search", *words).code == 0
    run = home / "sample" / "sw-en" / "english-bm25" / "runs" / "small" / "run.trec"
    assert run.stat().st_size
    assert call("export", "collection", tmp_path / "beir", *PAIR).code == 0
    assert not (tmp_path / "beir" / "qrels").exists()
    line = refused(call("evaluate", *words, "--metric", "map"))
    assert "collection small has no judgments, so runs cannot be scored; add qrels/test.tsv" in line
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("name", ["qrels.tsv", "qrels/dev.tsv", "queries.txt"])
def test_a_file_of_almost_the_name_is_named(call, small_collection, name):
    shutil.rmtree(small_collection / "qrels")
    for path in small_collection.glob("queries*"):
        path.unlink()
    (small_collection / name).parent.mkdir(exist_ok=True)
    (small_collection / name).write_text("x\n", encoding="utf-8")
    line = refused(call("search", *PAIR, "--method", "bm25", "--query", "maize"))
    assert "missing; a collection has corpus.jsonl" in line
    assert f"there is {name}" in line


def test_a_collection_to_train_on_needs_queries_and_judgments(clir, home, small_collection):
    shutil.rmtree(small_collection / "qrels")
    words = ("--recipe", "monolingual", "--home", home)
    own = ("--set", f"contrastive.collection={small_collection}")
    line = refused(clir("train", *words, *own))
    assert "has 0 queries in 'en' with a document that answers them" in line


def test_a_folder_of_texts_is_indexed_in_passages_and_asked(clir, quick, home, tmp_path):
    folder = tmp_path / "my_texts"
    (folder / "news").mkdir(parents=True)
    (folder / "a.txt").write_text("The ferry leaves at noon.\n", encoding="utf-8")
    long = "Maize dries in the sun. " * 60 + "The well is deep."
    (folder / "news" / "b.txt").write_text(long, encoding="utf-8")
    own = ("--home", home, *quick, "--collection", folder, "--set", "index.passage_tokens=64")
    assert clir("index", *own).code == 0
    words = (*PAIR, "--method", "english", "--query", "The well is deep.", "--json")
    hits = clir("search", *words, *own).json
    assert {hit["document"] for hit in hits} == {"a.txt", "news/b.txt"}
    found = {hit["document"]: hit["passage"] for hit in hits}
    assert found["a.txt"] == "The ferry leaves at noon." and found["news/b.txt"] in long
