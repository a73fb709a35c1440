"""The BEIR layout: corpus, queries and qrels, as a directory or as the zip BEIR publishes."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from clir_cli.corpus.catalogue import LocalFile
from clir_cli.corpus.formats.collection_toml import Fields
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
from clir_cli.corpus.formats.tables import read_any_records
from clir_cli.corpus.formats.zips import buffered, only_member, open_zip
from clir_cli.corpus.records import Document
from clir_cli.errors import UserError

# Records, or judgments (query, document, grade), each with its place in the file.
Records = Iterator[tuple[str, Record]]
Judgments = Iterator[tuple[str, tuple[Any, ...]]]
USUAL = Fields()
JUDGMENT = ("query-id", "corpus-id", "score")


def read_beir(files: Sequence[LocalFile], request: ReadRequest | None = None) -> ParsedCollection:
    """Read the BEIR layout: corpus.jsonl, and queries*.jsonl and qrels/test.tsv if there are any.

    Each file of queries is in the language that is declared. Compressed files, ``.parquet``,
    ``.csv`` and ``.tsv`` hold the same columns, and the corpus may be a folder of texts. Pyserini's
    names of columns are read too, ``id`` and ``contents``; other names are options (``Fields``).
    """
    options = request.options if request else {}
    fields = Fields(**{name: options[name] for name in Fields.model_fields if name in options})
    by_part: dict[str, list[LocalFile]] = {}
    for file in files:
        in_qrels = file.path.parent.name == "qrels"
        part = file.declared.role or ("qrels" if in_qrels else file.path.name.split(".")[0])
        by_part.setdefault(part, []).append(file)
    corpus = by_part["corpus"][0].path
    documents = documents_of(corpus, read_any_records(corpus), fields)
    queries = {
        file.declared.lang: queries_of(file.path, read_any_records(file.path), fields)
        for file in by_part.get("queries", ())
    }
    if "qrels" not in by_part:
        return ParsedCollection(documents, queries, {})
    judged = by_part["qrels"][0].path
    is_parquet = judged.suffix == ".parquet"
    judgments = recorded(read_records(judged)) if is_parquet else tab_separated(judged)
    qrels = qrels_of(judged, judgments, queries, {document.id for document in documents})
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
            documents = documents_of(path / corpus, lines, may_be_empty=True)
        with buffered(archive, topics) as stream:
            queries = queries_of(path / topics, json_lines(f"{path / topics}", stream))
        judgments = tab_separated(path / judged, archive.read(judged))
        qrels = qrels_of(path / judged, judgments, {"en": queries})
    in_split = {query: text for query, text in queries.items() if query in qrels}
    return ParsedCollection(documents, {"en": in_split}, qrels)


def documents_of(
    path: Path, rows: Records, fields: Fields = USUAL, *, may_be_empty: bool = False
) -> list[Document]:
    """Return the documents of records; UserError if one lacks id or text, or an id comes twice."""
    documents = []
    name = fields.title or "title"
    for key, where, row in _with_ids(path, rows, fields.id):
        has_title = bool(fields.title) or name in row
        title = text_of(row, name, where, may_be_empty=True) if has_title else ""
        # Of some documents only the title is known.
        text = _text(row, fields.text, where, may_be_empty or bool(title))
        documents.append(Document(key, title, text))
    return documents


def queries_of(path: Path, rows: Records, fields: Fields = USUAL) -> dict[str, str]:
    """Return the queries of records by id; raises as ``documents_of``."""
    return {
        key: _text(row, fields.query, where)
        for key, where, row in _with_ids(path, rows, fields.query_id)
    }


def _text(row: Record, name: str, where: str, may_be_empty: bool = False) -> str:
    also = "" if name else "contents"
    return text_of(row, name or "text", where, also=also, may_be_empty=may_be_empty)


def _with_ids(path: Path, rows: Records, name: str = "") -> Iterator[tuple[str, str, Record]]:
    seen: set[str] = set()
    for where, row in rows:
        key = id_of(row, name or "_id", where, also="" if name else "id")
        if key in seen:
            raise UserError(f"{where}: {name or '_id'} {key!r} occurs twice")
        seen.add(key)
        yield key, where, row
    if not seen:
        raise UserError(f"{path}: no records")


def recorded(rows: Records, names: tuple[str, str, str] = JUDGMENT) -> Judgments:
    """Yield the judgments of records with columns of those names."""
    query, document, grade = names
    for where, row in rows:
        yield where, (id_of(row, query, where), id_of(row, document, where), row.get(grade))


def tab_separated(path: Path, raw: bytes | None = None) -> Judgments:
    """Yield the judgments of a table, with or without the names of its columns."""
    for number, line in enumerate(text_lines(path, raw), start=1):
        cells, where = line.split("\t"), f"{path}, line {number}"
        if not line or (number == 1 and cells[0] == JUDGMENT[0]):
            continue
        if len(cells) != 3:
            expected = "query-id, corpus-id and score with tabs between"
            raise UserError(f"{where}: {excerpt(line)} is not {expected}")
        yield where, tuple(cell.strip() for cell in cells)


def qrels_of(
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
