"""Question answering as retrieval: a question's passage (or sentence) is what is to be found."""

import io
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from clir_cli.corpus.formats.jsonl_parquet import Row, Sheet, cell, json_document, rows
from clir_cli.corpus.formats.parts import Asked, Parts, judged_for
from clir_cli.corpus.formats.shared import Located, open_zip
from clir_cli.corpus.records import Document
from clir_cli.errors import UserError

Paragraph = tuple[str, dict[str, Any]]


def read_squad(files: Sequence[Located], asked: Asked) -> Parts:
    """Read XQuAD: questions of each language over the English paragraphs, joined on their id.

    Raises:
        UserError: A file is not in SQuAD's format, or asks what the English one does not.
    """
    sheets = {file.entry.lang: Sheet.of(file.path) for file in files}
    documents, qrels = [], {}
    for place, (_, paragraph) in enumerate(_paragraphs(sheets["en"]), start=1):
        documents.append(Document(f"p{place:04d}", "", _text(paragraph, "context", sheets["en"])))
        for question in _list(paragraph, "qas", sheets["en"]):
            qrels[_text(question, "id", sheets["en"])] = {documents[-1].id: 1}
    return _joined(documents, sheets, qrels, asked)


def read_squad_sentences(files: Sequence[Located], asked: Asked) -> Parts:
    """Read XQuAD-R: the sentence that holds the answer is relevant, of all English sentences.

    Raises:
        UserError: As ``read_squad``, or an answer lies in no sentence.
    """
    sheets = {file.entry.lang: Sheet.of(file.path) for file in files}
    english = sheets["en"]
    documents, qrels = [], {}
    for place, (_, paragraph) in enumerate(_paragraphs(english), start=1):
        breaks = _list(paragraph, "sentence_breaks", english)
        context = _text(paragraph, "context", english)
        names = [f"p{place:04d}-{number:02d}" for number in range(1, len(breaks) + 1)]
        for name, (start, end) in zip(names, breaks, strict=True):
            documents.append(Document(name, "", context[start:end].strip()))
        for question in _list(paragraph, "qas", english):
            key = _text(question, "id", english)
            at = {answer["answer_start"] for answer in _list(question, "answers", english)}
            found = {
                name: 1
                for name, (start, end) in zip(names, breaks, strict=True)
                if any(start <= answer < end for answer in at)
            }
            if not found:
                raise UserError(f"{english.name}: the answer of {key} lies in no sentence")
            qrels[key] = found
    return _joined(documents, sheets, qrels, asked)


def read_mlqa(files: Sequence[Located], asked: Asked) -> Parts:
    """Read MLQA straight from its zip: questions of a language over English paragraphs.

    The documents are the English paragraphs of all languages' files, so that they are the same
    for each. Not every question is in every language; those of the language are judged.

    Raises:
        UserError: The zip is damaged or lacks a file.
    """
    path, split = files[0].path, asked.options.get("split", "test")
    places: dict[str, str] = {}
    queries: dict[str, dict[str, str]] = {}
    qrels: dict[str, dict[str, int]] = {}
    with open_zip(path) as archive:
        for language, code in asked.codes.items():
            tail = f"{split}-context-en-question-{code}.json"
            member = next((each for each in archive.namelist() if each.endswith(f"/{tail}")), None)
            if member is None:
                raise UserError(f"{path}: {tail} is not in it; is it MLQA_V1.zip?")
            sheet = Sheet(f"{path}/{member}", partial(archive.open, member))
            found = queries.setdefault(language, {})
            for _, paragraph in _paragraphs(sheet):
                text = _text(paragraph, "context", sheet)
                place = places.setdefault(text, f"p{len(places) + 1:05d}")
                for question in _list(paragraph, "qas", sheet):
                    key = _text(question, "id", sheet)
                    found[key] = _text(question, "question", sheet)
                    qrels.setdefault(key, {})[place] = 1
    documents = [Document(place, "", text) for text, place in places.items()]
    kept = {spoken: queries[spoken] for spoken in dict.fromkeys(("en", asked.language))}
    return Parts(documents, kept, judged_for(qrels, kept[asked.language]))


def read_belebele(files: Sequence[Located], asked: Asked) -> Parts:
    """Read Belebele: 900 questions of each language over the English passages.

    A row's place in another language is told by ``link`` and ``question_number``, and by the
    how-manieth it is where two passages share a page.

    Raises:
        UserError: The languages' rows do not answer each other.
    """
    sheets = {file.entry.lang: dict(_numbered(file)) for file in files}
    passages: dict[str, str] = {}
    qrels, names = {}, {}
    for place, (key, row) in enumerate(sheets["en"].items(), start=1):
        text = cell(row, "flores_passage", f"Belebele, question {place}")
        names[key] = f"q{place:04d}"
        qrels[names[key]] = {passages.setdefault(text, f"p{len(passages) + 1:04d}"): 1}
    queries = {}
    for file in files:
        spoken = file.entry.lang
        if sheets[spoken].keys() != names.keys():
            raise UserError(f"{file.path}: its questions are not those of the English file")
        queries[spoken] = {
            name: cell(sheets[spoken][key], "question", f"{file.path}, {key[0]}")
            for key, name in names.items()
        }
    documents = [Document(place, "", text) for text, place in passages.items()]
    return Parts(documents, queries, judged_for(qrels, queries[asked.language]))


def _numbered(file: Located) -> Iterator[tuple[tuple[str, str, int], Row]]:
    seen: dict[tuple[str, str], int] = {}
    for number, row in rows(file.path):
        link = cell(row, "link", f"{file.path}, line {number}")
        key = (link, str(row.get("question_number")))
        seen[key] = seen.get(key, 0) + 1
        yield (*key, seen[key]), row


def read_afriqa(files: Sequence[Located], asked: Asked) -> Parts:
    """Read the gold passages of AfriQA: questions of a language over English Wikipedia passages.

    The documents are the passages of all languages' files, so that they are the same for each;
    ``role`` of a file is the language of its questions. English queries are their translations. A
    question without a passage is left out.

    Raises:
        UserError: A row lacks a part.
    """
    places: dict[tuple[str, str], str] = {}
    queries: dict[str, dict[str, str]] = {asked.language: {}, "en": {}}
    qrels: dict[str, dict[str, int]] = {}
    for file in files:
        for number, row in rows(file.path):
            where = f"{file.path}, line {number}"
            if not isinstance(row, dict):
                raise UserError(f"{where}: not a record")
            if not (row.get("context") or "").strip():
                continue
            title = (row.get("title") or "").strip()
            passage = (title, cell(row, "context", where))
            place = places.setdefault(passage, f"p{len(places) + 1:05d}")
            if asked.language not in (file.entry.role, "en"):
                continue
            key = f"{file.entry.role}-{cell(row, 'id', where)}"
            if asked.language != "en":
                queries[asked.language][key] = cell(row, "question_lang", where)
            queries["en"][key] = cell(row, "question_translated", where)
            qrels.setdefault(key, {})[place] = 1
    documents = [Document(place, *passage) for passage, place in places.items()]
    return Parts(documents, queries, qrels)


def _joined(
    documents: list[Document],
    sheets: dict[str, Sheet],
    qrels: dict[str, dict[str, int]],
    asked: Asked,
) -> Parts:
    queries: dict[str, dict[str, str]] = {}
    for language, sheet in sheets.items():
        found = queries.setdefault(language, {})
        for _, paragraph in _paragraphs(sheet):
            for question in _list(paragraph, "qas", sheet):
                key = _text(question, "id", sheet)
                if key not in qrels:
                    raise UserError(f"{sheet.name}: the English file has no question {key}")
                found[key] = _text(question, "question", sheet)
    return Parts(documents, queries, judged_for(qrels, queries[asked.language]))


def _paragraphs(sheet: Sheet) -> Iterator[Paragraph]:
    """Yield the article's title and each paragraph of a file in SQuAD's format."""
    for article in _list(json_document(_whole(sheet)), "data", sheet):
        for paragraph in _list(article, "paragraphs", sheet):
            yield article.get("title", ""), paragraph


def _whole(sheet: Sheet) -> Sheet:
    def bytes_of() -> io.BytesIO:
        with sheet.open() as stream:
            return io.BytesIO(stream.read())

    return Sheet(sheet.name, bytes_of)


def _list(value: Any, name: str, sheet: Sheet) -> list[Any]:
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, list):
        raise UserError(f"{sheet.name}: no list {name!r} where SQuAD's format has one")
    return found


def _text(value: Any, name: str, sheet: Sheet) -> str:
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, str) or not found.strip():
        raise UserError(f"{sheet.name}: {name!r} is missing or empty where SQuAD's format has it")
    # Offsets of answers count from the first character: a context keeps its white space.
    return found if name == "context" else found.strip()
