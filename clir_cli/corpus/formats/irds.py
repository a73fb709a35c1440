"""Collections of ir_datasets, by id: the library downloads, checks and parses.

Each downloaded part of an id is noted in a small file, so that no other stage ever starts a
transfer: ir_datasets itself downloads whatever is missing while it reads.
"""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from clir_cli.corpus.catalogue import CatalogueFile, LocalFile
from clir_cli.corpus.formats.reading import (
    ParsedCollection,
    Qrels,
    Queries,
    ReadRequest,
    add_judgment,
    add_query,
    checked_id,
)
from clir_cli.corpus.records import Document
from clir_cli.corpus.transfer import is_offline, sources
from clir_cli.errors import MissingInput, UserError, first_line, nearest
from clir_cli.files import write_text

FETCHING = threading.Lock()


class Ids(NamedTuple):
    """The ids that documents, queries and qrels come from; ``english`` has the English queries."""

    documents: str
    queries: str
    english: str
    qrels: str

    @property
    def parts(self) -> list[str]:
        """Return what is read, each once, as ``ID#docs``, ``ID#queries``, ``ID#qrels``."""
        kinds = ("docs", "queries", "queries", "qrels")
        named = (f"{name}#{kind}" for name, kind in zip(self, kinds, strict=True) if name)
        return list(dict.fromkeys(named))


def ids_for(request: ReadRequest) -> Ids:
    """Return the ids that a catalogue entry, or ``irds:ID``, names for a language.

    ``{code}`` is the source's name of the language. For English, if an entry has no English
    queries, only the documents are named.
    """
    options, code = request.options, request.codes.get(request.language)
    if "id" in options:  # irds:ID
        name = str(options["id"])
        return Ids(name, name, "", name)
    documents, queries, english, qrels = (
        str(options.get(key, "")).replace("{code}", code or "{code}")
        for key in ("documents", "queries", "english", "qrels")
    )
    if not code:
        queries = english
        if not english or request.language != "en" or "{code}" in qrels:
            qrels = ""
    return Ids(documents, queries, english, qrels or queries)


def marker_of(folder: Path, part: str) -> Path:
    """Return the file that records that a part was downloaded."""
    name, _, kind = part.partition("#")
    return folder / f"{name.replace('/', '--')}.{kind}.json"


def fetch(part: str, marker: Path, mirror: str = "") -> int:
    """Let ir_datasets download a part (``ID#docs``) by reading it once, and record the count.

    What is in ``IR_DATASETS_HOME`` is not asked for; the rest comes from a mirror's folder,
    ``CLIR_CACHE``, or its own address, in this order, and ir_datasets checks it.

    Raises:
        MissingInput: The network is forbidden, and the part is in none of these.
        UserError: ir_datasets has no such part, or cannot fetch it.
    """
    name, _, kind = part.partition("#")
    with FETCHING, _transfers(part, mirror):  # one at a time: parts often lie in one archive
        try:
            count = sum(1 for _ in _part(name, kind))
        except UserError:
            raise
        except Exception as error:  # those of many servers and formats
            what = f"irds:{name}: ir_datasets cannot fetch it: {first_line(error)}"
            raise UserError(what) from None
        marker.parent.mkdir(parents=True, exist_ok=True)
        write_text(marker, json.dumps({"id": name, "part": kind, "count": count}) + "\n")
    return count


@contextmanager
def _transfers(part: str, mirror: str) -> Iterator[None]:
    """Let ir_datasets take files from where all other transfers look for them."""
    library = _library().util
    own, folder = library.RequestsDownload.stream, library.home_path()

    @contextmanager
    def stream(download: Any) -> Iterator[IO[bytes]]:
        for source in sources(CatalogueFile(part, url=download.url), mirror):
            if isinstance(source, Path):
                with source.open("rb") as opened:
                    yield opened
                return
        if is_offline():
            raise MissingInput(
                f"irds:{part}: {download.url} is missing and the network is switched off "
                f"(CLIR_OFFLINE or HF_HUB_OFFLINE); give a folder with --mirror or CLIR_CACHE, or "
                f"what ir_datasets has downloaded with IR_DATASETS_HOME, which is {folder}"
            )
        with own(download) as opened:
            yield opened

    library.RequestsDownload.stream = stream
    try:
        yield
    finally:
        library.RequestsDownload.stream = own


def read_irds(_: Sequence[LocalFile], request: ReadRequest) -> ParsedCollection:
    """Read a collection of ir_datasets.

    Documents keep the order of ir_datasets; the judgments are those of the language's queries, and
    queries without judgments are left out, as sets have them that are published without.
    MissingInput if a part has not been downloaded.
    """
    ids = ids_for(request)
    for part in ids.parts:
        if not marker_of(request.folder, part).is_file():
            raise MissingInput(f"irds:{part} has not been fetched")
    queries: Queries = {}
    if ids.queries:
        language = request.language
        if "id" in request.options:
            language = getattr(_load(ids.queries), "queries_lang", lambda: "")() or language
        queries[language] = _queries(ids.queries)
    if ids.english and ids.english != ids.queries:
        queries["en"] = _queries(ids.english)
    known = queries.get(request.language, queries.get("en", {}))
    qrels: Qrels = {}
    for row in _part(ids.qrels, "qrels") if ids.qrels else ():
        if row.query_id in known:
            add_judgment(qrels, f"irds:{ids.qrels}", row.query_id, row.doc_id, row.relevance)
    for language, texts in queries.items() if qrels else ():
        queries[language] = {query: text for query, text in texts.items() if query in qrels}
    documents = [_document(row, f"irds:{ids.documents}") for row in _part(ids.documents, "docs")]
    return ParsedCollection(documents, queries, qrels)


def _queries(name: str) -> dict[str, str]:
    queries: dict[str, str] = {}
    for query in _part(name, "queries"):
        text = query.default_text() if hasattr(query, "default_text") else query.text
        key = checked_id(query.query_id, f"irds:{name}", "query id")
        add_query(queries, key, " ".join(text.split()), f"irds:{name}")
    return queries


def _part(name: str, kind: str) -> Iterator[Any]:
    dataset = _load(name)
    if not dataset.has(kind):
        raise UserError(f"irds:{name} has no {kind}; take an id with documents, queries and qrels")
    return getattr(dataset, f"{kind}_iter")()


def _document(row: Any, where: str) -> Document:
    key = checked_id(row.doc_id, where, "document id")
    text = getattr(row, "text", None) or getattr(row, "body", None)
    if text is None:
        return Document(key, "", row.default_text().strip())
    title = " ".join((getattr(row, "title", "") or "").split())
    return Document(key, title, text.strip())


def _library() -> Any:
    try:
        import ir_datasets
    except ImportError:
        install = "pip install 'clir-cli[irds]'"
        raise UserError(f"collections of ir_datasets need it: {install}") from None
    return ir_datasets


def _load(name: str) -> Any:
    ir_datasets = _library()
    try:
        return ir_datasets.load(name)
    except KeyError:
        hint = nearest(name, ir_datasets.registry)
        hint = hint if len(hint) < 200 else "see https://ir-datasets.com for the ids"
        raise UserError(f"ir_datasets has no collection {name!r}: {hint}") from None
