"""Readers of bilingual dictionaries: files to entries, one reader per format.

An entry is a word or term of the query language with one English translation, as they are written;
a word with several translations has several entries, best first. A fault is reported with file and
line, or counted, as ``dictionary.on_error`` says.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from clir_cli.corpus.catalogue import LocalFile
from clir_cli.corpus.formats.bitext_readers import read_moses
from clir_cli.corpus.formats.columns import named_columns
from clir_cli.corpus.formats.opening import open_text
from clir_cli.corpus.formats.reading import ReadRequest, decoded_lines, decoded_text
from clir_cli.corpus.formats.zips import buffered, only_member, open_zip
from clir_cli.errors import UserError


class Entry(NamedTuple):
    """A word or term of the query language and one English translation."""

    word: str
    english: str


DictionaryReader = Callable[[Sequence[LocalFile], ReadRequest], Iterator[Entry]]

NUMBER = re.compile(r"[0-9]+(?:[.,][0-9]+)?")  # a score or an id
TERMINOLOGY = ["id", "sourceLang", "targetLang", "sourceString", "targetString"]


def read_dictionary_tsv(files: Sequence[LocalFile], request: ReadRequest) -> Iterator[Entry]:
    """Yield the lines of TSV files: word, tab, English; further columns are ignored.

    If the first line names the columns, they may have another order.
    """
    return _columns(files, request, "\t", "a line is a word, a tab and its translation")


def read_muse(files: Sequence[LocalFile], request: ReadRequest) -> Iterator[Entry]:
    """Yield the lines of MUSE dictionaries: word, white space (a space or a tab), English."""
    return _columns(files, request, None, "a line is a word, a space and its translation")


def _columns(
    files: Sequence[LocalFile], request: ReadRequest, separator: str | None, expected: str
) -> Iterator[Entry]:
    faults = request.faults
    for file in files:
        columns = (0, 1)
        for number, line in decoded_lines(file.path, faults):
            cells = [cell.strip() for cell in line.split(separator)]
            where = f"{file.path}, line {number}"
            if (
                number == 1
                and separator
                and (named := named_columns(cells, request.language, where))
            ):
                columns = named
                faults.count_header(cells)
                continue
            entry = [cells[column] for column in columns if column < len(cells)]
            if len(entry) < 2 or not all(entry) or (separator is None and len(cells) > 2):
                faults.report(file.path, number, expected if line.strip() else "empty line")
            elif len(cells) > 2 and NUMBER.fullmatch(entry[0]):
                faults.report(file.path, number, f"a number in the place of the word; {expected}")
            else:
                yield Entry(*entry)


def read_terminology(files: Sequence[LocalFile], request: ReadRequest) -> Iterator[Entry]:
    """Yield the terms of TICO-19 terminologies, which are CSV with English as the source."""
    for file in files:
        rows = csv.reader(io.StringIO(decoded_text(file.path), newline="\n"), strict=True)
        try:
            if next(rows, None) != TERMINOLOGY:
                raise UserError(f"{file.path}, line 1: the columns are {','.join(TERMINOLOGY)}")
            for row in rows:
                if len(row) == 5 and row[3].strip() and row[4].strip():
                    yield Entry(row[4].strip(), row[3].strip())
                else:
                    what = "a row is id, two languages and two terms with commas between"
                    request.faults.report(file.path, rows.line_num, what)
        except csv.Error as error:
            where = f"{file.path}, line {rows.line_num}"
            raise UserError(f"{where}: cannot be read: {error}") from None


def read_mined(files: Sequence[LocalFile], request: ReadRequest) -> Iterator[Entry]:
    """Yield the pairs of Moses zips of names and terms, the most frequent first.

    A mined pair that occurs once is most often wrong; it is the last of its word.
    """
    counts = Counter(Entry(*row) for row in read_moses(files, request))
    yield from (entry for entry, _ in counts.most_common())


def read_panlex(files: Sequence[LocalFile], request: ReadRequest) -> Iterator[Entry]:
    """Yield the translations of a PanLex snapshot (CSV), a zip or a folder.

    Two expressions are translations of each other when some dictionary gives them the same
    meaning; the more meanings they share, the earlier the pair comes. ``options["codes"]`` are the
    language's codes of three letters. Only expressions of the two languages are held in memory.
    """
    codes = set(request.options.get("codes", ()))
    for file in files:
        rows = _table(file.path, "langvar.csv", ("id", "lang_code"))
        varieties = {row["id"]: row["lang_code"] for row in rows}
        words, english = {}, {}
        for row in _table(file.path, "expr.csv", ("id", "langvar", "txt")):
            code = varieties.get(row["langvar"])
            if code in codes:
                words[row["id"]] = row["txt"].strip()
            elif code == "eng":
                english[row["id"]] = row["txt"].strip()
        # Twice over the largest table, so that only meanings of the language are held.
        words_of_meaning: dict[str, list[str]] = {}
        for row in _table(file.path, "denotation.csv", ("meaning", "expr")):
            if row["expr"] in words:
                words_of_meaning.setdefault(row["meaning"], []).append(words[row["expr"]])
        counts: Counter[Entry] = Counter()
        for row in _table(file.path, "denotation.csv", ("meaning", "expr")):
            if row["expr"] in english:
                for word in words_of_meaning.get(row["meaning"], ()):
                    counts[Entry(word, english[row["expr"]])] += 1
        if not words:
            raise UserError(f"{file.path}: no expressions in {'/'.join(sorted(codes)) or '?'}")
        yield from (entry for entry, _ in counts.most_common() if all(entry))


def _table(path: Path, name: str, columns: Sequence[str]) -> Iterator[dict[str, str]]:
    with ExitStack() as stack:
        if not path.is_dir():
            archive = stack.enter_context(open_zip(path, tested=False))
            stream = buffered(archive, only_member(archive, name, "a PanLex snapshot"))
        elif (path / name).is_file():
            stream = open_text(path / name)
        else:
            raise UserError(f"{path}: no {name}; a PanLex snapshot has langvar, expr, denotation")
        text = io.TextIOWrapper(stack.enter_context(stream), encoding="utf-8-sig", newline="")
        rows = csv.DictReader(text, strict=True)
        try:
            if not set(columns) <= set(rows.fieldnames or ()):
                raise UserError(f"{path}/{name}: no columns {', '.join(columns)}")
            for row in rows:
                if not all(row[column] for column in columns):
                    what = f"line {rows.line_num}: {', '.join(columns)} are needed"
                    raise UserError(f"{path}/{name}, {what}")
                yield row
        except (csv.Error, UnicodeDecodeError) as error:
            where = f"{path}/{name}, line {rows.line_num}"
            raise UserError(f"{where}: cannot be read: {error}") from None
