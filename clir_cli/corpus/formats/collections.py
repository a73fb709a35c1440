"""Readers of collections: files to documents, queries and qrels, one reader a format."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clir_cli.corpus.formats.shared import Located, text_lines
from clir_cli.corpus.records import Document
from clir_cli.errors import UserError


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
    by_lang = {file.entry.lang: text_lines(file.path) for file in files}
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
    for number, line in enumerate(text_lines(path), start=1):
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
