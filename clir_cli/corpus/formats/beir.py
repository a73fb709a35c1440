"""The BEIR layout: corpus, queries and qrels, as a directory or as the zip BEIR publishes."""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from zipfile import ZipFile

from clir_cli.corpus.formats.jsonl_parquet import Row, Sheet, cell, json_lines, rows
from clir_cli.corpus.formats.parts import Asked, Parts
from clir_cli.corpus.formats.shared import DAMAGED, Located, damaged_zip, open_zip
from clir_cli.corpus.records import Document
from clir_cli.errors import UserError

Numbered = Iterator[tuple[int, Row]]


def read_beir(files: Sequence[Located], _: Asked | None = None) -> Parts:
    """Read the BEIR layout: corpus.jsonl, queries*.jsonl, qrels/test.tsv.

    Each file of queries is in the language of its entry. ``.jsonl.gz`` and ``.parquet`` hold the
    same columns.

    Raises:
        UserError: A duplicate or empty id, a line that is not JSON, qrels that name no known
            query or document; file and line are told.
    """
    by_part: dict[str, list[Located]] = {}
    for file in files:
        part = "qrels" if file.path.parent.name == "qrels" else file.path.name.split(".")[0]
        by_part.setdefault(part, []).append(file)
    corpus = by_part["corpus"][0].path
    documents = list(_documents(str(corpus), rows(corpus)))
    queries = {
        file.entry.lang: _queries(str(file.path), rows(file.path)) for file in by_part["queries"]
    }
    judged = by_part["qrels"][0].path
    qrels = _read_qrels(str(judged), _judgments(judged), queries, documents)
    return Parts(documents, queries, qrels)


def read_beir_zip(files: Sequence[Located], asked: Asked) -> Parts:
    """Read a zip of BEIR: ``<name>/corpus.jsonl``, ``queries.jsonl``, ``qrels/<split>.tsv``.

    Queries and documents are English. Nothing is unpacked. Of the queries only those of the split
    are kept, since BEIR has all splits in one file. Some sets have documents without any text, or
    judge such as they lack; both stay, so that scores are those that others publish.

    Raises:
        UserError: The zip is damaged or lacks a part, or as ``read_beir``.
    """
    path, split = files[0].path, asked.options.get("split", "test")
    with open_zip(path, tested=False) as archive:
        try:
            corpus, asking, judged = (
                _member(path, archive, name)
                for name in ("corpus.jsonl", "queries.jsonl", f"qrels/{split}.tsv")
            )
            documents = list(_documents(corpus.name, json_lines(corpus), empty=True))
            queries = {"en": _queries(asking.name, json_lines(asking))}
            with judged.open() as stream:
                lines = _tab_separated(judged.name, stream.read())
                qrels = _read_qrels(judged.name, lines, queries, None)
        except DAMAGED as error:
            raise damaged_zip(path, error) from None
    asked_for = {key: text for key, text in queries["en"].items() if key in qrels}
    return Parts(documents, {"en": asked_for}, qrels)


def _member(path: Path, archive: ZipFile, name: str) -> Sheet:
    found = [member for member in archive.namelist() if f"/{member}".endswith(f"/{name}")]
    if len(found) != 1:
        raise UserError(
            f"{path}: {len(found)} members are named {name}, where BEIR's zips have one"
        )
    return Sheet(f"{path}/{found[0]}", partial(archive.open, found[0]))


def _documents(name: str, found: Numbered, *, empty: bool = False) -> Iterator[Document]:
    for number, key, row in _records(name, found):
        title = str(row.get("title") or "").strip()
        # Of some documents only the title is known.
        if (title and not row.get("text")) or (empty and row.get("text") in ("", None)):
            yield Document(key, title, "")
        else:
            yield Document(key, title, cell(row, "text", f"{name}, line {number}"))


def _queries(name: str, found: Numbered) -> dict[str, str]:
    return {
        key: cell(row, "text", f"{name}, line {number}")
        for number, key, row in _records(name, found)
    }


def _records(name: str, found: Numbered) -> Iterator[tuple[int, str, Row]]:
    seen: set[str] = set()
    for number, row in found:
        key = ""
        if isinstance(row, dict):  # newer uploads of BEIR sets say id for _id
            told = row.get("_id", row.get("id"))
            key = "" if told is None else str(told).strip()
        if not key:
            raise UserError(f"{name}, line {number}: a record needs a non-empty _id")
        if any(mark.isspace() for mark in key):
            raise UserError(f"{name}, line {number}: _id {key!r} has white space in it")
        if key in seen:
            raise UserError(f"{name}, line {number}: _id {key!r} occurs twice")
        seen.add(key)
        yield number, key, row
    if not seen:
        raise UserError(f"{name}: no records")


def _judgments(path: Path) -> Iterator[tuple[int, list[str]]]:
    if path.suffix == ".parquet":
        names = ("query-id", "corpus-id", "score")
        return ((number, [str(row.get(name)) for name in names]) for number, row in rows(path))
    return _tab_separated(str(path), path.read_bytes())


def _tab_separated(name: str, raw: bytes) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        try:
            text = line.decode().strip()
        except UnicodeDecodeError:
            raise UserError(f"{name}, line {number}: not valid UTF-8") from None
        cells = text.split("\t")
        if text and not (number == 1 and cells[0] == "query-id"):
            yield number, cells


def _read_qrels(
    name: str,
    judged: Iterator[tuple[int, list[str]]],
    queries: dict[str, dict[str, str]],
    corpus: Sequence[Document] | None,
) -> dict[str, dict[str, int]]:
    known = {key for asked in queries.values() for key in asked}
    documents = None if corpus is None else {document.id for document in corpus}
    qrels: dict[str, dict[str, int]] = {}
    for number, cells in judged:
        if len(cells) != 3 or not re.fullmatch("-?[0-9]+", cells[2].strip()):
            raise UserError(
                f"{name}, line {number}: expected query-id, corpus-id and a whole score"
            )
        query, document, grade = (each.strip() for each in cells)
        if query not in known:
            raise UserError(f"{name}, line {number}: query {query!r} is not among the queries")
        if documents is not None and document not in documents:
            raise UserError(f"{name}, line {number}: document {document!r} is not in the corpus")
        qrels.setdefault(query, {})[document] = int(grade)
    if not qrels:
        raise UserError(f"{name}: no judgments")
    return qrels
