"""Sections drawn from the experiment tables: lines over an axis of the grid, bars, verdicts."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

from clir_cli.artifacts.cell import Cell
from clir_cli.evaluation import gaps, significance
from clir_cli.settings import EvaluationSettings
from clir_cli.stages.setting_list import takes_all
from clir_cli.stages.support.methods import place
from clir_cli.study.report import charts
from clir_cli.study.report.blocks import (
    Block,
    FigureBlock,
    ListBlock,
    Panel,
    Section,
    TableBlock,
    TableCell,
    number,
    number_cell,
    p_text,
    score_cell,
    span,
)
from clir_cli.study.report.data import (
    ExperimentTable,
    Results,
    ScoreKey,
    pair_title,
    pairs_in_order,
)
from clir_cli.study.report.made import neutral, neutral_command
from clir_cli.study.report.provenance import Provenance, trained

VERDICTS = {"OK": "ok", "about OK": "about", "FAIL": "fail"}
MANY_ROWS = 12
Row = Mapping[str, Any]


class GridValue(NamedTuple):
    """A cell of the grid over its seeds; ``at`` is its value on the axis of the chart."""

    pair: str
    at: str
    estimate: charts.Estimate


@dataclass(frozen=True)
class GridAxis:
    """The axis of a grid that a line runs over: its name, and where each value is drawn."""

    name: str = ""
    positions: Mapping[str, float] = field(default_factory=dict)

    def label(self, value: str) -> str:
        """Return a value as ticks have it; 0 sentence pairs are all of them."""
        return "all" if takes_all(self.name, float(value)) else _short(value)


def verdicts(results: Results) -> dict[str, int]:
    """Return how many expected scores are OK, about OK and FAIL."""
    counts = Counter(verdict for table in results.experiments for verdict in table.rows["verdict"])
    return {name: counts[name] for name in VERDICTS if name in counts}


def failures(table: ExperimentTable) -> list[str]:
    """Return a line for each cell that failed."""
    failed = table.rows[table.rows["error"].astype(bool)]
    lines = [
        f"{row['pair']} {_label(row, int(row['seed'] or 0))}: {neutral(row['error'])}"
        for row in failed.to_dict("records")
    ]
    return list(dict.fromkeys(lines))


def experiment(results: Results, table: ExperimentTable, settings: EvaluationSettings) -> Section:
    """Return the section of an experiment: its question, figures, tables, failures.

    ``settings`` name the test, and the level of the intervals.
    """
    rows = table.rows[~table.rows["error"].astype(bool) & table.rows["value"].notna()]
    made_by = _made_by(results, table)
    blocks: list[Block] = []
    failed = failures(table)
    if failed:
        blocks.append(ListBlock("These cells failed", failed))
    for collection, scored in rows.groupby("collection", sort=False):
        metrics = list(dict.fromkeys(scored["metric"]))
        for metric in [*metrics[:1], *gaps.split_metrics(metrics[1:]).across]:
            chosen = scored[scored["metric"] == metric]
            name = f"{gaps.written(metric)} on {collection}"
            note = _counted(chosen, settings.confidence)
            blocks.append(_figure(results, table, chosen, name, made_by, note))
        note = _counted(scored, settings.confidence)
        blocks.append(
            _table(table, scored, f"All cells on {collection}", made_by, note, settings.test)
        )
    if rows.empty:
        blocks.append(ListBlock("No cell has a score yet", [made_by.commands[0]]))
    return Section(f"experiment-{table.name}", table.title, table.question, blocks)


def _counted(rows: pd.DataFrame, confidence: float) -> str:
    """Return the sentences that state n, the level of the intervals, and the seeds."""
    seeds = rows.groupby(["pair", "method", "variant"])["seed"].nunique().max()
    over = f", over queries and {seeds} seeds where a cell has them" if seeds > 1 else ""
    count = span([int(number) for number in rows["queries"]])
    return f"n = {count} queries; {100 * confidence:.0f} % intervals by bootstrap{over}."


def _made_by(results: Results, table: ExperimentTable) -> Provenance:
    commands = [table.command]
    recorded = dict.fromkeys(command for command in table.rows["command"] if command)
    commands += [str(neutral_command(command)) for command in recorded]
    labels = {_label(row) for row in table.rows.to_dict("records")}
    pairs = set(table.rows["pair"])
    students = [s for s in results.made.students if s.method in labels and s.pair in pairs]
    return trained(students, commands, shown=1)  # it runs all the others


def _label(row: Row, seed: int = 0) -> str:
    return Cell(row["method"], row["variant"], seed).label


# ------------------------------------------------------------------ figures


def axis_of(rows: pd.DataFrame, axes: Sequence[str]) -> GridAxis:
    """Return the axis that a line can run over: the one with most values, all of them numbers.

    Values far apart (more than twenty to one) and an "all" are drawn at equal distances, others in
    proportion. Without such an axis the name is empty.
    """
    best = GridAxis()
    for name in axes:
        values = [value for value in rows[name].astype(str).unique() if value != ""]
        numbers = pd.to_numeric(pd.Series(values), errors="coerce")
        if len(values) < 2 or len(values) <= len(best.positions) or numbers.isna().any():
            continue
        order = sorted(zip(numbers, values, strict=True))
        has_all = takes_all(name, float(order[0][1]))
        if has_all:
            order = [*order[1:], order[0]]
        least = min((number for number, _ in order if number > 0), default=0)
        even = has_all or (least > 0 and max(numbers) / least > 20)
        positions = {v: float(rank if even else x) for rank, (x, v) in enumerate(order)}
        best = GridAxis(name, positions)
    return best


def free_axes(rows: pd.DataFrame, axes: Sequence[str]) -> list[str]:
    """Return the settings that differ by themselves.

    Settings that always change together are those of named variants, and a variant is shown by its
    name.
    """

    def count(*names: str) -> int:
        return len(rows[[*names]].drop_duplicates())

    tied = {
        name
        for one, other in itertools.combinations([n for n in axes if count(n) > 1], 2)
        if count(one, other) == count(one) == count(other)
        for name in (one, other)
    }
    return [name for name in axes if name not in tied]


def grid_values(
    results: Results, rows: pd.DataFrame, axes: Sequence[str], axis: GridAxis
) -> list[GridValue]:
    """Return the cells of one metric and collection over their seeds."""
    free = free_axes(rows, axes)
    others = [name for name in free if name != axis.name and rows[name].astype(str).nunique() > 1]
    cells: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows.to_dict("records"):
        parts = [row["method"]]
        parts += [f"{name.split('.')[-1]} {_short(row[name])}" for name in others if row[name]]
        if row["variant"] and (len(free) < len(axes) or not any(row[name] for name in axes)):
            parts.append(row["variant"])
        at = row[axis.name] if axis.name else ""
        cells.setdefault((row["pair"], at, ", ".join(parts)), []).append(row)
    return [
        GridValue(pair, at, charts.Estimate(label, *_over_seeds(results, seeds)))
        for (pair, at, label), seeds in cells.items()
    ]


def _over_seeds(results: Results, rows: Sequence[Row]) -> tuple[float, float, float]:
    """Return value and interval of a cell: over queries and seeds where the tables have both.

    Elsewhere it is the mean over the seeds, with the span of their intervals.
    """
    key = ScoreKey(rows[0]["pair"], _label(rows[0]), rows[0]["metric"])
    for collection in results.collections:
        score = collection.scores.get(key) if collection.name == rows[0]["collection"] else None
        if score and sorted(score.seeds) == sorted(int(row["seed"]) for row in rows):
            return score.value, score.low, score.high
    return (
        sum(row["value"] for row in rows) / len(rows),
        min(row["ci_low"] for row in rows),
        max(row["ci_high"] for row in rows),
    )


def _figure(
    results: Results,
    table: ExperimentTable,
    rows: pd.DataFrame,
    title: str,
    made_by: Provenance,
    note: str,
) -> FigureBlock:
    axis = axis_of(rows, free_axes(rows, table.axes))
    cells = grid_values(results, rows, table.axes, axis)
    order = results.series({cell.estimate.label for cell in cells})
    cells.sort(key=lambda cell: (order.index(cell.estimate.label), axis.positions.get(cell.at, 0)))
    ends = charts.ends_of(cell.estimate for cell in cells)
    panels = []
    for pair in pairs_in_order({cell.pair for cell in cells}):
        of_pair = [cell for cell in cells if cell.pair == pair]
        if axis.name:
            by_label = itertools.groupby(of_pair, lambda cell: cell.estimate.label)
            chart = charts.lines(
                [[(axis.positions.get(c.at), c.estimate) for c in group] for _, group in by_label],
                order,
                ends,
                across=axis.name,
                up=title.split(" on ")[0],
                ticks=[(position, axis.label(v)) for v, position in axis.positions.items()],
            )
        else:
            chart = charts.bars([cell.estimate for cell in of_pair], order, ends)
        name = pair_title(pair) if pair != gaps.ALL_PAIRS else "across the pairs"
        panels.append(Panel(name, chart))
    if not axis.name:
        return FigureBlock(title, panels, made_by, note=note)
    labels = dict.fromkeys(cell.estimate.label for cell in cells)
    legend = [(order.index(label), label) for label in labels]
    flat = any(cell.at == "" for cell in cells)
    note += " Dashed: a method that the axis does not affect." if flat else ""
    return FigureBlock(title, panels, made_by, legend, note)


def _short(value: object) -> str:
    """Return a setting as people write it: 1 and not 1.0."""
    try:
        return f"{float(str(value)):g}"
    except ValueError:
        return str(value) or "-"


# ------------------------------------------------------------------ the table


def _in_order(rows: pd.DataFrame, varied: Sequence[str]) -> list[Row]:
    """Return rows by metric and pair, from baselines over the values of axes to ceilings."""
    ranks = {name: rank for rank, name in enumerate(dict.fromkeys(rows["metric"]))}
    pairs = {name: rank for rank, name in enumerate(pairs_in_order({*rows["pair"]}))}

    def key(row: Row) -> tuple[object, ...]:
        values = [pd.to_numeric(row[name] or "-inf", errors="coerce") for name in varied]
        numbers = [value if value == value else 0 for value in values]
        return ranks[row["metric"]], pairs[row["pair"]], place(row["method"]), *numbers

    return sorted(rows.to_dict("records"), key=key)


def _table(
    table: ExperimentTable,
    rows: pd.DataFrame,
    title: str,
    made_by: Provenance,
    note: str,
    test: str,
) -> TableBlock:
    varied = [name for name in table.axes if rows[name].astype(str).nunique() > 1]
    names = ["seed"] if varied else ["variant", "seed"]  # the axes say what the variant does
    texts = ["pair", "method", *(name for name in names if rows[name].astype(str).nunique() > 1)]
    head = [*texts, *varied, "metric", "value"]
    tested, expected = (rows[name].notna().any() for name in ("p_value", "expected"))
    head += ["against", "effect d"] if tested else []
    head += ["expected", "verdict"] if expected else []
    body = []
    for row in _in_order(rows, varied):
        cells = [TableCell(str(row[name])) for name in texts]
        cells += [number_cell(row[name], _short(row[name])) for name in varied]
        mark = significance.mark(row["p_value"], row["effect"])
        score = score_cell(row["value"], row["ci_low"], row["ci_high"], mark)
        cells += [TableCell(gaps.written(row["metric"])), score]
        if tested:
            effect = f"{row['effect']:+.2f}"
            has_test = pd.notna(row["p_value"])
            against = f"{row['baseline']}: {p_text(row['p_value'])}" if has_test else "-"
            cells += [TableCell(against), number_cell(row["effect"], effect)]
        if expected:
            text = f"{number(row['expected'])} ± {number(row['tolerance'])}"
            verdict = row["verdict"]
            cells.append(number_cell(row["expected"], text))
            cells.append(TableCell(verdict or "-", kind=VERDICTS.get(verdict, "")))
        body.append(cells)
    if tested:
        note += f" {significance.legend('the baseline', test)}."
    return TableBlock(title, head, body, note, made_by, folded=len(body) > MANY_ROWS)
