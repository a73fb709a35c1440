"""TREC and CLEF: documents in SGML, topics and qrels, as the campaigns publish them.

The documents are not XML: tags may stay open, `&` occurs alone, a file has no root. So a file is
split at its ``<DOC>`` and read by tags, which also is quick and needs the memory of one document.
"""

import gzip
import html
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from clir_cli.corpus.catalogue import LocalFile
from clir_cli.corpus.formats.jsonl_parquet import open_plain_or_gzip
from clir_cli.corpus.formats.reading import ParsedCollection, Qrels, ReadRequest
from clir_cli.corpus.records import Document
from clir_cli.errors import UserError, nearest
from clir_cli.suites import read_toml

SETTINGS = "collection.toml"
HELP = "docs/collections.md shows the layout"


class Layout(BaseModel):
    """Where the parts of a directory are and how they are read; ``collection.toml`` sets it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # Patterns of Path.glob; {lang} is the language.
    documents: tuple[str, ...] = ("documents/**/*", "documents.*")
    topics: tuple[str, ...] = ("topics.{lang}", "topics.{lang}.*", "topics/{lang}/**/*")
    qrels: tuple[str, ...] = ("qrels", "qrels.*", "qrels/**/*")
    encoding: str = ""  # none: UTF-8 where a document or file is valid UTF-8, else ISO-8859-1
    title: tuple[str, ...] = ("HEADLINE", "HEAD", "HL", "TITLE", "TTL", "TI")  # the first of these
    text: tuple[str, ...] = ("LEAD", "LEADPARA", "LP", "TEXT")  # all of these; else the document
    query: tuple[Literal["title", "desc", "narr"], ...] = ("title",)
    missing: Literal["stop", "drop"] = "stop"  # judgments of topics or documents that are missing


def is_trec(folder: Path) -> bool:
    """Return True if a directory has the layout of this reader rather than BEIR's."""
    is_own = (folder / SETTINGS).is_file() or any(folder.glob("documents*"))
    return is_own and not any(folder.glob("corpus.*"))


def read_trec(_: Sequence[LocalFile], request: ReadRequest) -> ParsedCollection:
    """Read the documents, topics and qrels of a directory.

    Topics in the query language are required, English ones are read if present; for ``en`` none
    are required. Topics without a relevant document are not judged, as in CLEF.
    """
    folder, layout = request.folder, _layout(request.folder, request.options)
    documents: dict[str, Document] = {}
    for path in _files(folder, layout.documents, "documents"):
        for document in read_documents(path, layout):
            if document.id in documents:
                raise UserError(f"{path}: document {document.id} occurs twice")
            documents[document.id] = document
    queries, qrels = {}, _qrels(_files(folder, layout.qrels, "qrels"))
    for language in dict.fromkeys((request.language, "en")):
        patterns = [pattern.replace("{lang}", language) for pattern in layout.topics]
        if paths := _files(folder, patterns):
            queries[language] = _topics(paths, layout, language)
        elif language == request.language != "en":
            raise UserError(f"{folder}: no topics in {language!r} ({patterns[1]}); {HELP}")
    if texts := queries.get(request.language):
        drop = layout.missing == "drop"
        qrels = _scorable(folder, drop, _matched(qrels, texts), texts, documents)
    return ParsedCollection(list(documents.values()), queries, qrels if texts else {})


def _layout(folder: Path, options: Mapping[str, Any]) -> Layout:
    path = folder / SETTINGS
    defaults = {key: value for key, value in options.items() if key in Layout.model_fields}
    try:
        layout = Layout(**{**defaults, **(read_toml(path) if path.is_file() else {})})
        "".encode(layout.encoding or "utf-8")
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        hint = nearest(key, Layout.model_fields) if key not in Layout.model_fields else first["msg"]
        raise UserError(f"{path}: {key}: {hint}") from None
    except LookupError:
        raise UserError(f"{path}: unknown encoding {layout.encoding!r}") from None
    return layout


def _files(folder: Path, patterns: Sequence[str], required: str = "") -> list[Path]:
    paths = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    visible = sorted(path for path in paths if not path.name.startswith("."))
    if required and not visible:
        raise UserError(f"{folder}: no {required} ({', '.join(patterns)}); {HELP}")
    return visible


BEGIN = re.compile(rb"<doc(?:\s[^>]*)?>", re.IGNORECASE)
BLOCK = re.compile(rb"<doc(?:\s[^>]*)?>(.*?)</doc\s*>", re.IGNORECASE | re.DOTALL)
NUMBER = re.compile(r"<docno(?:\s[^>]*)?>\s*(\S*?)\s*</docno\s*>", re.IGNORECASE)
MARKUP = re.compile(r"<!--.*?-->|</?[A-Za-z][^<>]*>", re.DOTALL)
# NIST's own entities, which HTML does not have.
ENTITIES = {"&hyph;": "-", "&blank;": " ", "&bull;": " "}


def read_documents(path: Path, layout: Layout) -> Iterator[Document]:
    """Yield the documents of a file, which may be gzipped."""
    if path.suffix in (".Z", ".zip", ".tar", ".tgz", ".bz2"):
        raise UserError(f"{path}: unpack it first; plain files and .gz are read")
    where = ""
    for number, raw in enumerate(_blocks(path), start=1):
        where = f"{path}, document {number}"
        block = _decoded(raw, layout.encoding, where)
        match = NUMBER.search(block)
        if match is None or not match[1]:
            raise UserError(f"{where}: no <DOCNO>")
        yield _document(match[1], block[: match.start()] + block[match.end() :], layout)
    if not where:
        hint = f"leave it out with documents = [...] in {SETTINGS}"
        raise UserError(f"{path}: no <DOC> in it; {hint}")


def _blocks(path: Path) -> Iterator[bytes]:
    lines: list[bytes] = []
    with open_plain_or_gzip(path) as stream:
        try:
            for line in stream:
                lines.append(line)
                if b"</doc" not in line.lower():
                    continue
                text, end = b"".join(lines), 0
                for match in BLOCK.finditer(text):
                    if BEGIN.search(match[1]):
                        raise UserError(f"{path}: a document before the next has no </DOC>")
                    yield match[1]
                    end = match.end()
                lines = [text[end:]]
        except (EOFError, gzip.BadGzipFile) as error:
            raise UserError(f"{path}: truncated or damaged ({error})") from None
    if BEGIN.search(b"".join(lines)):
        raise UserError(f"{path}: the last document has no </DOC>; the file is truncated")


def _document(name: str, block: str, layout: Layout) -> Document:
    title = next((text for tag in layout.title for text in _inside(block, [tag]) if text), "")
    outside = _element((*layout.title, "DOCID"))
    parts = _inside(block, layout.text) or [_plain(outside.sub(" ", block))]
    return Document(name, title, " ".join(part for part in parts if part))


def _element(tags: Sequence[str]) -> re.Pattern[str]:
    return re.compile(rf"(?is)<({'|'.join(map(re.escape, tags))})(?:\s[^>]*)?>(.*?)</\1\s*>")


def _inside(block: str, tags: Sequence[str]) -> list[str]:
    return [_plain(match[2]) for match in _element(tags).finditer(block)]


def _plain(text: str) -> str:
    text = MARKUP.sub(" ", text)
    for entity, character in ENTITIES.items():
        text = text.replace(entity, character)
    return " ".join(html.unescape(text).split())


def _decoded(raw: bytes, encoding: str, where: str) -> str:
    """Return text in the given encoding; if none is given, in UTF-8 or else ISO-8859-1."""
    try:
        return raw.decode(encoding or "utf-8-sig")
    except UnicodeDecodeError:
        if encoding:
            raise UserError(f"{where}: not valid {encoding}") from None
        return raw.decode("iso-8859-1")


TOPIC = re.compile(r"(?is)<(top|topic)(\s[^>]*)?>(.*?)(?=</\1\s*>|<\1[\s>]|\Z)")
FIELD = re.compile(
    r"(?is)<(?:([a-z]{2,3})-)?(num|identifier|title|desc|description|narr|narrative|query)"
    r"(?:\s[^>]*)?>(.*?)(?=<|\Z)"
)
NAMES = {"identifier": "num", "description": "desc", "narrative": "narr", "query": "title"}
LABEL = re.compile(r"(?i)^\s*(?:number|topic|description|narrative)\s*:\s*")


def _topics(paths: Sequence[Path], layout: Layout, language: str) -> dict[str, str]:
    queries: dict[str, str] = {}
    for path in paths:
        text = _decoded(path.read_bytes(), layout.encoding, str(path))
        where = ""
        for number, match in enumerate(TOPIC.finditer(text), start=1):
            where = f"{path}, topic {number}"
            fields = _fields(match[3], language, where)
            attribute = re.search(r'number\s*=\s*"?\s*([^"\s>]+)', match[2] or "")
            name = fields.get("num") or (attribute[1] if attribute else "")
            if len(name.split()) != 1:
                raise UserError(f"{where}: no <num>")
            if name in queries:
                raise UserError(f"{path}: topic {name} occurs twice")
            queries[name] = " ".join(fields[key] for key in layout.query if fields.get(key))
            if not queries[name]:
                keys = ", ".join(layout.query)
                raise UserError(f"{path}, topic {name}: none of the fields {keys}")
        if not where:
            raise UserError(f"{path}: no <top> or <topic> in it")
    return queries


def _fields(text: str, language: str, where: str) -> dict[str, str]:
    """Return a topic's fields; CLEF has the language before the name, as ``<FI-title>``."""
    by_language: dict[str, dict[str, str]] = {}
    for match in FIELD.finditer(text):
        name = NAMES.get(match[2].lower(), match[2].lower())
        plain = " ".join(html.unescape(LABEL.sub("", match[3])).split())
        by_language.setdefault((match[1] or "").lower(), {})[name] = plain
    shared = by_language.pop("", {})
    if len(by_language) > 1 and language not in by_language:
        codes = ", ".join(code.upper() for code in by_language)
        raise UserError(f"{where}: in {codes}, but not in {language.upper()}")
    return {**shared, **(by_language.get(language) or next(iter(by_language.values()), {}))}


def _qrels(paths: Sequence[Path]) -> Qrels:
    qrels: Qrels = {}
    for path in paths:
        lines = _decoded(path.read_bytes(), "", str(path)).split("\n")
        for number, line in enumerate(lines, start=1):
            cells, where = line.split(), f"{path}, line {number}"
            if not cells:
                continue
            if len(cells) != 4 or not re.fullmatch("-?[0-9]+", cells[3]):
                raise UserError(f"{where}: expected topic, iteration, document and a whole grade")
            topic, _, document, grade = cells
            if qrels.setdefault(topic, {}).setdefault(document, int(grade)) != int(grade):
                raise UserError(f"{where}: {topic} {document} is judged twice")
    return qrels


def _matched(qrels: Qrels, queries: Mapping[str, str]) -> Qrels:
    """Return the qrels under the topics' names: CLEF's topics say C041 where its qrels say 41."""
    numbers = {name: re.sub(r"\D", "", name).lstrip("0") for name in (*queries, *qrels)}
    by_number: dict[str, list[str]] = {}
    for name in queries:
        by_number.setdefault(numbers[name], []).append(name)
    matched = {}
    for topic, grades in qrels.items():
        names = [] if topic in queries else by_number.get(numbers[topic], [])
        matched[names[0] if len(names) == 1 and names[0] not in qrels else topic] = grades
    return matched


def _scorable(
    folder: Path, drop: bool, qrels: Qrels, queries: Mapping[str, str], documents: Container[str]
) -> Qrels:
    """Return the judgments of topics that have a query and a relevant document."""
    no_query = [topic for topic in qrels if topic not in queries]
    absent = [name for grades in qrels.values() for name in grades if name not in documents]
    for names, what in ((no_query, "topics"), (absent, "documents")):
        if names and not drop:
            raise UserError(
                f"{folder}: {len(set(names)):,} judged {what} are missing, {names[0]} the first; "
                f'add them, or drop their judgments with missing = "drop" in {SETTINGS}'
            )
    scorable = {}
    for topic in queries:
        known = {name: grade for name, grade in qrels.get(topic, {}).items() if name in documents}
        if max(known.values(), default=0) > 0:
            scorable[topic] = known
    if not scorable:
        raise UserError(f"{folder}: no topic has a relevant document; do the qrels belong to it?")
    return scorable
