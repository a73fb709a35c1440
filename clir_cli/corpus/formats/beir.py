"""The BEIR layout: corpus, queries and qrels, as a directory or as the zip BEIR publishes."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from clir_cli.corpus.catalogue import LocalFile
from clir_cli.corpus.formats.jsonl_parquet import Record, json_lines, read_records, text_of
from clir_cli.corpus.formats.reading import ParsedCollection, Qrels, ReadRequest, text_lines
from clir_cli.corpus.formats.zips import only_member, open_zip
from clir_cli.corpus.records import Document
from clir_cli.errors import UserError

# Records, or the cells of judgments, each with its place in the file.
Records = Iterator[tuple[str, Record]]
Judgments = Iterator[tuple[str, Sequence[str]]]
JUDGMENT = ("query-id", "corpus-id", "score")


def read_beir(files: Sequence[LocalFile], _: ReadRequest | None = None) -> ParsedCollection:
    """Read the BEIR layout: corpus.jsonl, queries*.jsonl, qrels/test.tsv.

    Each file of queries is in the language that is declared. ``.jsonl.gz`` and ``.parquet`` hold
    the same columns.
    """
    by_part: dict[str, list[LocalFile]] = {}
    for file in files:
        part = "qrels" if file.path.parent.name == "qrels" else file.path.name.split(".")[0]
        by_part.setdefault(part, []).append(file)
    corpus, judged = by_part["corpus"][0].path, by_part["qrels"][0].path
    documents = _documents(corpus, read_records(corpus))
    queries = {
        file.declared.lang: _queries(file.path, read_records(file.path))
        for file in by_part["queries"]
    }
    if judged.suffix == ".parquet":
        judgments: Judgments = (
            (where, [str(row.get(name)) for name in JUDGMENT])
            for where, row in read_records(judged)
        )
    else:
        judgments = _tab_separated(judged, judged.read_bytes())
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
        with archive.open(corpus) as stream:
            lines = json_lines(f"{path / corpus}", stream)
            documents = _documents(path / corpus, lines, may_be_empty=True)
        with archive.open(topics) as stream:
            queries = _queries(path / topics, json_lines(f"{path / topics}", stream))
        judgments = _tab_separated(path / judged, archive.read(judged))
        qrels = _qrels(path / judged, judgments, {"en": queries})
    in_split = {query: text for query, text in queries.items() if query in qrels}
    return ParsedCollection(documents, {"en": in_split}, qrels)


def _documents(path: Path, rows: Records, *, may_be_empty: bool = False) -> list[Document]:
    documents = []
    for key, where, row in _with_ids(path, rows):
        title, text = str(row.get("title") or "").strip(), row.get("text")
        # Of some documents only the title is known.
        is_empty = (title and not text) or (may_be_empty and text in ("", None))
        documents.append(Document(key, title, "" if is_empty else text_of(row, "text", where)))
    return documents


def _queries(path: Path, rows: Records) -> dict[str, str]:
    return {key: text_of(row, "text", where) for key, where, row in _with_ids(path, rows)}


def _with_ids(path: Path, rows: Records) -> Iterator[tuple[str, str, Record]]:
    seen: set[str] = set()
    for where, row in rows:
        # Newer uploads of BEIR sets say id for _id.
        value = row.get("_id", row.get("id")) if isinstance(row, dict) else None
        key = "" if value is None else str(value).strip()
        if not key:
            raise UserError(f"{where}: a record needs a non-empty _id")
        if any(character.isspace() for character in key):
            raise UserError(f"{where}: _id {key!r} has white space in it")
        if key in seen:
            raise UserError(f"{where}: _id {key!r} occurs twice")
        seen.add(key)
        yield key, where, row
    if not seen:
        raise UserError(f"{path}: no records")


def _tab_separated(path: Path, raw: bytes) -> Judgments:
    for number, line in enumerate(text_lines(path, raw), start=1):
        cells = line.split("\t")
        if line and not (number == 1 and cells[0] == JUDGMENT[0]):
            yield f"{path}, line {number}", cells


def _qrels(
    path: Path,
    judgments: Judgments,
    queries: Mapping[str, Mapping[str, str]],
    documents: set[str] | None = None,
) -> Qrels:
    """Return the grades; ``documents``, if given, are the ids that may be judged."""
    known = {query for texts in queries.values() for query in texts}
    qrels: Qrels = {}
    for where, cells in judgments:
        if len(cells) != 3 or not re.fullmatch("-?[0-9]+", cells[2].strip()):
            raise UserError(f"{where}: expected query-id, corpus-id and a whole score")
        query, document, grade = (cell.strip() for cell in cells)
        if query not in known:
            raise UserError(f"{where}: query {query!r} is not among the queries")
        if documents is not None and document not in documents:
            raise UserError(f"{where}: document {document!r} is not in the corpus")
        qrels.setdefault(query, {})[document] = int(grade)
    if not qrels:
        raise UserError(f"{path}: no judgments")
    return qrels
