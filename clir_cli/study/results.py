"""The tidy table of an experiment: a row for each cell and metric.

It is an artifact as any other, made again when a run, the qrels or the experiment's file have
changed; ``results/<suite>/<experiment>.csv`` is a copy of it for people.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from clir_cli import files
from clir_cli.artifacts import graph, store
from clir_cli.artifacts.store import Artifact
from clir_cli.corpus.collections import collection_label
from clir_cli.evaluation import gaps, scores
from clir_cli.evaluation.differences import Difference
from clir_cli.evaluation.scoring import Result
from clir_cli.study.cell_scores import Cells, Failure, compared, judge
from clir_cli.study.experiment import Expected
from clir_cli.study.grid import Point, baseline_of, is_meant
from clir_cli.suites import known_keys

KEY = ("suite", "experiment", "collection", "pair", "method", "variant", "seed")
FIGURES = (
    "metric", "value", "queries", "ci_low", "ci_high", "baseline", "p_value", "p_raw",
    "p_randomisation", "effect", "expected", "tolerance", "verdict", "error", "command",
)  # fmt: skip
TABLE, PER_QUERY, DIFFERENCES = "table.csv", "per_query.csv", "differences.csv"
NUMBERS = (
    "value", "queries", "ci_low", "ci_high", "p_value", "p_raw", "p_randomisation", "effect",
    "expected", "tolerance",
)  # fmt: skip
Row = dict[str, Any]


def plan(cells: Cells) -> Artifact:
    """Return what the table of an experiment will be made from."""
    experiment = cells.experiment
    inputs: dict[str, str] = {}
    for point in cells.points:
        inputs |= cells.made_from(point)
    workspace = cells.study.workspace
    typed = graph.changes(workspace, workspace.settings, known_keys())
    again = workspace.command("reproduce", *typed)
    return Artifact(
        path=cells.folder,
        kind="experiment",
        config={
            "metrics": experiment.metrics,
            "baseline": experiment.baseline,
            "differences": 1,  # tables of before have none
            "expected": [score.model_dump() for score in experiment.expected],
            "evaluation": cells.points[0].settings.evaluation.model_dump(mode="json"),
            "cells": [[point.label, cells.command(point), point.values] for point in cells.points],
        },
        inputs=inputs,
        command=str(replace(again, arguments=(experiment.argument,))),
        source=experiment.source,
    )


def tabulate(cells: Cells, *, force: bool = False) -> tuple[list[Row], bool]:
    """Bring the table of an experiment up to date, and the files in ``results``.

    Returns:
        Its rows, and whether it had to be made.
    """
    planned = plan(cells)
    with store.make_cache(planned, cells.study.workspace.talk.say, force=force) as draft:
        if draft is not None:
            scored, failures = judge(cells)
            tests, apart = compared(cells, scored)
            # The settings that the grid spans come after the key.
            axes = dict.fromkeys(key for point in cells.points for key in point.values)
            _write(draft / TABLE, _rows(cells, scored, failures, tests), [*KEY, *axes, *FIGURES])
            about = {"title": cells.experiment.title, "question": cells.experiment.question}
            files.write_text(draft / "notes.json", json.dumps(about) + "\n")
            _write(draft / PER_QUERY, _query_rows(cells, scored), scores.PER_QUERY_COLUMNS)
            columns = [field.name for field in fields(Difference)]
            _write(draft / DIFFERENCES, list(map(asdict, apart)), columns)
    rows = read(planned.path / TABLE, cells.points)
    target = cells.published / f"{cells.experiment.name}.csv"
    content = (planned.path / TABLE).read_bytes()
    if draft is not None or not target.exists() or target.read_bytes() != content:
        target.parent.mkdir(parents=True, exist_ok=True)
        _publish_scores(cells, rows)
        with files.alone(target, wait=True):
            files.write_bytes(target, content)
        if cells.experiment.baseline:
            copy = target.parent / "differences" / target.name
            copy.parent.mkdir(exist_ok=True)
            files.write_bytes(copy, (planned.path / DIFFERENCES).read_bytes())
    return rows, draft is not None


def read(path: Path, points: Sequence[Point]) -> list[Row]:
    """Return the rows of a tidy table; what is empty there is None, and a variant never is."""
    values = [(key, value) for point in points for key, value in point.values.items()]
    axes = {key: type(value) for key, value in values if value is not None}
    _, table = scores.read_rows(path, [*KEY, *FIGURES], NUMBERS)
    rows: list[Row] = []
    for row in table:
        row |= {key: _setting(row[key], kind) for key, kind in axes.items()}
        row = {key: None if value in ("", None) or value != value else value
               for key, value in row.items()}  # fmt: skip
        count = row["queries"]
        rows.append({**row, "variant": row["variant"] or "", "queries": count and int(count)})
    return rows


def _setting(text: str, kind: type) -> Any:
    """Return a setting as its own kind; an empty text does not reach the method."""
    if kind in (int, float) and text:
        return int(text) if text.isdigit() else float(text)
    return text == "True" if kind is bool and text else text


def _write(path: Path, rows: Sequence[Row], columns: Sequence[str]) -> None:
    import pandas as pd

    table = pd.DataFrame(rows, columns=columns)
    files.write_text(path, table.to_csv(index=False, lineterminator="\n"))


def _publish_scores(cells: Cells, rows: Sequence[Row]) -> None:
    """Bring ``scores.csv`` and ``per_query.csv`` of the suite up to date, as ``evaluate`` does.

    A metric across pairs is published only if the experiment has all pairs of the suite.
    """
    pairs = {str(point.pair) for point in cells.points}
    if pairs == set(cells.points[0].settings.pairs):
        pairs.add(gaps.ALL_PAIRS)
    _, per_query = scores.read_rows(cells.folder / PER_QUERY, scores.PER_QUERY_COLUMNS)
    if published := [row for row in rows if row["value"] is not None and row["pair"] in pairs]:
        by_query = [row for row in per_query if row["pair"] in pairs]
        scores.publish(cells.published, published, by_query)


# ------------------------------------------------------------------ rows


def _rows(
    cells: Cells,
    scored: Sequence[Result[Point]],
    failures: Sequence[Failure],
    tests: Mapping[int, Mapping[str, float]],
) -> list[Row]:
    """Return the rows of the table: the leading metric first, cells in the order of the grid."""
    rows = [_row(cells, result, tests.get(index)) for index, result in enumerate(scored)]
    rows += [row for failure in failures for row in _error_rows(cells, failure)]
    metrics, labels = cells.experiment.metrics, [point.label for point in cells.points]
    position = {label: index for index, label in enumerate(labels)}
    rows.sort(key=lambda row: (metrics.index(row["metric"]), position[row["label"]]))
    return rows


def _key(cells: Cells, point: Point, collection: str, pair: str) -> Row:
    return {
        "suite": cells.suite,
        "experiment": cells.experiment.name,
        "collection": collection,
        "pair": pair,
        "method": point.cell.method,
        "variant": point.variant,
        "seed": point.cell.seed,
        **{key: _plain(value) for key, value in point.values.items()},
        **dict.fromkeys(FIGURES),
        "label": point.label,  # for the order; no column
    }


def _result_key(cells: Cells, result: Result[Point]) -> Row:
    return _key(cells, result.run.owner, result.run.collection.name, result.pair)


def _row(cells: Cells, result: Result[Point], test: Mapping[str, float] | None) -> Row:
    row = {**_result_key(cells, result), **result.columns, "command": cells.command_for(result)}
    if test:
        row |= {"baseline": baseline_of(cells.experiment, cells.points), **test}
    if expected := _expected(cells, result):
        row |= {
            "expected": expected.value,
            "tolerance": expected.tolerance,
            "verdict": verdict(result.score.value, expected),
        }
    return row


def _error_rows(cells: Cells, failure: Failure) -> list[Row]:
    point = failure.point
    key = _key(cells, point, collection_label(point.collection), failure.pair)
    reason = {"error": failure.error, "command": cells.command(point)}
    return [{**key, "metric": metric, **reason} for metric in failure.metrics]


def _query_rows(cells: Cells, scored: Sequence[Result[Point]]) -> list[Row]:
    return [
        {
            **_result_key(cells, result),
            "metric": result.score.measure,
            "query": query,
            "value": value,
        }
        for result in scored
        for query, value in result.score.per_query.items()
    ]


def verdict(value: float, expected: Expected) -> str:
    """Return OK within the tolerance, about OK within twice of it, else FAIL."""
    off = abs(value - expected.value)
    if off <= expected.tolerance + 1e-12:
        return "OK"
    return "about OK" if off <= 2 * expected.tolerance + 1e-12 else "FAIL"


def _expected(cells: Cells, result: Result[Point]) -> Expected | None:
    key = (cells.suite, result.pair, result.score.measure)
    for score in cells.experiment.expected:
        if (score.suite, score.pair, score.metric) == key and is_meant(score, result.run.owner):
            return score
    return None


def _plain(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | tuple) else value
