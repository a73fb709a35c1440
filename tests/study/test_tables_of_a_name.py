"""Tables are published whole, and each under a name of its own."""

import shutil
from pathlib import Path

import pytest

from clir_cli.study.experiment import load
from clir_cli.suites import bundled

GRID = """
title = "{}"
question = "Which?"
metrics = ["{}"]
baseline = "bm25"

[grid]
pairs = ["sw-en"]
methods = ["bm25", "english-bm25"]
"""


def refused(outcome) -> str:
    assert outcome.code == 2, outcome.err
    return outcome.err.splitlines()[-1]


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def results(reproduce, tmp_path):
    """Reproduce ``a/one.toml``; return the folder of the tables."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.toml").write_text(GRID.format("one", "map"))
    assert reproduce(tmp_path / "a" / "one.toml").code == 0
    return tmp_path / "results" / "sample"


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("table.csv", lambda content: content[: len(content) // 2]),
        ("table.csv", lambda content: content.replace(b"0.", b"9.", 1)),
        ("per_query.csv", lambda content: b"".join(content.splitlines(True)[:-1])),
    ],
)
def test_a_damaged_table_is_not_published(reproduce, results, home, tmp_path, name, damage):
    before, path = contents(results), home / "sample" / "experiments" / "one" / name
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    (results / "one.csv").unlink()  # so that it is published again
    outcome = reproduce(tmp_path / "a" / "one.toml")
    assert outcome.code == 0, outcome.err
    assert f"{path}: " in outcome.err
    assert path.read_bytes() == whole
    assert contents(results) == before


@pytest.mark.parametrize("name", ["scores", "per_query", "Scores", "PER_QUERY", "optical", ".x"])
def test_a_name_of_another_table_is_refused(reproduce, results, tmp_path, name):
    before, path = contents(results), tmp_path / f"{name}.toml"
    path.write_text(GRID.format("other", "map"))
    said = refused(reproduce(path))
    assert f"{path}: " in said
    assert said.endswith("; rename the file")
    assert contents(results) == before
    assert not (tmp_path / "artifacts/sample/experiments" / name).exists()


def test_an_experiment_of_clir_can_be_named_by_its_file(clir, home):
    path = bundled("experiments") / "optical.toml"
    assert clir("reproduce", path, "--dry-run", "--home", home).code == 0


def test_a_file_of_the_same_name_in_another_folder_is_refused(reproduce, results, tmp_path):
    before = contents(results)
    (tmp_path / "b").mkdir()
    shutil.copy(tmp_path / "a" / "one.toml", tmp_path / "b")
    assert reproduce(tmp_path / "b" / "one.toml").code == 0  # the same experiment, moved
    (tmp_path / "b" / "one.toml").write_text(GRID.format("another", "mrr"))
    said = refused(reproduce(tmp_path / "b" / "one.toml"))
    assert f"is of {tmp_path / 'a' / 'one.toml'}, and {tmp_path / 'b' / 'one.toml'}" in said
    assert contents(results) == before
    (tmp_path / "a" / "one.toml").write_text(GRID.format("edited", "mrr"))
    assert reproduce(tmp_path / "a" / "one.toml").code == 0
    assert contents(results)["one.csv"] != before["one.csv"]


def test_an_experiment_of_clir_is_the_same_in_another_checkout(
    reproduce, results, tmp_path, monkeypatch
):
    before = contents(results)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "one.toml").write_text(GRID.format("later", "mrr"))
    assert load("optical").source == ""
    monkeypatch.setattr("clir_cli.study.experiment.bundled", lambda _: tmp_path / "b")
    outcome = reproduce(tmp_path / "b" / "one.toml")
    assert outcome.code == 0, outcome.err
    assert contents(results)["one.csv"] != before["one.csv"]


def test_the_runs_of_another_folder_are_not_replaced(
    reproduce, results, home, small_collection, tmp_path
):
    other = tmp_path / "other" / "small"
    shutil.copytree(small_collection, other)
    lines = (other / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
    (other / "corpus.jsonl").write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    judged = (other / "qrels" / "test.tsv").read_text().splitlines()
    last = lines[-1].split('"_id": "')[1].split('"')[0]
    kept = [row for row in judged if row.split("\t")[1] != last]
    (other / "qrels" / "test.tsv").write_text("\n".join(kept) + "\n")
    (tmp_path / "two.toml").write_text(GRID.format("two", "map"))
    before = contents(home / "sample" / "sw-en" / "bm25" / "runs" / "small")
    outcome = reproduce(tmp_path / "two.toml", "--set", f"collection={other}")
    assert outcome.code == 2
    assert f"is of {small_collection}, and {other} has the same name" in outcome.err
    assert contents(home / "sample" / "sw-en" / "bm25" / "runs" / "small") == before


def test_tables_that_disagree_are_not_reported(clir, results, home, tmp_path):
    words = ("report", "--results", tmp_path / "results", "--home", home, "--output")
    path = results / "per_query.csv"
    text = path.read_text()
    assert clir(*words, tmp_path / "one.html").code == 0
    lines = text.splitlines()
    rows = (n for n, line in enumerate(lines) if ",english-bm25," in line)
    row = next(n for n in rows if lines[n].endswith(",1.0"))
    lines[row] = lines[row][:-3] + "0.0"
    path.write_text("\n".join(lines) + "\n")
    said = refused(clir(*words, tmp_path / "two.html"))
    assert "scores.csv and per_query.csv differ in map of english-bm25 on sw-en" in said
    assert not (tmp_path / "two.html").exists()
