"""What a setting does in several languages together: differences over queries and seeds.

    python -m benchmarks.across_languages

Takes the values by query of ``results/open``. A query's value is the mean of its values in several
languages, or the gap: high- minus low-resource languages. Seeds are those that both sides have.
Intervals are bootstrap ones over queries and seeds together, p of a paired t-test of the queries'
means over seeds, uncorrected.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks.by_length import interval, signed
from clir_cli.evaluation.differences import paired
from clir_cli.evaluation.gaps import resource_of
from clir_cli.evaluation.scores import PER_QUERY_COLUMNS, read_table
from clir_cli.evaluation.seeds import Seeded, over_seeds, query_means
from clir_cli.evaluation.significance import paired_t
from clir_cli.study.report.blocks import p_text

METRIC = "map"
PAIRS = ("sw-en", "so-en", "de-en", "fr-en")
MEAN = dict.fromkeys(PAIRS, 0.25)
GAP = {pair: 0.5 if resource_of(pair) == "high" else -0.5 for pair in PAIRS}
LOW = {"so-en": 0.5, "tl-en": 0.5}
TEACHER = "late-interaction"  # of tokens: what tables have before the variant of a student
TRAINED = f"{TEACHER}.{TEACHER}"

BySeed = dict[int, dict[str, float]]
Column = tuple[str, str]  # a method and its variant


@dataclass(frozen=True)
class Contrast:
    """Two columns that are compared, by the sum over languages of weight times value."""

    title: str
    first: Column
    last: Column
    weights: Mapping[str, float]
    collection: str = "ntrex"


def _shares(method: str) -> tuple[Column, Column]:
    return (method, "alpha1-max_pairs3000"), (method, "alpha0-max_pairs3000")


def _teachers(method: str) -> Contrast:
    columns = (method, ""), (method, TEACHER if method == "english" else TRAINED)
    return Contrast(f"`{method}`", *columns, LOW, "ntrex-articles")


def _trained(method: str, rival: str) -> Contrast:
    columns = (rival, TRAINED), (method, TRAINED)
    return Contrast(f"`{rival}`, `{method}`", *columns, LOW, "ntrex-articles")


LAYERS = ("hybrid", "layers1-max_pairs3000"), ("hybrid", "max_pairs3000")
CONTRASTS = {
    ("share of English batches", "1", "0"): (
        Contrast("mean of four languages", *_shares("hybrid"), MEAN),
        Contrast("gap", *_shares("hybrid"), GAP),
        Contrast("mean, English queries", *_shares("hybrid-english"), MEAN),
    ),
    ("layers", "1", "6"): (
        Contrast("mean of four languages", *LAYERS, MEAN),
        Contrast("gap", *LAYERS, GAP),
    ),
    ("teacher", "of the suite", "of tokens"): tuple(
        map(_teachers, ("english", "rows", "kd-mse", "kd-cosine", "kd-score", "ot", "ot+score"))
    ),
    ("with the teacher of tokens", "the one", "the other"): tuple(
        _trained(method, rival)
        for method in ("ot", "ot+score")
        for rival in ("kd-mse", "kd-cosine", "kd-score")
    ),
}


def weighted(rows: pd.DataFrame, column: Column, contrast: Contrast) -> BySeed:
    """Return the sum over languages of weight times value, by query and seed of all languages.

    Raises:
        ValueError: A language lacks a query of a seed that another has.
    """
    method, variant = column
    chosen = rows[(rows["method"] == method) & (rows["variant"] == variant)]
    chosen = chosen[chosen["collection"] == contrast.collection]
    table = chosen.pivot(index=["seed", "query"], columns="pair", values="value")
    table = table.reindex(columns=[*contrast.weights])
    has_language = table.notna().groupby("seed").any().all(axis=1)
    table = table[table.index.get_level_values("seed").map(has_language)]
    if table.isna().any(axis=None) or table.empty:
        raise ValueError(f"{method}, {variant}: not every language has every query")
    sums = (table * pd.Series(contrast.weights)).sum(axis=1)
    return {int(seed): part.droplevel("seed").to_dict() for seed, part in sums.groupby("seed")}


def line(rows: pd.DataFrame, contrast: Contrast) -> str:
    """Return the row of a table: both values, their difference with its interval, and p."""
    sides = [weighted(rows, column, contrast) for column in (contrast.first, contrast.last)]
    common = sides[0].keys() & sides[1].keys()
    first, last = ({seed: side[seed] for seed in sorted(common)} for side in sides)
    apart = over_seeds(paired(last, first))
    p_value = paired_t(*(list(query_means(side).values()) for side in (last, first)))
    cells = [
        contrast.title,
        *(with_interval(side).removeprefix("+") for side in map(over_seeds, (first, last))),
        with_interval(apart),
        p_text(p_value).removeprefix("p").lstrip(" ="),
    ]
    return f"| {' | '.join(cells)} |"


def with_interval(seeded: Seeded) -> str:
    """Return a value, with its sign, and its interval."""
    return f"{signed(seeded.value)} {interval(seeded.low, seeded.high)}"


def tables(results: Path) -> list[str]:
    """Return the tables in Markdown."""
    rows = read_table(results / "per_query.csv.gz", PER_QUERY_COLUMNS, ["value"])
    rows = rows[rows["metric"] == METRIC]
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
