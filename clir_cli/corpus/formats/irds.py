"""Collections of ir_datasets, by id: the library fetches, checks and parses; clir takes it over.

What was fetched is noted in a small file for each part of an id, so that no other stage ever
starts a transfer: ir_datasets itself fetches whatever is missing in the midst of reading.
"""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from clir_cli.corpus.formats.parts import Asked, Parts
from clir_cli.corpus.formats.shared import Located
from clir_cli.corpus.records import Document
from clir_cli.errors import MissingInput, UserError, nearest
from clir_cli.files import write_text

FETCHING = threading.Lock()


@dataclass(frozen=True)
class Ids:
    """The ids that documents, queries and qrels come from; ``english`` has the English queries."""

    documents: str
    queries: str = ""
    english: str = ""
    qrels: str = ""

    @property
    def parts(self) -> list[str]:
        """Return what is read, each once, as ``ID#docs``, ``ID#queries``, ``ID#qrels``."""
        named = (
            (self.documents, "docs"),
            (self.queries, "queries"),
            (self.english, "queries"),
            (self.qrels, "qrels"),
        )
        return list(dict.fromkeys(f"{name}#{part}" for name, part in named if name))


def ids_for(asked: Asked) -> Ids:
    """Return the ids that an entry of the catalogue, or ``irds:ID``, means for a language.

    ``{code}`` is the source's name of the language. In English, where an entry has no English
    queries, the documents alone are meant.
    """
    options, code = asked.options, asked.codes.get(asked.language, "")
    if "id" in options:  # irds:ID
        whole = str(options["id"])
        return Ids(whole, whole, "", whole)
    named = {key: str(options.get(key, "")) for key in ("documents", "queries", "english", "qrels")}
    if code:
        named = {key: name.replace("{code}", code) for key, name in named.items()}
    else:
        named["queries"] = named["english"]
        named["qrels"] = named["qrels"] if named["english"] else ""
        if asked.language != "en" or "{code}" in named["qrels"]:
            named["qrels"] = ""
    if not named["qrels"]:
        named["qrels"] = named["queries"]
    return Ids(**named)


def note_of(folder: Path, part: str) -> Path:
    """Return the file that tells that a part was fetched."""
    name, _, kind = part.partition("#")
    return folder / f"{name.replace('/', '--')}.{kind}.json"


def fetch(part: str, note: Path) -> int:
    """Let ir_datasets bring a part (``ID#docs``), by reading it once, and note the count.

    One at a time: parts of one set often lie in one archive.

    Raises:
        UserError: ir_datasets is missing, does not know the id, or cannot fetch it.
    """
    name, _, kind = part.partition("#")
    with FETCHING:
        try:
            count = sum(1 for _ in _part(name, kind))
        except UserError:
            raise
        except Exception as error:  # what it raises is that of many servers and formats
            brief = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(f"irds:{name}: ir_datasets cannot fetch it: {brief}") from None
        note.parent.mkdir(parents=True, exist_ok=True)
        write_text(note, json.dumps({"id": name, "part": kind, "count": count}) + "\n")
    return count


def read_irds(_: Sequence[Located], asked: Asked) -> Parts:
    """Read a collection of ir_datasets.

    Documents are read one by one into their records and stay in the order of ir_datasets; judged
    are the queries of the language.

    Raises:
        MissingInput: It has not been fetched.
        UserError: ir_datasets is missing, or does not know the id.
    """
    ids = ids_for(asked)
    for part in ids.parts:
        if not note_of(asked.folder, part).is_file():
            raise MissingInput(f"irds:{part} has not been fetched")
    documents = _part(ids.documents, "docs")
    queries: dict[str, dict[str, str]] = {}
    if ids.queries:
        spoken = asked.language if "id" not in asked.options else _spoken(ids.queries, asked)
        queries[spoken] = dict(_texts(ids.queries))
    if ids.english and ids.english != ids.queries:
        queries["en"] = dict(_texts(ids.english))
    asking = queries.get(asked.language, queries.get("en", {}))
    qrels: dict[str, dict[str, int]] = {}
    for row in _part(ids.qrels, "qrels") if ids.qrels else ():
        if row.query_id in asking:
            qrels.setdefault(row.query_id, {})[row.doc_id] = int(row.relevance)
    # A set with more queries than judgments (a split without them) is asked what is judged.
    judged = {
        spoken: {key: text for key, text in found.items() if key in qrels}
        for spoken, found in queries.items()
    }
    return Parts([_document(row) for row in documents], judged if qrels else queries, qrels)


def _spoken(name: str, asked: Asked) -> str:
    """Return the language of the queries as ir_datasets has it, else the one that is asked."""
    return getattr(_load(name), "queries_lang", lambda: None)() or asked.language


def _texts(name: str) -> Iterator[tuple[str, str]]:
    for query in _part(name, "queries"):
        text = query.default_text() if hasattr(query, "default_text") else query.text
        yield query.query_id, " ".join(text.split())


def _part(name: str, kind: str) -> Iterator[Any]:
    dataset = _load(name)
    if not dataset.has(kind):
        raise UserError(f"irds:{name} has no {kind}; take an id with documents, queries and qrels")
    return getattr(dataset, f"{kind}_iter")()


def _document(row: Any) -> Document:
    title = " ".join((getattr(row, "title", "") or "").split())
    text = getattr(row, "text", None) or getattr(row, "body", None)
    if text is None:
        text, title = row.default_text(), ""
    return Document(row.doc_id, title, text.strip())


def _load(name: str) -> Any:
    library = _library()
    try:
        return library.load(name)
    except KeyError:
        known: Mapping[str, Any] = dict.fromkeys(library.registry)
        hint = nearest(name, known)
        hint = hint if len(hint) < 200 else "see https://ir-datasets.com for the ids"
        raise UserError(f"ir_datasets has no collection {name!r}: {hint}") from None


def _library() -> ModuleType:
    try:
        import ir_datasets
    except ImportError:
        raise UserError(
            "collections of ir_datasets need it: pip install 'clir-cli[irds]'"
        ) from None
    return ir_datasets
