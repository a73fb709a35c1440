"""Readers of bitext: files to sentence pairs, one reader per format.

A fault in a file (an empty line, bytes that are not UTF-8, sides of unequal length) is reported
with file and line through ``Faults``, which stops or counts, as ``bitext.on_error`` says.
"""

import io
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import IO, cast
from xml.etree import ElementTree
from zipfile import ZipFile

from clir_cli.corpus.catalogue import LocalFile
from clir_cli.corpus.formats.reading import Faults, ReadRequest, decoded_lines, numbered_lines
from clir_cli.corpus.formats.zips import only_member, open_zip
from clir_cli.corpus.records import SentencePair
from clir_cli.errors import UserError

BUFFER = 1 << 18
LONGEST_LINE = 1 << 20  # bytes of a zip's line; a sentence is never so long, a damaged file may be
XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"


def read_parallel(query: Path, english: Path, faults: Faults) -> Iterator[SentencePair]:
    """Yield the pairs of two files of which line k translates line k."""
    for number, left, right in joined_lines(query, english, faults):
        yield from non_empty((query, left), (english, right), number, faults)


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


def read_tsv(path: Path, faults: Faults) -> Iterator[SentencePair]:
    """Yield the pairs of a file with one pair per line: query language, tab, English."""
    for number, line in decoded_lines(path, faults):
        sides = line.split("\t")
        if len(sides) >= 2:
            yield from non_empty((path, sides[0]), (path, sides[1]), number, faults)
        else:
            what = "a pair is two columns with a tab between" if line.strip() else "empty line"
            faults.report(path, number, what)


def read_files(paths: Sequence[Path], faults: Faults) -> Iterator[SentencePair]:
    """Yield the pairs of the user's own bitext: one TSV, or two parallel files."""
    for path in paths:
        if not path.is_file():
            raise UserError(f"{path}: no such file (bitext.files)")
    if len(paths) == 1:
        return read_tsv(paths[0], faults)
    if len(paths) == 2:
        return read_parallel(paths[0], paths[1], faults)
    raise UserError(
        f"bitext.files names {len(paths)} files; give one TSV, or two parallel files "
        "(query language, English)"
    )


def read_sides(files: Sequence[LocalFile], request: ReadRequest) -> Iterator[SentencePair]:
    """Yield the pairs of one or more pairs of files of a source; see ``file_pairs``."""
    for query, english in file_pairs(files):
        yield from read_parallel(query.path, english.path, request.faults)


def file_pairs(files: Sequence[LocalFile]) -> Iterator[tuple[LocalFile, LocalFile]]:
    """Yield the files of role ``query`` each with the one of role ``english``, in their order."""
    queries = [file for file in files if file.declared.role == "query"]
    return zip(queries, (file for file in files if file.declared.role == "english"), strict=True)


def read_tmx(files: Sequence[LocalFile], request: ReadRequest) -> Iterator[SentencePair]:
    """Yield the units of translation memories (TMX 1.4), zipped or not, in English and another."""
    for file in files:
        if file.path.suffix != ".zip":
            with file.path.open("rb") as stream:
                yield from _tmx_units(file.path, stream, request.faults)
            continue
        with open_zip(file.path) as archive:
            memories = [name for name in archive.namelist() if name.endswith(".tmx")]
            if not memories:
                raise UserError(f"{file.path}: no .tmx file in the zip")
            for name in memories:
                with archive.open(name) as stream:
                    yield from _tmx_units(file.path, stream, request.faults)


def _tmx_units(path: Path, stream: IO[bytes], faults: Faults) -> Iterator[SentencePair]:
    number = 0
    try:
        for _, element in ElementTree.iterparse(stream):
            if element.tag != "tu":
                continue
            number += 1
            query = english = ""
            for variant in element.iter("tuv"):
                language = variant.get(XML_LANG) or variant.get("lang") or ""
                segment = variant.find("seg")
                text = "" if segment is None else " ".join("".join(segment.itertext()).split())
                if language.lower().startswith("en"):
                    english = text
                else:
                    query = text
            element.clear()
            yield from non_empty((path, query), (path, english), number, faults, "unit")
    except ElementTree.ParseError as error:
        raise UserError(f"{path}: truncated or damaged after unit {number}: {error}") from None


def read_sib(files: Sequence[LocalFile], request: ReadRequest) -> Iterator[SentencePair]:
    """Yield the rows of SIB-200 joined on ``index_id``, without those that are reserved."""
    sides: dict[str, dict[int, str]] = {request.language: {}, "en": {}}
    for file in files:
        for number, line in decoded_lines(file.path, request.faults):
            if number == 1:
                continue
            cells = [cell.strip() for cell in line.split("\t")]
            if len(cells) == 3 and cells[0].isdecimal() and cells[2]:
                sides[file.declared.lang][int(cells[0])] = cells[2]
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
            rows = zip_longest(_zip_lines(archive, first), _zip_lines(archive, second))
            for number, (left, right) in enumerate(rows, start=1):
                if left is None or right is None:
                    raise UserError(
                        f"{file.path}: {first if left is None else second} ends before line "
                        f"{number} of its other side (unequal sides); no pair can be trusted, "
                        "download it again"
                    )
                (query, fault), (english, other_fault) = _text(left), _text(right)
                if fault or other_fault:
                    name = first if fault else second
                    request.faults.report(file.path / name, number, fault or other_fault)
                else:
                    yield SentencePair(query, english)


def _zip_lines(archive: ZipFile, name: str) -> Iterator[bytes]:
    """Yield lines, at most ``LONGEST_LINE`` bytes of each."""
    with archive.open(name) as stream:
        # A zip's own stream is slow at lines of limited length.
        buffered = io.BufferedReader(cast(io.RawIOBase, stream), BUFFER)
        while line := buffered.readline(LONGEST_LINE):
            yield line
            while len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                line = buffered.readline(LONGEST_LINE)


def _text(raw: bytes) -> tuple[str, str]:
    """Return a line's text and its fault."""
    if len(raw) >= LONGEST_LINE:
        return "", f"longer than {LONGEST_LINE:,} bytes"
    try:
        text = raw.decode("utf-8").strip().removeprefix("\ufeff")
    except UnicodeDecodeError:
        return "", "not valid UTF-8"
    return text, "" if text else "empty line"
