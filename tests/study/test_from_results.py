"""reproduce --from-results: what a table of results has is not made again."""

import csv
import gzip
import shutil

import pytest
from outcomes import refused, well
from study_helpers import made

BM25 = """
title = "tiny"
question = "Does it run?"
metrics = ["map", "mrr"]
baseline = "english-bm25"

[grid]
pairs = ["sw-en"]
methods = ["bm25", "english-bm25"]
"""


def rows_of(path) -> list[dict[str, str]]:
    """Return the rows of a table without their commands, which name the home."""
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [{key: value for key, value in row.items() if key != "command"} for row in rows]


@pytest.fixture
def results(clir, quick, experiment, home, tmp_path):
    """Make the experiment; return the folder of its results."""
    path = experiment(text=BM25)
    where = ("--home", home, "--results", tmp_path / "results")
    well(clir("reproduce", *quick, path, *where))
    return tmp_path / "results" / "sample"


@pytest.mark.parametrize("packed", [False, True])
def test_a_study_resumes_from_its_results_alone(clir, quick, experiment, results, tmp_path, packed):
    path = experiment(text=BM25)
    first = rows_of(results / "tiny.csv")
    assert {row["method"] for row in first} == {"bm25", "english-bm25"}
    if packed:
        table = results / "per_query.csv"
        (results / "per_query.csv.gz").write_bytes(gzip.compress(table.read_bytes()))
        table.unlink()
    (results / "tiny.csv").unlink()
    elsewhere = ("--home", tmp_path / "new", "--results", tmp_path / "results", "--from-results")
    outcome = well(clir("reproduce", *quick, path, *elsewhere))
    assert "2 of 2 cells have scores in results" in outcome.err
    assert made(outcome.err) == {"evaluate": 1}
    assert rows_of(results / "tiny.csv") == first  # intervals and p-values too
    assert not list((tmp_path / "new").rglob("runs"))
    planned = well(clir("reproduce", *quick, path, *elsewhere, "--dry-run")).out
    assert {line.split()[0] for line in planned.splitlines()} == {"there"}


def test_what_results_lack_is_made(clir, quick, experiment, results, home, tmp_path):
    text = BM25.replace('"bm25", ', '"bm25", "dictionary-bm25", ')
    shutil.rmtree(home / "sample")
    where = ("--home", home, "--results", tmp_path / "results", "--from-results")
    outcome = well(clir("reproduce", *quick, experiment(text=text), *where))
    assert made(outcome.err)["search"] == 1
    assert {row["method"] for row in rows_of(results / "tiny.csv")} == {
        "bm25", "english-bm25", "dictionary-bm25",
    }  # fmt: skip


def test_results_that_are_not_there_or_damaged_are_refused(
    clir, quick, experiment, results, home, tmp_path
):
    path = experiment(text=BM25)
    where = ("--home", home, "--from-results", "--results")
    said = refused(clir("reproduce", *quick, path, *where, tmp_path / "none"))
    assert "per_query.csv, nor per_query.csv.gz beside it" in said
    packed = gzip.compress((results / "per_query.csv").read_bytes())
    (results / "per_query.csv.gz").write_bytes(packed[:-20])
    said = refused(clir("reproduce", *quick, path, *where, tmp_path / "results"))
    assert "per_query.csv.gz: not a score table of clir" in said
