"""Methods that train nothing, or go on from a trained student."""

import csv

import pytest
from tiny_translators import m2m, save


@pytest.fixture
def chain(clir, home, small_collection, tmp_path):
    def call(verb, *words):
        own = ("--collection", small_collection) if verb in ("index", "search", "evaluate") else ()
        results = ("--results", tmp_path / "results") if verb == "evaluate" else ()
        lang = () if verb == "index" else ("--lang", "sw-en")
        return clir(verb, *lang, *words, *own, *results, "--home", home)

    return call


SMALL = (
    "--set", "bitext.max_pairs=200", "--set", "training.epochs=2",
    "--set", "training.batch_size=16",
)  # fmt: skip


@pytest.mark.slow  # the rehearsal runs each method
def test_dictionaries_bm25_and_fusion_go_through_all_stages(chain, home):
    assert chain("distill", *SMALL).code == 0
    outcome = chain("dictionary", *SMALL)
    assert outcome.code == 0, outcome.err
    assert "precision at 1 0." in outcome.err  # against the dictionary of the sample
    file = home / "sample/sw-en/ot/dictionary/dictionary.tsv"
    with file.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert outcome.out.split()[:4] == ["the", "best", "of", str(file)]
    (told,) = chain("dictionary", "--json", *SMALL).json
    scores = [entry["score"] for entry in told["best"]]
    assert scores == sorted((float(row["score"]) for row in rows), reverse=True)[:20]
    assert (told["file"], told["state"]) == (str(file), "current")
    assert told["best"][0].keys() == {"word", "english", "score", "pairs"}
    assert {"word": "maji", "english": "water"}.items() <= rows[
        [row["word"] for row in rows].index("maji")
    ].items()
    assert chain("index").code == 0
    methods = "zero-shot,ot,english,bm25,english-bm25,dictionary,dictionary-bm25,fusion"
    chosen = ("--method", methods, "--set", 'fusion.runs=["ot", "dictionary-bm25"]', *SMALL)
    outcome = chain("search", *chosen)
    assert outcome.code == 0, outcome.err
    assert "the dictionary knows" in outcome.err
    fused = chain("search", *chosen[2:], "--method", "fusion", "--query", "maji", "--json").json
    for hit in fused:
        assert {part["of"] for part in hit["parts"]} <= {"ot", "dictionary-bm25"}
        assert sum(part["score"] for part in hit["parts"]) == pytest.approx(hit["score"])
    outcome = chain("evaluate", *chosen, "--metric", "map", "--json")
    assert outcome.code == 0, outcome.err
    value = {row["method"]: row["value"] for row in outcome.json}
    assert set(value) == set(methods.split(","))
    assert value["bm25"] < value["dictionary-bm25"]
    assert value["zero-shot"] < value["dictionary"]
    again = chain("search", *chosen)
    assert again.err.count("is current") == 8


def test_what_a_method_needs_is_named(chain):
    assert chain("index").code == 0
    for method, remedy in (
        ("dictionary", "clir distill --lang sw-en --method ot"),
        ("fusion", "clir distill --lang sw-en --method ot"),
    ):
        outcome = chain("search", "--method", method)
        assert outcome.code == 2
        assert remedy in outcome.err
    outcome = chain("search", "--method", "fusion", "--set", 'fusion.runs=["ot"]')
    assert outcome.code == 2
    assert "give two methods or more" in outcome.err
    outcome = chain("search", "--method", "fusion", "--set", 'fusion.runs=["ot", "otp"]')
    assert outcome.code == 2
    assert "did you mean ot?" in outcome.err
    alone = ("--set", "dictionary.induced=false", "--set", "dictionary.sources=[]")
    outcome = chain("search", "--method", "dictionary", *alone)
    assert outcome.code == 2
    assert "name one with dictionary.sources or .files" in outcome.err
    given = ("--set", "dictionary.induced=false")
    assert chain("search", "--method", "dictionary", *given).code == 0


def test_only_distilled_methods_are_distilled(chain):
    outcome = chain("distill", "--method", "bm25")
    assert outcome.code == 2
    assert "trains no student" in outcome.err


def test_queries_are_translated_once_for_both_methods(chain, home, tmp_path):
    assert chain("index").code == 0
    outcome = chain("search", "--method", "nmt", "--set", "nmt.model=")
    assert outcome.code == 2
    assert "--set nmt.model=trained" in outcome.err
    folder = save(tmp_path / "nllb", m2m, ("swh_Latn", "eng_Latn"))
    model = ("--set", f"nmt.model={folder}", "--set", "nmt.max_tokens=8")
    outcome = chain("search", "--method", "nmt,nmt-bm25", *model)
    assert outcome.code == 0, outcome.err
    translations = home / "sample" / "sw-en" / "nmt" / "small"
    assert (translations / "queries.en.jsonl").is_file()
    before = (translations / "manifest.json").stat().st_mtime_ns
    assert chain("search", "--method", "nmt", "--force", *model).code == 0
    assert (translations / "manifest.json").stat().st_mtime_ns == before
    outcome = chain("evaluate", "--method", "nmt,nmt-bm25", "--metric", "map", *model)
    assert outcome.code == 0, outcome.err
