"""Score tables: ``results/<suite>/scores.csv`` and ``per_query.csv``.

Tables are written without pandas: importing it takes longer than all of a small evaluation.
"""

import csv
import gzip
import io
import math
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clir_cli.errors import UserError
from clir_cli.files import alone, write_text

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]

KEY = ["suite", "collection", "pair", "method", "variant", "seed", "metric"]
COLUMNS = [*KEY, "value", "queries", "ci_low", "ci_high"]
PER_QUERY_COLUMNS = [*KEY, "query", "value"]


def publish(folder: Path, rows: Sequence[Row], per_query: Sequence[Row]) -> None:
    """Update ``scores.csv`` and ``per_query.csv`` in a folder."""
    update(folder / "scores.csv", rows, COLUMNS)
    update(folder / "per_query.csv", per_query, PER_QUERY_COLUMNS)


def update(
    path: Path,
    rows: Sequence[Row],
    columns: Sequence[str],
    key: Collection[str] = (*KEY, "query"),
) -> None:
    """Put rows into a table; rows of the same key are replaced, the others kept.

    The key is what ``columns`` and ``key`` have in common. The table is sorted by it and written
    whole or not at all, by one process at a time.

    Raises:
        UserError: The file is no score table.
    """
    key = [column for column in columns if column in key]
    with alone(path, wait=True):
        head, before = read_rows(path, columns) if path.exists() else ([], [])
        table = {tuple(row[name] for name in key): row for row in [*before, *rows]}
        head = list(dict.fromkeys([*head, *columns]))
        write_text(path, _text(head, (table[values] for values in sorted(table))))


def _text(columns: Sequence[str], rows: Iterable[Row]) -> str:
    """Return a table as CSV; None, NaN and what a row lacks are empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        values = [row.get(name) for name in columns]
        writer.writerow(["" if value is None or value != value else value for value in values])
    return out.getvalue()


def read_table(
    path: Path, needed: Collection[str], numbers: Collection[str] = ()
) -> "pd.DataFrame":
    """Return a table as ``read_rows`` does, in pandas."""
    import pandas as pd

    head, rows = read_rows(path, needed, numbers)
    return pd.DataFrame(rows, columns=head)


def read_rows(
    path: Path, needed: Collection[str], numbers: Collection[str] = ()
) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the columns and rows of a CSV table that clir has written, also packed as ``.gz``.

    Text is as it is, ``seed`` a whole number. ``numbers`` are columns of numbers, if they are
    there; what is empty is NaN, and nothing else is.

    Raises:
        UserError: It is no file, no such table, or was cut off; the line is named.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise UserError(f"{path}: not a regular file; move it away")
    try:
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8", newline="") as stream:
            text = stream.read()
        rows, is_cut = list(csv.reader(io.StringIO(text), strict=True)), not text.endswith("\n")
    except (ValueError, csv.Error, EOFError, zlib.error, gzip.BadGzipFile):
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
            values = [read(text) for read, text in zip(readers, row, strict=True)]
            typed.append(dict(zip(head, values, strict=True)))
        except ValueError:
            message = f"{path}: row {number} is damaged"
            raise UserError(f"{message}; move the file away, and make it again") from None
    return head, typed


def _number(text: str) -> float:
    value = float(text or math.nan)
    if text and math.isnan(value):
        raise ValueError(text)
    return value
