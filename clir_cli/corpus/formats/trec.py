"""TREC and CLEF: documents in SGML, topics and qrels, as the campaigns hand them out.

The documents are no XML: tags may stay open, `&` stands alone, a file has no root. So they are cut
at their ``<DOC>`` and read by tags, which also is quick and needs the memory of one document.
"""

import gzip
import html
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from clir_cli.corpus.formats.parts import Asked, Parts
from clir_cli.corpus.formats.shared import Located
from clir_cli.corpus.records import Document
from clir_cli.errors import UserError, nearest
from clir_cli.suites import read_toml

SETTINGS = "collection.toml"
HELP = "docs/collections.md shows the layout"


class Layout(BaseModel):
    """Where the parts of a directory lie and how they are read; ``collection.toml`` sets it.

    Patterns are those of ``Path.glob``, ``{lang}`` in ``topics`` is the language. ``encoding`` is
    UTF-8 where a document or a file is that, else ISO-8859-1, when it is left empty. ``title``:
    the first of these tags is the title; ``text``: all of these are the text, and where a
    document has none, all of it. ``query``: the fields that are the query. ``missing``: what to
    do with judgments of topics or documents that are not there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    documents: tuple[str, ...] = ("documents/**/*", "documents.*")
    topics: tuple[str, ...] = ("topics.{lang}", "topics.{lang}.*", "topics/{lang}/**/*")
    qrels: tuple[str, ...] = ("qrels", "qrels.*", "qrels/**/*")
    encoding: str = ""
    title: tuple[str, ...] = ("HEADLINE", "HEAD", "HL", "TITLE", "TTL", "TI")
    text: tuple[str, ...] = ("LEAD", "LEADPARA", "LP", "TEXT")
    query: tuple[Literal["title", "desc", "narr"], ...] = ("title",)
    missing: Literal["stop", "drop"] = "stop"


def is_trec(folder: Path) -> bool:
    """Tell whether a directory is laid out for this reader rather than as BEIR."""
    if any(folder.glob("corpus.*")):
        return False
    return (folder / SETTINGS).is_file() or any(folder.glob("documents*"))


def read_trec(_: Sequence[Located], asked: Asked) -> Parts:
    """Read the documents, topics and qrels of a directory.

    Topics in the query language are needed, English ones are read where they are; for ``en``
    alone none are needed. Topics without a relevant document are not judged, as in CLEF.

    Raises:
        UserError: A part is missing or not in its format, a document occurs twice, or judgments
            name topics or documents that are not there; the file is told.
    """
    folder = asked.folder
    layout = _layout(folder, asked.options)
    documents, seen = [], set()
    for path in _found(folder, layout.documents, "documents"):
        for document in read_documents(path, layout):
            if document.id in seen:
                raise UserError(f"{path}: document {document.id} occurs twice")
            seen.add(document.id)
            documents.append(document)
    queries = {}
    for language in dict.fromkeys((asked.language, "en")):
        patterns = [each.replace("{lang}", language) for each in layout.topics]
        paths = _files(folder, patterns)
        if paths:
            queries[language] = _topics(paths, layout, language)
        elif language == asked.language != "en":
            raise UserError(f"{folder}: no topics in {language!r} ({patterns[1]}); {HELP}")
    judged = _qrels(_found(folder, layout.qrels, "qrels"))
    if asked.language not in queries:
        return Parts(documents, queries, {})
    qrels = _named_alike(judged, queries[asked.language])
    return Parts(documents, queries, _known(folder, layout, qrels, queries[asked.language], seen))


def _layout(folder: Path, options: Mapping[str, Any]) -> Layout:
    path = folder / SETTINGS
    own = read_toml(path) if path.is_file() else {}
    usual = {key: value for key, value in options.items() if key in Layout.model_fields}
    try:
        layout = Layout(**{**usual, **own})
        "".encode(layout.encoding or "utf-8")
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        hint = nearest(key, Layout.model_fields) if key not in Layout.model_fields else first["msg"]
        raise UserError(f"{path}: {key}: {hint}") from None
    except LookupError:
        raise UserError(f"{path}: unknown encoding {layout.encoding!r}") from None
    return layout


def _files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    found = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    return sorted(path for path in found if not path.name.startswith("."))


def _found(folder: Path, patterns: Sequence[str], what: str) -> list[Path]:
    paths = _files(folder, patterns)
    if not paths:
        raise UserError(f"{folder}: no {what} ({', '.join(patterns)}); {HELP}")
    return paths


# ------------------------------------------------------------------ documents

BEGIN = re.compile(rb"<doc(?:\s[^>]*)?>", re.IGNORECASE)
BLOCK = re.compile(rb"<doc(?:\s[^>]*)?>(.*?)</doc\s*>", re.IGNORECASE | re.DOTALL)
NUMBER = re.compile(r"<docno(?:\s[^>]*)?>\s*(\S*?)\s*</docno\s*>", re.IGNORECASE)
MARKUP = re.compile(r"<!--.*?-->|</?[A-Za-z][^<>]*>", re.DOTALL)
# Names of NIST's own, which HTML does not know.
ENTITIES = {"&hyph;": "-", "&blank;": " ", "&bull;": " "}


def read_documents(path: Path, layout: Layout) -> Iterator[Document]:
    """Yield the documents of a file, which may be gzipped.

    Raises:
        UserError: No documents are in it, one has no number, or the last has no end.
    """
    if path.suffix in (".Z", ".zip", ".tar", ".tgz", ".bz2"):
        raise UserError(f"{path}: unpack it first; plain files and .gz are read")
    number = 0
    for number, raw in enumerate(_blocks(path), start=1):
        block = _decoded(raw, layout.encoding, f"{path}, document {number}")
        found = NUMBER.search(block)
        if found is None or not found[1]:
            raise UserError(f"{path}, document {number}: no <DOCNO>")
        yield _document(found[1], block[: found.start()] + block[found.end() :], layout)
    if not number:
        raise UserError(
            f"{path}: no <DOC> in it; leave it out with documents = [...] in {SETTINGS}"
        )


def _blocks(path: Path) -> Iterator[bytes]:
    held: list[bytes] = []
    with _opened(path) as stream:
        try:
            for line in stream:
                held.append(line)
                if b"</doc" not in line.lower():
                    continue
                text, end = b"".join(held), 0
                for match in BLOCK.finditer(text):
                    if BEGIN.search(match[1]):
                        raise UserError(f"{path}: a document before the next has no </DOC>")
                    yield match[1]
                    end = match.end()
                held = [text[end:]]
        except (EOFError, gzip.BadGzipFile) as error:
            raise UserError(f"{path}: cut or damaged ({error})") from None
    if BEGIN.search(b"".join(held)):
        raise UserError(f"{path}: the last document has no </DOC>; the file is cut")


def _opened(path: Path) -> IO[bytes]:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _document(name: str, block: str, layout: Layout) -> Document:
    title = next((text for tag in layout.title for text in _inside(block, tag) if text), "")
    tags = "|".join(map(re.escape, layout.text))
    parts = _inside(block, tags)
    if not parts:
        without = "|".join(map(re.escape, (*layout.title, "DOCID")))
        body = re.sub(rf"(?is)<({without})(?:\s[^>]*)?>.*?</\1\s*>", " ", block)
        parts = [_plain(body)]
    return Document(name, title, " ".join(part for part in parts if part))


def _inside(block: str, tags: str) -> list[str]:
    pattern = rf"(?is)<({tags})(?:\s[^>]*)?>(.*?)</\1\s*>"
    return [_plain(match[2]) for match in re.finditer(pattern, block)]


def _plain(text: str) -> str:
    text = MARKUP.sub(" ", text)
    for name, mark in ENTITIES.items():
        text = text.replace(name, mark)
    return " ".join(html.unescape(text).split())


def _decoded(raw: bytes, encoding: str, where: str) -> str:
    """Return text in the given encoding, or in UTF-8 where it is that and ISO-8859-1 where not."""
    try:
        return raw.decode(encoding or "utf-8-sig")
    except UnicodeDecodeError:
        if encoding:
            raise UserError(f"{where}: not valid {encoding}") from None
        return raw.decode("iso-8859-1")


# ------------------------------------------------------------------ topics and qrels

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
        found = list(TOPIC.finditer(text))
        if not found:
            raise UserError(f"{path}: no <top> or <topic> in it")
        for place, match in enumerate(found, start=1):
            fields = _fields(match[3], language, f"{path}, topic {place}")
            attribute = re.search(r'number\s*=\s*"?\s*([^"\s>]+)', match[2] or "")
            name = fields.get("num") or (attribute[1] if attribute else "")
            if not name or len(name.split()) != 1:
                raise UserError(f"{path}, topic {place}: no <num>")
            if name in queries:
                raise UserError(f"{path}: topic {name} occurs twice")
            asked = " ".join(fields[each] for each in layout.query if fields.get(each))
            if not asked:
                wanted = ", ".join(layout.query)
                raise UserError(f"{path}, topic {name}: none of the fields {wanted}")
            queries[name] = asked
    return queries


def _fields(text: str, language: str, where: str) -> dict[str, str]:
    """Return a topic's fields; CLEF has the language before the name, as ``<FI-title>``."""
    found: dict[str, dict[str, str]] = {}
    for match in FIELD.finditer(text):
        name = NAMES.get(match[2].lower(), match[2].lower())
        plain = " ".join(html.unescape(LABEL.sub("", match[3])).split())
        found.setdefault((match[1] or "").lower(), {})[name] = plain
    shared = found.pop("", {})
    if len(found) > 1 and language not in found:
        spoken = ", ".join(code.upper() for code in found)
        raise UserError(f"{where}: in {spoken}, but not in {language.upper()}")
    own = found.get(language) or next(iter(found.values()), {})
    return {**shared, **own}


def _qrels(paths: Sequence[Path]) -> dict[str, dict[str, int]]:
    qrels: dict[str, dict[str, int]] = {}
    for path in paths:
        lines = _decoded(path.read_bytes(), "", str(path)).split("\n")
        for number, line in enumerate(lines, start=1):
            cells = line.split()
            if not cells:
                continue
            if len(cells) != 4 or not re.fullmatch("-?[0-9]+", cells[3]):
                what = "expected topic, iteration, document and a whole grade"
                raise UserError(f"{path}, line {number}: {what}")
            topic, _, document, grade = cells
            before = qrels.setdefault(topic, {}).setdefault(document, int(grade))
            if before != int(grade):
                raise UserError(f"{path}, line {number}: {topic} {document} is judged twice")
    return qrels


def _named_alike(
    qrels: dict[str, dict[str, int]], queries: Mapping[str, str]
) -> dict[str, dict[str, int]]:
    """Return the qrels under the topics' names: CLEF's topics say C041 where its qrels say 41."""
    by_number: dict[str, list[str]] = {}
    for name in queries:
        by_number.setdefault(_number(name), []).append(name)
    alike = {}
    for topic, grades in qrels.items():
        same = [] if topic in queries else by_number.get(_number(topic), [])
        alike[same[0] if len(same) == 1 and same[0] not in qrels else topic] = grades
    return alike


def _number(name: str) -> str:
    return re.sub(r"\D", "", name).lstrip("0")


def _known(
    folder: Path,
    layout: Layout,
    qrels: dict[str, dict[str, int]],
    queries: Mapping[str, str],
    documents: set[str],
) -> dict[str, dict[str, int]]:
    """Return the judgments that can be scored: of topics that ask, with something to find."""
    unasked = [topic for topic in qrels if topic not in queries]
    absent = [name for grades in qrels.values() for name in grades if name not in documents]
    if layout.missing == "stop":
        drop = f'or leave their judgments out with missing = "drop" in {SETTINGS}'
        for names, what in ((unasked, "topics"), (absent, "documents")):
            if names:
                raise UserError(
                    f"{folder}: {len(set(names)):,} judged {what} are not there, {names[0]} the "
                    f"first; bring them, {drop}"
                )
    kept = {
        topic: {name: grade for name, grade in qrels[topic].items() if name in documents}
        for topic in queries
        if topic in qrels
    }
    found = {topic: grades for topic, grades in kept.items() if max(grades.values(), default=0) > 0}
    if not found:
        raise UserError(f"{folder}: no topic has a relevant document; do the qrels belong to it?")
    return found
