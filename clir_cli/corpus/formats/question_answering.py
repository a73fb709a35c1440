"""Question answering as retrieval: the relevant document is a question's passage or sentence."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from clir_cli.corpus.catalogue import LocalFile
from clir_cli.corpus.formats.jsonl_parquet import (
    Record,
    id_of,
    list_of,
    parsed_json,
    read_records,
    text_of,
)
from clir_cli.corpus.formats.opening import open_text
from clir_cli.corpus.formats.reading import (
    ParsedCollection,
    Qrels,
    Queries,
    ReadRequest,
    add_query,
    excerpt,
)
from clir_cli.corpus.formats.zips import only_member, open_zip
from clir_cli.corpus.records import Document
from clir_cli.errors import UserError


class Paragraph(NamedTuple):
    """A paragraph of a file in SQuAD's format."""

    context: str
    questions: list[tuple[str, str, Record]]  # id, text and record
    record: Record


def read_squad(files: Sequence[LocalFile], request: ReadRequest) -> ParsedCollection:
    """Read XQuAD: questions of each language over the English paragraphs, joined on their id."""
    documents, qrels = [], {}
    for number, paragraph in enumerate(squad_paragraphs(_english(files)), start=1):
        documents.append(Document(f"p{number:04d}", "", paragraph.context))
        qrels.update({question: {documents[-1].id: 1} for question, *_ in paragraph.questions})
    return _joined(documents, qrels, files, request)


def read_squad_sentences(files: Sequence[LocalFile], request: ReadRequest) -> ParsedCollection:
    """Read XQuAD-R: the sentence that holds the answer is relevant, of all English sentences."""
    path = _english(files)
    documents: list[Document] = []
    qrels: Qrels = {}
    for number, paragraph in enumerate(squad_paragraphs(path), start=1):
        spans = {}
        for index, (begin, end) in enumerate(_breaks(paragraph, str(path)), start=1):
            sentence = f"p{number:04d}-{index:02d}"
            spans[sentence] = range(begin, end)
            documents.append(Document(sentence, "", paragraph.context[begin:end].strip()))
        for question, _, record in paragraph.questions:
            answers = list_of(record, "answers", str(path))
            offsets = {_offset(answer.get("answer_start"), str(path)) for answer in answers}
            qrels[question] = {
                name: 1 for name, span in spans.items() if any(at in span for at in offsets)
            }
            if not qrels[question]:
                raise UserError(f"{path}: the answer of {question} is in no sentence")
    return _joined(documents, qrels, files, request)


def read_mlqa(files: Sequence[LocalFile], request: ReadRequest) -> ParsedCollection:
    """Read MLQA from its zip: questions of a language over English paragraphs.

    The documents are the English paragraphs of all languages' files, so that they are the same
    for each. Not every question is in every language; those of the language are judged.
    """
    path, split = files[0].path, request.options.get("split", "test")
    ids: dict[str, str] = {}
    queries: Queries = {language: {} for language in request.codes}
    qrels: Qrels = {}
    with open_zip(path) as archive:
        for language, code in request.codes.items():
            name = f"{split}-context-en-question-{code}.json"
            member = only_member(archive, name, "MLQA_V1.zip")
            for paragraph in squad_paragraphs(path / member, archive.read(member)):
                document = ids.setdefault(paragraph.context, f"p{len(ids) + 1:05d}")
                for question, text, _ in paragraph.questions:
                    add_query(queries[language], question, text, str(path / member))
                    qrels.setdefault(question, {})[document] = 1
    documents = [Document(document, "", text) for text, document in ids.items()]
    queries = {language: queries[language] for language in dict.fromkeys(("en", request.language))}
    return ParsedCollection(documents, queries, _judged(qrels, queries[request.language]))


def read_belebele(files: Sequence[LocalFile], request: ReadRequest) -> ParsedCollection:
    """Read Belebele: 900 questions of each language over the English passages.

    Rows of two languages are joined on ``link``, ``question_number``, and the count of earlier rows
    with both the same, since two passages may share a page.
    """
    by_language = {file.declared.lang: dict(_belebele_rows(file)) for file in files}
    ids: dict[str, str] = {}
    names: dict[tuple[str, str, int], str] = {}
    qrels: Qrels = {}
    for number, (key, row) in enumerate(by_language["en"].items(), start=1):
        text = text_of(row, "flores_passage", f"Belebele, question {number}")
        names[key] = f"q{number:04d}"
        qrels[names[key]] = {ids.setdefault(text, f"p{len(ids) + 1:04d}"): 1}
    queries = {}
    for file in files:
        records = by_language[file.declared.lang]
        if records.keys() != names.keys():
            raise UserError(f"{file.path}: its questions differ from the English file's")
        queries[file.declared.lang] = {
            name: text_of(records[key], "question", f"{file.path}, {key[0]}")
            for key, name in names.items()
        }
    documents = [Document(document, "", text) for text, document in ids.items()]
    return ParsedCollection(documents, queries, _judged(qrels, queries[request.language]))


def _belebele_rows(file: LocalFile) -> Iterator[tuple[tuple[str, str, int], Record]]:
    counts = Counter[tuple[str, str]]()
    for where, row in read_records(file.path):
        key = (text_of(row, "link", where), id_of(row, "question_number", where))
        counts[key] += 1
        yield (*key, counts[key]), row


def read_afriqa(files: Sequence[LocalFile], request: ReadRequest) -> ParsedCollection:
    """Read the gold passages of AfriQA: questions of a language over English Wikipedia passages.

    The documents are the passages of all languages' files, so that they are the same for each;
    ``role`` of a file is the language of its questions. English queries are their translations. A
    question without a passage is left out.
    """
    ids: dict[tuple[str, str], str] = {}
    queries: Queries = {request.language: {}, "en": {}}
    qrels: Qrels = {}
    for file in files:
        language = file.declared.role
        for where, row in read_records(file.path):
            if not (context := text_of(row, "context", where, may_be_empty=True)):
                continue
            title = text_of(row, "title", where, may_be_empty=True) if "title" in row else ""
            passage = (title, context)
            document = ids.setdefault(passage, f"p{len(ids) + 1:05d}")
            if request.language not in (language, "en"):
                continue
            query = f"{language}-{id_of(row, 'id', where)}"
            if request.language != "en":
                text = text_of(row, "question_lang", where)
                add_query(queries[request.language], query, text, where)
            text = text_of(row, "question_translated", where)
            add_query(queries["en"], query, text, where)
            qrels.setdefault(query, {})[document] = 1
    documents = [Document(document, *passage) for passage, document in ids.items()]
    return ParsedCollection(documents, queries, qrels)


def _breaks(paragraph: Paragraph, where: str) -> Iterator[tuple[int, int]]:
    breaks = paragraph.record.get("sentence_breaks")
    for span in breaks if isinstance(breaks, list) else [breaks]:
        offsets = [_offset(value, where) for value in span] if isinstance(span, list) else []
        if len(offsets) != 2 or not offsets[0] < min(offsets[1], len(paragraph.context)):
            raise UserError(f"{where}: {excerpt(span)} is not begin and end of a sentence")
        yield offsets[0], offsets[1]


def _offset(value: Any, where: str) -> int:
    if type(value) is not int or value < 0:
        raise UserError(f"{where}: {excerpt(value)} is not an offset in characters")
    return value


def _english(files: Sequence[LocalFile]) -> Path:
    return next(file.path for file in files if file.declared.lang == "en")


def squad_paragraphs(path: Path, raw: bytes | None = None) -> Iterator[Paragraph]:
    """Yield the paragraphs of a file in SQuAD's format, or of ``raw``, its bytes."""
    if raw is None:
        with open_text(path) as stream:
            raw = stream.read()
    where = str(path)
    for article in list_of(parsed_json(where, raw), "data", where):
        for record in list_of(article, "paragraphs", where):
            text_of(record, "context", where)
            questions = [
                (id_of(item, "id", where), text_of(item, "question", where), item)
                for item in list_of(record, "qas", where)
            ]
            # Offsets of answers count from the first character: a context keeps its white space.
            yield Paragraph(record["context"], questions, record)


def _joined(
    documents: list[Document], qrels: Qrels, files: Sequence[LocalFile], request: ReadRequest
) -> ParsedCollection:
    """Return a collection with the questions of all files; the English one must have them all."""
    queries: Queries = {file.declared.lang: {} for file in files}
    for file in files:
        for paragraph in squad_paragraphs(file.path):
            for question, text, _ in paragraph.questions:
                if question not in qrels:
                    raise UserError(f"{file.path}: the English file has no question {question}")
                add_query(queries[file.declared.lang], question, text, str(file.path))
    return ParsedCollection(documents, queries, _judged(qrels, queries[request.language]))


def _judged(qrels: Qrels, queries: Mapping[str, str]) -> Qrels:
    """Return the judgments of the queries that a language has, in their order."""
    return {query: qrels[query] for query in queries if query in qrels}
