"""TREC and CLEF: documents in SGML, topics and qrels, as the campaigns publish them.

The documents are not XML: tags may stay open, `&` occurs alone, a file has no root. So a file is
split at its ``</DOC>`` and read by tags, which needs the memory of one document, and time in
proportion to its size: no pattern here may look for an end tag that is not there from every start.
"""

import html
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from clir_cli.corpus.catalogue import LocalFile
from clir_cli.corpus.formats.collection_toml import SETTINGS, read_settings
from clir_cli.corpus.formats.opening import open_text
from clir_cli.corpus.formats.reading import (
    ParsedCollection,
    Qrels,
    Queries,
    ReadRequest,
    add_judgment,
    checked_id,
    excerpt,
)
from clir_cli.corpus.records import Document
from clir_cli.errors import UserError

HELP = "docs/collections.md shows the layout"


Tags = Sequence[re.Match[str]]


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
    return is_own and not any(folder.glob("corpus.*")) and not (folder / "corpus").is_dir()


def read_trec(_: Sequence[LocalFile], request: ReadRequest) -> ParsedCollection:
    """Read the documents, topics and qrels of a directory.

    Topics in the query language are required, English ones are read if present; for ``en`` none
    are required. Topics without a relevant document are not judged, as in CLEF.
    """
    folder, layout = request.folder, _layout(request.folder, request.options)
    documents: dict[str, Document] = {}
    read: list[Path] = []
    for path in _files(folder, layout.documents, "documents"):
        for document in read_documents(path, layout):
            if document.id in documents:
                raise UserError(f"{path}: document {document.id} occurs twice")
            documents[document.id] = document
    queries: Queries = {}
    qrels = _qrels(_files(folder, layout.qrels, "qrels"))
    for language in dict.fromkeys((request.language, "en")):
        patterns = [pattern.replace("{lang}", language) for pattern in layout.topics]
        if paths := _files(folder, patterns):
            topics = _topics(paths, layout, language)
            # Files without {lang} in their pattern may lack English fields.
            if paths != read or topics != queries[request.language]:
                queries[language] = topics
            read = paths
        elif language == request.language != "en":
            names = ", ".join(patterns)
            raise UserError(f"{folder}: no topics in {language!r} ({names}); {HELP}")
    if texts := queries.get(request.language):
        drop = layout.missing == "drop"
        qrels = _scorable(folder, drop, _matched(folder, qrels, texts), texts, documents)
    return ParsedCollection(list(documents.values()), queries, qrels if texts else {})


def _layout(folder: Path, options: Mapping[str, Any]) -> Layout:
    path, layout = folder / SETTINGS, read_settings(folder, Layout, options)
    with suppress(LookupError, ValueError):
        if ASCII.decode(layout.encoding or "utf-8") == ASCII.decode("ascii"):
            return layout
    encoding = excerpt(layout.encoding)
    raise UserError(f"{path}: encoding {encoding} is unknown, or does not extend ASCII; use UTF-8")


def _files(folder: Path, patterns: Sequence[str], required: str = "") -> list[Path]:
    paths: set[Path] = set()
    for pattern in patterns:
        try:
            if ".." in Path(pattern).parts:
                raise ValueError("it leads out of the directory")
            paths.update(path for path in folder.glob(pattern) if path.is_file())
        except (ValueError, NotImplementedError) as error:
            raise UserError(f"{folder / SETTINGS}: pattern {excerpt(pattern)}: {error}") from None
    visible = sorted(path for path in paths if not path.name.startswith("."))
    if required and not visible:
        raise UserError(f"{folder}: no {required} ({', '.join(patterns)}); {HELP}")
    return visible


ASCII = bytes((9, 10, 13, *range(32, 127)))
BEGIN = re.compile(rb"<doc(?:\s[^<>]*+)?>", re.IGNORECASE)
END = re.compile(rb"</doc\s*+>", re.IGNORECASE)
TAG = re.compile(r"<(/?)([A-Za-z][^\s<>/]*+)((?:\s[^<>]*+)?)>")
MARKUP = r"</?[A-Za-z][^<>]*+>"
# NIST's own entities, which HTML does not have.
ENTITIES = {"&hyph;": "-", "&blank;": " ", "&bull;": " "}
ENDLESS = re.compile("&#[0-9]{8,};?")  # beyond Unicode, and html.unescape takes a day to say so


def read_documents(path: Path, layout: Layout) -> Iterator[Document]:
    """Yield the documents of a file, which may be compressed."""
    where = ""
    for number, raw in enumerate(_blocks(path), start=1):
        where = f"{path}, document {number}"
        block = _decoded(raw, layout.encoding, where)
        tags = list(TAG.finditer(block))
        begin, start, end, stop = next(_elements(tags, ["DOCNO"]), (0, 0, 0, 0))
        name = checked_id(block[start:end], where, "<DOCNO>")
        yield _document(name, block[:begin] + block[stop:], layout)
    if not where:
        hint = f"leave it out with documents = [...] in {SETTINGS}"
        raise UserError(f"{path}: no <DOC> in it; {hint}")


def _blocks(path: Path) -> Iterator[bytes]:
    lines: list[bytes] = []
    with open_text(path) as stream:
        for line in stream:
            lines.append(line)
            if b"</" in line and END.search(line):
                *blocks, rest = END.split(b"".join(lines))
                for block in blocks:
                    begins = list(BEGIN.finditer(block))
                    if len(begins) != 1:
                        unclosed = "a document before the next has no </DOC>"
                        raise UserError(f"{path}: {unclosed if begins else '</DOC> without <DOC>'}")
                    yield block[begins[0].end() :]
                lines = [rest]
    if BEGIN.search(b"".join(lines)):
        raise UserError(f"{path}: the last document has no </DOC>; the file is truncated")


def _document(name: str, block: str, layout: Layout) -> Document:
    tags = list(TAG.finditer(block))
    title = next((text for tag in layout.title for text in _inside(block, tags, [tag]) if text), "")
    parts = _inside(block, tags, layout.text)
    if not parts:
        outside, last = [], 0
        for begin, _, _, stop in _elements(tags, (*layout.title, "DOCID")):
            outside.append(block[last:begin])
            last = stop
        parts = [_plain(" ".join([*outside, block[last:]]))]
    return Document(name, title, " ".join(part for part in parts if part))


def _inside(block: str, tags: Tags, names: Sequence[str]) -> list[str]:
    return [_plain(block[start:end]) for _, start, end, _ in _elements(tags, names)]


def _elements(tags: Tags, names: Sequence[str]) -> Iterator[tuple[int, int, int, int]]:
    """Yield where each element begins, where its content starts and ends, and where it stops.

    An element that is inside another, or has no end tag, does not count.
    """
    names = [name.lower() for name in names]
    wanted = [(tag, name) for tag in tags if (name := tag[2].lower()) in names]
    last_end = {name: tag.start() for tag, name in wanted if tag[1]}
    begin: re.Match[str] | None = None
    for tag, name in wanted:
        if begin is None and not tag[1] and tag.start() < last_end.get(name, 0):
            begin = tag
        elif begin is not None and tag[1] and name == begin[2].lower():
            yield begin.start(), begin.end(), tag.start(), tag.end()
            begin = None


def _plain(text: str, markup: str = MARKUP) -> str:
    """Return text without mark-up and comments, entities as characters, white space as spaces."""
    text = re.sub(markup, " ", _without_comments(text))
    for entity, character in ENTITIES.items():
        text = text.replace(entity, character)
    return " ".join(html.unescape(ENDLESS.sub("\ufffd", text)).split())


def _without_comments(text: str) -> str:
    parts, last = [], 0
    while (begin := text.find("<!--", last)) >= 0 and (end := text.find("-->", begin + 4)) >= 0:
        parts.append(text[last:begin])
        last = end + 3
    return " ".join([*parts, text[last:]])


def _decoded(raw: bytes, encoding: str, where: str) -> str:
    """Return text in the given encoding; if none is given, in UTF-8 or else ISO-8859-1."""
    try:
        return raw.decode(encoding or "utf-8-sig")
    except UnicodeError:
        if encoding:
            raise UserError(f"{where}: not valid {encoding}") from None
        return raw.decode("iso-8859-1")


TOPIC = re.compile(r"(?is)<(top|topic)((?:\s[^<>]*+)?)>(.*?)(?=(?P<end></\1\s*+>)|<\1[\s>]|\Z)")
FIELD = re.compile(
    r"(?i)<(?:([a-z]{2,3})-)?"
    r"(num|number|identifier|title|desc|description|narr|narrative|query)(?:\s[^<>]*+)?>"
)
NAMES = {
    "number": "num", "identifier": "num", "description": "desc", "narrative": "narr",
    "query": "title",
}  # fmt: skip
# A tag in a topic has attributes or nothing behind its name: "a <b and c> d" is text.
INLINE = r"</?[A-Za-z][\w.:-]*+(?:\s[^<>=]*+=[^<>]*+)?\s*+/?>"
NEXT_LINE = re.compile(rf"(?m)^[ \t]*+{INLINE}")  # what ends a field that has no end tag
LABEL = re.compile(r"(?i)^\s*(?:number|topic|description|narrative)\s*:\s*")


def _topics(paths: Sequence[Path], layout: Layout, language: str) -> dict[str, str]:
    queries: dict[str, str] = {}
    for path in paths:
        text = _without_comments(_decoded(_content(path), layout.encoding, str(path)))
        topics = list(TOPIC.finditer(text))
        if not topics:
            raise UserError(f"{path}: no <top> or <topic> in it")
        if topics[0]["end"] and not topics[-1]["end"]:
            raise UserError(f"{path}: the last topic has no end tag; the file is truncated")
        for number, match in enumerate(topics, start=1):
            where = f"{path}, topic {number}"
            fields = _fields(match[3], language, where)
            attribute = re.search(r"""number\s*=\s*["']?\s*([^"'\s>]+)""", match[2])
            number_of = fields.get("num") or (attribute[1] if attribute else "")
            name = checked_id(number_of, where, "<num>")
            if name in queries:
                raise UserError(f"{path}: topic {name} occurs twice")
            queries[name] = " ".join(fields[key] for key in layout.query if fields.get(key))
            if not queries[name]:
                keys = ", ".join(layout.query)
                raise UserError(f"{path}, topic {name}: none of the fields {keys}")
    return queries


def _content(path: Path) -> bytes:
    with open_text(path) as stream:
        return stream.read()


def _fields(text: str, language: str, where: str) -> dict[str, str]:
    """Return a topic's fields; CLEF has the language before the name, as ``<FI-title>``.

    A field is all up to its end tag, or else to the next field or to a line that begins with a tag.
    """
    by_language: dict[str, dict[str, str]] = {}
    starts = list(FIELD.finditer(text))
    ends = [*(start.start() for start in starts[1:]), len(text)]
    for start, end in zip(starts, ends, strict=False):
        content = text[start.end() : end]
        own_end = re.search(rf"(?i)</(?:[a-z]{{2,3}}-)?{start[2]}\s*+>", content)
        if stop := own_end or NEXT_LINE.search(content):
            content = content[: stop.start()]
        name = NAMES.get(start[2].lower(), start[2].lower())
        fields = by_language.setdefault((start[1] or "").lower(), {})
        plain = _plain(LABEL.sub("", content), INLINE)
        if fields.setdefault(name, plain) != plain:
            raise UserError(f"{where}: two fields <{name}>, {excerpt(plain)} the second")
    shared = by_language.pop("", {})
    if len(by_language) > 1 and language not in by_language:
        codes = ", ".join(code.upper() for code in by_language)
        raise UserError(f"{where}: in {codes}, but not in {language.upper()}")
    return {**shared, **(by_language.get(language) or next(iter(by_language.values()), {}))}


def _qrels(paths: Sequence[Path]) -> Qrels:
    qrels: Qrels = {}
    for path in paths:
        lines = _decoded(_content(path), "", str(path)).split("\n")
        for number, line in enumerate(lines, start=1):
            cells, where = line.split(), f"{path}, line {number}"
            if len(cells) == 4:
                add_judgment(qrels, where, cells[0], cells[2], cells[3])
            elif cells:
                expected = "topic, iteration, document and grade"
                raise UserError(f"{where}: {excerpt(line.strip())} is not {expected}")
    return qrels


def _matched(folder: Path, qrels: Qrels, queries: Mapping[str, str]) -> Qrels:
    """Return the qrels under the topics' names: CLEF's topics say C041 where its qrels say 41."""
    numbers = {name: re.sub(r"\D", "", name).lstrip("0") for name in (*queries, *qrels)}
    by_number: dict[str, list[str]] = {}
    for name in queries:
        by_number.setdefault(numbers[name], []).append(name)
    matched = {}
    for topic, grades in qrels.items():
        names = [] if topic in queries else by_number.get(numbers[topic], [])
        name = names[0] if len(names) == 1 and names[0] not in qrels else topic
        if name in matched:
            raise UserError(f"{folder}: qrels of topic {name} under two names, {topic} the second")
        matched[name] = grades
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
