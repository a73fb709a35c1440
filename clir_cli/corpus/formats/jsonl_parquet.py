"""Rows of records: JSON lines, plain or gzipped, and parquet, one at a time."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from clir_cli.errors import UserError

Row = dict[str, Any]
BATCH = 1024  # rows of a parquet file that are in memory at once


@dataclass(frozen=True)
class Sheet:
    """A file or a member of an archive: how messages call it, and how it is opened."""

    name: str
    open: Callable[[], IO[bytes]]

    @classmethod
    def of(cls, path: Path) -> "Sheet":
        """Return the sheet of a file; ``.gz`` is unpacked as it is read."""
        if path.suffix == ".gz":
            return cls(str(path), lambda: gzip.open(path, "rb"))  # type: ignore[arg-type,return-value]
        return cls(str(path), lambda: path.open("rb"))


def json_lines(sheet: Sheet) -> Iterator[tuple[int, Any]]:
    """Yield line numbers and values of JSON lines; blank lines are passed over.

    Raises:
        UserError: A line is not JSON in UTF-8, or the file is cut.
    """
    try:
        with sheet.open() as stream:
            for number, raw in enumerate(stream, start=1):
                if raw.strip():
                    yield number, _value(sheet.name, number, raw)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(
            f"{sheet.name}: cut or damaged ({error}); delete it and fetch it again"
        ) from None


def _value(name: str, number: int, raw: bytes) -> Any:
    try:
        row = json.loads(raw)
        told = list(row.values()) if isinstance(row, dict) else []
        "".join(map(str, told)).encode()  # half a surrogate pair is valid JSON
    except ValueError as error:
        raise UserError(f"{name}, line {number}: not JSON in UTF-8: {error}") from None
    return row


def json_document(sheet: Sheet) -> Any:
    """Return the one JSON value of a file.

    Raises:
        UserError: It is not JSON in UTF-8.
    """
    try:
        with sheet.open() as stream:
            return json.load(stream)
    except ValueError as error:
        raise UserError(f"{sheet.name}: not JSON in UTF-8: {error}") from None


def parquet_rows(path: Path) -> Iterator[tuple[int, Row]]:
    """Yield row numbers and rows of a parquet file, ``BATCH`` of them in memory at once.

    Raises:
        UserError: pyarrow is not installed, or the file is damaged.
    """
    try:
        from pyarrow import ArrowInvalid
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise UserError(f"{path}: parquet needs pyarrow: pip install 'clir-cli[parquet]'") from None
    number = 0
    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: cut or damaged parquet ({error})") from None


def rows(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield the rows of a file by its suffix: ``.parquet``, else JSON lines (``.gz`` or plain)."""
    return parquet_rows(path) if path.suffix == ".parquet" else json_lines(Sheet.of(path))


def cell(row: Row, name: str, where: str) -> str:
    """Return a text of a row without outer white space.

    Raises:
        UserError: It is missing, empty, or no text.
    """
    text = row.get(name) if isinstance(row, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise UserError(f"{where}: {name!r} is missing or empty")
    return text.strip()
