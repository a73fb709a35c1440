"""Pictures: matplotlib draws, the page colours.

Every figure is an SVG whose colours are variables of the page's style sheet, so that one picture
serves light and dark, and whose letters are text. Panels are small and stand side by side or one
below the other, as wide as the window lets them. Series differ in marker as well as in colour.
"""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 3.6  # inches; 346 pixels, the least that a telephone shows
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
SIGNS = ("●", "■", "▲", "◆", "▼", "✚", "✖", "⬟")  # the same, for the legend
# Colours that stand for the variables of the style sheet while matplotlib draws.
INK, MUTED, GRID, PAPER = "#0000f0", "#0000f1", "#0000f2", "#0000f3"
NAMES = {INK: "ink", MUTED: "muted", GRID: "grid", PAPER: "paper"}
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "clir",  # the same results give the same bytes
    "font.size": 8.5,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
}
NUMBERED = "chart-"  # before every id of a picture; the page puts a number in its place


@dataclass(frozen=True)
class Bar:
    """A value with its interval."""

    label: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """A series of a panel: values over places, with intervals where there are any."""

    label: str
    places: Sequence[float]
    values: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    flat: bool = False  # one value, whatever the place: a method that the axis does not touch


def series(place: int) -> str:
    """Return the colour that stands for the n-th series; after eight they begin anew."""
    return f"#0001{place % len(MARKERS):02x}"


def marker(place: int) -> str:
    """Return the marker of the n-th series; with the ninth, colours meet other markers."""
    return MARKERS[_shape(place)]


def sign(place: int) -> str:
    """Return the letter that looks like the marker of the n-th series."""
    return SIGNS[_shape(place)]


def _shape(place: int) -> int:
    return (place + place // len(MARKERS)) % len(MARKERS)


def bars(rows: Sequence[Bar], order: Sequence[str], *, limits: tuple[float, float]) -> Markup:
    """Draw a bar for each row, with its interval; ``order`` gives each label its colour."""
    figure, axes = _panel(height=0.5 + 0.24 * len(rows))
    places = range(len(rows) - 1, -1, -1)
    values = [row.value for row in rows]
    colours = [series(order.index(row.label)) for row in rows]
    # Pale inside, so that the interval stands out in both schemes; the edge has the full colour.
    axes.barh(places, values, height=0.62, color=colours, alpha=0.35)
    axes.barh(places, values, height=0.62, color="none", edgecolor=colours, linewidth=1.2)
    spans = [[row.value - row.low for row in rows], [row.high - row.value for row in rows]]
    axes.errorbar(
        values, places, xerr=spans, fmt="none", color=INK, ecolor=INK, elinewidth=1.2, capsize=2.5
    )
    axes.set_yticks(places, [row.label for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(*limits)
    axes.locator_params(axis="x", nbins=6)
    axes.grid(axis="x")
    if limits[0] < 0:
        axes.axvline(0, color=MUTED, linewidth=1)
    told = "; ".join(f"{r.label} {r.value:.3f} ({r.low:.3f} to {r.high:.3f})" for r in rows)
    return _svg(figure, f"Bars with intervals: {told}")


def lines(
    rows: Sequence[Line],
    order: Sequence[str],
    *,
    across: str,
    up: str,
    ticks: tuple[Sequence[float], Sequence[str]] | None = None,
    limits: tuple[float, float] | None = None,
) -> Markup:
    """Draw a line for each row, with its interval as a band."""
    figure, axes = _panel(height=2.3)
    for row in rows:
        place = order.index(row.label)
        if len(row.low):
            axes.fill_between(
                row.places, row.low, row.high, color=series(place), alpha=0.16, linewidth=0
            )
        dashed = {"linestyle": (0, (4, 2))} if row.flat else {"marker": marker(place)}
        axes.plot(row.places, row.values, color=series(place), **dashed)
    if ticks:
        axes.set_xticks(*ticks)
    else:
        axes.xaxis.get_major_locator().set_params(integer=True)
    if limits:
        axes.set_ylim(*limits)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.grid()
    told = "; ".join(
        f"{row.label}: " + ", ".join(f"{value:.3f}" for value in row.values) for row in rows
    )
    names = ", ".join(ticks[1]) if ticks else ", ".join(f"{x:g}" for x in rows[0].places)
    return _svg(figure, f"{up} over {across} ({names}): {told}")


def scatter(points: Mapping[tuple[float, float], int], across: str, up: str, place: int) -> Markup:
    """Draw points as discs, their area in proportion to how many queries lie there."""
    figure, axes = _panel(height=3.3)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="--")
    at = sorted(points)
    scale = min(14.0, 500 / max(points.values()))
    axes.scatter(
        [x for x, _ in at],
        [y for _, y in at],
        s=[scale * points[each] for each in at],
        color=series(place),
        alpha=0.55,
        linewidths=0,
        clip_on=False,
    )
    axes.set(xlim=(-0.07, 1.07), ylim=(-0.07, 1.07), aspect="equal", xlabel=across, ylabel=up)
    axes.grid()
    counts = {
        side: sum(number for (x, y), number in points.items() if (y > x) - (y < x) == side)
        for side in (1, 0, -1)
    }
    told = f"{counts[1]} queries above the diagonal, {counts[0]} on it, {counts[-1]} below"
    return _svg(figure, f"Scatter of {up} over {across}, a query each: {told}")


# ------------------------------------------------------------------ from matplotlib to the page


def _panel(height: float) -> "tuple[Figure, Axes]":
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        return figure, figure.subplots()


def _svg(figure: "Figure", told: str) -> Markup:
    """Return a figure as an element of the page, with ``told`` as its text alternative."""
    import matplotlib

    stream = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)  # the letters, once more
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, flags=re.DOTALL)
    text = re.sub(r' transform="rotate\(-0 [^"]*"', "", text)
    text = _own_names(text)
    for colour, name in NAMES.items():
        text = text.replace(colour, f"var(--{name})")
    text = re.sub(r"#0001([0-9a-f]{2})", lambda found: f"var(--s{int(found[1], 16)})", text)
    text = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--font)", text)
    text = re.sub(r' (?:d|x|y|transform)="[^"]*"', _rounded, text)
    text = re.sub(r"\s*\n\s*", " ", text)
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text)
    assert size, "matplotlib writes a viewBox"
    head = (
        f'<svg class="chart" role="img" aria-label="{escape(told)}" '
        f'viewBox="0 0 {size[1]} {size[2]}" xmlns="http://www.w3.org/2000/svg" '
        'xmlns:xlink="http://www.w3.org/1999/xlink">'
    )
    return Markup(re.sub(r"<svg[^>]*>", lambda _: head, text, count=1))


def _rounded(attribute: "re.Match[str]") -> str:
    """Return coordinates in hundredths of a point, which are enough; labels are not touched."""
    return re.sub(r"(\d\.\d{2})\d+", r"\1", attribute[0])


def _own_names(text: str) -> str:
    """Return an SVG with only those ids that something refers to, to be numbered by the page."""
    used = set(re.findall(r'(?:url\(#|href="#)([\w-]+)', text))
    text = re.sub(r' id="([\w.-]+)"', lambda found: found[0] if found[1] in used else "", text)
    return re.sub(
        r'( id="|url\(#|href="#)([\w-]+)', lambda found: f"{found[1]}{NUMBERED}{found[2]}", text
    )
