"""Charts in numbers: outlines on a rectangle of ``WIDTH`` units, which the page draws as SVG.

A shape has a class and the number of its series; the style sheet has the colours, so that one chart
serves light and dark. Series differ in marker as well as in colour.
"""

from collections import Counter
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


class Estimate(NamedTuple):
    """A value with its interval, of one method."""

    label: str
    value: float
    low: float
    high: float


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
    square: bool = False


def sign(series: int) -> str:
    """Return the letter that looks like the marker of a series."""
    return SIGNS[_marker(series)]


def _marker(series: int) -> int:
    # From the ninth series on the colours repeat, with other markers.
    return (series + series // len(MARKERS)) % len(MARKERS)


def ends_of(estimates: Iterable[Estimate]) -> tuple[float, float]:
    """Return the ends of an axis that holds all intervals; it begins at 0 if none is below."""
    lows, highs = zip((0.0, 0.01), *(estimate[2:] for estimate in estimates), strict=True)
    high = 1.05 * max(highs)
    return 1.05 * min(lows), min(1.0, high) if max(highs) <= 1 else high


def bars(rows: Sequence[Estimate], order: Sequence[str], ends: tuple[float, float]) -> Chart:
    """Draw a bar for each row, with its interval, on an axis with the given ends.

    ``order`` has all labels of the page: the index of a label is the number of its series.
    """
    left = min(0.6 * WIDTH, 6 + LETTER * max(len(row.label) for row in rows))
    x = Scale(left, WIDTH - 12, *ends, _ticks(ends, 5))
    labels = [(index + 0.5, row.label) for index, row in enumerate(rows)]
    y = Scale(4, 4 + 17 * len(rows), 0, len(rows), labels, grid=False)
    shapes = []
    for (middle, _), (label, value, low, high) in zip(labels, rows, strict=True):
        near, far = middle - 0.31, middle + 0.31
        box = _outline(x, y, [(0, near), (value, near), (value, far), (0, far)])
        whisker = _outline(x, y, [(low, middle), (high, middle)])
        for end in (low, high):
            whisker += _outline(x, y, [(end, middle - 0.14), (end, middle + 0.14)])
        shapes += [Shape("bar", f"{box}Z", order.index(label)), Shape("interval", whisker)]
    if ends[0] < 0:
        shapes.append(Shape("axis", _outline(x, y, [(0, 0), (0, len(rows))])))
    values = "; ".join(f"{r.label} {r.value:.3f} ({r.low:.3f} to {r.high:.3f})" for r in rows)
    return Chart(f"Bars with intervals: {values}", x, y, shapes)


def lines(
    rows: Sequence[Sequence[tuple[float | None, Estimate]]],
    order: Sequence[str],
    ends: tuple[float, float],
    *,
    across: str,
    up: str,
    ticks: Sequence[tuple[float, str]] = (),
) -> Chart:
    """Draw a line for each row of positions and estimates, with the intervals as a band.

    A row without positions has one estimate, of a method that the x axis does not affect: a dashed
    line from end to end. The x axis has whole numbers, unless ``ticks`` has positions and labels.
    ``order`` is as in ``bars``; ``ends`` belong to the y axis, ``across`` and ``up`` are the names.
    """
    positions = [position for row in rows for position, _ in row if position is not None]
    positions = positions or [position for position, _ in ticks]
    first, last = min(positions), max(positions)
    margin = 0.05 * (last - first) or 0.5
    ticks = ticks or _ticks((first, last), 6, whole=True)
    x = Scale(40, WIDTH - 8, first - margin, last + margin, ticks, across)
    y = Scale(130, 6, *ends, _ticks(ends, 5), up)
    shapes = []
    for row in rows:
        series = order.index(row[0][1].label)
        points = [(at, *estimate[1:]) for at, estimate in row if at is not None]
        if not points:
            level = row[0][1].value
            shapes.append(Shape("flat", _outline(x, y, [(first, level), (last, level)]), series))
            continue
        if any(low < high for _, _, low, high in points):
            edge = [(at, high) for at, _, _, high in points]
            edge += [(at, low) for at, _, low, _ in reversed(points)]
            shapes.append(Shape("band", f"{_outline(x, y, edge)}Z", series))
        curve = [(at, value) for at, value, _, _ in points]
        shapes.append(Shape("line", _outline(x, y, curve), series))
        marker = MARKERS[_marker(series)]
        shapes += [_placed("marker", marker, x(at), y(value), 2.8, series) for at, value in curve]
    values = "; ".join(
        f"{row[0][1].label}: " + ", ".join(f"{e.value:.3f}" for _, e in row) for row in rows
    )
    names = ", ".join(label for _, label in ticks)
    return Chart(f"{up} over {across} ({names}): {values}", x, y, shapes)


def scatter(counts: Mapping[Point, int], across: str, up: str, series: int) -> Chart:
    """Draw a disc for each point between 0 and 1, its area in proportion to its queries."""
    ticks = _ticks((0, 1), 5)
    x = Scale(40, WIDTH - 8, -0.07, 1.07, ticks, across)
    y = Scale(WIDTH - 42, 6, -0.07, 1.07, ticks, up)
    area = min(14.0, 500 / max(counts.values()))
    shapes = [Shape("diagonal", _outline(x, y, [(0, 0), (1, 1)]))]
    sides: Counter[int] = Counter()
    for (low, high), queries in sorted(counts.items()):
        radius = (area * queries) ** 0.5 / 2
        shapes.append(_placed("disc", MARKERS[0], x(low), y(high), radius, series))
        sides[(high > low) - (high < low)] += queries
    text = f"{sides[1]} queries above the diagonal, {sides[0]} on it, {sides[-1]} below"
    text = f"Scatter of {up} over {across}, a query each: {text}"
    return Chart(text, x, y, shapes, square=True)


def _placed(kind: str, outline: str, x: float, y: float, radius: float, series: int) -> Shape:
    return Shape(kind, outline, series, f"translate({x} {y}) scale({radius:.2f})")


def _outline(x: Scale, y: Scale, points: Iterable[Point]) -> str:
    return "M" + "L".join(f"{x(across)} {y(up)}" for across, up in points)


def _ticks(ends: tuple[float, float], bins: int, *, whole: bool = False) -> list[tuple[float, str]]:
    """Return round values between the ends of an axis, with as many digits as they need."""
    from matplotlib.ticker import MaxNLocator

    low, high = ends
    between = MaxNLocator(bins, steps=[1, 2, 2.5, 5, 10], integer=whole).tick_values(low, high)
    values = sorted({round(float(value), 9) for value in between})
    values = [value for value in values if low - 1e-9 <= value <= high + 1e-9]
    digits = max(len(f"{value:g}".partition(".")[2]) for value in values)
    return [(value, f"{value + 0.0:.{digits}f}") for value in values]
