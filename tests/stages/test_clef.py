"""CLEF from the disk to a MAP: each topic is ranked and scored on the documents of its pool."""

import shutil
from pathlib import Path

import ir_measures
import pytest
from outcomes import well
from rehearsal import clef_disk

from clir_cli.evaluation.runs import read_run, write_run

NAME = "clef-2000-2003"
METHODS = ("--method", "bm25,english-bm25,english")


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clef_disk.write_disk(tmp_path_factory.mktemp("disks") / "E0008")


@pytest.fixture
def own(home: Path, disk: Path, clir) -> tuple[object, ...]:
    """The options that name the collection, once the disk was brought."""
    words = ("--collection", NAME, "--home", home)
    well(clir("download", "--lang", "fi-en", *words, "--brought", disk))
    return words


def run_of(home: Path, method: str) -> Path:
    return home / "sample" / "fi-en" / method / "runs" / NAME / "run.trec"


def measured(run: dict[str, dict[str, float]], years: list[str]) -> float:
    """Return the MAP that ir-measures gives for the topics of years and their qrels."""
    judged = [row for year in years for row in clef_disk.judgments(year)]
    with_answer = {topic for topic, _, grade in judged if grade}
    qrels = [
        ir_measures.Qrel(f"C{topic:03d}", name, grade)
        for topic, name, grade in judged
        if topic in with_answer
    ]
    scored = [
        ir_measures.ScoredDoc(topic, name, score)
        for topic, scores in run.items()
        for name, score in scores.items()
    ]
    return float(ir_measures.calc_aggregate([ir_measures.AP], qrels, scored)[ir_measures.AP])


def test_map_by_year_is_that_of_ir_measures_on_the_qrels(clir, home, own, tmp_path) -> None:
    deep = ("--set", "search.top_k=1000")
    well(clir("index", *own))
    well(clir("search", "--lang", "fi-en", *METHODS, *own, *deep))
    results = ("--results", tmp_path / "results")
    told = well(
        clir("evaluate", "--lang", "fi-en", *METHODS, *own, *deep, *results, "--metric", "map",
             "--parts", "--json")
    )  # fmt: skip
    value = {(row["method"], row["collection"]): row for row in told.json}
    assert len(value) == 3 * 5
    years = list(clef_disk.YEARS)
    for method in ("bm25", "english-bm25", "english"):
        run = read_run(run_of(home, method))
        for name, judged in [(NAME, years), *((f"{NAME}:{year}", [year]) for year in years)]:
            row = value[method, name]
            assert row["value"] == pytest.approx(measured(run, judged), abs=1e-12), (method, name)
            assert row["queries"] == 20 * len(judged)
        for topic, scores in run.items():
            assert topic >= "C141" or all(name.startswith("LA") for name in scores)
    assert min(len(scores) for topic, scores in read_run(run_of(home, "english")).items()) == 108
    assert (
        "clef-2000-2003 was judged, and is searched and scored: 2000 (C001 to C020), 2001 (C041 to "
        "C060), 2002 (C091 to C110) on Los Angeles Times 1994; 2003 (C141 to C160) on Los Angeles "
        "Times 1994 and Glasgow Herald 1995"
    ) in told.err
    per_query = (tmp_path / "results" / "sample" / "per_query.csv").read_text()
    assert f"{NAME}:" not in per_query


def test_bm25_knows_only_the_documents_of_a_topic(clir, home, own, tmp_path) -> None:
    """The words of the Herald have no part in the score of a topic of 2000."""
    well(clir("search", "--lang", "fi-en", "--method", "english-bm25", *own))
    before = read_run(run_of(home, "english-bm25"))
    place = home / "downloads" / "brought" / NAME
    other = tmp_path / "other"
    shutil.copytree(place / "E0008", other / "E0008")
    for path in (other / "E0008" / clef_disk.ENGLISH / "GlasgowHerald95" / "GH95").glob("*.sgml"):
        path.write_bytes(path.read_bytes().replace(b"<TEXT>\n", b"<TEXT>\nfarmers grain maize "))
    (place / "E0008").unlink()
    well(clir("download", "--lang", "fi-en", *own, "--brought", other / "E0008"))
    well(clir("search", "--lang", "fi-en", "--method", "english-bm25", *own, "--force"))
    after = read_run(run_of(home, "english-bm25"))
    assert {topic: after[topic] for topic in after if topic < "C141"} == {
        topic: before[topic] for topic in before if topic < "C141"
    }
    assert after != before


def test_an_imported_run_is_scored_on_the_pool_too(clir, home, own, tmp_path) -> None:
    names = list(clef_disk.document_names().values())
    ranking = [(name, float(-place)) for place, name in enumerate(reversed(names))]
    topics = [f"C{number:03d}" for number, _, _ in clef_disk.topics("en")]
    path = tmp_path / "theirs.trec"
    write_run(path, dict.fromkeys(topics, ranking), tag="theirs")
    well(clir("import", "run", path, "--method", "theirs", "--lang", "fi-en", *own))
    results = ("--results", tmp_path / "results")
    told = well(clir("evaluate", "--lang", "fi-en", "--method", "theirs", *own, *results,
                     "--metric", "map", "--parts", "--json"))  # fmt: skip
    run = {
        topic: {name: score for name, score in ranking if topic >= "C141" or name[:2] == "LA"}
        for topic in topics
    }
    for row in told.json:
        _, _, year = row["collection"].partition(":")
        years = [year] if year else list(clef_disk.YEARS)
        assert row["value"] == pytest.approx(measured(run, years), abs=1e-12)


def test_runs_that_are_shorter_than_the_tradition_are_told(clir, home, own, tmp_path) -> None:
    few = (*own, "--set", "search.top_k=5")
    well(clir("search", "--lang", "fi-en", "--method", "bm25", *few))
    told = well(clir("evaluate", "--lang", "fi-en", "--method", "bm25", *few, "--metric",
                     "map,mrr,p@5", "--results", tmp_path / "results"))  # fmt: skip
    line = "warning: map (of 1,000 by tradition), mrr (of 1,000 by tradition): runs have 5 docum"
    assert line in told.err


def test_one_query_is_asked_of_the_whole_collection(clir, own) -> None:
    well(clir("index", *own))
    title, _ = next(iter(clef_disk.documents().values()))
    words = ("search", "--lang", "fi-en", "--method", "english", *own, "--query", title, "--json")
    found = well(clir(*words, "--top-k", 144)).json
    assert {hit["document"][:2] for hit in found} == {"LA", "GH"}


def test_a_pair_without_topics_is_left_out_and_the_others_are_scored(
    clir, home, own, tmp_path
) -> None:
    words = ("--lang", "tl-en,fi-en", "--method", "bm25", *own)
    told = well(clir("search", *words))
    assert "tl-en is left out: " in told.err and "no topics in 'tl'" in told.err
    results = ("--results", tmp_path / "results")
    told = well(clir("evaluate", *words, *results, "--metric", "map", "--json"))
    assert [row["pair"] for row in told.json] == ["fi-en"]
    assert "tl-en is left out: " in told.err
    alone = clir("search", "--lang", "tl-en", "--method", "bm25", *own)
    assert alone.code == 2
    assert "no topics in 'tl'" in alone.err
