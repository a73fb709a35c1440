"""Readers by format: files to records. A source in the catalogue names its reader.

A fault in a file (an empty line, bytes that are not UTF-8, sides of unequal length) is reported
with file and line through ``Faults``, which stops or counts, as ``bitext.on_error`` says.
"""

import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import IO, Any, Literal
from xml.etree import ElementTree

from clir_cli.corpus.catalogue import SourceFile
from clir_cli.corpus.records import Document, SentencePair
from clir_cli.errors import UserError

XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"


@dataclass
class Faults:
    """What to do with bad lines of a bitext: stop at the first, or count and skip them."""

    on_error: Literal["stop", "skip"] = "stop"
    skipped: dict[str, int] = field(default_factory=dict)

    def report(self, path: Path, number: int, what: str, *, unit: str = "line") -> None:
        """Stop with file and line (or another unit of its format), or count the fault.

        Raises:
            UserError: ``on_error`` is ``stop``.
        """
        if self.on_error == "stop":
            raise UserError(
                f"{path}, {unit} {number}: {what}; mend it, or leave such {unit}s out with "
                "--set bitext.on_error=skip"
            )
        self.skipped[what] = self.skipped.get(what, 0) + 1


@dataclass(frozen=True)
class Located:
    """A source's file on this machine, with what the catalogue says of it."""

    path: Path
    entry: SourceFile


# --------------------------------------------------------------------------- sentence pairs


@dataclass(frozen=True)
class Wanted:
    """What is to be read from a source: a language, under the source's options of the catalogue."""

    language: str
    options: Mapping[str, Any]
    faults: Faults


PairReader = Callable[[Sequence[Located], Wanted], Iterator[SentencePair]]


def _decoded(path: Path, stream: IO[bytes], faults: Faults) -> Iterator[tuple[int, str | None]]:
    """Yield line numbers and lines; None stands for a line that is not UTF-8."""
    for number, raw in enumerate(stream, start=1):
        try:
            yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            faults.report(path, number, "not valid UTF-8")
            yield number, None


def read_parallel(query: Path, english: Path, faults: Faults) -> Iterator[SentencePair]:
    """Yield the pairs of two files of which line k translates line k."""
    with query.open("rb") as left, english.open("rb") as right:
        rows = zip_longest(_decoded(query, left, faults), _decoded(english, right, faults))
        for one, two in rows:
            if one is None or two is None:
                path, (number, _) = (query, one) if two is None else (english, two)  # type: ignore[misc]
                shorter = english if two is None else query
                faults.report(path, number, f"no such line in {shorter.name} (unequal sides)")
                continue
            yield from _pair(query, english, one[0], one[1], two[1], faults)


def _pair(
    query: Path,
    english: Path,
    number: int,
    left: str | None,
    right: str | None,
    faults: Faults,
    unit: str = "line",
) -> Iterator[SentencePair]:
    if left is None or right is None:
        return
    for path, side in ((query, left), (english, right)):
        if not side.strip():
            faults.report(path, number, f"empty {unit}", unit=unit)
            return
    yield SentencePair(left.strip(), right.strip())


def read_tsv(path: Path, faults: Faults) -> Iterator[SentencePair]:
    """Yield the pairs of a file with one pair a line: query language, tab, English."""
    with path.open("rb") as stream:
        for number, line in _decoded(path, stream, faults):
            if line is None:
                continue
            sides = line.split("\t")
            if len(sides) < 2:
                what = "a pair is two columns with a tab between" if line.strip() else "empty line"
                faults.report(path, number, what)
                continue
            yield from _pair(path, path, number, sides[0], sides[1], faults)


def read_files(paths: Sequence[Path], faults: Faults) -> Iterator[SentencePair]:
    """Yield the pairs of the user's own bitext: one TSV, or two parallel files.

    Raises:
        UserError: A file is missing, or there are more than two.
    """
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


def _lines_reader(files: Sequence[Located], wanted: Wanted) -> Iterator[SentencePair]:
    by_role = {file.entry.role: file.path for file in files}
    return read_parallel(by_role["query"], by_role["english"], wanted.faults)


def _tmx_reader(files: Sequence[Located], wanted: Wanted) -> Iterator[SentencePair]:
    """Translation memories (TMX 1.4), zipped or not; the side that is not English is the query."""
    for file in files:
        if file.path.suffix != ".zip":
            with file.path.open("rb") as stream:
                yield from _tmx_units(file.path, stream, wanted.faults)
            continue
        with open_zip(file.path) as archive:
            memories = [name for name in archive.namelist() if name.endswith(".tmx")]
            if not memories:
                raise UserError(f"{file.path}: no .tmx file in the zip")
            for name in memories:
                with archive.open(name) as stream:
                    yield from _tmx_units(file.path, stream, wanted.faults)


def _tmx_units(path: Path, stream: IO[bytes], faults: Faults) -> Iterator[SentencePair]:
    number = 0
    try:
        for _, element in ElementTree.iterparse(stream):
            if element.tag != "tu":
                continue
            number += 1
            sides = {"query": "", "english": ""}
            for variant in element.iter("tuv"):
                spoken = (variant.get(XML_LANG) or variant.get("lang") or "").lower()
                segment = variant.find("seg")
                text = "" if segment is None else " ".join("".join(segment.itertext()).split())
                sides["english" if spoken.startswith("en") else "query"] = text
            element.clear()
            yield from _pair(path, path, number, sides["query"], sides["english"], faults, "unit")
    except ElementTree.ParseError as error:
        raise UserError(f"{path}: cut or damaged after unit {number}: {error}") from None


def _sib_reader(files: Sequence[Located], wanted: Wanted) -> Iterator[SentencePair]:
    """SIB-200: rows of both languages joined on ``index_id``; reserved rows are left out."""
    sides: dict[str, dict[int, str]] = {wanted.language: {}, "en": {}}
    for file in files:
        with file.path.open("rb") as stream:
            for number, line in _decoded(file.path, stream, wanted.faults):
                if number == 1 or line is None:
                    continue
                cells = [cell.strip() for cell in line.split("\t")]
                if len(cells) != 3 or not cells[0].isdecimal() or not cells[2]:
                    what = "a row is index_id, category and text with tabs between"
                    wanted.faults.report(file.path, number, what)
                    continue
                sides[file.entry.lang][int(cells[0])] = cells[2]
    below = wanted.options.get("train_below", float("inf"))
    for index in sorted(sides[wanted.language].keys() & sides["en"].keys()):
        if index < below:
            yield SentencePair(sides[wanted.language][index], sides["en"][index])


PAIR_READERS: dict[str, PairReader] = {
    "lines": _lines_reader,
    "tmx": _tmx_reader,
    "sib": _sib_reader,
}


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip whose directory and checksums are whole.

    Raises:
        UserError: The file is cut or damaged.
    """
    try:
        archive = zipfile.ZipFile(path)
        damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"{path}: cut or damaged zip ({error}); delete it and download it again"
        ) from None
    if damaged:
        raise UserError(f"{path}: {damaged} is damaged in the zip; delete it and download it again")
    return archive


# --------------------------------------------------------------------------- collections


@dataclass(frozen=True)
class Parts:
    """What a collection reader found: documents, queries by language, qrels."""

    documents: list[Document]
    queries: dict[str, dict[str, str]]
    qrels: dict[str, dict[str, int]]


def read_ntrex(files: Sequence[Located]) -> Parts:
    """Cut NTREX-128 into known-item search: runs of five sentences of a document.

    The first sentence of a run, in the query language, is the query; the others, in English,
    are the document. A rest of fewer than three sentences is dropped.
    """
    by_lang = {file.entry.lang: _text_lines(file.path) for file in files}
    for file in files:
        found, expected = len(by_lang[file.entry.lang]), len(by_lang[""])
        if found != expected:
            raise UserError(f"{file.path}: {found:,} lines, but {expected:,} document names")
    members: dict[str, list[int]] = {}
    for number, name in enumerate(by_lang[""]):
        members.setdefault(name, []).append(number)
    documents, qrels = [], {}
    queries: dict[str, dict[str, str]] = {spoken: {} for spoken in by_lang if spoken}
    for name, numbers in members.items():
        for start in range(0, len(numbers), 5):
            run = numbers[start : start + 5]
            if len(run) < 3:
                continue
            known = f"{name}-{start // 5 + 1:02d}"
            documents.append(Document(known, "", " ".join(by_lang["en"][i] for i in run[1:])))
            qrels[known] = {known: 1}
            for spoken, found in queries.items():
                found[known] = by_lang[spoken][run[0]]
    return Parts(documents, queries, qrels)


def _text_lines(path: Path) -> list[str]:
    """Return the lines of a file that takes part in a collection, without outer white space."""
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = raw.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {number}: not valid UTF-8") from None
    # Not splitlines(): it also cuts at characters that may stand inside a sentence.
    return [line.strip() for line in text.removesuffix("\n").split("\n")]


def read_beir(files: Sequence[Located]) -> Parts:
    """Read the BEIR layout: corpus.jsonl, queries*.jsonl, qrels/test.tsv.

    Each file of queries is in the language of its entry.

    Raises:
        UserError: A duplicate or empty id, a line that is not JSON, qrels that name no known
            query or document; file and line are told.
    """
    corpus = next(file.path for file in files if file.path.name == "corpus.jsonl")
    judged = next(file.path for file in files if file.path.suffix == ".tsv")
    documents = [_document(row, key, corpus, number) for number, key, row in _records(corpus)]
    queries = {
        file.entry.lang: {
            key: _required(row, "text", file.path, number)
            for number, key, row in _records(file.path)
        }
        for file in files
        if file.path.name.startswith("queries")
    }
    known = {key for asked in queries.values() for key in asked}
    return Parts(documents, queries, _read_qrels(judged, known, {each.id for each in documents}))


def _records(path: Path) -> Iterator[tuple[int, str, dict[str, Any]]]:
    seen: set[str] = set()
    with path.open("rb") as stream:
        for number, raw in enumerate(stream, start=1):
            if not raw.strip():
                continue
            try:
                row = json.loads(raw)
                told = list(row.values()) if isinstance(row, dict) else []
                "".join(map(str, told)).encode()  # half a surrogate pair is valid JSON
            except ValueError as error:
                raise UserError(f"{path}, line {number}: not JSON in UTF-8: {error}") from None
            found = row.get("_id") if isinstance(row, dict) else None
            key = "" if found is None else str(found).strip()
            if not key:
                raise UserError(f"{path}, line {number}: a record needs a non-empty _id")
            if any(mark.isspace() for mark in key):
                raise UserError(f"{path}, line {number}: _id {key!r} has white space in it")
            if key in seen:
                raise UserError(f"{path}, line {number}: _id {key!r} occurs twice")
            seen.add(key)
            yield number, key, row
    if not seen:
        raise UserError(f"{path}: no records")


def _document(row: dict[str, Any], key: str, path: Path, number: int) -> Document:
    title = str(row.get("title") or "").strip()
    if title and not row.get("text"):  # collections have documents of which only the title is known
        return Document(key, title, "")
    return Document(key, title, _required(row, "text", path, number))


def _required(row: dict[str, Any], name: str, path: Path, number: int) -> str:
    text = row.get(name)
    if not isinstance(text, str) or not text.strip():
        raise UserError(f"{path}, line {number}: {name!r} is missing or empty")
    return text.strip()


def _read_qrels(path: Path, queries: set[str], documents: set[str]) -> dict[str, dict[str, int]]:
    qrels: dict[str, dict[str, int]] = {}
    for number, line in enumerate(_text_lines(path), start=1):
        cells = line.split("\t")
        if not line or (number == 1 and cells[0] == "query-id"):
            continue
        if len(cells) != 3 or not re.fullmatch("-?[0-9]+", cells[2].strip()):
            raise UserError(
                f"{path}, line {number}: expected query-id, corpus-id and a whole score"
            )
        query, document, grade = (cell.strip() for cell in cells)
        if query not in queries:
            raise UserError(f"{path}, line {number}: query {query!r} is not among the queries")
        if document not in documents:
            raise UserError(f"{path}, line {number}: document {document!r} is not in the corpus")
        qrels.setdefault(query, {})[document] = int(grade)
    if not qrels:
        raise UserError(f"{path}: no judgments")
    return qrels


COLLECTION_READERS: dict[str, Callable[[Sequence[Located]], Parts]] = {
    "ntrex": read_ntrex,
    "beir": read_beir,
}
