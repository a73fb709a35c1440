"""The benchmarks of distillation, on a few pairs of the sample."""

import csv

import pytest

from benchmarks import distill, growth


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
@pytest.mark.parametrize("part", ["steps", "level"])
def test_the_steps_of_clir_are_beside_those_of_plain_torch(part, home, tmp_path):
    out = tmp_path / "out.csv"
    words = [part, "--home", home, "--suite", "sample", "--pairs", 160, "--turns", 1, "--out", out]
    words += ["--methods", "plain torch", "clir", "--precision", "float32", "--every", 2]
    distill.main(list(map(str, words)))
    distill.main(list(map(str, [*words, "--lang", "de-en"])))  # beside the rows of sw-en
    rows = rows_of(out)
    assert [row["pair"] for row in rows] == ["sw-en", "sw-en", "de-en", "de-en"]
    assert {row["method"] for row in rows} == {"plain torch", "clir"}
    values = [row["pairs_per_second"] if part == "steps" else row["mrr"] for row in rows]
    assert all(float(value) > 0 for value in values)


@pytest.mark.slow
def test_growth_has_each_phase_with_its_peak(home, tmp_path):
    out = tmp_path / "out.csv"
    words = ["--home", home, "--suite", "sample", "--sizes", "400,800", "--steps", 2, "--out", out]
    growth.main(list(map(str, words)))
    rows = rows_of(out)
    assert {row["pairs"] for row in rows} == {"400", "800"}
    assert {"bitext", "rows and token ids", "whole"} <= {row["phase"] for row in rows}
    assert all(0 < float(row["peak_gb"]) < 20 for row in rows)


def test_the_time_until_a_score_is_between_the_points_of_a_curve():
    curve = [(0.0, 0.1), (10.0, 0.3), (20.0, 0.5)]
    assert distill.reached(curve, 0.2) == pytest.approx(5)
    assert distill.reached(curve, 0.5) == 20


def test_the_seconds_of_scoring_are_not_those_of_a_step():
    clock = iter([0.0, 1.0, 6.0, 8.0, 9.0])
    recorder = distill.Recorder(lambda _: 0.5, every=1, clock=lambda: next(clock))
    recorder(None)
    recorder(None)
    assert recorder.seconds == [1.0, 2.0]
    assert [score for _, score in recorder.curve] == [0.5, 0.5]
