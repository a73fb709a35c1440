"""Figures of the README are those of committed results, and these are of present experiments."""

import csv
from itertools import dropwhile, takewhile
from pathlib import Path
from statistics import mean

import pytest

from clir_cli.evaluation.significance import mark
from clir_cli.study import experiment
from clir_cli.study.grid import Base, expand

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
# A committed table, and the text before its figures in the README: one row a method.
TABLES = {"open/objectives": "by `clir reproduce objectives --suite open"}


@pytest.fixture(params=TABLES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def committed(name: str) -> list[dict[str, str]]:
    with (ROOT / "results" / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def shown(name: str) -> list[tuple[str, str, str]]:
    """Return method, language and text of each cell of a table of the README."""
    lines = README.partition(TABLES[name])[2].splitlines()
    begin = dropwhile(lambda line: not line.startswith("|"), lines)
    table = takewhile(lambda line: line.startswith("|"), begin)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table]
    header = rows[0]
    body = [row for row in rows if row[0].startswith("`")]
    return [
        (row[0].strip("`"), language, text)
        for row in body
        for language, text in zip(header[1:], row[1:], strict=True)
    ]


def test_figures_of_the_readme_are_the_results(name: str) -> None:
    results, cells = committed(name), shown(name)
    assert cells
    for method, language, text in cells:
        rows = [
            row
            for row in results
            if (row["method"], row["pair"], row["metric"]) == (method, f"{language}-en", "mrr")
        ]
        assert rows, (method, language)
        marks = {mark(*(float(row[key] or "nan") for key in ("p_value", "effect"))) for row in rows}
        figure = f"{mean(float(row['value']) for row in rows):.3f}".removeprefix("0")
        expected = f"{figure} {marks.pop() if len(marks) == 1 else ''}".strip()
        assert text == expected, (method, language)


def test_results_are_of_cells_of_the_present_experiment(name: str) -> None:
    suite, _, title = name.partition("/")
    points = expand(experiment.load(title), Base(suite))
    known = {(str(p.pair), p.cell.method, p.variant, str(p.cell.seed)) for p in points}
    cells = {
        tuple(row[key] for key in ("pair", "method", "variant", "seed")) for row in committed(name)
    }
    assert cells <= known
