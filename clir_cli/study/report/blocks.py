"""What a report is made of: sections of tables, figures, plans and lists, and how each was made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup


@dataclass(frozen=True)
class How:
    """What made a figure: the commands, the settings, and those that differ from cell to cell.

    The first ``shown`` commands are seen at once, the others are a click away.
    """

    commands: Sequence[str] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    varied: Mapping[str, str] = field(default_factory=dict)
    shown: int = 4


@dataclass(frozen=True)
class Cell:
    """A cell of a table: ``small`` stands below ``text``, ``key`` is what it is sorted by."""

    text: str
    small: str = ""
    key: float | str = ""
    kind: str = ""  # a class of the style sheet: number, ok, about, fail
    lang: str = ""  # of the text, where it is not English


@dataclass(frozen=True)
class Table:
    """A table; the first cell of a row names it."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    how: How | None = None
    folded: bool = False
    opened: bool = False  # folded, but open at first
    kind: str = "table"


@dataclass(frozen=True)
class Panel:
    """One picture of a figure."""

    title: str
    svg: Markup


@dataclass(frozen=True)
class Figure:
    """Panels side by side under one title; ``legend`` holds place and label of the series."""

    title: str
    panels: Sequence[Panel]
    how: How
    legend: Sequence[tuple[int, str]] = ()
    note: str = ""
    kind: str = "figure"


@dataclass(frozen=True)
class Plan:
    """A transport plan as a heat map; each row of ``shares`` sums to 1."""

    title: str
    lang: str
    sentence: str
    english: str
    rows: Sequence[str]
    columns: Sequence[str]
    shares: Sequence[Sequence[float]]
    how: How
    kind: str = "plan"


@dataclass(frozen=True)
class Lines:
    """Lines that are told: what failed, what is missing."""

    title: str
    lines: Sequence[str]
    kind: str = "lines"


Block = Table | Figure | Plan | Lines


@dataclass(frozen=True)
class Section:
    """A part of the report."""

    name: str
    title: str
    text: str
    blocks: Sequence[Block]
    empty: str = ""  # what is told where there are no blocks


def number(value: float) -> str:
    """Return a score with as many digits as it deserves.

    >>> number(0.39961), number(-0.0004), number(46.924)
    ('0.400', '0.000', '46.9')
    """
    text = f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"
    return text.removeprefix("-") if float(text) == 0 else text


def p_text(p: float) -> str:
    """Return a p-value as papers write it.

    >>> p_text(0.0003), p_text(0.0421)
    ('p < .001', 'p = .042')
    """
    return "p < .001" if p < 0.001 else f"p = {p:.3f}".replace("0.", ".", 1)
