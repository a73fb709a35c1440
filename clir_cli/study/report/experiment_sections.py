"""Sections drawn from the experiment tables: lines over an axis of the grid, bars, verdicts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from clir_cli.evaluation import gaps
from clir_cli.evaluation.significance import LEVEL
from clir_cli.study.report import figures
from clir_cli.study.report.blocks import (
    Block,
    Cell,
    Figure,
    How,
    Lines,
    Panel,
    Section,
    Table,
    number,
    p_text,
)
from clir_cli.study.report.choice import pair_name, settings_of
from clir_cli.study.report.data import Experiment, Results, neutral, pairs_in_order

VERDICTS = {"OK": "ok", "about OK": "about", "FAIL": "fail"}
MANY_ROWS = 24
NUMBER_ZERO_IS_ALL = ("max_pairs", "max_pairs_per_source")


@dataclass(frozen=True)
class Drawn:
    """A cell of the grid over its seeds, ready to be drawn; ``at`` is its place on the axis."""

    pair: str
    series: str
    at: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Axis:
    """The axis of a grid that a line runs over: its name, and its values in order."""

    name: str = ""
    values: tuple[str, ...] = ()
    places: Mapping[str, float] = field(default_factory=dict)


def experiments(results: Results) -> list[Section]:
    """Return a section for each experiment: its question, figures, tables, failures."""
    return [_section(results, each) for each in results.experiments]


def verdicts(results: Results) -> dict[str, int]:
    """Return how many expected scores came out OK, about OK and FAIL."""
    told = [str(v) for each in results.experiments for v in each.rows["verdict"] if v]
    return {name: told.count(name) for name in VERDICTS if name in told}


def failures(experiment: Experiment) -> list[str]:
    """Return a line for each cell that failed."""
    failed = experiment.rows[experiment.rows["error"].astype(bool)]
    lines = []
    for row in failed.to_dict("records"):
        label = f"{_label(row)}.seed{row['seed']}" if row["seed"] not in ("", "0") else _label(row)
        lines.append(f"{row['pair']} {label}: {neutral(row['error'])}")
    return list(dict.fromkeys(lines))


def _section(results: Results, each: Experiment) -> Section:
    rows = each.rows[~each.rows["error"].astype(bool) & each.rows["value"].notna()]
    made = _how(results, each)
    blocks: list[Block] = []
    failed = failures(each)
    if failed:
        blocks.append(Lines("These cells failed", failed))
    for collection in dict.fromkeys(rows["collection"]):
        own = rows[rows["collection"] == collection]
        metrics = list(dict.fromkeys(own["metric"]))
        across = gaps.split_metrics(metrics[1:]).across
        for metric in [*metrics[:1], *across]:
            drawn = own[own["metric"] == metric]
            blocks.append(_figure(results, each, drawn, f"{metric} on {collection}", made))
        blocks.append(_table(each, own, collection, made))
    if rows.empty:
        blocks.append(Lines("No cell has a score yet", [made.commands[0]]))
    return Section(f"experiment-{each.name}", each.title, each.question, blocks)


def _how(results: Results, each: Experiment) -> How:
    commands = [f"clir reproduce {each.name} --suite {results.suite}"]
    commands += [neutral(told) for told in dict.fromkeys(each.rows["command"]) if told]
    labels = {_label(row) for row in each.rows.to_dict("records")}
    pairs = set(each.rows["pair"])
    students = [s for s in results.students if s.method in labels and s.pair in pairs]
    return replace(settings_of(students, commands), shown=1)  # it runs all the others


def _label(row: Mapping[str, object]) -> str:
    return ".".join(str(row[name]) for name in ("method", "variant") if row[name])


# ------------------------------------------------------------------ from rows to what is drawn


def axis_of(rows: pd.DataFrame, axes: Sequence[str]) -> Axis:
    """Return the axis that a line can run over: the one with most values, all of them numbers.

    Values far apart (more than twenty to one) and an "all" stand at equal distances, others where
    their number says. Without such an axis the name is empty.
    """
    best = Axis()
    for name in axes:
        values = [value for value in dict.fromkeys(rows[name].astype(str)) if value != ""]
        numbers = pd.to_numeric(pd.Series(values), errors="coerce")
        if len(values) < 2 or len(values) <= len(best.values) or numbers.isna().any():
            continue
        order = sorted(zip(numbers, values, strict=True))
        has_all = name.split(".")[-1] in NUMBER_ZERO_IS_ALL and order[0][0] == 0
        if has_all:
            order = [*order[1:], order[0]]
        least = min((number for number, _ in order if number > 0), default=0)
        even = has_all or (least > 0 and max(numbers) / least > 20)
        places = {
            value: float(rank if even else number) for rank, (number, value) in enumerate(order)
        }
        best = Axis(name, tuple(value for _, value in order), places)
    return best


def drawn_of(results: Results, rows: pd.DataFrame, axes: Sequence[str], axis: Axis) -> list[Drawn]:
    """Return the cells of one metric and collection over their seeds."""
    others = [name for name in axes if name != axis.name and rows[name].astype(str).nunique() > 1]
    found: dict[tuple[str, str, str], list[Mapping[str, object]]] = {}
    for row in rows.to_dict("records"):
        parts = [str(row["method"])]
        parts += [
            f"{name.split('.')[-1]} {_shown(row[name])}" for name in others if row[name] != ""
        ]
        if row["variant"] and not any(row[name] != "" for name in axes):
            parts.append(str(row["variant"]))
        at = str(row[axis.name]) if axis.name else ""
        found.setdefault((str(row["pair"]), ", ".join(parts), at), []).append(row)
    return [Drawn(*key, *_over_seeds(results, cells)) for key, cells in found.items()]


def _over_seeds(
    results: Results, cells: Sequence[Mapping[str, object]]
) -> tuple[float, float, float]:
    """Return value and interval of a cell: over queries and seeds where the tables have both.

    Elsewhere it is the mean over the seeds, with the span of their intervals.
    """
    first = cells[0]
    point = results.point(first["collection"], first["pair"], _label(first), first["metric"])
    if point and sorted(map(str, point.seeds)) == sorted(str(row["seed"]) for row in cells):
        return point.value, point.low, point.high
    return (
        sum(row["value"] for row in cells) / len(cells),
        min(row["ci_low"] for row in cells),
        max(row["ci_high"] for row in cells),
    )


def _figure(
    results: Results, each: Experiment, rows: pd.DataFrame, title: str, made: How
) -> Figure:
    axis = axis_of(rows, each.axes)
    cells = drawn_of(results, rows, each.axes, axis)
    present = {cell.series for cell in cells}
    order = results.coloured(present)
    bottom = min([0.0, *(cell.low for cell in cells)])
    top = max([0.01, *(cell.high for cell in cells)])
    panels = []
    for pair in pairs_in_order({cell.pair for cell in cells}):
        own = [cell for cell in cells if cell.pair == pair]
        name = pair_name(pair) if pair != gaps.ALL_PAIRS else "across the pairs"
        if axis.name:
            svg = figures.lines(
                [_line([c for c in own if c.series == label], axis) for label in order
                 if any(c.series == label for c in own)],
                order,
                across=axis.name,
                up=title.split(" on ")[0],
                ticks=(list(axis.places.values()), [_tick(axis, each) for each in axis.values]),
                limits=(1.05 * bottom, 1.05 * top),
            )  # fmt: skip
        else:
            own.sort(key=lambda cell: order.index(cell.series))
            svg = figures.bars(
                [figures.Bar(c.series, c.value, c.low, c.high) for c in own],
                order,
                limits=(1.05 * bottom, 1.05 * top),
            )
        panels.append(Panel(name, svg))
    legend = [(place, label) for place, label in enumerate(order) if label in present]
    note = "Dashed: a method that the axis does not touch." if any(
        cell.at == "" for cell in cells
    ) and axis.name else ""  # fmt: skip
    return Figure(title, panels, made, legend if axis.name else [], note)


def _line(cells: Sequence[Drawn], axis: Axis) -> figures.Line:
    on_axis = sorted((cell for cell in cells if cell.at), key=lambda cell: axis.places[cell.at])
    if not on_axis:
        ends = [axis.places[axis.values[0]], axis.places[axis.values[-1]]]
        return figures.Line(cells[0].series, ends, [cells[0].value] * 2, flat=True)
    return figures.Line(
        cells[0].series,
        [axis.places[cell.at] for cell in on_axis],
        [cell.value for cell in on_axis],
        [cell.low for cell in on_axis],
        [cell.high for cell in on_axis],
    )


def _tick(axis: Axis, value: str) -> str:
    if axis.name.split(".")[-1] in NUMBER_ZERO_IS_ALL and float(value) == 0:
        return "all"
    return _shown(value)


def _shown(value: object) -> str:
    """Return a setting as people write it: 1 and not 1.0."""
    try:
        return f"{float(str(value)):g}"
    except ValueError:
        return str(value) or "-"


# ------------------------------------------------------------------ the table


def _table(each: Experiment, rows: pd.DataFrame, collection: str, made: How) -> Table:
    shown = [name for name in each.axes if rows[name].astype(str).nunique() > 1]
    names = ["seed"] if shown else ["variant", "seed"]  # the axes say what the variant does
    optional = [name for name in names if rows[name].astype(str).nunique() > 1]
    tested = rows["p_value"].notna().any()
    expected = rows["expected"].notna().any()
    head = ["pair", "method", *optional, *shown, "metric", "value"]
    head += ["against", "effect d"] if tested else []
    head += ["expected", "verdict"] if expected else []
    body = []
    for row in rows.to_dict("records"):
        mark = ""
        if tested and row["p_value"] < LEVEL:
            mark = " ▲" if row["effect"] > 0 else " ▼"
        cells = [Cell(str(row[name])) for name in ("pair", "method", *optional)]
        cells += [Cell(_shown(row[name]), key=_key(row[name]), kind="number") for name in shown]
        cells += [
            Cell(str(row["metric"])),
            Cell(
                number(row["value"]) + mark,
                f"[{number(row['ci_low'])}, {number(row['ci_high'])}]",
                row["value"],
                "number",
            ),
        ]
        if tested:
            has = pd.notna(row["p_value"])
            against = f"{row['baseline']}: {p_text(row['p_value'])}" if has else "-"
            effect = f"{row['effect']:+.2f}" if has and pd.notna(row["effect"]) else "-"
            cells += [Cell(against), Cell(effect, key=_key(row["effect"]), kind="number")]
        if expected:
            has = pd.notna(row["expected"])
            text = f"{number(row['expected'])} ± {number(row['tolerance'])}" if has else "-"
            cells.append(Cell(text, key=_key(row["expected"]), kind="number"))
            cells.append(Cell(row["verdict"] or "-", kind=VERDICTS.get(row["verdict"], "")))
        body.append(cells)
    note = "▲ ▼ above or below the baseline, p < .05 after Holm's correction." if tested else ""
    return Table(f"All cells on {collection}", head, body, note, made, folded=len(body) > MANY_ROWS)


def _key(value: object) -> float | str:
    try:
        found = float(str(value))
    except ValueError:
        return str(value)
    return found if found == found else -1.0  # nothing sorts below every number
