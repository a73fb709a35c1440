"""English questions and titles with their passages: what an English teacher is trained on."""

import csv
import html
import io
import re
from collections.abc import Iterable, Sequence

from clir_cli.corpus.catalogue import LocalFile
from clir_cli.corpus.formats.jsonl_parquet import list_of, read_records, text_of
from clir_cli.corpus.formats.opening import open_text
from clir_cli.corpus.formats.question_answering import squad_paragraphs
from clir_cli.corpus.formats.reading import ParsedCollection, Qrels, ReadRequest, decoded_text
from clir_cli.corpus.records import Document
from clir_cli.errors import UserError

SHORTEST_BODY = 30  # words of an article that a headline can be looked up by
ARTICLE = re.compile(r"<REUTERS\b.*?</REUTERS>", re.DOTALL)
TITLE = re.compile(r"<TITLE>(.*?)</TITLE>", re.DOTALL)
BODY = re.compile(r"<BODY>(.*?)</BODY>", re.DOTALL)
CONTROL = re.compile(r"&#\d{1,2};")  # the wire's own characters, such as the end of a text


def read_squads(files: Sequence[LocalFile], _: ReadRequest | None = None) -> ParsedCollection:
    """Read files in SQuAD's format: the paragraph of a question is relevant (SQuADShifts)."""
    return _collected(
        (text, "", paragraph.context)
        for file in files
        for paragraph in squad_paragraphs(file.path)
        for _, text, _ in paragraph.questions
    )


def read_boolq(files: Sequence[LocalFile], _: ReadRequest | None = None) -> ParsedCollection:
    """Read BoolQ: yes-no questions over passages, ``title -- text``."""
    rows = []
    for file in files:
        for where, record in read_records(file.path):
            title, dash, text = text_of(record, "passage", where).partition(" -- ")
            passage = (title, text) if dash else ("", title)
            rows.append((text_of(record, "question", where), *passage))
    return _collected(rows)


def read_multirc(files: Sequence[LocalFile], _: ReadRequest | None = None) -> ParsedCollection:
    """Read MultiRC: questions over paragraphs, a paragraph with its questions on a line."""
    rows = []
    for file in files:
        for where, record in read_records(file.path):
            passage = record.get("passage")
            questions = list_of(passage, "questions", where)
            text = text_of(passage or {}, "text", where)
            rows += [(text_of(question, "question", where), "", text) for question in questions]
    return _collected(rows)


def read_headlines(files: Sequence[LocalFile], _: ReadRequest | None = None) -> ParsedCollection:
    """Read MasakhaNEWS: a headline and its article in a row, quoted over several lines."""
    rows = []
    for file in files:
        stream = io.StringIO(decoded_text(file.path), newline="\n")
        table = csv.DictReader(stream, delimiter="\t", strict=True)
        try:
            for row in table:
                where = f"{file.path}, line {table.line_num}"
                rows.append((text_of(row, "headline", where), "", text_of(row, "text", where)))
        except csv.Error as error:
            raise UserError(f"{file.path}, line {table.line_num}: {error}") from None
    return _collected(rows)


def read_reuters(files: Sequence[LocalFile], _: ReadRequest | None = None) -> ParsedCollection:
    """Read Reuters-21578: titles over bodies of at least ``SHORTEST_BODY`` words.

    The files are SGML in Latin-1. A title in capitals, as nearly all are, is put in lower case.
    """
    rows = []
    for file in files:
        with open_text(file.path) as stream:
            content = stream.read().decode("latin-1")
        articles = ARTICLE.findall(content)
        if not articles:
            raise UserError(f"{file.path}: no <REUTERS> article; is it Reuters-21578?")
        for article in articles:
            title, body = (_sgml_text(part.search(article)) for part in (TITLE, BODY))
            if title and len(body.split()) >= SHORTEST_BODY:
                rows.append((title.lower() if title.isupper() else title, "", body))
    return _collected(rows)


def _sgml_text(match: re.Match[str] | None) -> str:
    return " ".join(html.unescape(CONTROL.sub(" ", match[1])).split()) if match else ""


def _collected(rows: Iterable[tuple[str, str, str]]) -> ParsedCollection:
    """Return queries with title and text of their document; equal texts are one document."""
    names: dict[tuple[str, str], str] = {}
    asked: dict[str, str] = {}
    qrels: Qrels = {}
    for question, *passage in rows:
        title, text = passage
        document = names.setdefault((title, text), f"p{len(names) + 1:05d}")
        query = asked.setdefault(question, f"q{len(asked) + 1:05d}")
        qrels.setdefault(query, {})[document] = 1
    documents = [Document(document, *passage) for passage, document in names.items()]
    queries = {query: question for question, query in asked.items()}
    return ParsedCollection(documents, {"en": queries}, qrels)
