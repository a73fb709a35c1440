"""Collections, queries, qrels and runs as files of TREC and BEIR: read back, they are equal."""

import json
from pathlib import Path

import ir_measures
import pytest
from command_words import refused, tree

from clir_cli.corpus.collections import load_collection
from clir_cli.corpus.records import Document
from clir_cli.errors import UserError
from clir_cli.evaluation.runs import read_run
from clir_cli.exchange.files import QRELS

PAIR = ("--lang", "sw-en")
HARD = [
    {"_id": "d1", "title": "Wells <b> & pumps", "text": "a < b, b > c &amp; more\nsecond line"},
    {"_id": "d2", "title": "", "text": "</TEXT></DOC> is text, <!-- so is this -->"},
    {"_id": "d3<x>&", "title": "only a title", "text": ""},
    {"_id": "d4", "title": "", "text": "\u2028 Kiswahili: ng\u2019ombe"},
]
QUERIES = {"q1": "maji < 5 lita & zaidi", "q2": "</title> <num> 7", "q3": "kisima"}


def spaced(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture
def hard(tmp_path) -> Path:
    """A collection whose texts look like mark-up."""
    folder = tmp_path / "hard"
    (folder / "qrels").mkdir(parents=True)
    write = [("corpus.jsonl", HARD)]
    write += [("queries.jsonl", [{"_id": key, "text": text} for key, text in QUERIES.items()])]
    write += [("queries.en.jsonl", [{"_id": key, "text": f"{key} & co"} for key in QUERIES])]
    for name, rows in write:
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / name).write_text(text, encoding="utf-8")
    judged = [("q1", "d1", 2), ("q1", "d2", 0), ("q2", "d3<x>&", 1), ("q3", "d4", 1)]
    lines = [f"{query}\t{document}\t{grade}\n" for query, document, grade in judged]
    (folder / "qrels" / "test.tsv").write_text("".join(["query-id\tcorpus-id\tscore\n", *lines]))
    return folder


@pytest.fixture
def export(clir, tmp_path):
    def call(what, target, *words):
        return clir("export", what, target, *words, "--home", tmp_path / "home")

    return call


@pytest.mark.parametrize("style", ["beir", "trec"])
def test_a_collection_is_read_back_as_it_was(export, hard, tmp_path, style):
    outcome = export("collection", tmp_path / "out", *PAIR, "--collection", hard, "--format", style)
    assert outcome.code == 0, outcome.err
    before, after = (load_collection(str(f), "sw", tmp_path) for f in (hard, tmp_path / "out"))
    assert after.qrels == before.qrels
    if style == "beir":
        assert after.digests == before.digests
    documents = [Document(d.id, spaced(d.title), spaced(d.text)) for d in before.documents]
    assert [Document(d.id, spaced(d.title), spaced(d.text)) for d in after.documents] == documents
    assert set(after.queries) == {"sw", "en"}
    for language, texts in before.queries.items():
        assert after.queries[language] == {key: spaced(text) for key, text in texts.items()}
    again = export("collection", tmp_path / "out", *PAIR, "--collection", hard, "--format", style)
    assert "is current" in again.err


def test_a_collection_that_is_built_in_memory_is_written_too(export, tmp_path):
    assert export("collection", tmp_path / "out", *PAIR).code == 0
    own = load_collection("sample", "sw", tmp_path)
    assert load_collection(str(tmp_path / "out"), "sw", tmp_path).digests == own.digests


def test_qrels_and_runs_are_read_by_other_tools(clir, export, hard, tmp_path):
    on = (*PAIR, "--collection", hard)
    assert export("qrels", tmp_path / "qrels.txt", *on).code == 0
    told = {(q.query_id, q.doc_id): q.relevance
            for q in ir_measures.read_trec_qrels(str(tmp_path / "qrels.txt"))}  # fmt: skip
    assert told == {("q1", "d1"): 2, ("q1", "d2"): 0, ("q2", "d3<x>&"): 1, ("q3", "d4"): 1}
    assert export("qrels", tmp_path / "qrels.tsv", *on, "--format", "beir").code == 0
    source = (hard / "qrels" / "test.tsv").read_text()
    assert (tmp_path / "qrels.tsv").read_text() == source

    assert clir("search", *on, "--method", "bm25", "--home", tmp_path / "home").code == 0
    own = read_run(tmp_path / "home/sample/sw-en/bm25/runs/hard/run.trec")
    assert export("run", tmp_path / "run.trec", *on, "--method", "bm25").code == 0
    assert read_run(tmp_path / "run.trec") == own
    words = (*on, "--method", "bm25", "--format", "beir")
    assert export("run", tmp_path / "run.json", *words).code == 0
    assert json.loads((tmp_path / "run.json").read_text()) == own


def test_queries_in_each_format_and_language(export, hard, tmp_path):
    on = (*PAIR, "--collection", hard)
    assert export("queries", tmp_path / "q.tsv", *on).code == 0
    rows = [line.split("\t") for line in (tmp_path / "q.tsv").read_text().splitlines()]
    assert dict(rows) == QUERIES
    assert export("queries", tmp_path / "q.jsonl", *on, "--format", "beir", "--english").code == 0
    rows = list(map(json.loads, (tmp_path / "q.jsonl").read_text().splitlines()))
    assert rows == [{"_id": key, "text": f"{key} & co"} for key in QUERIES]
    assert export("queries", tmp_path / "q.trec", *on, "--format", "trec").code == 0
    assert (
        "<num>q1</num>\n<title>maji &lt; 5 lita &amp; zaidi</title>"
        in (tmp_path / "q.trec").read_text()
    )


def test_what_cannot_be_written_is_told_and_leaves_nothing(export, hard, tmp_path):
    on = (*PAIR, "--collection", hard)
    there = tmp_path / "qrels.txt"
    there.write_text("mine")
    before = tree(tmp_path)
    assert "--force replaces it" in refused(export("qrels", there, *on))
    for words, said in (
        ((*on, "--format", "xml"), "--format 'xml': known: beir, trec"),
        (("--lang", "sw-en,so-en"), "name one pair"),
        ((*on, "--dry-run"), "--dry-run"),
    ):
        assert said in refused(export("collection", tmp_path / "out", *words))
    with pytest.raises(UserError, match="id 'q 1' has white space"):
        list(QRELS["trec"]({"q 1": {"d1": 1}}))
    assert "there is no folder" in refused(export("qrels", tmp_path / "no" / "q", *on))
    line = refused(export("run", tmp_path / "r", *on, "--method", "bm25"))
    assert "clir search --lang sw-en --method bm25" in line
    assert tree(tmp_path) == before
    assert there.read_text() == "mine"
    assert export("qrels", there, *on, "--force").code == 0
    assert there.read_text().startswith("q1 0 d1 2\n")
