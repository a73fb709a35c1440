"""What a setting does in four languages together: differences over queries and seeds.

    python -m benchmarks.across_languages

Takes the values by query of ``results/open``. A query's value is the mean of its values in four
languages, or the gap: high- minus low-resource languages. Intervals are bootstrap ones over queries
and seeds together, p of a paired t-test of the queries' means over seeds.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from scipy import stats

from benchmarks.by_length import signed
from clir_cli.evaluation.gaps import resource_of
from clir_cli.evaluation.seeds import Seeded, over_seeds, query_means

COLLECTION, METRIC = "ntrex", "map"
PAIRS = ("sw-en", "so-en", "de-en", "fr-en")
MEAN = dict.fromkeys(PAIRS, 0.25)
GAP = {pair: 0.5 if resource_of(pair) == "high" else -0.5 for pair in PAIRS}

BySeed = dict[int, dict[str, float]]


@dataclass(frozen=True)
class Contrast:
    """A method with two values of a setting, each with the name of its variant."""

    title: str
    method: str
    variants: tuple[str, str]
    weights: Mapping[str, float]


SHARES = ("alpha1-max_pairs3000", "alpha0-max_pairs3000")
LAYERS = ("layers1-max_pairs3000", "max_pairs3000")
CONTRASTS = {
    ("share of English batches", "1", "0"): (
        Contrast("mean of four languages", "hybrid", SHARES, MEAN),
        Contrast("gap", "hybrid", SHARES, GAP),
        Contrast("mean, English queries", "hybrid-english", SHARES, MEAN),
    ),
    ("layers", "1", "6"): (
        Contrast("mean of four languages", "hybrid", LAYERS, MEAN),
        Contrast("gap", "hybrid", LAYERS, GAP),
    ),
}


def weighted(rows: pd.DataFrame, method: str, variant: str, weights: Mapping[str, float]) -> BySeed:
    """Return the sum over languages of weight times value, by seed and query.

    Raises:
        ValueError: A language lacks a query of a seed that another has.
    """
    chosen = rows[(rows["method"] == method) & (rows["variant"] == variant)]
    table = chosen.pivot(index=["seed", "query"], columns="pair", values="value")[[*weights]]
    if table.isna().any(axis=None) or table.empty:
        raise ValueError(f"{method}, {variant}: not every language has every query")
    sums = (table * pd.Series(weights)).sum(axis=1)
    return {int(seed): part.droplevel("seed").to_dict() for seed, part in sums.groupby("seed")}


def line(rows: pd.DataFrame, contrast: Contrast) -> str:
    """Return the row of a table: both values, their difference with its interval, and p."""
    first, last = (
        weighted(rows, contrast.method, variant, contrast.weights) for variant in contrast.variants
    )
    apart = {
        seed: {query: value - first[seed][query] for query, value in values.items()}
        for seed, values in last.items()
    }
    p_value = float(stats.ttest_1samp(list(query_means(apart).values()), 0).pvalue)
    p_text = f"{p_value:.3f}".lstrip("0") if p_value >= 0.001 else "< .001"
    found = [over_seeds(first), over_seeds(last), over_seeds(apart)]
    cells = [contrast.title, *(_cell(seeded, sign=seeded is found[2]) for seeded in found), p_text]
    return f"| {' | '.join(cells)} |"


def _cell(seeded: Seeded, *, sign: bool) -> str:
    value, low, high = map(signed, (seeded.value, seeded.low, seeded.high))
    value = value if sign else value.removeprefix("+")
    return f"{value} [{low}, {high}]".replace("[+", "[").replace(", +", ", ")


def tables(results: Path) -> list[str]:
    """Return the tables in Markdown."""
    rows = pd.read_csv(results / "per_query.csv.gz", dtype={"query": str}, keep_default_na=False)
    rows = rows[(rows["collection"] == COLLECTION) & (rows["metric"] == METRIC)]
    made = []
    for head, contrasts in CONTRASTS.items():
        lines = [f"| {' | '.join(head)} | difference | p |", "| --- | --- | --- | --- | --- |"]
        made.append("\n".join([*lines, *(line(rows, contrast) for contrast in contrasts)]))
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results/open"))
    print("\n\n".join(tables(parser.parse_args(arguments).results)))


if __name__ == "__main__":
    main()
