"""Tables that people read, from tidy rows."""

import pytest

from clir_cli.study import tables
from clir_cli.study.experiment import Expected, TableLayout
from clir_cli.study.results import verdict
from clir_cli.study.watch import spell


def row(pair, method, value, **more):
    plain = {
        "pair": pair, "method": method, "variant": "", "seed": 0, "collection": "sample",
        "metric": "map", "value": value, "ci_low": 0.1, "ci_high": 0.9, "baseline": "zero-shot",
        "p_value": None, "effect": None, "verdict": None, "error": None,
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


def test_cells_tell_interval_seeds_significance_verdict_and_failure():
    table = tables.draw("A title", ROWS, TableLayout(), "map")
    assert table.title == "A title: map"
    assert table.header == ["pair", "zero-shot", "ot", "kd_mse"]
    assert table.rows == [
        ["sw-en", "0.200 [0.100, 0.900]", "0.600 ± 0.141 ▲ ✗", "-"],
        ["de-en", "0.400 [0.100, 0.900]", "0.300 [0.100, 0.900] ▼", "failed"],
    ]
    assert table.notes == [
        "▲ ▼: above or below zero-shot, p < .05 after Holm's correction",
        "against expected scores: OK 1, FAIL 1",
        "± standard deviation over 2 seeds",
    ]


def test_settings_are_dimensions_too():
    rows = [row("sw-en", "ot", 0.5, **{"transport.eps": eps}) for eps in (0.05, 0.2)]
    table = tables.draw("t", rows, TableLayout(columns=["method", "transport.eps"]), "map")
    assert table.header == ["pair", "ot, eps 0.05", "ot, eps 0.2"]


def test_markdown_and_latex(capsys):
    table = tables.draw("A title", ROWS, TableLayout(), "map")
    tables.markdown(table)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:4] == ["| pair | zero-shot | ot | kd_mse |", "| --- | ---: | ---: | ---: |"]
    tables.latex(table)
    text = capsys.readouterr().out
    assert r"pair & zero-shot & ot & kd\_mse \\" in text
    assert r"0.600 $\pm$ 0.141 $\uparrow$ $\times$" in text
    assert text.count(r"\\") == 3
    tables.text(table)
    assert "0.600 ± 0.141 ▲ ✗" in capsys.readouterr().out


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
