"""The score tables: ``results/<suite>/scores.csv`` and ``per_query.csv``."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from clir_cli.artifacts import write_text

KEY = ["suite", "collection", "pair", "method", "variant", "seed", "metric"]
COLUMNS = [*KEY, "value", "queries", "ci_low", "ci_high"]
PER_QUERY_COLUMNS = [*KEY, "query", "value"]


def update(path: Path, rows: Sequence[dict[str, object]], columns: list[str]) -> None:
    """Put rows into a table; rows of the same key are replaced, the others stay.

    The table is sorted by key and written whole or not at all.
    """
    key = [column for column in columns if column in (*KEY, "query")]
    table = pd.DataFrame(rows, columns=columns)
    if path.exists():
        # Text as text: a pair, a variant or a query id that looks like a number stays what it is.
        kinds = dict.fromkeys([*KEY, "query"], str) | {"seed": int}
        before = pd.read_csv(path, dtype=kinds, keep_default_na=False)
        parts = [before, table] if len(before) else [table]
        table = pd.concat(parts).drop_duplicates(key, keep="last")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, table.sort_values(key).to_csv(index=False, lineterminator="\n"))
