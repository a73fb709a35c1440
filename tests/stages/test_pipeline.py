"""The five stages, end to end, on small real pieces of the sample."""

import csv
import json
import re

import pytest
from transformers import AutoModel, AutoTokenizer

TRAIN = (
    "--set", "bitext.max_pairs=150", "--set", "training.epochs=2",
    "--set", "training.batch_size=16",
)  # fmt: skip
KEYS = [
    "suite", "collection", "pair", "method", "variant", "seed", "metric", "value", "queries",
    "ci_low", "ci_high",
]  # fmt: skip


@pytest.fixture
def chain(clir, home, small_collection, tmp_path):
    """Run a verb over the small collection: ``chain("search", "--lang", "sw-en")``."""

    def call(verb, *words):
        own = {
            "distill": TRAIN,
            "index": ("--collection", small_collection),
            "search": (*TRAIN, "--collection", small_collection),
            "evaluate": (
                *TRAIN,
                "--collection",
                small_collection,
                "--results",
                tmp_path / "results",
            ),
        }
        return clir(verb, *words, *own.get(verb, ()), "--home", home)

    return call


def stamps(home):
    return {path: path.stat().st_mtime_ns for path in home.rglob("*") if path.is_file()}


def test_bitext_to_scores(chain, home, tmp_path, small_collection):
    pair = ("--lang", "sw-en")
    for verb in ("distill", "index", "search"):
        words = () if verb == "index" else pair
        outcome = chain(verb, *words)
        assert outcome.code == 0, outcome.err
    student = home / "sample" / "sw-en" / "ot" / "student"
    assert len(AutoTokenizer.from_pretrained(student)) > 30_522  # word rows, and it loads as any
    assert AutoModel.from_pretrained(student).config.hidden_size == 384
    manifest = json.loads((student / "manifest.json").read_text())
    assert manifest["config"]["training"]["epochs"] == 2
    assert manifest["files"]["model.safetensors"]["bytes"] > 90_000_000
    assert manifest["notes"]["new_rows"] > 100

    outcome = chain("evaluate", *pair, "--metric", "map,mrr,ndcg@10,recall@100,p@10", "--json")
    assert outcome.code == 0, outcome.err
    assert all(list(row) == KEYS for row in outcome.json)
    value = {(row["method"], row["metric"]): row["value"] for row in outcome.json}
    assert value["zero-shot", "map"] < value["ot", "map"] < value["english", "map"] + 0.1
    for row in outcome.json:
        assert 0 <= row["ci_low"] <= row["value"] <= row["ci_high"] <= 1
    with (tmp_path / "results" / "sample" / "scores.csv").open() as stream:
        table = list(csv.DictReader(stream))
    assert list(table[0]) == KEYS
    assert len(table) == 15
    with (tmp_path / "results" / "sample" / "per_query.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["metric"] == "map"]
    judged = (small_collection / "qrels" / "test.tsv").read_text().splitlines()[1:]
    assert len(rows) == 3 * len({line.split("\t")[0] for line in judged})

    run = (home / "sample/sw-en/ot/runs/small/run.trec").read_text().splitlines()
    first = [line.split() for line in run if line.startswith(run[0].split()[0] + " ")]
    assert [int(cells[3]) for cells in first] == list(range(1, 25))  # ranks from 1, all documents
    scores = [float(cells[4]) for cells in first]
    assert scores == sorted(scores, reverse=True)

    before = stamps(home)
    for verb in ("distill", "index", "search"):
        assert chain(verb, *(() if verb == "index" else pair)).code == 0
    assert stamps(home) == before  # nothing was made twice

    answer = chain("search", *pair, "--query", "jinsi ya kuhifadhi mahindi", "--top-k", 3)
    assert answer.code == 0
    assert answer.out.count("sw-en, ot") == 1
    assert re.findall(r"^(\d)  \d", answer.out, re.MULTILINE) == ["1", "2", "3"]
    parts = re.findall(r"(?:\w+(?: → \w+)? [\d.]+, ){4}other tokens", " ".join(answer.out.split()))
    assert len(parts) == 3
    assert re.search(r"\*\w+\*", answer.out)  # matched words are marked where there is no colour
    told = chain("search", *pair, "--query", "mahindi", "--json").json
    assert [hit["rank"] for hit in told] == [1, 2, 3, 4, 5]
    assert all(word in hit["text"] for hit in told for word in hit["matched"])


def test_each_stage_names_the_command_that_makes_its_input(clir, home, small_collection, tmp_path):
    own = ("--home", home, "--collection", small_collection)
    outcome = clir("search", "--lang", "sw-en", *own)
    assert outcome.code == 2
    assert "clir distill --lang sw-en --method ot" in outcome.err
    outcome = clir("search", "--lang", "sw-en", "--method", "zero-shot", *own)
    assert outcome.code == 2
    assert f"clir index --collection {small_collection} --suite sample" in outcome.err
    outcome = clir("evaluate", "--metric", "map", "--method", "zero-shot", *own)
    assert outcome.code == 2
    assert "clir search --lang sw-en --method zero-shot" in outcome.err
    outcome = clir("distill", "--lang", "sw-en", "--home", tmp_path / "empty")
    assert outcome.code == 2
    assert "clir download --lang sw-en --suite sample" in outcome.err
    assert not (tmp_path / "empty").exists()


def test_a_changed_collection_makes_index_run_and_scores_stale(chain, clir, small_collection):
    methods = ("--lang", "sw-en", "--method", "zero-shot")
    assert chain("index").code == 0
    assert chain("search", *methods).code == 0
    corpus = small_collection / "corpus.jsonl"
    added = {"_id": "new-1", "title": "", "text": "A document that came later."}
    corpus.write_text(corpus.read_text() + json.dumps(added) + "\n")
    for verb, words, remedy in (
        ("evaluate", (*methods, "--metric", "map"), "clir search --lang sw-en"),
        ("search", methods, "--force"),
        ("index", (), "--force"),
    ):
        outcome = chain(verb, *words)
        assert outcome.code == 2
        assert "made from something else (documents" in outcome.err or "index" in outcome.err
        assert remedy in outcome.err
    assert chain("index", "--force").code == 0
    assert chain("search", *methods, "--force").code == 0
    assert chain("evaluate", *methods, "--metric", "map").code == 0


def test_english_queries_are_optional_in_ones_own_collection(chain, clir, home, small_collection):
    (small_collection / "queries.en.jsonl").unlink()
    (small_collection / "queries.sw.jsonl").rename(small_collection / "queries.jsonl")
    assert chain("index").code == 0
    methods = ("--lang", "sw-en", "--method", "zero-shot")
    assert chain("search", *methods).code == 0
    outcome = chain("search", "--lang", "sw-en", "--method", "english")
    assert outcome.code == 2
    assert "queries.en.jsonl" in outcome.err
    assert "not scored" in chain("evaluate", "--lang", "sw-en", "--metric", "map").err
    told = chain("evaluate", "--metric", "map", "--set", 'pairs=["sw-en","so-en","tl-en"]').err
    assert told.count("not scored: ") == 4
    assert "not scored: 5 more runs are missing; --lang and --method choose" in told
    least = ("--set", "search.top_k=5")
    assert chain("search", *methods, *least, "--force").code == 0
    told = chain("evaluate", *methods, *least, "--metric", "map,p@5,recall@20").err
    assert "warning: recall@20: runs have 5 documents a query (search.top_k)" in told


@pytest.mark.slow
def test_a_variant_stands_beside_the_plain_student(chain, home):
    plain = ("--variant", "plain", "--set", "student.vocabulary=initial")
    assert chain("distill", "--lang", "sw-en", *plain).code == 0
    student = home / "sample" / "sw-en" / "ot.plain" / "student"
    assert len(AutoTokenizer.from_pretrained(student)) == 30_522
    outcome = chain("distill", "--lang", "sw-en", "--variant", "plain")
    assert outcome.code == 2
    assert "student" in outcome.err
    assert "--force" in outcome.err
