"""Readers of bitext: files to sentence pairs, one reader per format.

A fault in a file (an empty line, bytes that are not UTF-8, sides of unequal length) is reported
with file and line through ``Faults``, which stops or counts, as ``bitext.on_error`` says.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

from clir_cli.corpus.catalogue import LocalFile
from clir_cli.corpus.formats.columns import language_names, named_columns
from clir_cli.corpus.formats.opening import limited_lines, open_unpacked, require_regular
from clir_cli.corpus.formats.reading import (
    Faults,
    ReadRequest,
    decoded_line,
    decoded_lines,
    numbered_lines,
)
from clir_cli.corpus.formats.zips import buffered, only_member, open_zip
from clir_cli.corpus.records import SentencePair
from clir_cli.errors import UserError

COLUMNS = "a pair is two columns with a tab between"
QUOTED = re.compile(r'"(?=.*"")(?:[^"]|"")*"')
XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"


def read_own_parallel(
    query: Path, english: Path, faults: Faults, language: str
) -> Iterator[SentencePair]:
    """Yield the pairs of two files of the user; first lines that name the languages are no pair.

    Raises:
        UserError: The files are swapped, or the same.
    """
    if query == english:
        raise UserError(f"bitext.files names {query} twice")
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


def joined_lines(query: Path, english: Path, faults: Faults) -> Iterator[tuple[int, str, str]]:
    """Yield number and text of the lines of two files, without those that one of them lacks."""
    rows = zip_longest(numbered_lines(query, faults), numbered_lines(english, faults))
    for number, (left, right) in enumerate(rows, start=1):
        if left is None or right is None:
            longer, shorter = (english, query) if left is None else (query, english)
            faults.report(longer, number, f"no such line in {shorter.name} (unequal sides)")
        elif left[1] is not None and right[1] is not None:
            yield number, left[1], right[1]


def non_empty(
    left: tuple[Path, str], right: tuple[Path, str], number: int, faults: Faults, unit: str = "line"
) -> Iterator[SentencePair]:
    """Yield the pair of two sides, each with its file; an empty side is a fault."""
    for path, text in (left, right):
        if not text.strip():
            faults.report(path, number, f"empty {unit}", unit=unit)
            return
    yield SentencePair(left[1].strip(), right[1].strip())


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


def read_files(paths: Sequence[Path], faults: Faults, language: str = "") -> Iterator[SentencePair]:
    """Yield the pairs of the user's own bitext: one TSV, or two parallel files."""
    for path in paths:
        require_regular(path, " (bitext.files)")
    if len(paths) == 1:
        return read_tsv(paths[0], faults, language)
    if len(paths) == 2:
        return read_own_parallel(paths[0], paths[1], faults, language)
    raise UserError(
        f"bitext.files names {len(paths)} files; give one TSV, or two parallel files "
        "(query language, English)"
    )


def read_sides(files: Sequence[LocalFile], request: ReadRequest) -> Iterator[SentencePair]:
    """Yield the pairs of one or more pairs of files of a source; see ``file_pairs``."""
    for query, english in file_pairs(files):
        for number, left, right in joined_lines(query.path, english.path, request.faults):
            sides = (query.path, left), (english.path, right)
            yield from non_empty(*sides, number, request.faults)


def file_pairs(files: Sequence[LocalFile]) -> Iterator[tuple[LocalFile, LocalFile]]:
    """Yield the files of role ``query`` each with the one of role ``english``, in their order."""
    queries = [file for file in files if file.declared.role == "query"]
    return zip(queries, (file for file in files if file.declared.role == "english"), strict=True)


def read_tmx(files: Sequence[LocalFile], request: ReadRequest) -> Iterator[SentencePair]:
    """Yield the units of translation memories (TMX 1.4), zipped or not, in English and another."""
    for file in files:
        if file.path.suffix != ".zip":
            with open_unpacked(file.path) as stream:
                yield from _tmx_units(file.path, stream, request)
            continue
        with open_zip(file.path) as archive:
            memories = [name for name in archive.namelist() if name.endswith(".tmx")]
            if not memories:
                raise UserError(f"{file.path}: no .tmx file in the zip")
            for name in memories:
                with archive.open(name) as stream:
                    yield from _tmx_units(file.path, stream, request)


def _tmx_units(path: Path, stream: IO[bytes], request: ReadRequest) -> Iterator[SentencePair]:
    number, names = 0, language_names(request.language)
    try:
        for _, element in ElementTree.iterparse(stream):
            if element.tag != "tu":
                continue
            number += 1
            texts: dict[str, str] = {}
            for variant in element.iter("tuv"):
                language = (variant.get(XML_LANG) or variant.get("lang") or "").lower()
                segment = variant.find("seg")
                text = "" if segment is None else " ".join("".join(segment.itertext()).split())
                texts["en" if language.startswith("en") else language] = text
            element.clear()
            english = texts.pop("en", "")
            if len(texts) > 1:  # a memory of several languages
                texts = {k: v for k, v in texts.items() if k.split("-")[0] in names}
            query = next(iter(texts.values()), "")
            sides = (path, query), (path, english)
            yield from non_empty(*sides, number, request.faults, "unit")
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # the latter: encodings
        raise UserError(f"{path}: truncated or damaged after unit {number}: {error}") from None


def read_sib(files: Sequence[LocalFile], request: ReadRequest) -> Iterator[SentencePair]:
    """Yield the rows of SIB-200 joined on ``index_id``, without those that are reserved."""
    sides: dict[str, dict[int, str]] = {request.language: {}, "en": {}}
    for file in files:
        for number, line in decoded_lines(file.path, request.faults):
            if number == 1:
                continue
            cells = [cell.strip() for cell in line.split("\t")]
            side = sides[file.declared.lang]
            if len(cells) == 3 and re.fullmatch("[0-9]{1,9}", cells[0]) and cells[2]:
                if side.setdefault(int(cells[0]), cells[2]) != cells[2]:
                    request.faults.report(file.path, number, "an index_id of an earlier row")
            else:
                what = "a row is index_id, category and text with tabs between"
                request.faults.report(file.path, number, what)
    below = request.options.get("train_below", float("inf"))
    for index in sorted(sides[request.language].keys() & sides["en"].keys()):
        if index < below:
            yield SentencePair(sides[request.language][index], sides["en"][index])


def read_moses(files: Sequence[LocalFile], request: ReadRequest) -> Iterator[SentencePair]:
    """Yield the pairs of OPUS's Moses zips; ``role`` of a file is the language's code in the zip.

    Line k of one member translates line k of the other. Both are read as a stream, so a corpus of
    any size needs the memory of two lines. Lines that are empty, not UTF-8 or too long are faults
    as elsewhere.
    """
    for file in files:
        code = file.declared.role or request.language
        corpus = "*." + "-".join(sorted((code, "en")))  # OPUS orders the codes alphabetically
        with open_zip(file.path, tested=False) as archive:
            first, second = (
                only_member(archive, f"{corpus}.{side}", "a Moses zip") for side in (code, "en")
            )
            members = (buffered(archive, name) for name in (first, second))
            rows = zip_longest(*map(limited_lines, members))
            for number, (left, right) in enumerate(rows, start=1):
                if left is None or right is None:
                    raise UserError(
                        f"{file.path}: {first if left is None else second} ends before line "
                        f"{number} of its other side (unequal sides); no pair can be trusted, "
                        "download it again"
                    )
                (query, fault), (english, other_fault) = map(_sentence, (left, right))
                if fault or other_fault:
                    name = first if fault else second
                    request.faults.report(file.path / name, number, fault or other_fault)
                else:
                    yield SentencePair(query, english)


def _sentence(raw: bytes) -> tuple[str, str]:
    text, fault = decoded_line(raw)
    text = text.strip().removeprefix("\ufeff")
    return text, fault or ("" if text else "empty line")
