"""Score tables: ``results/<suite>/scores.csv`` and ``per_query.csv``."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from clir_cli.errors import UserError
from clir_cli.files import alone, write_text

KEY = ["suite", "collection", "pair", "method", "variant", "seed", "metric"]
COLUMNS = [*KEY, "value", "queries", "ci_low", "ci_high"]
PER_QUERY_COLUMNS = [*KEY, "query", "value"]


def publish(
    folder: Path, rows: Sequence[dict[str, object]], per_query: Sequence[dict[str, object]]
) -> None:
    """Update ``scores.csv`` and ``per_query.csv`` in a folder."""
    update(folder / "scores.csv", rows, COLUMNS)
    update(folder / "per_query.csv", per_query, PER_QUERY_COLUMNS)


def update(path: Path, rows: Sequence[dict[str, object]], columns: list[str]) -> None:
    """Put rows into a table; rows of the same key are replaced, the others kept.

    The table is sorted by key and written whole or not at all, by one process at a time.

    Raises:
        UserError: The file is no score table.
    """
    key = [column for column in columns if column in (*KEY, "query")]
    table = pd.DataFrame(rows, columns=columns)
    with alone(path, wait=True):
        if path.exists():
            table = pd.concat([_read(path, columns), table])
        table = table.drop_duplicates(key, keep="last").sort_values(key)
        write_text(path, table.to_csv(index=False, lineterminator="\n"))


def _read(path: Path, columns: list[str]) -> pd.DataFrame:
    # As text, so that a query id that looks like a number is not one, and scores keep all digits.
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False).astype({"seed": int})
    except (ValueError, KeyError):
        table = pd.DataFrame()
    if not set(columns) <= set(table.columns):
        raise UserError(f"{path}: not a score table of clir; move it away")
    return table
