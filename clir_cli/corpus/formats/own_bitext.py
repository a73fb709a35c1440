"""The user's own bitext: tables, records, translation memories, zips of OPUS, parallel files.

The end of a file's name says what it is. Other files are the two sides of parallel text, one after
the other; one alone is a table with tabs.
"""

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from clir_cli.corpus.catalogue import CatalogueFile, LocalFile
from clir_cli.corpus.formats.bitext_readers import (
    joined_lines,
    non_empty,
    read_moses,
    read_tmx,
)
from clir_cli.corpus.formats.columns import ENGLISH, named_columns, required_columns
from clir_cli.corpus.formats.jsonl_parquet import Record, read_records, text_of
from clir_cli.corpus.formats.opening import (
    LONGEST_LINE,
    limited_lines,
    open_text,
    require_regular,
    unpacked_name,
)
from clir_cli.corpus.formats.reading import Faults, ReadRequest, decoded_lines
from clir_cli.corpus.records import SentencePair
from clir_cli.errors import UserError

COLUMNS = "a pair is two columns with a tab between"
QUOTED = re.compile(r'"(?=.*"")(?:[^"]|"")*"')
LONGEST_CELL = 1 << 17  # characters; a sentence is never so long
NO_UTF8 = re.compile("[\udc80-\udcff]")  # bytes that are no UTF-8, as surrogateescape has them


def read_files(paths: Sequence[Path], faults: Faults, language: str = "") -> Iterator[SentencePair]:
    """Yield the pairs of the user's own bitext.

    Raises:
        UserError: A file is missing, a side lacks the other, or a file has a fault or no pair.
    """
    for path in paths:
        require_regular(path, " (bitext.files)")
    parts, sides = [], list[Path]()
    for path in paths:
        if read := READERS.get(unpacked_name(path).suffix.lower()):
            parts.append(_some(path, read(path, faults, language), faults))
        else:
            sides.append(path)
    if len(sides) == 1 and len(paths) == 1:
        return _some(sides[0], read_tsv(sides[0], faults, language), faults)
    if len(sides) % 2:
        raise UserError(
            f"bitext.files: {sides[-1]} lacks its other side; give two parallel files (query "
            f"language, English), or one that ends in {', '.join(READERS)}"
        )
    for query, english in zip(sides[::2], sides[1::2], strict=True):
        rows = read_own_parallel(query, english, faults, language)
        parts.append(_some(query, rows, faults))
    return chain.from_iterable(parts)


def read_any(files: Sequence[LocalFile], request: ReadRequest) -> Iterator[SentencePair]:
    """Yield the pairs of a source's files, which may have any form that the user's own have."""
    ordered = sorted(files, key=lambda file: file.declared.lang == "en")
    return read_files([file.path for file in ordered], request.faults, request.language)


def _some(path: Path, rows: Iterator[SentencePair], faults: Faults) -> Iterator[SentencePair]:
    """Yield the pairs of a file; UserError if there is none, and no line that was skipped."""
    row = None
    for row in rows:
        yield row
    if row is None and all(what.startswith("header line") for what in faults.skipped):
        raise UserError(f"{path}: no sentence pair in it (bitext.files)")


def read_own_parallel(
    query: Path, english: Path, faults: Faults, language: str
) -> Iterator[SentencePair]:
    """Yield the pairs of two files of the user; first lines that name the languages are no pair.

    Raises:
        UserError: The files are swapped, or the same.
    """
    if query == english:
        raise UserError(f"bitext.files names {query} twice")
    if _is_english(query) and not _is_english(english):
        raise UserError(f"{query} is English, {english} is not; swap them")
    for number, *sides in joined_lines(query, english, faults):
        names = named_columns(sides, language, f"{query}, line 1") if number == 1 else None
        if names == (1, 0):
            raise UserError(f"{query} is English, {english} is not; swap them")
        if names:
            faults.count_header(sides)
        elif all("\t" in side.strip() for side in sides):
            faults.report(query, number, "a tab in both files; they have a sentence in each line")
        else:
            yield from non_empty((query, sides[0]), (english, sides[1]), number, faults)


def _is_english(path: Path) -> bool:
    """Return True if the end of a file's name says so, as in ``train.en.gz``."""
    return not ENGLISH.isdisjoint(path.name.lower().split(".")[1:])


def read_tsv(path: Path, faults: Faults, language: str = "") -> Iterator[SentencePair]:
    """Yield the pairs of a file with one pair per line: query language, tab, English.

    There may be further columns, and in another order, if the first line names the languages.
    """
    columns, count = (0, 1), 2
    for number, line in decoded_lines(path, faults):
        cells = line.split("\t")
        where = f"{path}, line {number}"
        if number == 1 and (named := named_columns(cells, language, where)):
            columns, count = named, len(cells)
            faults.count_header(cells)
        elif not line.strip():
            faults.report(path, number, "empty line")
        elif len(cells) != count:
            name = (
                f", or name them in the first line ({language or 'sw'}, en)" if count == 2 else ""
            )
            faults.report(path, number, f"columns: {len(cells)}, not {count}; {COLUMNS}{name}")
        elif any(QUOTED.fullmatch(cells[column]) for column in columns):
            faults.report(path, number, "quoted as in CSV; write texts as they are")
        else:
            query, english = (cells[column] for column in columns)
            yield from non_empty((path, query), (path, english), number, faults)


def read_csv(path: Path, faults: Faults, language: str = "") -> Iterator[SentencePair]:
    """Yield the pairs of a CSV file, whose first line names its columns.

    Raises:
        UserError: The names are unclear, or quotes are damaged.
    """
    names: list[str] = []
    for number, cells in csv_rows(path, faults):
        if not names:
            names, columns = cells, required_columns(cells, language, f"{path}, line {number}")
            faults.count_header(names)
        elif len(cells) == len(names):
            query, english = (" ".join(cells[column].split()) for column in columns)
            yield from non_empty((path, query), (path, english), number, faults)
        else:
            what = f"columns: {len(cells)}, not {len(names)} as in the first line"
            faults.report(path, number, what)


def csv_rows(
    path: Path, faults: Faults, longest: int = LONGEST_LINE, longest_cell: int = LONGEST_CELL
) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV file with the number of their last line; blank lines are skipped.

    What the first line has most of divides the cells: a comma, a semicolon or a tab.
    """
    with open_text(path) as stream:
        head = stream.peek(1 << 12).removeprefix(b"\xef\xbb\xbf").partition(b"\n")[0]
        divider = max(",;\t", key=lambda mark: head.count(mark.encode()))
        lines = (line.decode(errors="surrogateescape") for line in limited_lines(stream, longest))
        first = next(lines, "").removeprefix("\ufeff")
        rows = csv.reader(chain([first], lines), delimiter=divider, strict=True)
        before = csv.field_size_limit(longest_cell)  # of the process: the next file has its own
        try:
            for cells in rows:
                if any(map(NO_UTF8.search, cells)):
                    faults.report(path, rows.line_num, "not valid UTF-8")
                elif cells:
                    yield rows.line_num, cells
        except csv.Error as error:
            raise UserError(f"{path}, line {rows.line_num}: cannot be read: {error}") from None
        finally:
            csv.field_size_limit(before)


def read_named(path: Path, faults: Faults, language: str = "") -> Iterator[SentencePair]:
    """Yield the pairs of JSON lines or parquet; the keys of the first record name the columns.

    A record under ``translation``, as data sets of the hub have it, is read in place of its own.

    Raises:
        UserError: The names are unclear, or a line is no record of texts.
    """
    keys: Sequence[str] = ()
    for where, whole in read_records(path):
        inner = whole.get("translation")
        record: Record = inner if isinstance(inner, dict) else whole
        if not keys:
            names = list(record)
            keys = [names[at] for at in required_columns(names, language, where)]
        number = int(where.rpartition(" ")[2])
        texts = [text_of({key: None} | record, key, where, may_be_empty=True) for key in keys]
        query, english = (" ".join(text.split()) for text in texts)
        yield from non_empty((path, query), (path, english), number, faults)


def _read_memory(path: Path, faults: Faults, language: str = "") -> Iterator[SentencePair]:
    return read_tmx(*_located(path, faults, language))


def _read_zip(path: Path, faults: Faults, language: str = "") -> Iterator[SentencePair]:
    """Yield the pairs of a zip of OPUS: a translation memory by its name, else in Moses' format."""
    read = read_tmx if path.stem.lower().endswith(".tmx") else read_moses
    return read(*_located(path, faults, language))


def _located(path: Path, faults: Faults, language: str) -> tuple[list[LocalFile], ReadRequest]:
    return [LocalFile(path, CatalogueFile(path.name))], ReadRequest(language, faults=faults)


READERS: Mapping[str, Callable[[Path, Faults, str], Iterator[SentencePair]]] = {
    ".tsv": read_tsv,
    ".csv": read_csv,
    ".jsonl": read_named,
    ".json": read_named,
    ".parquet": read_named,
    ".tmx": _read_memory,
    ".zip": _read_zip,
}
