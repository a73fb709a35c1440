"""The BEIR layout: corpus, queries and qrels, as a directory or as the zip BEIR publishes."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from clir_cli.corpus.catalogue import LocalFile
from clir_cli.corpus.formats.jsonl_parquet import (
    Record,
    id_of,
    json_lines,
    read_records,
    text_of,
)
from clir_cli.corpus.formats.reading import (
    ParsedCollection,
    Qrels,
    ReadRequest,
    add_judgment,
    excerpt,
    text_lines,
)
from clir_cli.corpus.formats.zips import buffered, only_member, open_zip
from clir_cli.corpus.records import Document
from clir_cli.errors import UserError

# Records, or judgments (query, document, grade), each with its place in the file.
Records = Iterator[tuple[str, Record]]
Judgments = Iterator[tuple[str, tuple[Any, ...]]]
JUDGMENT = ("query-id", "corpus-id", "score")


def read_beir(files: Sequence[LocalFile], _: ReadRequest | None = None) -> ParsedCollection:
    """Read the BEIR layout: corpus.jsonl, and queries*.jsonl and qrels/test.tsv if there are any.

    Each file of queries is in the language that is declared. Compressed files and ``.parquet`` hold
    the same columns. Pyserini's names of columns are read too: ``id`` and ``contents``.
    """
    by_part: dict[str, list[LocalFile]] = {}
    for file in files:
        part = "qrels" if file.path.parent.name == "qrels" else file.path.name.split(".")[0]
        by_part.setdefault(part, []).append(file)
    corpus = by_part["corpus"][0].path
    documents = _documents(corpus, read_records(corpus))
    queries = {
        file.declared.lang: _queries(file.path, read_records(file.path))
        for file in by_part.get("queries", ())
    }
    if "qrels" not in by_part:
        return ParsedCollection(documents, queries, {})
    judged = by_part["qrels"][0].path
    judgments = _recorded(judged) if judged.suffix == ".parquet" else _tab_separated(judged)
    qrels = _qrels(judged, judgments, queries, {document.id for document in documents})
    return ParsedCollection(documents, queries, qrels)


def read_beir_zip(files: Sequence[LocalFile], request: ReadRequest) -> ParsedCollection:
    """Read a zip of BEIR: ``<name>/corpus.jsonl``, ``queries.jsonl``, ``qrels/<split>.tsv``.

    Queries and documents are English. Of the queries only those of the split are kept, since BEIR
    has all splits in one file. Some sets have documents without any text, or judgments of documents
    that they lack; both are kept, so that scores are comparable with published ones.
    """
    path, split = files[0].path, request.options.get("split", "test")
    with open_zip(path, tested=False) as archive:
        corpus, topics, judged = (
            only_member(archive, name, "a BEIR zip")
            for name in ("corpus.jsonl", "queries.jsonl", f"qrels/{split}.tsv")
        )
        with buffered(archive, corpus) as stream:
            lines = json_lines(f"{path / corpus}", stream)
            documents = _documents(path / corpus, lines, may_be_empty=True)
        with buffered(archive, topics) as stream:
            queries = _queries(path / topics, json_lines(f"{path / topics}", stream))
        judgments = _tab_separated(path / judged, archive.read(judged))
        qrels = _qrels(path / judged, judgments, {"en": queries})
    in_split = {query: text for query, text in queries.items() if query in qrels}
    return ParsedCollection(documents, {"en": in_split}, qrels)


def _documents(path: Path, rows: Records, *, may_be_empty: bool = False) -> list[Document]:
    documents = []
    for key, where, row in _with_ids(path, rows):
        title = text_of(row, "title", where, may_be_empty=True) if "title" in row else ""
        # Of some documents only the title is known.
        empty = may_be_empty or bool(title)
        text = text_of(row, "text", where, also="contents", may_be_empty=empty)
        documents.append(Document(key, title, text))
    return documents


def _queries(path: Path, rows: Records) -> dict[str, str]:
    return {
        key: text_of(row, "text", where, also="contents")
        for key, where, row in _with_ids(path, rows)
    }


def _with_ids(path: Path, rows: Records) -> Iterator[tuple[str, str, Record]]:
    seen: set[str] = set()
    for where, row in rows:
        key = id_of(row, "_id", where, also="id")
        if key in seen:
            raise UserError(f"{where}: _id {key!r} occurs twice")
        seen.add(key)
        yield key, where, row
    if not seen:
        raise UserError(f"{path}: no records")


def _recorded(path: Path) -> Judgments:
    query, document, grade = JUDGMENT
    for where, row in read_records(path):
        yield where, (id_of(row, query, where), id_of(row, document, where), row.get(grade))


def _tab_separated(path: Path, raw: bytes | None = None) -> Judgments:
    for number, line in enumerate(text_lines(path, raw), start=1):
        cells, where = line.split("\t"), f"{path}, line {number}"
        if not line or (number == 1 and cells[0] == JUDGMENT[0]):
            continue
        if len(cells) != 3:
            expected = "query-id, corpus-id and score with tabs between"
            raise UserError(f"{where}: {excerpt(line)} is not {expected}")
        yield where, tuple(cell.strip() for cell in cells)


def _qrels(
    path: Path,
    judgments: Judgments,
    queries: Mapping[str, Mapping[str, str]],
    documents: set[str] | None = None,
) -> Qrels:
    """Return the grades; ``documents``, if given, are the ids that may be judged."""
    known = {query for texts in queries.values() for query in texts}
    qrels: Qrels = {}
    for where, (query, document, grade) in judgments:
        if query not in known:
            raise UserError(f"{where}: query {excerpt(query)} is not among the queries")
        if documents is not None and document not in documents:
            raise UserError(f"{where}: document {excerpt(document)} is not in the corpus")
        add_judgment(qrels, where, query, document, grade)
    if not qrels:
        raise UserError(f"{path}: no judgments")
    return qrels
