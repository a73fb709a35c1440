"""Tidy rows to tables that people read: in the terminal, in Markdown, in LaTeX."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from clir_cli.evaluation.significance import LEVEL
from clir_cli.study.experiment import Layout

Row = Mapping[str, Any]
MARKS = {"FAIL": " ✗", "about OK": " ~"}
SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"$\sim$", "^": r"\^{}", "▲": r"$\uparrow$", "▼": r"$\downarrow$",
    "✗": r"$\times$", "±": r"$\pm$",
}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A table of texts: ``header`` over ``rows``, the first column names the row."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


def draw(title: str, rows: Sequence[Row], layout: Layout, metric: str) -> Table:
    """Return the table of one metric.

    A cell is the score with its interval; over several seeds it is their mean and standard
    deviation. A mark tells what is significantly above or below the baseline.

    Args:
        title: Stands over it.
        rows: Tidy rows, of any metrics.
        layout: Which dimensions stand in rows and columns.
        metric: Which metric.
    """
    chosen = [row for row in rows if row["metric"] == metric]
    down = _places(chosen, layout.rows)
    across = _places(chosen, layout.columns)
    found: dict[tuple[str, str], list[Row]] = {}
    for row in chosen:
        key = (_name(row, layout.rows), _name(row, layout.columns))
        found.setdefault(key, []).append(row)
    base = {
        (row["pair"], row["collection"], row["seed"]): row["value"]
        for row in chosen
        if row["value"] is not None and _column(row) == _baseline(chosen)
    }
    body = [[name, *(_cell(found.get((name, each), []), base) for each in across)] for name in down]
    corner = " / ".join(each.rpartition(".")[2] for each in layout.rows)
    return Table(f"{title}: {metric}", [corner, *across], body, _notes(chosen))


def _places(rows: Sequence[Row], dimensions: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(_name(row, dimensions) for row in rows))


def _name(row: Row, dimensions: Sequence[str]) -> str:
    parts = []
    for each in dimensions:
        value = row.get(each)
        if value in (None, ""):
            continue
        text = f"{value:g}" if isinstance(value, float) else str(value)
        if each in ("pair", "method", "variant", "collection", "metric"):
            parts.append(text)
        else:
            parts.append(f"{each.rpartition('.')[2]} {text}")
    return ", ".join(parts) or "-"


def _column(row: Row) -> str:
    return ".".join(part for part in (row["method"], row["variant"]) if part)


def _baseline(rows: Sequence[Row]) -> str | None:
    return next((row["baseline"] for row in rows if row["baseline"]), None)


def _cell(rows: Sequence[Row], base: Mapping[tuple[Any, ...], float]) -> str:
    if not rows:
        return "-"
    scored = [row for row in rows if row["value"] is not None]
    if not scored:
        return "failed"
    values = [row["value"] for row in scored]
    if len(scored) == 1:
        only = scored[0]
        text = f"{values[0]:.3f} [{only['ci_low']:.3f}, {only['ci_high']:.3f}]"
    else:
        text = f"{mean(values):.3f} ± {stdev(values):.3f}"
    if len(scored) < len(rows):
        text += f" ({len(scored)} of {len(rows)})"
    return text + _significance(scored, base) + _verdict(scored)


def _significance(rows: Sequence[Row], base: Mapping[tuple[Any, ...], float]) -> str:
    if any(row["p_value"] is None or row["p_value"] >= LEVEL for row in rows):
        return ""
    others = [base.get((row["pair"], row["collection"], row["seed"])) for row in rows]
    known = [
        (row["value"], other) for row, other in zip(rows, others, strict=True) if other is not None
    ]
    if not known:  # the baseline has no seed of its own, as the ceiling has none
        return ""
    return " ▲" if sum(value - other for value, other in known) > 0 else " ▼"


def _verdict(rows: Sequence[Row]) -> str:
    told = {row["verdict"] for row in rows}
    return next((mark for word, mark in MARKS.items() if word in told), "")


def _notes(rows: Sequence[Row]) -> list[str]:
    notes = []
    baseline = _baseline(rows)
    if baseline:
        notes.append(f"▲ ▼: above or below {baseline}, p < {LEVEL:.2f} after Holm's correction")
    told = {row["verdict"] for row in rows if row["verdict"]}
    if told:
        counts = [
            f"{word} {sum(row['verdict'] == word for row in rows)}"
            for word in ("OK", "about OK", "FAIL")
            if word in told
        ]
        notes.append("against expected scores: " + ", ".join(counts))
    seeds = {row["seed"] for row in rows}
    if len(seeds) > 1:
        notes.append(f"± standard deviation over {len(seeds)} seeds")
    return notes


# ------------------------------------------------------------------ formats


def text(table: Table) -> None:
    """Print a table on standard output."""
    from rich.table import Table as RichTable

    from clir_cli.console import show

    shown = RichTable(
        title=table.title,
        title_justify="left",
        caption="\n".join(table.notes) or None,
        caption_justify="left",
    )
    for number, name in enumerate(table.header):
        shown.add_column(name, justify="right" if number else "left", overflow="fold")
    for row in table.rows:
        shown.add_row(*row)
    show(shown)


def markdown(table: Table) -> None:
    """Print a table in Markdown."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(each.replace("|", r"\|") for each in cells) + " |"

    rule = "| --- |" + " ---: |" * (len(table.header) - 1)
    body = [line(row) for row in table.rows]
    notes = [f"\n{note}" for note in table.notes]
    print("\n".join([f"**{table.title}**\n", line(table.header), rule, *body, *notes]), end="\n\n")


def latex(table: Table) -> None:
    """Print a table in LaTeX, for the packages booktabs and float-free use."""

    def line(cells: Sequence[str]) -> str:
        return " & ".join(map(_escaped, cells)) + r" \\"

    lines = [
        f"% {table.title}",
        rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
        r"\toprule",
        line(table.header),
        r"\midrule",
        *(line(row) for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        *(f"% {note}" for note in table.notes),
    ]
    print("\n".join(lines), end="\n\n")


def _escaped(cell: str) -> str:
    return "".join(SPECIAL.get(letter, letter) for letter in cell)


FORMATS: dict[str, Callable[[Table], None]] = {
    "text": text, "markdown": markdown, "latex": latex,
}  # fmt: skip
