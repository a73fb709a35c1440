"""Tidy rows to tables that people read: in the terminal, in Markdown, in LaTeX."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from clir_cli.console import one_line, put, score_text
from clir_cli.evaluation import gaps, significance
from clir_cli.layout import show_table
from clir_cli.settings import EvaluationSettings
from clir_cli.stages.support import methods
from clir_cli.study.experiment import DIMENSIONS, TableLayout

Row = Mapping[str, Any]
DEFAULTS = EvaluationSettings()
VERDICTS = ("OK", "about OK", "FAIL")
MISSED = {"FAIL": "✗", "about OK": "~"}
SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"$\sim$", "^": r"\^{}", "▲": r"$\uparrow$", "▼": r"$\downarrow$",
    "✗": r"$\times$", "±": r"$\pm$", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}",
}  # fmt: skip
# What begins something else in Markdown than text, and is common in no other place.
MARKS = re.compile(r"[\\|*`<]|(?<![^\W_])_|_(?![^\W_])|~(?=\S)|(?<=\S)~|\](?=[(\[:])|&(?=#?\w+;)")


@dataclass(frozen=True)
class TextTable:
    """A table of texts: ``header`` above ``rows``, the first column names the row."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


def draw(
    title: str,
    rows: Sequence[Row],
    layout: TableLayout,
    metric: str,
    evaluation: EvaluationSettings = DEFAULTS,
) -> TextTable:
    """Return the table of one metric.

    A cell is the score with its interval; over several seeds it is their mean and standard
    deviation. Marks show what is significantly above or below the baseline, and which expected
    scores were missed.

    The title is without the metric; rows may be of any metrics. The notes name the test and the
    level of the intervals after ``evaluation``.
    """
    chosen = [row for row in rows if row["metric"] == metric]
    by_cell: dict[tuple[str, str], list[Row]] = {}
    for row in chosen:
        key = (_name(row, layout.rows), _name(row, layout.columns))
        by_cell.setdefault(key, []).append(row)
    down = list(dict.fromkeys(row for row, _ in by_cell))
    places = {column: _place(rows[0], layout.columns) for (_, column), rows in by_cell.items()}
    across = sorted(places, key=lambda column: places[column])
    body = [[name, *(_cell(by_cell.get((name, column), [])) for column in across)] for name in down]
    corner = " / ".join(dimension.rpartition(".")[2] for dimension in layout.rows)
    seeds = max((len({row["seed"] for row in rows}) for rows in by_cell.values()), default=0)
    notes = [*_notes(chosen, evaluation, seeds), *_hidden(by_cell.values(), layout)]
    return TextTable(f"{title}: {gaps.written(metric)}", [corner, *across], body, notes)


def _place(row: Row, dimensions: Sequence[str]) -> tuple[float, ...]:
    """Return the sort key of a column: baselines and ceilings at the ends, numbers in order."""
    group, order = methods.place(row["method"])
    values = [order if name == "method" else row.get(name) for name in dimensions]
    place = [value if isinstance(value, int | float) else -math.inf for value in values]
    return (group, *place) if "method" in dimensions else tuple(place)


def _name(row: Row, dimensions: Sequence[str]) -> str:
    parts = []
    for dimension in dimensions:
        value = row.get(dimension)
        if value in (None, ""):
            continue
        text = f"{value:g}" if isinstance(value, float) else str(value)
        named = dimension in ("pair", "method", "variant", "collection", "metric")
        parts.append(text if named else f"{dimension.rpartition('.')[2]} {text}")
    return ", ".join(parts) or "-"


def _cell(rows: Sequence[Row]) -> str:
    if not rows:
        return "-"
    scored = [row for row in rows if row["value"] is not None]
    if not scored:
        return "failed"
    values = [row["value"] for row in scored]
    spread = stdev(values) if len(values) > 1 else None
    text = str(score_text(mean(values), scored[0]["ci_low"], scored[0]["ci_high"], spread=spread))
    if len(scored) < len(rows):
        text += f" ({len(scored)} of {len(rows)})"
    marks = {significance.mark(row["p_value"], row["effect"]) for row in scored}
    mark = marks.pop() if len(marks) == 1 else ""
    verdicts = {row["verdict"] for row in scored}
    missed = next((sign for name, sign in MISSED.items() if name in verdicts), "")
    return " ".join(filter(None, [text, mark, missed]))


def _notes(rows: Sequence[Row], evaluation: EvaluationSettings, seeds: int) -> list[str]:
    notes = []
    if counts := [row["queries"] for row in rows if row.get("queries")]:
        span = " to ".join(map(str, dict.fromkeys([min(counts), max(counts)])))
        level = f"{100 * evaluation.confidence:.0f} %"
        notes.append(f"n = {span} queries; {level} intervals by bootstrap")
    baseline = next((row["baseline"] for row in rows if row["baseline"]), None)
    if baseline:
        notes.append(significance.legend(baseline, evaluation.test))
    verdicts = Counter(row["verdict"] for row in rows)
    if found := [f"{name} {verdicts[name]}" for name in VERDICTS if name in verdicts]:
        notes.append("against expected scores: " + ", ".join(found))
    if seeds > 1:
        notes.append(f"± standard deviation over {seeds} seeds")
    return notes


def _hidden(cells: Iterable[Sequence[Row]], layout: TableLayout) -> list[str]:
    """Return a note on what rows of one cell differ in, if the table does not show it."""
    shown, cells = {*layout.rows, *layout.columns, "seed"}, list(cells)
    hidden = [
        name
        for name in DIMENSIONS
        if name not in shown and any(len({row[name] for row in rows}) > 1 for rows in cells)
    ]
    return [f"± also over {', '.join(hidden)}, which rows and columns leave out"] if hidden else []


# ------------------------------------------------------------------ formats


def text(table: TextTable) -> None:
    """Print a table on standard output."""
    show_table(table.title, table.header, table.rows, table.notes, numbers=True)


def markdown(table: TextTable) -> None:
    """Print a table in Markdown."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(map(_unmarked, cells)) + " |"

    rule = "| --- |" + " ---: |" * (len(table.header) - 1)
    body = [line(row) for row in table.rows]
    notes = [f"\n{_unmarked(note)}" for note in table.notes]
    title = f"**{_unmarked(table.title).strip()}**\n"
    put("\n".join([title, line(table.header), rule, *body, *notes, ""]))


def latex(table: TextTable) -> None:
    """Print a table in LaTeX, for the packages booktabs and float-free use."""

    def line(cells: Sequence[str]) -> str:
        # A bracket or an asterisk behind \\ would belong to that.
        text = " & ".join(map(_escaped, cells)) + r" \\"
        return f"{{}}{text}" if text.startswith(("[", "*")) else text

    lines = [
        f"% {_escaped(table.title)}",
        rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
        r"\toprule",
        line(table.header),
        r"\midrule",
        *(line(row) for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        *(f"% {_escaped(note)}" for note in table.notes),
        "",
    ]
    put("\n".join(lines))


def _unmarked(cell: str) -> str:
    return MARKS.sub(r"\\\g<0>", one_line(cell))


def _escaped(cell: str) -> str:
    return "".join(SPECIAL.get(letter, letter) for letter in one_line(cell))


FORMATS: dict[str, Callable[[TextTable], None]] = {
    "text": text, "markdown": markdown, "latex": latex,
}  # fmt: skip
