"""Figures of the pages are those of committed results, and these are of present experiments."""

import csv
import re
from itertools import dropwhile, takewhile
from pathlib import Path
from statistics import mean

import pytest

from benchmarks import across_languages
from benchmarks.by_length import signed
from clir_cli.evaluation import gaps
from clir_cli.evaluation.scores import KEY, PER_QUERY_COLUMNS, read_rows
from clir_cli.evaluation.significance import mark
from clir_cli.study import experiment
from clir_cli.study.grid import Base, expand

ROOT = Path(__file__).resolve().parents[1]
# A committed table, the page that has its figures in one row a method, the text before them there,
# their metric and collection.
TABLES = {
    "open/objectives": ("README.md", "by `clir reproduce objectives --suite open", "mrr", "ntrex"),
    "open/articles": (
        "docs/results.md",
        "clir reproduce articles --suite open",
        "map",
        "ntrex-articles",
    ),
    "open/few_pairs": (
        "docs/results.md",
        "clir reproduce few_pairs --suite open",
        "map",
        "ntrex-articles",
    ),
}


@pytest.fixture(params=TABLES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def committed(name: str) -> list[dict[str, str]]:
    with (ROOT / "results" / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def shown(name: str) -> list[tuple[str, str, str]]:
    """Return method, language and text of each cell of a page's table."""
    page, start, *_ = TABLES[name]
    lines = (ROOT / page).read_text("utf-8").partition(start)[2].splitlines()
    begin = dropwhile(lambda line: not line.startswith("|"), lines)
    table = takewhile(lambda line: line.startswith("|"), begin)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table]
    header = rows[0]
    body = [row for row in rows if re.fullmatch("`[^`]+`", row[0])]
    return [
        (row[0].strip("`"), language, text)
        for row in body
        for language, text in zip(header[1:], row[1:], strict=True)
    ]


def test_figures_of_the_pages_are_the_results(name: str) -> None:
    results, cells, chosen = committed(name), shown(name), TABLES[name][2:]
    assert cells
    for method, language, text in cells:
        rows = [
            row
            for row in results
            if (row["method"], row["pair"]) == (method, f"{language}-en")
            and (row["metric"], row["collection"]) == chosen
        ]
        assert rows, (method, language)
        marks = {mark(*(float(row[key] or "nan") for key in ("p_value", "effect"))) for row in rows}
        figure = f"{mean(float(row['value']) for row in rows):.3f}".removeprefix("0")
        expected = f"{figure} {marks.pop() if len(marks) == 1 else ''}".strip()
        assert text == expected, (method, language)


# Tables of docs/findings.md: their header, experiment, the setting of their rows, its values there.
FINDINGS = (
    ("| share of English batches | sw |", "hybrid_batch", "contrastive.alpha", {}),
    ("| layers | parameters |", "model_scale", "student.layers", {"6": "0"}),
)


@pytest.mark.parametrize(("start", "title", "setting", "names"), FINDINGS)
def test_figures_of_the_findings_are_the_results(start, title, setting, names) -> None:
    lines = (ROOT / "docs" / "findings.md").read_text("utf-8").splitlines()
    table = takewhile(lambda line: line, dropwhile(lambda line: not line.startswith(start), lines))
    head, _, *body = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table]
    results = [row for row in committed(f"open/{title}") if row["metric"] == "map"]
    seen = 0
    for first, *cells in body:
        method = "hybrid"
        for name, text in zip(head[1:], cells, strict=True):
            method = "hybrid-english" if name.startswith("English queries") else method
            language = name.rpartition(" ")[2]
            (*rows,) = (
                float(row["value"])
                for row in results
                if (row["method"], row["pair"]) == (method, f"{language}-en")
                and float(row[setting]) == float(names.get(first, first))
            )
            if rows:
                assert text == f"{mean(rows):.3f}".removeprefix("0"), (first, name)
                seen += 1
    assert seen >= 16


@pytest.mark.parametrize(
    "path", sorted((ROOT / "results" / "open").glob("*.csv")), ids=lambda p: p.stem
)
def test_results_are_of_cells_of_the_present_experiment(path: Path) -> None:
    suite, title = path.parent.name, path.stem
    name = f"{suite}/{title}"
    points = expand(experiment.load(title), Base(suite))
    known = {(str(p.pair), p.cell.method, p.variant, str(p.cell.seed)) for p in points}
    cells = {
        tuple(row[key] for key in ("pair", "method", "variant", "seed"))
        for row in committed(name)
        if row["pair"] != gaps.ALL_PAIRS
    }
    assert cells <= known


def test_expected_scores_are_the_results(name: str) -> None:
    suite, _, title = name.partition("/")
    for score in experiment.load(title).expected:
        rows = [
            float(row["value"])
            for row in committed(name)
            if (row["method"], row["pair"]) == (score.method, score.pair)
            and (row["metric"], row["collection"]) == (score.metric, TABLES[name][3])
        ]
        if score.suite == suite:
            assert score.value == pytest.approx(mean(rows), abs=0.0005), score
            assert max(abs(score.value - value) for value in rows) <= score.tolerance, score


def test_values_by_query_are_those_of_the_tables() -> None:
    """So that --from-results resumes from what is committed."""
    table = ROOT / "results" / "open" / "per_query.csv.gz"
    _, rows = read_rows(table, PER_QUERY_COLUMNS, ["value"])
    values: dict[tuple[str, ...], list[float]] = {}
    for row in rows:
        values.setdefault(tuple(str(row[key]) for key in KEY[1:]), []).append(row["value"])
    seen = 0
    for name in TABLES:
        for row in committed(name):
            if by_query := values.get(tuple(row[key] for key in KEY[1:])):
                assert mean(by_query) == pytest.approx(float(row["value"]), abs=1e-9), row
                assert len(by_query) == int(row["queries"])
                seen += 1
    assert seen > 100


def test_tables_over_four_languages_are_those_of_the_values_by_query() -> None:
    text = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    for table in across_languages.tables(ROOT / "results" / "open"):
        assert table in text


def test_differences_of_the_pages_are_those_of_the_results() -> None:
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    lines = page.partition("clir reproduce articles --suite open")[2].splitlines()
    shown = [
        re.split(r" *\| *", line)[1:-1] for line in lines if line.startswith("| `ot+score` - `")
    ]
    assert len(shown) == 3
    for name, *cells in shown:
        rows = {
            row["pair"]: {key: -float(row[key]) for key in ("difference", "ci_low", "ci_high")}
            | {"p": float(row["p_value"])}
            for row in committed("open/differences/articles")
            if (row["metric"], row["method"]) == ("map", name.split("`")[3])
        }
        for language, cell in zip(("sw", "so", "tl", "mr"), cells, strict=True):
            row = rows[f"{language}-en"]
            value, low, high = map(signed, (row["difference"], row["ci_high"], row["ci_low"]))
            found = re.fullmatch(r"(\S+) \[(\S+), (\S+)\], p (.+)", cell.strip("*"))
            assert found, cell
            expected = (value, low.removeprefix("+"), high.removeprefix("+"))
            assert found.groups()[:3] == expected, (name, language)
            digits = len(found[4]) - 1
            rounded = f"{row['p']:.{digits}f}".removeprefix("0")
            assert found[4] == (rounded if row["p"] >= 0.001 else "< .001"), (name, language)


def test_hours_of_the_findings_are_those_of_the_tables_of_time() -> None:
    text = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    lines = text.partition("| experiment | students |")[2].splitlines()
    shown = [re.split(r" *\| *", line)[1:-1] for line in lines if line.startswith("| `")]
    assert len(shown) > 3
    for name, *figures in shown:
        rows = committed(f"open/time/{name.strip('`')}")
        trained = [row for row in rows if row["stage"] in ("distill", "train")]
        searched = [row for row in rows if row["stage"] == "search"]
        students = sum(int(row["artifacts"]) for row in trained)
        hours = [
            f"{sum(float(row['hours']) for row in part):.1f}".removeprefix("0")
            for part in (trained, searched)
        ]
        assert figures == [str(students), *hours], name
