"""Records: JSON lines, plain or compressed, and parquet, one at a time with its place in the file.

A field that must be text is text: what else JSON and parquet can hold is refused, never shown as
Python would.
"""

import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clir_cli.corpus.formats.opening import limited_lines, open_text
from clir_cli.corpus.formats.reading import checked_id, excerpt
from clir_cli.errors import UserError

Record = dict[str, Any]
BATCH = 1024  # rows of a parquet file that are in memory at once
LONGEST_RECORD = 64 << 20  # bytes of a line


def read_records(path: Path) -> Iterator[tuple[str, Record]]:
    """Yield the records of a file by its suffix: ``.parquet``, else JSON lines, also compressed.

    Each comes with ``<path>, line <number>``, for messages. UserError if the file is damaged, or if
    pyarrow is needed and not installed.
    """
    if path.suffix == ".parquet":
        yield from _parquet_rows(path)
    else:
        with open_text(path) as stream:
            yield from json_lines(str(path), stream)


def json_lines(name: str, stream: io.BufferedReader) -> Iterator[tuple[str, Record]]:
    """Yield the records of JSON lines, each with its place; blank lines are skipped."""
    for number, raw in enumerate(limited_lines(stream, LONGEST_RECORD), start=1):
        if raw.strip():
            where = f"{name}, line {number}"
            if len(raw) == LONGEST_RECORD:
                raise UserError(f"{where}: longer than {LONGEST_RECORD:,} bytes")
            record = parsed_json(where, raw)
            if not isinstance(record, dict):
                raise UserError(f"{where}: {excerpt(record)} is not a record")
            yield where, record


def parsed_json(where: str, raw: bytes) -> Any:
    """Return a JSON value; UserError if it is not JSON in UTF-8, too deep, or has a key twice."""
    try:
        return json.loads(raw.decode("utf-8-sig"), object_pairs_hook=_record)
    except RecursionError:
        raise UserError(f"{where}: JSON that is nested too deeply") from None
    except ValueError as error:
        raise UserError(f"{where}: not JSON in UTF-8: {error}") from None


def _record(pairs: list[tuple[str, Any]]) -> Record:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError(f"a record has a key twice; its keys are {[key for key, _ in pairs]}")
    return record


def _parquet_rows(path: Path) -> Iterator[tuple[str, Record]]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise UserError(f"{path}: parquet needs pyarrow: pip install 'clir-cli[parquet]'") from None
    try:
        with ParquetFile(path) as file:
            names = file.schema_arrow.names
            if len(set(names)) < len(names):
                raise UserError(f"{path}: two columns have one name: {excerpt(names)}")
            batches = (batch.to_pylist() for batch in file.iter_batches(BATCH))
            for number, row in enumerate(itertools.chain.from_iterable(batches), start=1):
                yield f"{path}, line {number}", row
    except (ArrowException, OSError, ValueError, OverflowError) as error:
        raise UserError(f"{path}: truncated or damaged parquet ({error})") from None


def text_of(
    record: Record, key: str, where: str, *, also: str = "", may_be_empty: bool = False
) -> str:
    """Return a text of a record without outer white space; empty for null.

    ``where`` is the record's place, for messages; ``also`` is another key, which is read if ``key``
    is not there. With ``may_be_empty`` the text may be empty, but the key must be there.

    Raises:
        UserError: The key is not there, or its value is no text or empty.
    """
    name = also if record.get(key) in (None, "") and also in record else key
    if name not in record:
        raise UserError(f"{where}: no {key!r}; its keys are {excerpt(list(record))}")
    value = "" if record[name] is None else record[name]
    if not isinstance(value, str):
        raise UserError(f"{where}: {name!r} is {excerpt(value)}, where a text is needed")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:  # half a surrogate pair is valid JSON, but no text
            raise UserError(
                f"{where}: {name!r} has half a surrogate pair, which is no text"
            ) from None
    if not value.strip() and not may_be_empty:
        raise UserError(f"{where}: {name!r} is empty")
    return value.strip()


def list_of(record: Any, key: str, where: str) -> list[Record]:
    """Return a list of records; UserError if there is none under the key."""
    values = record.get(key) if isinstance(record, dict) else None
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise UserError(f"{where}: no list of records under {key!r}")
    return values


def id_of(record: Record, key: str, where: str, *, also: str = "") -> str:
    """Return the id of a record, a text or a whole number; raises as ``text_of``."""
    name = also if key not in record and also in record else key
    value = record.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return checked_id(text_of(record, name, where), where, name)
