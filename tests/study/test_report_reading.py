"""What a report reads: seeds, methods with other queries, variants, and the axes of experiments."""

import json
from dataclasses import replace

import pandas as pd
import pytest
from report_tables import AXIS, experiment_rows, write_experiment

from clir_cli.evaluation import scores
from clir_cli.evaluation.seeds import Seeded
from clir_cli.stages.support.workspace import Workspace
from clir_cli.study.report import score_sections
from clir_cli.study.report.blocks import TableBlock
from clir_cli.study.report.data import CollectionScores, Results, ScoreKey, read
from clir_cli.study.report.experiment_sections import axis_of, free_axes, grid_values
from clir_cli.study.report.focus import focus_on
from clir_cli.study.report.page import report
from clir_cli.suites import load_settings


def test_several_seeds_become_one_score_with_their_spread(tmp_path):
    rows, per_query = [], []
    for seed, values in ((0, (0.2, 0.6)), (1, (0.4, 1.0))):
        key = {"suite": "sample", "collection": "sample", "pair": "sw-en", "method": "ot",
               "variant": "", "seed": seed, "metric": "map"}  # fmt: skip
        mean = sum(values) / 2
        rows.append({**key, "value": mean, "queries": 2, "ci_low": mean, "ci_high": mean})
        per_query += [{**key, "query": f"q{n}", "value": v} for n, v in enumerate(values)]
    folder = tmp_path / "results" / "sample"
    scores.update(folder / "scores.csv", rows, scores.COLUMNS)
    scores.update(folder / "per_query.csv", per_query, scores.PER_QUERY_COLUMNS)
    workspace = Workspace(load_settings("sample"), tmp_path)
    found = read(workspace, tmp_path / "results")
    (collection,) = found.collections
    ((key, score),) = collection.scores.items()
    assert (collection.name, *key) == ("sample", "sw-en", "ot", "map")
    assert score.value == pytest.approx(0.55)
    assert score.spread == pytest.approx(0.3 / 2**0.5)
    assert score.seeds == (0, 1)
    assert score.low < 0.4 <= 0.7 < score.high
    assert collection.per_query["sw-en", "ot", "map"] == pytest.approx({"q0": 0.3, "q1": 0.8})


def test_methods_with_other_queries_are_shown_and_not_compared(tmp_path):
    rows, per_query = [], []
    for method, names in (("ot", "abc"), ("bm25", "abc"), ("zero-shot", "abd")):
        key = {"suite": "sample", "collection": "sample", "pair": "sw-en", "method": method,
               "variant": "", "seed": 0, "metric": "map"}  # fmt: skip
        rows.append({**key, "value": 0.5, "queries": 3, "ci_low": 0.4, "ci_high": 0.6})
        values = (0.2, 0.5, 0.8) if method == "ot" else (0.3, 0.6, 0.6)
        per_query += [{**key, "query": q, "value": v} for q, v in zip(names, values, strict=True)]
    folder = tmp_path / "results" / "sample"
    scores.update(folder / "scores.csv", rows, scores.COLUMNS)
    scores.update(folder / "per_query.csv", per_query, scores.PER_QUERY_COLUMNS)
    found = read(Workspace(load_settings("sample"), tmp_path), tmp_path / "results")
    focus = focus_on(found, 0.95, "t")
    (table,) = [
        block
        for section in score_sections.scores(found, focus)
        for block in section.blocks
        if isinstance(block, TableBlock)
    ]
    cells = dict(zip(table.head, table.rows[0], strict=True))
    assert (focus.method, cells["zero-shot"].text) == ("ot", "0.500")
    assert [name for name, cell in cells.items() if "p " in cell.small] == ["bm25"]


def test_variants_without_the_method_itself_are_shown_and_those_that_are_named(tmp_path):
    def score(variant: str) -> dict[str, object]:
        return {"suite": "sample", "collection": "sample", "pair": "sw-en", "method": "ot",
                "variant": variant, "seed": 0, "metric": "map", "value": 0.5, "queries": 80,
                "ci_low": 0.4, "ci_high": 0.6}  # fmt: skip

    folder = tmp_path / "results/sample"
    write_experiment(folder, experiment_rows(), "eps_ablation")
    scores.publish(folder, [score("eps0.2"), score("eps0.05")], [])
    workspace = Workspace(load_settings("sample"), tmp_path)
    found = read(workspace, tmp_path / "results")
    assert (found.labels, found.left_to_experiments) == (["ot.eps0.05", "ot.eps0.2"], [])
    scores.publish(folder, [score("")], [])
    found = read(workspace, tmp_path / "results")
    assert (found.labels, found.left_to_experiments) == (["ot"], ["ot.eps0.05", "ot.eps0.2"])
    assert "ot.eps0.2" in report(workspace, tmp_path / "results", method="ot.eps0.2").html
    assert replace(found, named=("ot.eps0.2",)).labels == ["ot", "ot.eps0.2"]


def frame(name: str, values: list[object]) -> pd.DataFrame:
    rows = [{"method": "ot", "variant": f"v{v}", "pair": "sw-en", name: v, "value": 0.5,
             "ci_low": 0.4, "ci_high": 0.6} for v in values]  # fmt: skip
    return pd.DataFrame(rows).astype({name: str})


@pytest.mark.parametrize(
    ("name", "values", "order", "places"),
    [
        (AXIS, [0.2, 0.05, 0.1], ["0.05", "0.1", "0.2"], [0.05, 0.1, 0.2]),
        (AXIS, [1.0, 0.001], ["0.001", "1.0"], [0, 1]),  # far apart: at equal distances
        ("bitext.max_pairs", [0, 400, 100], ["100", "400", "0"], [0, 1, 2]),  # 0 takes all
        ("student.layers", [1, 2, 0], ["1", "2", "0"], [0, 1, 2]),
        ("student.vocabulary", ["initial", "extended"], [], []),
        (AXIS, [0.05], [], []),
    ],
)
def test_a_line_runs_over_an_axis_of_numbers(name, values, order, places):
    axis = axis_of(frame(name, values), [name])
    assert list(axis.positions) == order
    assert list(axis.positions.values()) == places


def test_what_an_axis_does_not_touch_is_a_line_of_its_own(tmp_path):
    write_experiment(tmp_path, experiment_rows(), "eps_ablation")
    rows = pd.read_csv(tmp_path / "eps_ablation.csv", dtype=str, keep_default_na=False)
    rows = rows[rows["error"] == ""].astype({"value": float, "ci_low": float, "ci_high": float})
    values = grid_values(Results("sample"), rows, [AXIS], axis_of(rows, [AXIS]))
    assert [(value.estimate.label, value.at) for value in values] == [
        ("ot", "0.02"), ("ot", "0.05"), ("ot", "0.2"), ("english", ""),
    ]  # fmt: skip


def test_settings_that_change_together_are_a_variant_and_no_axis() -> None:
    common = {"collection": "sample", "pair": "sw-en", "metric": "map", "seed": "0", "value": 0.5,
              "ci_low": 0.4, "ci_high": 0.6}  # fmt: skip
    axes = ["teacher.model", "teacher.document_tokens", AXIS]
    rows = pd.DataFrame(
        [{**common, "method": method, "variant": f"{name}{eps}", "teacher.model": name or "own",
          "teacher.document_tokens": "128" if name else "256", AXIS: eps}
         for method in ("ot", "kd-mse") for name in ("", "of-tokens.") for eps in ("0.1", "0.2")]
    )  # fmt: skip
    assert free_axes(rows, axes) == [AXIS]
    alone = rows[rows[AXIS] == "0.1"].assign(variant=lambda table: table["variant"].str[:-4])
    assert free_axes(alone, axes[:2]) == []
    labels = [
        value.estimate.label
        for value in grid_values(Results("sample"), alone, axes[:2], axis_of(alone, []))
    ]
    assert labels == ["ot", "ot, of-tokens", "kd-mse", "kd-mse, of-tokens"]


def test_seeds_of_a_cell_are_one_place_of_its_line() -> None:
    row = {"collection": "sample", "pair": "sw-en", "method": "ot", "variant": "eps0.1",
           "metric": "map", AXIS: "0.1"}  # fmt: skip
    rows = pd.DataFrame(
        [{**row, "seed": str(seed), "value": value, "ci_low": value - 0.1, "ci_high": value + 0.1}
         for seed, value in ((0, 0.4), (1, 0.6))]
    )  # fmt: skip
    (value,) = grid_values(Results("sample"), rows, [AXIS], axis_of(rows, [AXIS]))
    assert (value.estimate.value, value.estimate.low, value.estimate.high) == pytest.approx(
        (0.5, 0.3, 0.7)
    )
    score = Seeded(0.5, 0.1, 0.45, 0.55, (0, 1), 80)
    known = CollectionScores("sample", {ScoreKey("sw-en", "ot.eps0.1", "map"): score})
    (value,) = grid_values(Results("sample", [known]), rows, [AXIS], axis_of(rows, [AXIS]))
    assert (value.estimate.value, value.estimate.low, value.estimate.high) == (0.5, 0.45, 0.55)


def test_an_own_experiment_has_its_title_its_question_and_its_command(tmp_path):
    write_experiment(tmp_path / "results/sample", experiment_rows(), "mine")
    folder = tmp_path / "home/sample/experiments/mine"
    folder.mkdir(parents=True)
    command = "clir reproduce --suite sample --set training.epochs=1 /home/me/mine.toml"
    manifest = {"fingerprint": "f", "config": {}, "inputs": {}, "files": {}, "command": command}
    manifest |= {"notes": {"title": "Soft or hard", "question": "How soft?"}, "source": "gone.toml"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    workspace = Workspace(load_settings("sample"), tmp_path / "home")
    (table,) = read(workspace, tmp_path / "results").experiments
    assert (table.title, table.question) == ("Soft or hard", "How soft?")
    assert table.command == command.replace("/home/me/", "")
    source = tmp_path / "mine.toml"
    source.write_text(
        'title = "New title"\nquestion = "Q?"\nmetrics = ["map"]\n[grid]\nmethods = ["ot"]\n'
    )
    (folder / "manifest.json").write_text(json.dumps({**manifest, "source": str(source)}))
    (table,) = read(workspace, tmp_path / "results").experiments
    assert (table.title, table.question) == ("New title", "Q?")
