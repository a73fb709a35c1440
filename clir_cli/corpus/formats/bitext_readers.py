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
from clir_cli.corpus.formats.columns import is_other_language, language_names
from clir_cli.corpus.formats.opening import limited_lines, open_unpacked
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

XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"


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
    number, body = 0, None
    try:
        for event, element in ElementTree.iterparse(stream, ("start", "end")):
            if event == "start" or element.tag != "tu":
                body = element if element.tag == "body" else body
                continue
            number += 1
            texts: dict[str, str] = {}
            for variant in element.iter("tuv"):
                language = (variant.get(XML_LANG) or variant.get("lang") or "").lower()
                segment = variant.find("seg")
                text = "" if segment is None else " ".join("".join(segment.itertext()).split())
                texts["en" if language.startswith("en") else language] = text
            (element if body is None else body).clear()  # else all units stay in memory
            english, query = texts.pop("en", ""), _own_text(texts, request.language)
            if query is None:
                what = f"no text in {request.language!r}, only in {', '.join(texts)}"
                request.faults.report(path, number, what, unit="unit")
            else:
                sides = (path, query), (path, english)
                yield from non_empty(*sides, number, request.faults, "unit")
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # the latter: encodings
        raise UserError(f"{path}: truncated or damaged after unit {number}: {error}") from None


def _own_text(texts: dict[str, str], language: str) -> str | None:
    """Return the text of a unit in a language, which may have a code of its own; None without."""
    names = language_names(language)
    found = [text for code, text in texts.items() if code.split("-")[0] in names]
    if not found and len(texts) < 2:
        found = [text for code, text in texts.items() if not is_other_language(code, language)]
    return found[0] if found else None if texts else ""


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
