"""Records: JSON lines, plain or gzipped, and parquet, one at a time with its place in the file."""

import gzip
import itertools
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from clir_cli.errors import UserError

Record = dict[str, Any]
BATCH = 1024  # rows of a parquet file that are in memory at once


def open_plain_or_gzip(path: Path) -> IO[bytes]:
    """Open a file; ``.gz`` is unpacked as it is read."""
    return cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def read_records(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the records of a file by its suffix: ``.parquet``, else JSON lines (``.gz`` or plain).

    Each comes with ``<path>, line <number>``, for messages. UserError if the file is damaged, or if
    pyarrow is needed and not installed.
    """
    if path.suffix == ".parquet":
        yield from _parquet_rows(path)
    else:
        with open_plain_or_gzip(path) as stream:
            yield from json_lines(str(path), stream)


def json_lines(name: str, stream: IO[bytes]) -> Iterator[tuple[str, Any]]:
    """Yield the values of JSON lines, each with its place; blank lines are skipped."""
    try:
        for number, raw in enumerate(stream, start=1):
            if raw.strip():
                where = f"{name}, line {number}"
                yield where, parsed_json(where, raw)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(
            f"{name}: truncated or damaged ({error}); delete it and fetch it again"
        ) from None


def parsed_json(where: str, raw: bytes) -> Any:
    """Return a JSON value; UserError if it is not JSON in UTF-8."""
    try:
        value = json.loads(raw)
        texts = list(value.values()) if isinstance(value, dict) else []
        "".join(text for text in texts if isinstance(text, str)).encode()
    except ValueError as error:  # half a surrogate pair is valid JSON, but no text
        raise UserError(f"{where}: not JSON in UTF-8: {error}") from None
    return value


def _parquet_rows(path: Path) -> Iterator[tuple[str, Record]]:
    try:
        from pyarrow import ArrowInvalid
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise UserError(f"{path}: parquet needs pyarrow: pip install 'clir-cli[parquet]'") from None
    try:
        with ParquetFile(path) as file:
            batches = (batch.to_pylist() for batch in file.iter_batches(BATCH))
            for number, row in enumerate(itertools.chain.from_iterable(batches), start=1):
                yield f"{path}, line {number}", row
    except (ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: truncated or damaged parquet ({error})") from None


def text_of(record: Any, key: str, where: str) -> str:
    """Return a text of a record without outer white space; UserError if it has none."""
    text = record.get(key) if isinstance(record, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise UserError(f"{where}: {key!r} is missing or empty")
    return text.strip()
