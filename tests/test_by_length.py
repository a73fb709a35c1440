"""Differences by the length of the query: by value, and as docs/findings.md shows them."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks import by_length

ROOT = Path(__file__).resolve().parents[1]


def values(words: dict[str, list[int]]) -> pd.DataFrame:
    """Return values of two methods that differ by chance, for queries of so many words."""
    chance = np.random.default_rng(1)
    rows = [
        {"language": language, "query": f"q{number}", "words": count, "method": method}
        for language, counts in words.items()
        for number, count in enumerate(counts)
        for method in ("ot", "kd-score")
    ]
    return pd.DataFrame(rows).assign(value=chance.random(len(rows)))


def test_the_slope_is_that_of_a_regression_within_each_language():
    table = values({"sw": [3, 9, 5, 12, 7, 30], "so": [4, 8, 6, 15, 7, 25]})
    found = by_length.by_length(table, "ot", "kd-score")
    wide = table.pivot(index=["language", "words"], columns="method", values="value").reset_index()
    logs = np.log2(wide["words"])
    centred = logs - logs.groupby(wide["language"]).transform("mean")
    difference = wide["ot"] - wide["kd-score"]
    assert found.doubling == pytest.approx(stats.linregress(centred, difference).slope)
    assert found.low < found.doubling < found.high
    shortest = wide.groupby("language")["words"].rank() <= 2
    assert found.thirds[0] == pytest.approx(difference[shortest].mean())


def test_a_query_twice_is_refused():
    table = values({"sw": [3, 9, 5]})
    with pytest.raises(ValueError, match="duplicate"):
        by_length.by_length(pd.concat([table, table]), "ot", "kd-score")


@pytest.mark.parametrize(
    ("value", "text"), [(0.0124, "+.012"), (-0.0031, "-.003"), (-0.0004, ".000"), (1.0, "+1.000")]
)
def test_differences_are_written_as_on_the_pages(value, text):
    assert by_length.signed(value) == text


@pytest.mark.skipif("CLIR_MIRROR" not in os.environ, reason="CLIR_MIRROR names no folder")
def test_the_table_of_the_findings_is_that_of_the_results():
    words = by_length.lengths(Path(os.environ["CLIR_MIRROR"]))
    lines = by_length.lines(by_length.read(ROOT / "results" / "open", words))
    assert "\n".join(lines) in (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
