"""Selection by held-out sources: which settings win, and that nothing is made twice."""

import csv

import pytest

from benchmarks.selection import Part, main
from clir_cli.errors import UserError
from clir_cli.study.experiment import load
from clir_cli.study.grid import Base, expand

GRID = """
title = "tiny"
question = "Which is best?"
metrics = ["mrr"]

[grid]
pairs = ["sw-en", "de-en"]
methods = ["rows", "kd-cosine"]
"student.neighbours" = [1, 5]

[suites.sample]
settings = { "bitext.held_out_sources" = ["files"] }
"""


def test_a_part_of_the_grid_can_be_taken():
    points = expand(load("benchmarks/selection.toml"), Base("open"))
    rate = "training.learning_rate=1e-4"
    part = Part("sw-en,so-en", "ot,rows", "0,1", (rate, "transport.scale=cost")).of(points)
    assert {str(point.pair) for point in part} == {"sw-en", "so-en"}
    assert {point.cell.seed for point in part} == {0, 1}
    assert {point.cell.method for point in part} == {"ot", "rows"}
    assert {point.settings.training.learning_rate for point in part} == {1e-4}
    names = {point.short.variant for point in part}
    assert {"", "anchor", "entries1", "idf-entries1"} <= names
    assert "spread" not in names
    with pytest.raises(UserError, match="no cell of the grid"):
        Part("xx-en").of(points)
    with pytest.raises(UserError, match=r"did you mean transport\.eps"):
        Part(where=("transport.ep=1",)).of(points)


@pytest.mark.slow
def test_the_grid_is_ranked_by_the_mean_over_languages_and_made_once(quick, home, tmp_path, capsys):
    for language in ("sw", "de"):
        rows = [f"{language} neno {number}\tword {number}\n" for number in range(30)]
        (tmp_path / f"own.{language}.tsv").write_text("".join(rows))
    (tmp_path / "grid.toml").write_text(GRID)
    own = ("--set", f'bitext.files=["{tmp_path}/own.{{lang}}.tsv"]')
    table = tmp_path / "made" / "table.csv"
    words = [str(tmp_path / "grid.toml"), "--suite", "sample", "--home", str(home), *quick, *own]
    assert main([*words, "--output", str(table)]) == 0
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["students"] for row in rows] == ["2"] * 4
    assert {row["method"] for row in rows} == {"rows", "kd-cosine"}
    values = [float(row["held_out_mrr"]) for row in rows]
    assert values == sorted(values, reverse=True)
    for row, value in zip(rows, values, strict=True):
        assert abs((float(row["sw-en"]) + float(row["de-en"])) / 2 - value) < 2e-4
    assert not (home / "sample" / "index").exists()
    students = sorted((home / "sample").glob("*/*/student/manifest.json"))
    assert len(students) == 8
    times = [path.stat().st_mtime_ns for path in students]
    assert main([*words, "--output", str(table)]) == 0
    assert [path.stat().st_mtime_ns for path in students] == times
    assert list(csv.DictReader(table.read_text().splitlines())) == rows
    (tmp_path / "grid.toml").write_text(GRID.replace('["files"]', "[]"))
    assert main([*words, "--output", str(table)]) == 2
    assert "no source is held out" in capsys.readouterr().err
