"""Charts in numbers: outlines on a rectangle of ``WIDTH`` units, which the page draws as SVG.

A shape has a class and the number of its series; the style sheet has the colours, so that one chart
serves light and dark. Series differ in marker as well as in colour.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

WIDTH = 260
LETTER = 4.9  # mean width of a letter at the font size of the charts
# Outlines about (0, 0), 2 units wide; SIGNS are the letters that look the same, for the legend.
MARKERS = (
    "M-1 0a1 1 0 1 0 2 0a1 1 0 1 0-2 0Z",
    "M-.9-.9H.9V.9H-.9Z",
    "M0-1L1 .9H-1Z",
    "M0-1.3L1.1 0L0 1.3L-1.1 0Z",
    "M0 1L1-.9H-1Z",
    "M-.4-1.1H.4V-.4H1.1V.4H.4V1.1H-.4V.4H-1.1V-.4H-.4Z",
    "M-1-.5L-.5-1L0-.5L.5-1L1-.5L.5 0L1 .5L.5 1L0 .5L-.5 1L-1 .5L-.5 0Z",
    "M0-1.1L1-.3L.65 .9H-.65L-1-.3Z",
)
SIGNS = ("●", "■", "▲", "◆", "▼", "✚", "✖", "⬟")
Point = tuple[float, float]


@dataclass(frozen=True)
class Bar:
    """A value with its interval."""

    label: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """A series of values, with intervals where there are any.

    A ``flat`` line has one value at every position: a method that the axis does not affect.
    """

    label: str
    positions: Sequence[float]
    values: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    flat: bool = False


@dataclass(frozen=True)
class Scale:
    """An axis: ``low`` is drawn at ``start`` and ``high`` at ``end``; ticks have their labels."""

    start: float
    end: float
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    name: str = ""
    grid: bool = True

    def __call__(self, value: float) -> float:
        """Return where a value is drawn."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)


class Shape(NamedTuple):
    """An outline in the syntax of SVG paths, and its class in the style sheet."""

    kind: str
    outline: str
    series: int | None = None
    transform: str = ""


@dataclass(frozen=True)
class Chart:
    """Two axes with shapes between them; ``text`` says in words what they show."""

    text: str
    x: Scale
    y: Scale
    shapes: Sequence[Shape]


def sign(series: int) -> str:
    """Return the letter that looks like the marker of a series."""
    return SIGNS[_marker(series)]


def _marker(series: int) -> int:
    # From the ninth series on the colours repeat, with other markers.
    return (series + series // len(MARKERS)) % len(MARKERS)


def ends_of(bars: Iterable[Bar]) -> tuple[float, float]:
    """Return the ends of an axis that holds all intervals; it begins at 0 if none is below."""
    lows, highs = zip((0.0, 0.01), *((bar.low, bar.high) for bar in bars), strict=True)
    high = 1.05 * max(highs)
    return 1.05 * min(lows), min(1.0, high) if max(highs) <= 1 else high


def bars(rows: Sequence[Bar], order: Sequence[str], ends: tuple[float, float]) -> Chart:
    """Draw a bar for each row, with its interval.

    Args:
        rows: The bars, from top to bottom.
        order: All labels of the page; the index of a label decides its colour.
        ends: Least and greatest value of the axis.
    """
    left = min(0.6 * WIDTH, 6 + LETTER * max(len(row.label) for row in rows))
    bottom = 4 + 17 * len(rows)
    x = Scale(left, WIDTH - 12, *ends, _ticks(ends, 5))
    labels = [(index + 0.5, row.label) for index, row in enumerate(rows)]
    y = Scale(4, bottom, 0, len(rows), labels, grid=False)
    shapes = []
    for (middle, _), row in zip(labels, rows, strict=True):
        near, far = middle - 0.31, middle + 0.31
        box = [(0, near), (row.value, near), (row.value, far), (0, far)]
        whisker = [[(row.low, middle), (row.high, middle)]]
        whisker += [[(end, middle - 0.14), (end, middle + 0.14)] for end in (row.low, row.high)]
        shapes.append(Shape("bar", f"{_outline(x, y, box)}Z", order.index(row.label)))
        shapes.append(Shape("interval", "".join(_outline(x, y, part) for part in whisker)))
    if ends[0] < 0:
        shapes.append(Shape("axis", _outline(x, y, [(0, 0), (0, len(rows))])))
    values = "; ".join(f"{r.label} {r.value:.3f} ({r.low:.3f} to {r.high:.3f})" for r in rows)
    return Chart(f"Bars with intervals: {values}", x, y, shapes)


def lines(
    rows: Sequence[Line],
    order: Sequence[str],
    ends: tuple[float, float],
    *,
    across: str,
    up: str,
    ticks: Sequence[tuple[float, str]] = (),
) -> Chart:
    """Draw a line for each row, with its interval as a band.

    Args:
        rows: The lines.
        order: All labels of the page; the index of a label decides colour and marker.
        ends: Least and greatest value of the y axis.
        across: Name of the x axis.
        up: Name of the y axis.
        ticks: Of the x axis; without them it has whole numbers.
    """
    positions = [position for row in rows for position in row.positions]
    first, last = min(positions), max(positions)
    margin = 0.05 * (last - first) or 0.5
    ticks = ticks or _ticks((first, last), 6, whole=True)
    x = Scale(40, WIDTH - 8, first - margin, last + margin, ticks, across)
    y = Scale(130, 6, *ends, _ticks(ends, 5), up)
    shapes = []
    for row in rows:
        series = order.index(row.label)
        if row.low:
            there = [*zip(row.positions, row.high, strict=True)]
            back = reversed([*zip(row.positions, row.low, strict=True)])
            shapes.append(Shape("band", f"{_outline(x, y, [*there, *back])}Z", series))
        points = [*zip(row.positions, row.values, strict=True)]
        shapes.append(Shape("flat" if row.flat else "line", _outline(x, y, points), series))
        for position, value in () if row.flat else points:
            shapes.append(_disc(x(position), y(value), 2.8, series, "marker"))
    values = "; ".join(f"{row.label}: " + ", ".join(f"{v:.3f}" for v in row.values) for row in rows)
    names = ", ".join(label for _, label in ticks)
    return Chart(f"{up} over {across} ({names}): {values}", x, y, shapes)


def scatter(counts: Mapping[Point, int], across: str, up: str, series: int) -> Chart:
    """Draw a disc for each point between 0 and 1, its area in proportion to its queries.

    Args:
        counts: Number of queries at each point.
        across: Name of the x axis.
        up: Name of the y axis.
        series: Its number decides the colour.
    """
    ticks = _ticks((0, 1), 5)
    x = Scale(40, WIDTH - 8, -0.07, 1.07, ticks, across)
    y = Scale(WIDTH - 42, 6, -0.07, 1.07, ticks, up)
    area = min(14.0, 500 / max(counts.values()))
    shapes = [Shape("diagonal", _outline(x, y, [(0, 0), (1, 1)]))]
    for (rival, method), queries in sorted(counts.items()):
        shapes.append(_disc(x(rival), y(method), (area * queries) ** 0.5 / 2, series, "disc"))
    above, on, below = (
        sum(
            queries
            for (rival, own), queries in counts.items()
            if (own > rival) - (own < rival) == side
        )
        for side in (1, 0, -1)
    )
    text = f"{above} queries above the diagonal, {on} on it, {below} below"
    return Chart(f"Scatter of {up} over {across}, a query each: {text}", x, y, shapes)


def _disc(x: float, y: float, radius: float, series: int, kind: str) -> Shape:
    outline = MARKERS[_marker(series) if kind == "marker" else 0]
    return Shape(kind, outline, series, f"translate({x} {y}) scale({radius:.2f})")


def _outline(x: Scale, y: Scale, points: Iterable[Point]) -> str:
    return "M" + "L".join(f"{x(across)} {y(up)}" for across, up in points)


def _ticks(ends: tuple[float, float], bins: int, *, whole: bool = False) -> list[tuple[float, str]]:
    """Return round values between the ends of an axis, with as many digits as they need."""
    from matplotlib.ticker import MaxNLocator

    low, high = ends
    between = MaxNLocator(bins, steps=[1, 2, 2.5, 5, 10], integer=whole).tick_values(low, high)
    values = [float(value) for value in between if low - 1e-9 <= value <= high + 1e-9]
    digits = max(len(f"{value:g}".partition(".")[2]) for value in values)
    return [(value, f"{value + 0.0:.{digits}f}") for value in values]
