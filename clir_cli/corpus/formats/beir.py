"""The BEIR layout: corpus, queries and qrels, as a directory or as the zip BEIR publishes."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from clir_cli.corpus.formats.jsonl_parquet import ByteSource, Row, json_lines, rows, text_of
from clir_cli.corpus.formats.reading import LocalFile, ParsedCollection, ReadRequest
from clir_cli.corpus.formats.zips import only_member, open_zip
from clir_cli.corpus.records import Document
from clir_cli.errors import UserError

Rows = Iterator[tuple[int, Row]]
JUDGMENT = ("query-id", "corpus-id", "score")


def read_beir(files: Sequence[LocalFile], _: ReadRequest | None = None) -> ParsedCollection:
    """Read the BEIR layout: corpus.jsonl, queries*.jsonl, qrels/test.tsv.

    Each file of queries is in the language that is declared. ``.jsonl.gz`` and ``.parquet`` hold
    the same columns.

    Raises:
        UserError: A duplicate or empty id, a line that is not JSON, qrels that name no known
            query or document; the message has file and line.
    """
    by_part: dict[str, list[LocalFile]] = {}
    for file in files:
        part = "qrels" if file.path.parent.name == "qrels" else file.path.name.split(".")[0]
        by_part.setdefault(part, []).append(file)
    corpus, judged = by_part["corpus"][0].path, by_part["qrels"][0].path
    documents = list(_documents(str(corpus), rows(corpus)))
    queries = {
        file.declared.lang: _queries(str(file.path), rows(file.path)) for file in by_part["queries"]
    }
    judgments: Iterator[tuple[int, list[str]]]
    if judged.suffix == ".parquet":
        judgments = ((n, [str(row.get(name)) for name in JUDGMENT]) for n, row in rows(judged))
    else:
        judgments = _tab_separated(str(judged), judged.read_bytes())
    return ParsedCollection(
        documents,
        queries,
        _qrels(str(judged), judgments, queries, {document.id for document in documents}),
    )


def read_beir_zip(files: Sequence[LocalFile], request: ReadRequest) -> ParsedCollection:
    """Read a zip of BEIR: ``<name>/corpus.jsonl``, ``queries.jsonl``, ``qrels/<split>.tsv``.

    Queries and documents are English. Of the queries only those of the split are kept, since BEIR
    has all splits in one file. Some sets have documents without any text, or judgments of documents
    that they lack; both are kept, so that scores are comparable with published ones.

    Raises:
        UserError: The zip is damaged or lacks a part, or as ``read_beir``.
    """
    path, split = files[0].path, request.options.get("split", "test")
    with open_zip(path, tested=False) as archive:
        members = [
            only_member(archive, name, "a BEIR zip")
            for name in ("corpus.jsonl", "queries.jsonl", f"qrels/{split}.tsv")
        ]
        corpus, asked, judged = (
            ByteSource(f"{path}/{member}", partial(archive.open, member)) for member in members
        )
        documents = list(_documents(corpus.name, json_lines(corpus), may_be_empty=True))
        queries = _queries(asked.name, json_lines(asked))
        with judged.open() as stream:
            judgments = _tab_separated(judged.name, stream.read())
        qrels = _qrels(judged.name, judgments, {"en": queries})
    in_split = {query: text for query, text in queries.items() if query in qrels}
    return ParsedCollection(documents, {"en": in_split}, qrels)


def _documents(name: str, records: Rows, *, may_be_empty: bool = False) -> Iterator[Document]:
    for number, key, row in _with_ids(name, records):
        title, text = str(row.get("title") or "").strip(), row.get("text")
        # Of some documents only the title is known.
        if (title and not text) or (may_be_empty and text in ("", None)):
            yield Document(key, title, "")
        else:
            yield Document(key, title, text_of(row, "text", f"{name}, line {number}"))


def _queries(name: str, records: Rows) -> dict[str, str]:
    return {
        key: text_of(row, "text", f"{name}, line {number}")
        for number, key, row in _with_ids(name, records)
    }


def _with_ids(name: str, records: Rows) -> Iterator[tuple[int, str, Row]]:
    seen: set[str] = set()
    for number, row in records:
        # Newer uploads of BEIR sets say id for _id.
        value = row.get("_id", row.get("id")) if isinstance(row, dict) else None
        key = "" if value is None else str(value).strip()
        if not key:
            raise UserError(f"{name}, line {number}: a record needs a non-empty _id")
        if any(character.isspace() for character in key):
            raise UserError(f"{name}, line {number}: _id {key!r} has white space in it")
        if key in seen:
            raise UserError(f"{name}, line {number}: _id {key!r} occurs twice")
        seen.add(key)
        yield number, key, row
    if not seen:
        raise UserError(f"{name}: no records")


def _tab_separated(name: str, raw: bytes) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        try:
            text = line.decode().strip()
        except UnicodeDecodeError:
            raise UserError(f"{name}, line {number}: not valid UTF-8") from None
        cells = text.split("\t")
        if text and not (number == 1 and cells[0] == JUDGMENT[0]):
            yield number, cells


def _qrels(
    name: str,
    judgments: Iterator[tuple[int, list[str]]],
    queries: Mapping[str, Mapping[str, str]],
    documents: set[str] | None = None,
) -> dict[str, dict[str, int]]:
    """Return the grades; ``documents``, if given, are the ids that may be judged."""
    known = {query for texts in queries.values() for query in texts}
    qrels: dict[str, dict[str, int]] = {}
    for number, cells in judgments:
        if len(cells) != 3 or not re.fullmatch("-?[0-9]+", cells[2].strip()):
            raise UserError(
                f"{name}, line {number}: expected query-id, corpus-id and a whole score"
            )
        query, document, grade = (cell.strip() for cell in cells)
        if query not in known:
            raise UserError(f"{name}, line {number}: query {query!r} is not among the queries")
        if documents is not None and document not in documents:
            raise UserError(f"{name}, line {number}: document {document!r} is not in the corpus")
        qrels.setdefault(query, {})[document] = int(grade)
    if not qrels:
        raise UserError(f"{name}: no judgments")
    return qrels
