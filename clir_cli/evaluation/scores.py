"""Score tables: ``results/<suite>/scores.csv`` and ``per_query.csv``."""

import csv
import math
from collections.abc import Collection, Sequence
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
            table = pd.concat([read_table(path, columns), table])
        table = table.drop_duplicates(key, keep="last").sort_values(key)
        write_text(path, table.to_csv(index=False, lineterminator="\n"))


def read_table(path: Path, needed: Collection[str], numbers: Collection[str] = ()) -> pd.DataFrame:
    """Return a CSV table that clir has written: text as it is, ``seed`` whole.

    ``numbers`` are columns of numbers, if they are there; what is empty is NaN, and nothing else
    is.

    Raises:
        UserError: It is no file, no such table, or was cut off; the line is named.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise UserError(f"{path}: not a regular file; move it away")
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.reader(stream, strict=True))
            stream.seek(0)
            is_cut = not stream.read().endswith("\n")
    except (ValueError, csv.Error):
        rows, is_cut = [], False
    head = rows[0] if rows else []
    if not set(needed) <= set(head) or len(set(head)) < len(head):
        raise UserError(f"{path}: not a score table of clir; move it away")
    types = {name: _number for name in numbers} | {"seed": int}
    readers = [types.get(name, str) for name in head]
    typed = []
    for number, row in enumerate(rows[1:], start=2):
        try:
            if is_cut and number == len(rows):
                raise ValueError
            typed.append([read(text) for read, text in zip(readers, row, strict=True)])
        except ValueError:
            message = f"{path}: row {number} is damaged"
            raise UserError(f"{message}; move the file away, and make it again") from None
    return pd.DataFrame(typed, columns=head)


def _number(text: str) -> float:
    value = float(text or math.nan)
    if text and math.isnan(value):
        raise ValueError(text)
    return value
