"""The report's charts: true labels, colours from the page, contrast, every kind of eye."""

import itertools
import re

import numpy as np
import pytest

from clir_cli.study.report import charts
from clir_cli.study.report.page import FOLDER, render


def svg_of(chart: charts.Chart) -> str:
    return render("chart.svg.j2", chart=chart)


def test_labels_keep_their_digits_where_coordinates_lose_theirs() -> None:
    bar = charts.Estimate("ot", 0.0123, 0.0101, 0.0149)
    svg = svg_of(charts.bars([bar], ["ot"], (0, 0.016)))
    labels = re.findall(r">([\d.]+)</text>", svg)
    assert len(set(labels)) == len(labels) >= 4
    assert float(labels[1]) == pytest.approx(float(labels[2]) / 2, rel=1e-6)
    drawn = " ".join(re.findall(r' (?:d|x|y|transform)="([^"]*)', svg))
    assert max(len(each) for each in re.findall(r"\d\.(\d+)", drawn)) == 2


def test_a_chart_is_coloured_by_the_page_alone() -> None:
    points = {(0.0, 1.0): 3, (0.5, 0.5): 2, (1.0, 0.0): 1}
    drawn = [
        charts.bars([charts.Estimate("ot", 0.5, 0.4, 0.6)], ["ot"], (-0.1, 1)),
        charts.scatter(points, "bm25", "ot", 2),
        charts.lines(
            [[(1, charts.Estimate("ot", 0.1, 0.0, 0.2)), (2, charts.Estimate("ot", 0.2, 0.1, 0.3))],
             [(None, charts.Estimate("english", 0.3, 0.2, 0.4))]],
            ["ot", "english"], (0, 1), across="epoch", up="mrr",
        ),
    ]  # fmt: skip
    style = (FOLDER / "page.css").read_text()
    for chart in drawn:
        svg = svg_of(chart)
        assert not re.findall(r"(?:fill|stroke)[-:=]|#|rgb", svg)
        assert set(re.findall(r' style="([^"]*)"', svg)) <= {
            f"color: var(--s{n})" for n in range(8)
        }
        classes = set(re.findall(r' class="([^"]*)"', svg)) - {"chart", "chart square"}
        assert {name for name in classes if not re.search(rf"\.chart \.{name}\b", style)} == set()
    assert "3 queries above the diagonal, 2 on it, 1 below" in drawn[1].text


def test_values_lie_where_the_ticks_say() -> None:
    chart = charts.bars([charts.Estimate("ot", 0.4, 0.2, 1.0)], ["ot"], (0, 1))
    ticks = {label: chart.x(value) for value, label in chart.x.ticks}
    bar, interval = chart.shapes
    assert f"L{ticks['0.4']} " in bar.outline
    assert f"L{chart.x(1.0)} " in interval.outline
    assert chart.x(0.0) == chart.x.start
    assert chart.x(1.0) == chart.x.end


def test_one_epoch_has_one_tick_and_a_long_label_fits() -> None:
    curve = [(1.0, charts.Estimate("ot", 0.5, 0.5, 0.5))]
    chart = charts.lines([curve], ["ot"], (0.4, 0.6), across="epoch", up="mrr")
    assert chart.x.ticks == [(1.0, "1")]
    label = "ot, vocabulary initial, folds 10, subwords 4000"
    chart = charts.bars([charts.Estimate(label, 0.5, 0.4, 0.6)], [label], (0, 1))
    assert "textLength" in svg_of(chart)
    assert chart.x.end - chart.x.start > 0.3 * charts.WIDTH


def test_series_beyond_the_eighth_repeat_colours_with_other_markers() -> None:
    assert len({(charts.sign(series), series % 8) for series in range(64)}) == 64


def linear(colour: str) -> np.ndarray:
    parts = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def luminance(colour: str) -> float:
    return float(linear(colour) @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def colours_of(scheme: int) -> dict[str, str]:
    """The colours of the style sheet, light (0) or dark (1)."""
    block = re.findall(r":root \{(.*?)\}", (FOLDER / "page.css").read_text(), flags=re.DOTALL)
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block[scheme]))


@pytest.mark.parametrize("scheme", [0, 1])
def test_colours_stand_out_in_both_schemes(scheme: int) -> None:
    """WCAG 2.2: 4.5 to 1 for letters, 3 to 1 for what is drawn."""
    colours = colours_of(scheme)
    assert len(colours) == 18
    for name in ("ink", "muted", "link", "ok", "about", "fail"):
        for under in ("paper", "soft"):
            assert contrast(colours[name], colours[under]) >= 4.5, (name, under)
    for place in range(8):
        assert contrast(colours[f"s{place}"], colours["paper"]) >= 3, place


# What colours become for eyes without one kind of cone: Machado, Oliveira and Fernandes (2009).
EYES = {
    "all cones": np.eye(3),
    "protanopia": np.array(
        [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]
    ),
    "deuteranopia": np.array(
        [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]
    ),
    "tritanopia": np.array(
        [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]
    ),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear sRGB, for D65."""
    xyz = TO_XYZ @ np.clip(rgb, 0, 1) / [0.9505, 1, 1.089]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("scheme", [0, 1])
@pytest.mark.parametrize("eye", EYES)
def test_series_can_be_told_apart_by_every_kind_of_eye(scheme: int, eye: str) -> None:
    colours = colours_of(scheme)
    seen = [lab(EYES[eye] @ linear(colours[f"s{place}"])) for place in range(8)]
    for one, other in itertools.combinations(range(8), 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 15, (one, other)
