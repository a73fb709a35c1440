"""Data sets of the hub in the layout of BEIR and MTEB: corpus, queries and qrels, in any parts."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from clir_cli.corpus.catalogue import LocalFile
from clir_cli.corpus.formats.beir import (
    JUDGMENT,
    Judgments,
    Records,
    documents_of,
    qrels_of,
    queries_of,
    recorded,
    tab_separated,
)
from clir_cli.corpus.formats.collection_toml import Fields
from clir_cli.corpus.formats.opening import unpacked_name
from clir_cli.corpus.formats.reading import ParsedCollection, Qrels, Queries, ReadRequest
from clir_cli.corpus.formats.tables import read_any_records
from clir_cli.corpus.records import Document
from clir_cli.errors import UserError

# Names of columns, the usual one first; the others are those of MMTEB's MIRACL and of Pyserini.
DOCUMENT = ("_id", "id", "docid", "doc_id", "corpus-id")
TEXT = ("text", "contents", "passage")
QUERY_ID = ("_id", "id", "query_id", "query-id", "qid")
QUERY = ("text", "query", "question")
JUDGED = (
    (JUDGMENT[0], "query_id", "qid"),
    (JUDGMENT[1], "corpus_id", "docid", "doc_id", "doc-id"),
    (JUDGMENT[2], "relevance", "label"),
)


class _Rows(NamedTuple):
    """Records of all parts of a table; ``path`` is the first part, ``names`` its columns."""

    path: Path
    rows: Records
    names: Sequence[str]

    def column(self, *usual: str, own: str = "") -> str:
        """Return the user's name of a column, or the first usual one that is there."""
        return own or next((name for name in usual if name in self.names), usual[0])


def read_hub(files: Sequence[LocalFile], request: ReadRequest) -> ParsedCollection:
    """Read a data set of the hub; each table is in one or several files.

    Of the queries those with judgments are kept, since BEIR has all splits in one file; documents
    without any text are kept, too. With the option ``missing = "keep"`` judgments of documents that
    the corpus lacks are kept, as published scores count them.

    Raises:
        UserError: A file is damaged or lacks a column, no document has a text, or a query or
            document of the qrels is not there.
    """
    names = {key: request.options[key] for key in Fields.model_fields if key in request.options}
    fields = Fields(**names)
    documents = _documents(_table(files, "corpus"), fields)
    queries: Queries = {}
    for language in dict.fromkeys(f.declared.lang for f in files if f.declared.role == "queries"):
        table = _table([file for file in files if file.declared.lang == language], "queries")
        id_name = table.column(*QUERY_ID, own=fields.query_id)
        text_name = table.column(*QUERY, own=fields.query)
        named = Fields(query_id=id_name, query=text_name)
        queries[language] = queries_of(table.path, table.rows, named)
    judged = [file.path for file in files if file.declared.role == "qrels"]
    if not judged:
        return ParsedCollection(documents, queries, {})
    known = None
    if request.options.get("missing") != "keep":
        known = {document.id for document in documents}
    judgments = itertools.chain.from_iterable(_judgments(path) for path in judged)
    qrels = qrels_of(judged[0], judgments, queries, known)
    return ParsedCollection(documents, _in_qrels(queries, qrels), qrels)


def _documents(table: _Rows, fields: Fields) -> list[Document]:
    named = Fields(
        id=table.column(*DOCUMENT, own=fields.id),
        title=fields.title,
        text=table.column(*TEXT, own=fields.text),
    )
    documents = documents_of(table.path, table.rows, named, may_be_empty=True)
    if not any(document.full_text for document in documents):
        raise UserError(f"{table.path}: no document has a text (of {len(documents):,})")
    return documents


def _judgments(path: Path) -> Judgments:
    if unpacked_name(path).suffix.lower() == ".tsv":
        yield from tab_separated(path)
        return
    table = _rows([path])
    query, document, grade = (table.column(*names) for names in JUDGED)
    for where, (asked, judged, value) in recorded(table.rows, (query, document, grade)):
        is_whole = isinstance(value, float) and value.is_integer()  # MTEB has grades as floats
        yield where, (asked, judged, int(value) if is_whole else value)


def _in_qrels(queries: Queries, qrels: Qrels) -> Queries:
    asked = {
        language: {query: text for query, text in texts.items() if query in qrels}
        for language, texts in queries.items()
    }
    return {language: texts for language, texts in asked.items() if texts}


def _table(files: Sequence[LocalFile], role: str) -> _Rows:
    return _rows([file.path for file in files if file.declared.role == role])


def _rows(paths: Sequence[Path]) -> _Rows:
    rows = itertools.chain.from_iterable(map(read_any_records, paths))
    first = list(itertools.islice(rows, 1))
    names = list(first[0][1]) if first else []
    return _Rows(paths[0], itertools.chain(first, rows), names)
