"""Collections: from the catalogue by name, of ir_datasets by id, or the user's own directory.

A directory is in BEIR layout, or in that of TREC and CLEF (``formats/trec.py``).
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from clir_cli.corpus import catalogue, formats
from clir_cli.corpus.bitext import checked_digest
from clir_cli.corpus.catalogue import Source, SourceFile
from clir_cli.corpus.checksums import known_digest
from clir_cli.corpus.formats import irds, trec
from clir_cli.corpus.formats.parts import Asked, CollectionReader, Parts
from clir_cli.corpus.parse_cache import Documents, Read, files_under, memory
from clir_cli.corpus.records import Collection, Document
from clir_cli.errors import UserError, nearest
from clir_cli.files import digest

IRDS = "irds:"


def is_directory(name: str) -> bool:
    """Tell whether ``--collection`` names a folder rather than an entry of the catalogue."""
    if name in catalogue.sources("collections") or name.startswith(IRDS):
        return False
    return "/" in name or Path(name).is_dir()


def collection_label(name: str) -> str:
    """Return the short name under which artifacts and scores of a collection are kept."""
    if name.startswith(IRDS):
        return re.sub(r"[^\w.]+", "-", name)
    return Path(name).resolve().name if is_directory(name) else name


class Needed(NamedTuple):
    """Something a collection needs: the file's entry and place, and how it gets there.

    ``entry.url`` is an address to fetch from, or ``irds:ID#part`` for what ir_datasets fetches. It
    is empty for what travels with the package and for what the user brings; ``bring`` tells what.
    """

    source: str
    licence: str
    entry: SourceFile
    path: Path
    bring: str = ""


def needed(name: str, language: str, downloads: Path) -> list[Needed]:
    """Return what a collection needs to be read in a language; nothing for a user's directory.

    Raises:
        UserError: Unknown name.
    """
    if is_directory(name):
        return []
    chosen = _chosen(name)
    if not chosen.has(language):
        return []
    asked = _asked(chosen, language, downloads)
    if chosen.bring:
        entry = SourceFile(f"brought/{chosen.name}")
        return [Needed(name, chosen.licence, entry, asked.folder, chosen.bring)]
    if chosen.format == "irds":
        return [
            Needed(
                name,
                chosen.licence,
                SourceFile(each, f"{IRDS}{each}"),
                irds.note_of(asked.folder, each),
            )
            for each in irds.ids_for(asked).parts
        ]
    return [
        Needed(name, chosen.licence, entry, entry.local(downloads))
        for entry in chosen.files_for(language)
    ]


def load_collection(name: str, language: str, downloads: Path) -> Collection:
    """Read a collection with the queries of one language, and the English ones where it has them.

    Args:
        name: A name of the catalogue, ``irds:ID``, or a directory.
        language: The query language; ``en`` reads documents and English queries alone.
        downloads: Where downloaded files lie.

    Raises:
        MissingInput: A file of the catalogue has not been fetched.
        UserError: Unknown name, a missing file, or a file that is not as its format demands.
    """
    readable = _readable(name, language, downloads)
    remembered = memory(downloads, name, language, readable.files, readable.facts)
    found, documents = remembered.recall(), None
    if found is None:
        parts = readable.read()
        documents = parts.documents
        # By content, not by file: the same documents are the same input, however they came.
        digests = {
            "documents": _documents_digest(documents),
            "qrels": digest(parts.qrels),
            **{f"queries.{spoken}": digest(asked) for spoken, asked in parts.queries.items()},
        }
        found = Read(len(documents), parts.queries, parts.qrels, digests)
        remembered.keep(found)
    return Collection(
        name=collection_label(name),
        documents=Documents(found.documents, partial(_again, name, readable, found.digests))
        if documents is None
        else documents,
        queries=found.queries,
        qrels=found.qrels,
        digests=found.digests,
    )


class _Readable(NamedTuple):
    """How a collection is read, and what that depends on: files, and facts about them."""

    read: Callable[[], Parts]
    files: Sequence[Path]
    facts: Sequence[str] = ()


def _readable(name: str, language: str, downloads: Path) -> _Readable:
    if is_directory(name):
        return _own(Path(name), language)
    chosen = _chosen(name)
    if not chosen.has(language):
        raise UserError(f"collection {name} has no queries in {language!r}")
    asked = _asked(chosen, language, downloads)
    if chosen.bring and not is_brought(asked.folder):
        raise UserError(f"collection {name} is user-supplied: {told(chosen, asked.folder)}")
    located = [] if chosen.bring else _located(chosen, language, downloads)
    files = files_under(asked.folder) if chosen.bring else [each.path for each in located]
    facts = [known_digest(each.path, each.entry) or "" for each in located]
    facts += [json.dumps([chosen.format, chosen.options, chosen.codes], default=str)]
    reader = formats.COLLECTION_READERS[chosen.format]
    return _Readable(partial(_checked, reader, located, asked), files, facts)


def _checked(reader: CollectionReader, located: Sequence[formats.Located], asked: Asked) -> Parts:
    for file in located:
        checked_digest(file)
    return reader(located, asked)


def _again(name: str, readable: _Readable, digests: Mapping[str, str]) -> list[Document]:
    """Read the documents of a collection of which the rest is known already."""
    documents = readable.read().documents
    if _documents_digest(documents) != digests["documents"]:
        raise UserError(f"collection {name} was changed while it was read; run the command again")
    return documents


def is_brought(folder: Path) -> bool:
    """Tell whether the user has put anything into the folder of a collection to bring."""
    return folder.is_dir() and any(folder.iterdir())


def told(source: Source, folder: Path) -> str:
    """Return what a user must bring and where it belongs."""
    return f"{source.bring}; put it, or a link to it, at {folder}"


def _chosen(name: str) -> Source:
    known = catalogue.sources("collections")
    if name in known:
        return known[name]
    if name.startswith(IRDS) and name != IRDS:
        return Source(
            name=name, kind="collections", format="irds", title=name, licence="see ir_datasets",
            homepage="https://ir-datasets.com", citation="", files=(),
            options={"id": name.removeprefix(IRDS)}, codes={"en": "en"},
        )  # fmt: skip
    raise UserError(f"unknown collection {name!r}: {nearest(name, known)}, or a directory")


def _asked(source: Source, language: str, downloads: Path) -> Asked:
    folder = downloads / ("irds" if source.format == "irds" else f"brought/{source.name}")
    return Asked(language, source.options, source.codes, folder)


def _located(source: Source, language: str, downloads: Path) -> list[formats.Located]:
    return [formats.Located(entry.local(downloads), entry) for entry in source.files_for(language)]


def _documents_digest(documents: Iterable[Document]) -> str:
    """Return what ``digest`` does of the list, without the text of all of it in memory."""
    running = hashlib.sha256(b"[")
    for place, document in enumerate(documents):
        text = json.dumps(document, ensure_ascii=False)
        running.update((f", {text}" if place else text).encode())
    running.update(b"]")
    return running.hexdigest()


# ------------------------------------------------------------------ the user's own


def _own(folder: Path, language: str) -> _Readable:
    if folder.is_dir() and trec.is_trec(folder):
        asked = Asked(language, folder=folder)
        return _Readable(partial(trec.read_trec, [], asked), files_under(folder))
    files = _own_files(folder, language)
    return _Readable(partial(formats.read_beir, files), [each.path for each in files])


def _own_files(folder: Path, language: str) -> list[formats.Located]:
    layout = "a collection has corpus.jsonl, queries.jsonl and qrels/test.tsv"
    if not folder.is_dir():
        raise UserError(f"{folder}: no such directory; {layout}")
    rows = (".jsonl", ".jsonl.gz", ".parquet")
    own = _first(folder / f"queries.{language}", rows)
    queries = own if own.is_file() else _first(folder / "queries", rows)
    judged = _first(folder / "qrels" / "test", (".tsv", ".parquet"))
    found = [_first(folder / "corpus", rows), judged, queries]
    for path in found:
        if not path.is_file():
            raise UserError(f"{path}: missing; {layout}")
    spoken = {queries: language}
    english = _first(folder / "queries.en", rows)
    if english.is_file() and english != queries:
        found.append(english)
        spoken[english] = "en"
    return [
        formats.Located(path, SourceFile(path.name, lang=spoken.get(path, ""))) for path in found
    ]


def _first(stem: Path, suffixes: tuple[str, ...]) -> Path:
    """Return the first of the files that is there, or the one that is usual."""
    paths = [stem.with_name(stem.name + suffix) for suffix in suffixes]
    return next((path for path in paths if path.is_file()), paths[0])
