"""Collections: from the catalogue by name, of ir_datasets or the hub, or the user's own directory.

A directory is in BEIR layout, or in that of TREC and CLEF (``formats/trec.py``).
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from clir_cli.corpus import brought, catalogue, hub, parse_cache
from clir_cli.corpus.catalogue import CatalogueEntry, CatalogueFile, LocalFile
from clir_cli.corpus.checksums import checked_digest, is_whole, known_digest
from clir_cli.corpus.formats import COLLECTION_READERS, e0008, irds, trec
from clir_cli.corpus.formats.beir import read_beir
from clir_cli.corpus.formats.collection_toml import Fields, read_settings
from clir_cli.corpus.formats.opening import SUFFIXES, require_regular
from clir_cli.corpus.formats.reading import ParsedCollection, ReadRequest
from clir_cli.corpus.formats.tables import TABLES, files_under, text_files
from clir_cli.corpus.formats.trec_layout import is_disk, is_trec
from clir_cli.corpus.records import POOLS, REVISION, Collection, Document, Pool
from clir_cli.errors import MissingInput, NoQueries, UserError, check_utf8, nearest
from clir_cli.files import digest

IRDS, HF = "irds:", hub.HF
ELSEWHERE = (IRDS, HF)  # what their publishers list, not the catalogue


def is_directory(name: str) -> bool:
    """Return True if ``--collection`` names a folder rather than an entry of the catalogue."""
    if name in catalogue.sources("collections") or name.startswith(ELSEWHERE):
        return False
    return "/" in name or Path(name).is_dir()


def collection_names(text: str) -> list[str]:
    """Return the collections that a text names, with commas between them, each once.

    >>> collection_names("boolq, irds:beir/nfcorpus/test")
    ['boolq', 'irds:beir/nfcorpus/test']
    """
    parts = [text] if not text or Path(text).is_dir() else text.split(",")
    return list(dict.fromkeys(part.strip() for part in parts)) if text else []


def collection_label(name: str) -> str:
    """Return the short name of a collection in paths of artifacts and in scores.

    A folder that is called as a collection of the catalogue gets a digest of its path, too.
    """
    label = collection_name(name)
    taken = label in catalogue.sources("collections") or "irds-" in label
    if is_directory(name) and (taken or label.startswith("hf-")):
        label += f"-{digest(str(Path(name).resolve()))[:8]}"
    return label


def collection_name(name: str) -> str:
    """Return the name of a collection without its place: a copy of a collection has its name."""
    if name.startswith(ELSEWHERE):
        return re.sub(r"[^\w.]+", "-", name)
    label = Path(name).resolve().name if is_directory(name) else name
    check_utf8("the name of the collection", label)  # a link may lead to any
    return label


@dataclass(frozen=True)
class RequiredFile:
    """Something a source (``entry``) needs: the declared file, its local path, where it comes from.

    ``declared.url`` is an address to fetch from, ``irds:ID#part`` for what ir_datasets fetches, or
    ``hf:NAME`` for the list of files of a data set of the hub.
    It is empty for what is in the package and for what the user must supply.
    """

    entry: CatalogueEntry
    declared: CatalogueFile
    path: Path
    user_supplied: str = ""  # what it is
    request: ReadRequest = field(default_factory=ReadRequest)  # how the user's files are read

    @cached_property
    def lacking(self) -> list[str]:
        """What the user must still supply, in words; nothing if all of it is there."""
        what = self.user_supplied
        return brought.lacking(what, self.entry.format, self.request) if what else []

    @cached_property
    def there(self) -> bool:
        """Return True if it was there and whole when this was first read."""
        return not self.lacking if self.user_supplied else is_whole(self.path, self.declared)

    @property
    def size(self) -> int:
        """Return the size in bytes: known, found, or expected; 0 if unknown."""
        found = self.path.stat().st_size if self.there and self.path.is_file() else 0
        return self.declared.bytes or found or self.declared.about


def hub_name(name: str) -> hub.HubName | None:
    """Return what a collection is called on the hub; None if it is not one of the hub's.

    Raises:
        UserError: ``hf:`` is followed by no name of a data set.
    """
    known = catalogue.sources("collections").get(name)
    if known and known.format == "hub":
        return hub.parse_name(HF + str(known.options["repository"]))
    return hub.parse_name(name) if name.startswith(HF) else None


def language_read(name: str, language: str) -> str:
    """Return the language to read a collection in.

    It is English where a collection of the catalogue has English queries and lacks the language.
    """
    entry = None if is_directory(name) else catalogue.sources("collections").get(name)
    lacks = entry is not None and entry.format != "hub" and not entry.has(language)
    return "en" if entry is not None and lacks and "en" in entry.languages else language


def required_files(name: str, language: str, downloads: Path) -> list[RequiredFile]:
    """Return what a collection needs to be read in a language; nothing for a user's directory."""
    if is_directory(name):
        return []
    language = language_read(name, language)
    entry = _entry(name, language, downloads)
    required = partial(RequiredFile, entry)
    listed = []
    if named := hub_name(name):
        declared = CatalogueFile("list of files", named.name)
        listed = [required(declared, hub.pin_path(named, downloads))]
    if not entry.has(language):
        return listed
    request = _request(entry, language, downloads)
    if entry.user_supplied:
        declared = CatalogueFile(f"brought/{entry.name}", lang=language)
        return [required(declared, request.folder, entry.user_supplied, request)]
    if entry.format == "irds":
        return [
            required(CatalogueFile(part, f"{IRDS}{part}"), irds.marker_of(request.folder, part))
            for part in irds.ids_for(request).parts
        ]
    local = entry.local_files(language, downloads)
    return listed + [required(file.declared, file.path) for file in local]


def load_collection(name: str, language: str, downloads: Path) -> Collection:
    """Read a collection with the queries of one language, and the English ones where it has them.

    ``name`` is one of the catalogue, ``irds:ID``, ``hf:ORG/NAME``, or a directory. With ``en`` as
    language there are documents and English queries alone.

    Raises:
        MissingInput: A file of the catalogue has not been fetched.
        UserError: Unknown name, a missing file, or a file that is not in its format.
    """
    if is_directory(name):
        parser = _own_parser(Path(name), language)
    else:
        parser = _catalogue_parser(name, language, downloads)
    slot = digest([name, language, str(Path(name).resolve())])[:16]
    cached_at = downloads / parse_cache.FOLDER / f"{slot}.json"
    key = parse_cache.cache_key(parser.files, name, language, *parser.facts)
    content = parse_cache.load(cached_at, key)
    documents: Sequence[Document]
    if content is not None:
        reread = partial(_reread, name, parser, content["digests"]["documents"])
        documents = parse_cache.LazyDocuments(content["documents"], reread)
    else:
        parsed = parser.parse()
        documents, queries, qrels = parsed.documents, parsed.queries, parsed.qrels
        # By content, not by file: the same documents are the same input, whatever their format.
        digests = {
            "documents": _documents_digest(documents),
            "qrels": digest(qrels),
            **{f"queries.{code}": digest(texts) for code, texts in queries.items()},
            **parser.revision,
            **({POOLS: digest(parsed.pools)} if parsed.pools else {}),
        }
        content = {
            **parsed._asdict(),
            "documents": len(documents),
            "digests": digests,
        }
        parse_cache.save(cached_at, key, content)
    # Tuples, which JSON does not keep: what is remembered equals what is read.
    pools, notes = tuple(Pool(*values) for values in content["pools"]), tuple(content["notes"])
    parts = {**content, "documents": documents, "pools": pools, "notes": notes}
    return Collection(collection_label(name), **parts)


class _Parser(NamedTuple):
    """How a collection is parsed, and what the result depends on: files, and facts about them."""

    parse: Callable[[], ParsedCollection]
    files: Sequence[Path]
    facts: Sequence[str] = ()
    revision: Mapping[str, str] = MappingProxyType({})  # of the hub, as one of the digests


def _catalogue_parser(name: str, language: str, downloads: Path) -> _Parser:
    entry = _entry(name, language, downloads)
    if entry.format == "hub" and not entry.files:
        raise MissingInput(f"the list of files of {name} has not been fetched")
    if not entry.has(language):
        subsets = entry.options.get("subsets")
        hint = f"; its queries are called {', '.join(subsets)}" if subsets else ""
        raise NoQueries(f"collection {name} has no queries in {language!r}{hint}")
    request = _request(entry, language, downloads)
    reader = COLLECTION_READERS[entry.format]
    facts = [json.dumps([entry.format, entry.options, entry.codes], default=str)]
    if entry.user_supplied:
        if not brought.is_supplied(request.folder):
            raise UserError(
                f"collection {name} is user-supplied: {entry.user_supplied}; put it, or a link to "
                f"it, at {request.folder}, or name it: clir download --brought FOLDER"
            )
        return _Parser(partial(reader, [], request), _files_under(request.folder), facts)
    files = entry.local_files(language, downloads)

    def parse() -> ParsedCollection:
        for file in files:
            checked_digest(file)
        return reader(files, request)

    facts += [known_digest(*file) for file in files]
    commit = entry.options.get("commit") if entry.format == "hub" else None
    revision = {REVISION + name: str(commit)} if commit else {}
    return _Parser(parse, [file.path for file in files], facts, revision)


def _reread(name: str, parser: _Parser, expected: str) -> list[Document]:
    documents = parser.parse().documents
    if _documents_digest(documents) != expected:
        raise UserError(f"collection {name} was changed while it was read; run the command again")
    return documents


def _entry(name: str, language: str, downloads: Path) -> CatalogueEntry:
    known = catalogue.sources("collections")
    if named := hub_name(name):
        return _hub_entry(known.get(name), named, language, downloads)
    if name in known:
        return known[name]
    if name.startswith(IRDS) and name != IRDS:
        return CatalogueEntry(
            name=name, kind="collections", format="irds", title=name, licence="see ir_datasets",
            homepage="https://ir-datasets.com", citation="", files=(),
            options={"id": name.removeprefix(IRDS)}, codes={"en": "en"},
        )  # fmt: skip
    raise UserError(f"unknown collection {name!r}: {nearest(name, known)}, or a directory")


def _hub_entry(
    known: CatalogueEntry | None, named: hub.HubName, language: str, downloads: Path
) -> CatalogueEntry:
    """Return a data set with its files for a language; with none if its list is not there."""
    pin = hub.read_pin(hub.pin_path(named, downloads))
    options = known.options if known else {}
    entry = hub.entry_of(named, language, pin, options)
    return replace(known, files=entry.files, options=entry.options) if known else entry


def _request(entry: CatalogueEntry, language: str, downloads: Path) -> ReadRequest:
    folder = downloads / ("irds" if entry.format == "irds" else f"brought/{entry.name}")
    return ReadRequest(language, entry.options, entry.codes, folder)


def _documents_digest(documents: Iterable[Document]) -> str:
    """Return ``digest(documents)`` without the JSON of all of them in memory."""
    running = hashlib.sha256(b"[")
    for index, document in enumerate(documents):
        text = json.dumps(document, ensure_ascii=False)
        running.update((f", {text}" if index else text).encode())
    running.update(b"]")
    return running.hexdigest()


def _files_under(folder: Path) -> list[Path]:
    return [path for path in files_under(folder) if parse_cache.FOLDER not in path.parts]


def _own_parser(folder: Path, language: str) -> _Parser:
    if folder.is_dir() and is_trec(folder):
        known = catalogue.source("collections", e0008.NAME).options if is_disk(folder) else {}
        request = ReadRequest(language, known, folder=folder)
        facts = [json.dumps(known, default=str)] if known else []
        return _Parser(partial(trec.read_trec, [], request), _files_under(folder), facts)
    layout = "a collection has corpus.jsonl, and queries.jsonl and qrels/test.tsv to score runs"
    if not folder.is_dir():
        raise UserError(f"{folder}: no such directory; {layout}")
    kinds = [f"{kind}{packed}" for kind in (".jsonl", *TABLES) for packed in ("", *SUFFIXES)]
    suffixes = (*kinds, ".parquet")
    queries = _first(folder / f"queries.{language}", suffixes)
    if not queries.exists():
        queries = _first(folder / "queries", suffixes)
    tables = (".tsv", *(f".tsv{packed}" for packed in SUFFIXES), ".parquet")
    qrels = _first(folder / "qrels" / "test", tables)
    corpus = _corpus(folder, suffixes)
    languages = {corpus: "", qrels: "", queries: language}
    # Documents alone can be searched; a file of almost the name is no reason to do without.
    if not qrels.exists() and not _seen(folder, qrels):
        del languages[qrels]
        if not queries.exists() and not _seen(folder, queries):
            del languages[queries]
    for path in languages:
        if not path.exists():
            raise UserError(f"{path}: missing; {layout}{_seen(folder, path)}")
        if not path.is_dir() or path != corpus:
            require_regular(path)
    english = _first(folder / "queries.en", suffixes)
    if english.is_file():
        languages.setdefault(english, "en")
    roles = {corpus: "corpus"}
    files = [
        LocalFile(path, CatalogueFile(path.name, lang=lang, role=roles.get(path, "")))
        for path, lang in languages.items()
    ]
    fields = read_settings(folder, Fields, {}).model_dump()
    read = [file for path in languages for file in (text_files(path) if path.is_dir() else [path])]
    request = ReadRequest(language, fields, folder=folder)
    return _Parser(partial(read_beir, files, request), read, [json.dumps(fields)])


def _corpus(folder: Path, suffixes: tuple[str, ...]) -> Path:
    """Return the file of the documents, or the folder of their texts: ``corpus``, or the whole."""
    file, texts = _first(folder / "corpus", suffixes), folder / "corpus"
    if texts.is_dir() and file.exists():
        raise UserError(f"{file} and {texts}: keep one of them")
    if texts.is_dir() and not text_files(texts):
        raise UserError(f"{texts}: no .txt in it")
    if file.exists() or texts.is_dir():
        return texts if texts.is_dir() else file
    # A note beside a corpus of a wrong name is no document.
    beside = {*folder.glob("queries*"), *folder.glob("qrels*"), *folder.glob("qrels/*")}
    found = {path for path in _files_under(folder) if not path.name.startswith(".")} - beside
    return folder if found and found == set(text_files(folder)) else file


def _first(stem: Path, suffixes: tuple[str, ...]) -> Path:
    """Return the one of the files that exists, or the one that is usual."""
    paths = [stem.with_name(stem.name + suffix) for suffix in suffixes]
    there = [path for path in paths if path.exists()] or paths[:1]
    if len(there) > 1:
        raise UserError(f"{there[0]} and {there[1]}: keep one of them")
    return there[0]


def _seen(folder: Path, missing: Path) -> str:
    """Return what is there with a name like that of a missing file, for messages."""
    part = missing.relative_to(folder).parts[0].split(".")[0]
    paths = [*folder.glob(f"{part}*"), *folder.glob(f"{part}/*")]
    like = sorted(str(path.relative_to(folder)) for path in paths if path.is_file())
    return f"; there is {', '.join(like[:5])}" if like else ""
