"""Records: JSON lines, plain or gzipped, and parquet, one at a time."""

import gzip
import itertools
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from clir_cli.errors import UserError

Row = dict[str, Any]
BATCH = 1024  # rows of a parquet file that are in memory at once


def open_plain_or_gzip(path: Path) -> IO[bytes]:
    """Open a file; ``.gz`` is unpacked as it is read."""
    return cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


@dataclass(frozen=True)
class ByteSource:
    """A file or a member of an archive: its name in messages, and how it is opened."""

    name: str
    open: Callable[[], IO[bytes]]

    @classmethod
    def of(cls, path: Path) -> "ByteSource":
        """Return the source of a file, plain or gzipped."""
        return cls(str(path), lambda: open_plain_or_gzip(path))


def json_lines(source: ByteSource) -> Iterator[tuple[int, Any]]:
    """Yield line numbers and values of JSON lines; blank lines are skipped.

    Raises:
        UserError: A line is not JSON in UTF-8, or the file is truncated.
    """
    try:
        with source.open() as stream:
            for number, raw in enumerate(stream, start=1):
                if raw.strip():
                    yield number, _parsed(raw, f"{source.name}, line {number}")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(
            f"{source.name}: truncated or damaged ({error}); delete it and fetch it again"
        ) from None


def json_document(source: ByteSource) -> Any:
    """Return the one JSON value of a file.

    Raises:
        UserError: It is not JSON in UTF-8.
    """
    with source.open() as stream:
        return _parsed(stream.read(), source.name)


def _parsed(raw: bytes, where: str) -> Any:
    try:
        value = json.loads(raw)
        texts = list(value.values()) if isinstance(value, dict) else []
        "".join(text for text in texts if isinstance(text, str)).encode()
    except ValueError as error:  # half a surrogate pair is valid JSON, but no text
        raise UserError(f"{where}: not JSON in UTF-8: {error}") from None
    return value


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
    try:
        with ParquetFile(path) as file:
            batches = (batch.to_pylist() for batch in file.iter_batches(BATCH))
            yield from enumerate(itertools.chain.from_iterable(batches), start=1)
    except (ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: truncated or damaged parquet ({error})") from None


def rows(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield the rows of a file by its suffix: ``.parquet``, else JSON lines (``.gz`` or plain)."""
    return parquet_rows(path) if path.suffix == ".parquet" else json_lines(ByteSource.of(path))


def text_of(record: Any, name: str, where: str) -> str:
    """Return a text of a record without outer white space.

    Raises:
        UserError: It is missing, empty, or no text.
    """
    text = record.get(name) if isinstance(record, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise UserError(f"{where}: {name!r} is missing or empty")
    return text.strip()
