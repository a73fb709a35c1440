"""The tidy table of an experiment: a row for each cell and metric.

It is an artifact as any other, made again when a run, a judgment or the experiment's own words have
changed; ``results/<suite>/<experiment>.csv`` is a copy of it for people.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from clir_cli import files
from clir_cli.artifacts import store
from clir_cli.artifacts.store import Artifact
from clir_cli.corpus.collections import collection_label
from clir_cli.evaluation import gaps, scores
from clir_cli.evaluation.scoring import Result
from clir_cli.study.cell_scores import Cells, Failure, compared, judge
from clir_cli.study.experiment import Expected
from clir_cli.study.grid import Point, baseline_of, is_meant

KEY = ("suite", "experiment", "collection", "pair", "method", "variant", "seed")
FIGURES = (
    "metric", "value", "queries", "ci_low", "ci_high", "baseline", "p_value", "p_raw",
    "p_randomisation", "effect", "expected", "tolerance", "verdict", "error", "command",
)  # fmt: skip
TABLE, PER_QUERY = "table.csv", "per_query.csv"
TEXTS = ("suite", "experiment", "collection", "pair", "method", "variant", "error")
Row = dict[str, Any]


def columns(axes: Sequence[str]) -> list[str]:
    """Return the columns of the tidy table; settings that the grid spans stand behind the key."""
    return [*KEY, *axes, *FIGURES]


def plan(cells: Cells) -> Artifact:
    """Return what the table of an experiment will be made from."""
    experiment = cells.experiment
    inputs = {}
    for point in cells.points:
        ended = cells.outcome(point)
        if ended.is_well:
            inputs[point.label] = store.read_manifest(cells.run(point))["fingerprint"]
            qrels = cells.collection(point).digests["qrels"]
            inputs[f"qrels {point.collection} {point.pair}"] = qrels
        else:
            inputs[point.label] = f"{ended.outcome}: {ended.error}"
    return Artifact(
        path=cells.folder,
        kind="experiment",
        config={
            "metrics": experiment.metrics,
            "baseline": experiment.baseline,
            "expected": [each.model_dump() for each in experiment.expected],
            "evaluation": cells.points[0].settings.evaluation.model_dump(mode="json"),
            "cells": [[each.label, cells.command(each), each.values] for each in cells.points],
        },
        inputs=inputs,
        command=f"clir reproduce {experiment.name} --suite {cells.suite}",
    )


def tabulate(cells: Cells, *, force: bool = False) -> tuple[list[Row], bool]:
    """Bring the table of an experiment up to date, and the files in ``results``.

    Returns:
        Its rows, and whether it had to be made.
    """
    planned = plan(cells)
    stale = planned.state() == "stale"
    with store.make(planned, force=force or stale, wait=True) as draft:
        if draft is not None:
            found, failures = judge(cells)
            table = pd.DataFrame(_rows(cells, found, failures), columns=_columns(cells))
            files.write_text(draft / TABLE, _csv(table))
            per_query = pd.DataFrame(_query_rows(cells, found), columns=scores.PER_QUERY_COLUMNS)
            files.write_text(draft / PER_QUERY, _csv(per_query))
    rows = read(planned.path / TABLE)
    target = cells.published / f"{cells.experiment.name}.csv"
    content = (planned.path / TABLE).read_bytes()
    if draft is not None or not target.exists() or target.read_bytes() != content:
        target.parent.mkdir(parents=True, exist_ok=True)
        _publish_scores(cells, rows)
        files.write_bytes(target, content)
    return rows, draft is not None


def read(path: Path) -> list[Row]:
    """Return the rows of a tidy table; what is empty there is None, and a variant never is."""
    table = pd.read_csv(path, dtype=dict.fromkeys(TEXTS, str))
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return [{**row, "variant": row["variant"] or ""} for row in rows]


def _columns(cells: Cells) -> list[str]:
    return columns(list(dict.fromkeys(key for point in cells.points for key in point.values)))


def _csv(table: pd.DataFrame) -> str:
    return table.to_csv(index=False, lineterminator="\n")


def _publish_scores(cells: Cells, rows: Sequence[Row]) -> None:
    """Bring ``scores.csv`` and ``per_query.csv`` of the suite up to date, as ``evaluate`` does.

    A metric across pairs is about the pairs of this experiment; it stands there when these are all.
    """
    whole = {str(point.pair) for point in cells.points} == set(cells.points[0].settings.pairs)
    pairs = {str(point.pair) for point in cells.points} | ({gaps.ALL_PAIRS} if whole else set())
    kept = [row for row in rows if row["value"] is not None and row["pair"] in pairs]
    table = pd.read_csv(cells.folder / PER_QUERY, dtype=str, keep_default_na=False)
    per_query = table.astype({"seed": int}).to_dict("records")
    folder = cells.published
    if kept:
        scores.publish(folder, kept, [row for row in per_query if row["pair"] in pairs])


# ------------------------------------------------------------------ rows


def _rows(cells: Cells, found: Sequence[Result[Point]], failures: Sequence[Failure]) -> list[Row]:
    """Return the rows of the table: the leading metric first, cells in the order of the grid."""
    tested = compared(cells, found)
    rows = [_row(cells, each, tested.get(place)) for place, each in enumerate(found)]
    for each in failures:
        rows += _error_rows(cells, each)
    metrics, points = cells.experiment.metrics, [point.label for point in cells.points]
    order = {label: place for place, label in enumerate(points)}
    rows.sort(key=lambda row: (metrics.index(row["metric"]), order[row["label"]]))
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


def _row(cells: Cells, each: Result[Point], test: dict[str, float] | None) -> Row:
    wanted = _expected(cells, each)
    told = {"baseline": baseline_of(cells.experiment, cells.points), **test} if test else {}
    return {
        **_key(cells, each.run.owner, each.run.collection.name, each.pair),
        **told,
        **each.columns,
        "expected": wanted.value if wanted else None,
        "tolerance": wanted.tolerance if wanted else None,
        "verdict": verdict(each.score.value, wanted) if wanted else None,
        "command": cells.command_for(each),
    }


def _error_rows(cells: Cells, failure: Failure) -> list[Row]:
    """Return a row a metric that tells why it has no value."""
    point = failure.point
    key = _key(cells, point, collection_label(point.collection), failure.pair)
    told = {"error": failure.error, "command": cells.command(point)}
    return [{**key, "metric": metric, **told} for metric in failure.metrics]


def _query_rows(cells: Cells, found: Sequence[Result[Point]]) -> list[Row]:
    return [
        {
            **_key(cells, each.run.owner, each.run.collection.name, each.pair),
            "metric": each.score.measure,
            "query": query,
            "value": value,
        }
        for each in found
        for query, value in each.score.per_query.items()
    ]


def verdict(value: float, expected: Expected) -> str:
    """Return OK within the tolerance, about OK within twice of it, else FAIL."""
    off = abs(value - expected.value)
    if off <= expected.tolerance + 1e-12:
        return "OK"
    return "about OK" if off <= 2 * expected.tolerance + 1e-12 else "FAIL"


def _expected(cells: Cells, each: Result[Point]) -> Expected | None:
    for wanted in cells.experiment.expected:
        told = (wanted.suite, wanted.pair, wanted.metric)
        if told == (cells.suite, each.pair, each.score.measure) and is_meant(
            wanted, each.run.owner
        ):
            return wanted
    return None


def _plain(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | tuple) else value
