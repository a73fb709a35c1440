"""Where an objective gains: differences between methods by the length of the query.

    python -m benchmarks.by_length --mirror DIR

Takes the values by query of ``results/open``, means over seeds 1 and 2, and the queries of
``ntrex-articles`` from a mirror. Each language's queries are in thirds by their number of words.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from clir_cli.corpus.collections import load_collection
from clir_cli.evaluation.scores import PER_QUERY_COLUMNS, read_table

COLLECTION, METRIC, SEEDS = "ntrex-articles", "map", (1, 2)
LANGUAGES = ("sw", "so", "tl", "mr")
COMPARED = (
    ("ot+score", "kd-score"),
    ("ot", "kd-score"),
    ("kd-cosine", "kd-score"),
    ("ot+score", "kd-cosine"),
    ("ot", "kd-cosine"),
)
DRAWS = 2000  # of the bootstrap over queries


@dataclass(frozen=True)
class ByLength:
    """A difference by length: of each third, and per doubling with a 95 % interval."""

    thirds: tuple[float, float, float]
    doubling: float
    low: float
    high: float


def by_length(values: pd.DataFrame, method: str, baseline: str) -> ByLength:
    """Return the difference between two methods by the length of the query.

    ``values`` has the columns language, query, words, method and value. The slope is over the
    binary logarithm of the words, each language's counted from its own mean; a query is drawn in
    all its languages at once, since they are translations of one sentence.

    Raises:
        ValueError: Two rows of one language, query and method.
    """
    keys = ["language", "query", "words"]
    table = values.pivot(index=keys, columns="method", values="value").reset_index()
    table["difference"] = table[method] - table[baseline]
    of_language = table.groupby("language")["words"]
    order = of_language.rank(method="first")
    table["third"] = ((order - 1) * 3 // of_language.transform("size")).astype(int)
    thirds = table.groupby("third")["difference"].mean()
    logs = np.log2(table["words"])
    table["length"] = logs - logs.groupby(table["language"]).transform("mean")
    table["product"] = table["length"] * table["difference"]
    table["square"] = table["length"] ** 2
    sums = table.groupby("query")[["product", "square"]].sum().to_numpy()
    drawn = np.random.default_rng(0).integers(0, len(sums), (DRAWS, len(sums)))
    totals = sums[drawn].sum(axis=1)
    low, high = np.quantile(totals[:, 0] / totals[:, 1], (0.025, 0.975))
    slope = sums[:, 0].sum() / sums[:, 1].sum()
    first, second, third = (float(thirds[number]) for number in range(3))
    return ByLength((first, second, third), float(slope), float(low), float(high))


def lengths(mirror: Path) -> dict[tuple[str, str], int]:
    """Return the number of words of each query by language and id."""
    queries = {
        language: load_collection(COLLECTION, language, mirror).queries[language]
        for language in LANGUAGES
    }
    return {
        (language, name): len(text.split())
        for language, texts in queries.items()
        for name, text in texts.items()
    }


def read(results: Path, words: Mapping[tuple[str, str], int]) -> pd.DataFrame:
    """Return the means over seeds of each language, query and method, with the query's words."""
    rows = read_table(results / "per_query.csv.gz", PER_QUERY_COLUMNS, ["value"])
    chosen = (rows["collection"] == COLLECTION) & (rows["metric"] == METRIC)
    rows = rows[chosen & (rows["variant"] == "") & rows["seed"].isin(SEEDS)]
    rows = rows.assign(language=rows["pair"].str.removesuffix("-en"))
    means = rows.groupby(["language", "query", "method"], as_index=False)["value"].mean()
    names = zip(means["language"], means["query"], strict=True)
    return means.assign(words=[words[name] for name in names])


def signed(value: float) -> str:
    """Return a difference as the pages write it: +.012, -.003 or .000."""
    text = f"{value:+.3f}".replace("0.", ".", 1)
    return text if round(value, 3) else ".000"


def interval(low: float, high: float) -> str:
    """Return an interval as the pages write it: without a plus."""
    return f"[{signed(low)}, {signed(high)}]".replace("+", "")


def lines(values: pd.DataFrame) -> list[str]:
    """Return the table in Markdown."""
    made = [
        "| | shortest third | middle | longest third | a doubling |",
        "| --- | --- | --- | --- | --- |",
    ]
    for method, baseline in COMPARED:
        found = by_length(values, method, baseline)
        thirds = " | ".join(map(signed, found.thirds))
        slope = f"{signed(found.doubling)} {interval(found.low, found.high)}"
        made.append(f"| `{method}` - `{baseline}` | {thirds} | {slope} |")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results/open"))
    parser.add_argument("--mirror", type=Path, required=True)
    options = parser.parse_args(arguments)
    print("\n".join(lines(read(options.results, lengths(options.mirror)))))


if __name__ == "__main__":
    main()
