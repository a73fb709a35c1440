"""Tables that people read, from tidy rows."""

import json

import pytest
from study_helpers import GRID

from clir_cli import display
from clir_cli.study import results, tables
from clir_cli.study.experiment import Expected, TableLayout, load
from clir_cli.study.grid import Base, expand
from clir_cli.study.results import verdict
from clir_cli.study.watch import spell


def row(pair, method, value, **more):
    plain = {
        "pair": pair, "method": method, "variant": "", "seed": 0, "collection": "sample",
        "metric": "map", "value": value, "ci_low": 0.1, "ci_high": 0.9, "baseline": "zero-shot",
        "queries": 80, "p_value": None, "effect": None, "verdict": None, "error": None,
    }  # fmt: skip
    return {**plain, **more}


ROWS = [
    row("sw-en", "zero-shot", 0.2),
    row("sw-en", "ot", 0.5, p_value=0.001, effect=0.9, verdict="OK"),
    row("sw-en", "ot", 0.7, p_value=0.001, effect=0.9, seed=1, verdict="FAIL"),
    row("de-en", "zero-shot", 0.4),
    row("de-en", "ot", 0.3, p_value=0.01, effect=-0.4),
    row("de-en", "kd_mse", None, error="out of memory"),
    row("sw-en", "ot", 0.9, metric="mrr"),
]


def test_a_method_without_seeds_is_no_further_seed():
    rows = [row("sw-en", "english", 0.8), row("sw-en", "ot", 0.5, seed=1)]
    notes = tables.draw("A title", rows, TableLayout(), "map").notes
    assert not any("seeds" in note for note in notes)


def test_cells_tell_interval_seeds_significance_verdict_and_failure():
    table = tables.draw("A title", ROWS, TableLayout(), "map")
    assert table.title == "A title: MAP"
    assert table.header == ["pair", "zero-shot", "kd_mse", "ot"]
    assert table.rows == [
        ["sw-en", "0.200 [0.100, 0.900]", "-", "0.600 ± 0.141 ▲ ✗"],
        ["de-en", "0.400 [0.100, 0.900]", "failed", "0.300 [0.100, 0.900] ▼"],
    ]
    assert table.notes == [
        "n = 80 queries; 95 % intervals by bootstrap",
        "▲ ▼: above or below zero-shot by a paired t-test, p < .05 after Holm's correction",
        "against expected scores: OK 1, FAIL 1",
        "± standard deviation over 2 seeds",
    ]


def test_a_mark_is_of_all_seeds_and_those_that_failed_are_counted():
    rows = [
        row("sw-en", "ot", 0.5, p_value=0.001, effect=0.9),
        row("sw-en", "ot", 0.5, p_value=0.5, effect=0.1, seed=1),
        row("sw-en", "kd-mse", 0.3, p_value=0.001, effect=-0.9),
        row("sw-en", "kd-mse", None, seed=1, error="out of memory"),
    ]
    table = tables.draw("t", rows, TableLayout(), "map")
    assert table.rows == [["sw-en", "0.500 ± 0.000", "0.300 [0.100, 0.900] (1 of 2) ▼"]]


def test_settings_are_dimensions_too():
    rows = [row("sw-en", "ot", 0.5, **{"transport.eps": eps}) for eps in (0.05, 0.2)]
    table = tables.draw("t", rows, TableLayout(columns=["method", "transport.eps"]), "map")
    assert table.header == ["pair", "ot, eps 0.05", "ot, eps 0.2"]


def test_columns_go_from_baselines_over_values_to_the_ceiling():
    cells = [("english", None), ("ot", 0.5), ("zero-shot", None), ("ot", 0.05), ("bm25", None)]
    rows = [
        row("sw-en", method, 0.5, metric="ndcg@10", **{"transport.eps": eps})
        for method, eps in cells
    ]
    table = tables.draw("t", rows, TableLayout(columns=["method", "transport.eps"]), "ndcg@10")
    assert table.title == "t: nDCG@10"
    assert table.header == ["pair", "zero-shot", "bm25", "ot, eps 0.05", "ot, eps 0.5", "english"]


def test_what_rows_of_a_cell_differ_in_is_noted():
    rows = [row("sw-en", "ot", value, variant=f"v{value}") for value in (0.4, 0.6)]
    layout = TableLayout(columns=["method"])
    assert tables.draw("t", rows, layout, "map").notes[-1] == (
        "± also over variant, which rows and columns leave out"
    )
    assert len(tables.draw("t", rows, TableLayout(), "map").notes) == 2


def test_markdown_and_latex(capsys):
    table = tables.draw("A title", ROWS, TableLayout(), "map")
    tables.markdown(table)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:4] == ["| pair | zero-shot | kd_mse | ot |", "| --- | ---: | ---: | ---: |"]
    tables.latex(table)
    text = capsys.readouterr().out
    assert r"pair & zero-shot & kd\_mse & ot \\" in text
    assert r"0.600 $\pm$ 0.141 $\uparrow$ $\times$" in text
    assert text.count(r"\\") == 3
    tables.text(table)
    assert "0.600 ± 0.141 ▲ ✗" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["None", "NA", "null", "nan", "NaN", "N-A", "1e5", "True"])
def test_a_variant_is_what_it_is_called(experiment, tmp_path, name):
    variants = f'[[variants]]\nname = "{name}"\nset = {{ "student.min_count" = 4 }}\n'
    points = expand(load(str(experiment("tiny", GRID + variants))), Base("sample"))
    rows = [
        row(point.pair, point.cell.method, value, variant=point.variant, **point.values)
        for value, point in enumerate(points)
    ]
    axes = dict.fromkeys(key for point in points for key in point.values)
    results._write(tmp_path / "t.csv", rows, [*results.KEY, *axes, *results.FIGURES])
    read = results.read(tmp_path / "t.csv", points)
    assert [each["variant"] for each in read] == [point.variant for point in points]
    assert f"{name}-eps0.2" in {each["variant"] for each in read}
    assert [each["transport.eps"] for each in read] == [p.values["transport.eps"] for p in points]
    assert [(each["value"], each["ci_low"], each["p_value"], each["error"]) for each in read] == [
        (float(value), 0.1, None, None) for value in range(len(points))
    ]
    table = tables.draw("t", read, TableLayout(), "map")
    assert len(table.header) == 1 + len(points)  # no two of them are one


ODD = "a|b*c*\n\\input{x} [l](u) <b> &lt; `d` ~~e~~ __f__ \x1b[1m %"


def test_texts_stay_texts_in_markdown_and_latex(capsys):
    table = tables.TextTable(ODD, [ODD, "kd_x"], [["[0.1, 0.2] ~", ODD], ["*", "#"]], [ODD])
    tables.markdown(table)
    title, _, head, _, first, *_, note = capsys.readouterr().out.rstrip("\n").split("\n")
    text = r"a\|b\*c\* \\input{x} [l\](u) \<b> \&lt; \`d\` \~\~e\~\~ \_\_f\_\_ ␛[1m %"
    assert (title, note) == (f"**{text}**", text)
    assert (head, first) == (f"| {text} | kd_x |", f"| [0.1, 0.2] ~ | {text} |")
    tables.latex(table)
    lines = capsys.readouterr().out.rstrip("\n").split("\n")
    assert lines[0].startswith("% a\\textbar{}b*c* \\textbackslash{}input\\{x\\}")
    assert lines[-1] == lines[0]
    assert all("input{x}" not in line for line in lines[1:-1])
    assert r"a\textbar{}b*c* \textbackslash{}input\{x\}" in lines[3]
    assert r"\%" in lines[3]
    assert [line[:4] for line in lines[5:7]] == ["{}[0", "{}* "]
    assert len(lines) == 10


def test_json_has_no_infinite_number(capsys):
    display.print_json([{"effect": float("inf"), "value": (0.5, float("nan"))}])
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == [
        {"effect": None, "value": [0.5, None]}
    ]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0.5, "OK"),
        (0.52, "OK"),
        (0.48, "OK"),
        (0.53, "about OK"),
        (0.46, "about OK"),
        (0.55, "FAIL"),
    ],
)
def test_verdicts(value, told):
    wanted = Expected(
        suite="sample", pair="sw-en", method="ot", metric="map", value=0.5, tolerance=0.02
    )
    assert verdict(value, wanted) == told


def test_durations_for_people():
    assert [spell(each) for each in (0.2, 89, 90, 3599, 3600, 7500)] == [
        "0 s", "89 s", "2 min", "1 h 0 min", "1 h 0 min", "2 h 5 min",
    ]  # fmt: skip
