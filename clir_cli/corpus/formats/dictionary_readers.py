"""Readers of bilingual dictionaries: files to entries, one reader a format.

An entry is a word or term of the query language with one English translation, as they are written;
a word with several translations has several entries, best first. A fault is told with file and
line, or counted, as ``dictionary.on_error`` says.
"""

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple
from zipfile import ZipFile

from clir_cli.corpus.formats.bitext_readers import Faults, Wanted, decoded
from clir_cli.corpus.formats.moses import read_moses
from clir_cli.corpus.formats.shared import DAMAGED, Located, damaged_zip, open_zip
from clir_cli.errors import UserError


class Entry(NamedTuple):
    """A word or term of the query language and one English translation."""

    word: str
    english: str


DictionaryReader = Callable[[Sequence[Located], Wanted], Iterator[Entry]]

TERMINOLOGY = ["id", "sourceLang", "targetLang", "sourceString", "targetString"]


def read_dictionary_tsv(files: Sequence[Located], wanted: Wanted) -> Iterator[Entry]:
    """Yield the lines of TSV files: word, tab, English; more columns are passed over."""
    return _columns(files, wanted.faults, "\t", "a line is a word, a tab and its translation")


def read_muse(files: Sequence[Located], wanted: Wanted) -> Iterator[Entry]:
    """Yield the lines of MUSE dictionaries: word, white space (a space or a tab), English."""
    return _columns(files, wanted.faults, None, "a line is a word, a space and its translation")


def _columns(
    files: Sequence[Located], faults: Faults, mark: str | None, expected: str
) -> Iterator[Entry]:
    for file in files:
        with file.path.open("rb") as stream:
            for number, line in decoded(file.path, stream, faults):
                if line is None:
                    continue
                cells = [cell.strip() for cell in line.split(mark)]
                if len(cells) < 2 or not all(cells[:2]) or (mark is None and len(cells) > 2):
                    faults.report(file.path, number, expected if line.strip() else "empty line")
                    continue
                yield Entry(cells[0], cells[1])


def read_terminology(files: Sequence[Located], wanted: Wanted) -> Iterator[Entry]:
    """Yield the terms of TICO-19 terminologies, which are CSV with English as the source."""
    for file in files:
        with file.path.open("rb") as stream:
            for number, row in _csv_rows(file.path, stream):
                if number == 1:
                    if row != TERMINOLOGY:
                        raise UserError(
                            f"{file.path}, line 1: the columns are {','.join(TERMINOLOGY)}"
                        )
                elif len(row) != 5 or not row[3].strip() or not row[4].strip():
                    what = "a row is id, two languages and two terms with commas between"
                    wanted.faults.report(file.path, number, what)
                else:
                    yield Entry(row[4].strip(), row[3].strip())


def _csv_rows(path: Path, stream: IO[bytes]) -> Iterator[tuple[int, list[str]]]:
    def lines() -> Iterator[str]:
        for number, line in decoded(path, stream, Faults("skip")):
            if line is None:  # a row may span lines, so one cannot be left out
                raise UserError(f"{path}, line {number}: not valid UTF-8")
            yield line + "\n"

    rows = csv.reader(lines(), strict=True)
    try:
        for row in rows:
            yield rows.line_num, row
    except csv.Error as error:
        raise UserError(f"{path}, line {rows.line_num}: cannot be read: {error}") from None


def read_mined(files: Sequence[Located], wanted: Wanted) -> Iterator[Entry]:
    """Yield the pairs of Moses zips of names and terms, the most frequent first.

    A mined pair that occurs once is most often a mistake; it comes last of its word.
    """
    counted = Counter(Entry(*row) for row in read_moses(files, wanted))
    yield from (entry for entry, _ in counted.most_common())


def read_panlex(files: Sequence[Located], wanted: Wanted) -> Iterator[Entry]:
    """Yield the translations of a PanLex snapshot (CSV), a zip or a folder.

    Two expressions are translations of each other when some dictionary gives them the same
    meaning; the more meanings they share, the earlier the pair comes. ``options["codes"]`` are the
    language's codes of three letters. Only expressions of the two languages are held in memory.
    """
    for file in files:
        codes = set(wanted.options.get("codes", ()))
        spoken, english = {}, {}
        with _tables(file.path) as table:
            varieties = {
                row["id"]: row["lang_code"] for row in table("langvar.csv", ("id", "lang_code"))
            }
            for row in table("expr.csv", ("id", "langvar", "txt")):
                code = varieties.get(row["langvar"])
                if code in codes:
                    spoken[row["id"]] = row["txt"].strip()
                elif code == "eng":
                    english[row["id"]] = row["txt"].strip()
            # Twice over the largest table, so that only meanings of the language are held.
            meant: dict[str, list[str]] = {}
            for row in table("denotation.csv", ("meaning", "expr")):
                if row["expr"] in spoken:
                    meant.setdefault(row["meaning"], []).append(row["expr"])
            counted: Counter[Entry] = Counter()
            for row in table("denotation.csv", ("meaning", "expr")):
                if row["expr"] in english:
                    for word in meant.get(row["meaning"], ()):
                        counted[Entry(spoken[word], english[row["expr"]])] += 1
        if not varieties or not spoken:
            raise UserError(f"{file.path}: no expressions in {'/'.join(sorted(codes)) or '?'}")
        yield from (entry for entry, _ in counted.most_common() if all(entry))


Table = Callable[[str, Sequence[str]], Iterator[dict[str, Any]]]


@contextmanager
def _tables(path: Path) -> Iterator[Table]:
    """Open the tables of a PanLex snapshot, each by name and the columns that are needed."""
    archive = None if path.is_dir() else open_zip(path, tested=False)

    def table(name: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        with _member(path, archive, name) as stream:
            rows = csv.DictReader(stream, strict=True)
            try:
                if not set(columns) <= set(rows.fieldnames or ()):
                    raise UserError(f"{path}/{name}: no columns {', '.join(columns)}")
                for row in rows:
                    if any(not row[column] for column in columns):
                        raise UserError(
                            f"{path}/{name}, line {rows.line_num}: {', '.join(columns)} are needed"
                        )
                    yield row
            except (csv.Error, UnicodeDecodeError) as error:
                where = f"{path}/{name}, line {rows.line_num}"
                raise UserError(f"{where}: cannot be read: {error}") from None
            except DAMAGED as error:
                raise damaged_zip(path, error) from None

    try:
        yield table
    finally:
        if archive is not None:
            archive.close()


@contextmanager
def _member(path: Path, archive: ZipFile | None, name: str) -> Iterator[IO[str]]:
    if archive is None:
        if not (path / name).is_file():
            raise UserError(f"{path}: no {name}; a PanLex snapshot has langvar, expr, denotation")
        with (path / name).open(encoding="utf-8-sig", newline="") as stream:
            yield stream
        return
    found = [each for each in archive.namelist() if each.rsplit("/", 1)[-1] == name]
    if len(found) != 1:
        raise UserError(f"{path}: {len(found)} files {name} in the zip; a PanLex snapshot has one")
    with archive.open(found[0]) as raw:
        yield io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")


DICTIONARY_READERS: dict[str, DictionaryReader] = {
    "moses": read_mined,
    "muse": read_muse,
    "panlex": read_panlex,
    "terminology": read_terminology,
    "tsv": read_dictionary_tsv,
}
