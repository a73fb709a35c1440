"""TREC and CLEF: documents in SGML, topics and qrels, as the campaigns publish them.

The documents are not XML: tags may stay open, `&` occurs alone, a file has no root. So a file is
split at its ``</DOC>`` and read by tags, which needs the memory of one document, and time in
proportion to its size: no pattern here may look for an end tag that is not there from every start.
"""

import re
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from pathlib import Path

from clir_cli.corpus.catalogue import LocalFile
from clir_cli.corpus.formats.collection_toml import SETTINGS
from clir_cli.corpus.formats.opening import open_text
from clir_cli.corpus.formats.reading import (
    ParsedCollection,
    Qrels,
    ReadRequest,
    add_judgment,
    checked_id,
    excerpt,
)
from clir_cli.corpus.formats.trec_layout import HELP, Layout, Parts
from clir_cli.corpus.formats.trec_text import decoded, plain
from clir_cli.corpus.formats.trec_topics import content, read_topics
from clir_cli.corpus.records import Document, Pool
from clir_cli.errors import NoQueries, UserError, counted

Tags = Sequence[re.Match[str]]


def read_trec(_: Sequence[LocalFile], request: ReadRequest) -> ParsedCollection:
    """Read the documents, topics and qrels of a directory.

    Topics in the query language are required, English ones are read if present; for ``en`` none
    are required. Topics without a relevant document are not judged, as in CLEF.

    Raises:
        UserError: A part is missing, a file is not in its format, or judgments are of topics or
            documents that are not there, or of documents on which a topic was not judged.
    """
    parts = Parts.of(request)
    folder, layout = parts.folder, parts.layout
    if lacking := parts.lacking(request.language):
        # Documents and judgments are there if English, which needs no topics, lacks nothing.
        kind = UserError if parts.lacking("en") else NoQueries
        raise kind(f"{folder}: {'; '.join(lacking)}; {HELP}")
    documents, notes = _documents(parts)
    qrels = _qrels(parts.qrels)
    fields = layout.query, layout.encoding
    texts: dict[str, str] = {}
    queries = {}
    if paths := parts.topics(request.language):
        texts = queries[request.language] = read_topics(paths, request.language, *fields)
    if request.language != "en" and (english := parts.topics("en")):
        found = read_topics(english, "en", *fields)
        # Files without {lang} in their pattern may lack English fields.
        if english != paths or found != texts:
            queries["en"] = found
            texts = queries[request.language] = _renamed(texts, found)
    pools = _pools(layout, {name for each in queries.values() for name in each})
    if not texts:
        return ParsedCollection(list(documents.values()), queries, {})
    judged = _matched(folder, qrels, texts)
    judged = _scorable(folder, layout.missing == "drop", judged, texts, documents)
    _check_pools(folder, judged, pools)
    rows = list(documents.values())
    return ParsedCollection(rows, queries, judged, pools, layout.depth, notes)


def _documents(parts: Parts) -> tuple[dict[str, Document], list[str]]:
    """Return the documents by id, and a note on files without any."""
    documents: dict[str, Document] = {}
    others: list[Path] = []
    for path in parts.documents:
        before = len(documents)
        for document in read_documents(path, parts.layout):
            if document.id in documents:
                raise UserError(f"{path}: document {document.id} occurs twice")
            documents[document.id] = document
        others += [path] if len(documents) == before else []
    if not documents:
        raise UserError(f"{others[0]}: no <DOC> in it, nor in any other file of documents; {HELP}")
    names = sorted({path.name for path in others})
    listed = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    notes = (
        [f"{counted(len(others), 'file')} without a document left out: {listed}"] if names else []
    )
    return documents, notes


BEGIN = re.compile(rb"<doc(?:\s[^<>]*+)?>", re.IGNORECASE)
END = re.compile(rb"</doc\s*+>", re.IGNORECASE)
TAG = re.compile(r"<(/?)([A-Za-z][^\s<>/]*+)((?:\s[^<>]*+)?)>")


def read_documents(path: Path, layout: Layout) -> Iterator[Document]:
    """Yield the documents of a file, which may be compressed; none if it has no ``<DOC>``."""
    for number, raw in enumerate(_blocks(path), start=1):
        where = f"{path}, document {number}"
        block = decoded(raw, layout.encoding, where)
        tags = list(TAG.finditer(block))
        begin, start, end, stop = next(_elements(tags, ["DOCNO"]), (0, 0, 0, 0))
        name = checked_id(block[start:end], where, "<DOCNO>")
        yield _document(name, block[:begin] + block[stop:], layout)


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
        parts = [plain(" ".join([*outside, block[last:]]))]
    return Document(name, title, " ".join(part for part in parts if part))


def _inside(block: str, tags: Tags, names: Sequence[str]) -> list[str]:
    return [plain(block[start:end]) for _, start, end, _ in _elements(tags, names)]


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


def _qrels(paths: Sequence[Path]) -> Qrels:
    qrels: Qrels = {}
    for path in paths:
        lines = decoded(content(path), "", str(path)).split("\n")
        for number, line in enumerate(lines, start=1):
            cells, where = line.split(), f"{path}, line {number}"
            if len(cells) == 4:
                add_judgment(qrels, where, cells[0], cells[2], cells[3])
            elif cells:
                expected = "topic, iteration, document and grade"
                raise UserError(f"{where}: {excerpt(line.strip())} is not {expected}")
    return qrels


def _number(name: str) -> str:
    return re.sub(r"\D", "", name).lstrip("0")


def _renamed(texts: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
    """Return topics under the names of the English ones: a translation may say 41 for C041."""
    by_number: dict[str, list[str]] = {}
    for name in names:
        by_number.setdefault(_number(name), []).append(name)
    same = {name: by_number.get(_number(name), []) for name in texts if name not in names}
    return {
        same[name][0] if len(same.get(name, ())) == 1 else name: text
        for name, text in texts.items()
    }


def _matched(folder: Path, qrels: Qrels, queries: Mapping[str, str]) -> Qrels:
    """Return the qrels under the topics' names: CLEF's topics say C041 where its qrels say 41."""
    numbers = {name: _number(name) for name in (*queries, *qrels)}
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


def _pools(layout: Layout, names: Collection[str]) -> list[Pool]:
    """Return the topics that were not judged on all documents, and on which they were."""
    pools = []
    for pool in layout.pools:
        first, last = pool.topics
        topics = [name for name in sorted(names) if first <= int(_number(name) or -1) <= last]
        title = " and ".join(layout.sources.get(begin, begin) for begin in pool.sources)
        if topics:
            pools.append(Pool(pool.name, title, topics, pool.sources))
    return pools


def _check_pools(folder: Path, qrels: Qrels, pools: Sequence[Pool]) -> None:
    """Refuse judgments of documents on which a topic was not judged: something is mixed up."""
    for pool in pools:
        for topic in pool.queries:
            if strange := [name for name in qrels.get(topic, {}) if not pool.has(name)]:
                raise UserError(
                    f"{folder}: topic {topic} was judged on {pool.title} alone, and the qrels have "
                    f"{strange[0]}; do they belong to it? pools in {SETTINGS} says what is judged"
                )
