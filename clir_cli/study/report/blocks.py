"""What a report is made of: sections of tables, figures, transport plans and lists."""

from collections.abc import Sequence
from dataclasses import dataclass

from clir_cli.console import score_text
from clir_cli.study.report.charts import Chart
from clir_cli.study.report.provenance import Provenance


@dataclass(frozen=True)
class TableCell:
    """A cell of a table: ``small`` is set below ``text``, rows are sorted by ``key``."""

    text: str
    small: str = ""
    key: float | str = ""
    kind: str = ""  # a class of the style sheet: number, ok, about, fail
    lang: str = ""  # of the text, where it is not English


@dataclass(frozen=True)
class TableBlock:
    """A table; the first cell of a row names it."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[TableCell]]
    note: str = ""
    made_by: Provenance | None = None
    folded: bool = False
    opened: bool = False  # folded, but open at first
    kind: str = "table"


@dataclass(frozen=True)
class Panel:
    """One chart of a figure."""

    title: str
    chart: Chart


@dataclass(frozen=True)
class FigureBlock:
    """Panels side by side under one title; ``legend`` has number and label of the series."""

    title: str
    panels: Sequence[Panel]
    made_by: Provenance
    legend: Sequence[tuple[int, str]] = ()
    note: str = ""
    kind: str = "figure"


@dataclass(frozen=True)
class PlanBlock:
    """A transport plan as a heat map; each row of ``shares`` sums to 1."""

    title: str
    lang: str
    sentence: str
    english: str
    rows: Sequence[str]
    columns: Sequence[str]
    shares: Sequence[Sequence[float]]
    made_by: Provenance
    kind: str = "plan"


@dataclass(frozen=True)
class ListBlock:
    """Lines of text: what failed, what is missing."""

    title: str
    lines: Sequence[str]
    kind: str = "lines"


Block = TableBlock | FigureBlock | PlanBlock | ListBlock


@dataclass(frozen=True)
class Section:
    """A part of the report; ``empty`` says what it needs when it has no blocks."""

    name: str
    title: str
    text: str
    blocks: Sequence[Block]
    empty: str = ""


def number(value: float) -> str:
    """Return a score with three decimals, one from 10 on, and no negative zero.

    >>> number(0.39961), number(-0.0004), number(46.924)
    ('0.400', '0.000', '46.9')
    """
    text = f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"
    return text.removeprefix("-") if float(text) == 0 else text


def span(counts: Sequence[int]) -> str:
    """Return one number, or the least and the greatest of several.

    >>> span([80, 80]), span([80, 397, 80])
    ('80', '80 to 397')
    """
    return " to ".join(map(str, dict.fromkeys([min(counts), max(counts)])))


def p_text(p: float) -> str:
    """Return a p-value as papers write it.

    >>> p_text(0.0003), p_text(0.0421)
    ('p < .001', 'p = .042')
    """
    return "p < .001" if p < 0.001 else f"p = {p:.3f}".replace("0.", ".", 1)


def number_cell(value: float | str | None, text: str = "") -> TableCell:
    """Return a cell that is sorted by its number; where there is none, below all numbers."""
    if value is None or value != value:
        return TableCell("-", key=-1.0, kind="number")
    try:
        return TableCell(text or number(float(value)), key=float(value), kind="number")
    except ValueError:  # a setting that is no number
        return TableCell(text, key=value, kind="number")


def score_cell(
    value: float, low: float, high: float, mark: str = "", more: Sequence[str] = ()
) -> TableCell:
    """Return a score with its mark; its interval and what more there is to say are below it."""
    score = score_text(value, low, high, mark=mark, digits=number)
    text = f"{score.value} {score.mark}".rstrip()
    return TableCell(text, "\n".join([score.interval, *more]), value, "number")
