"""The catalogue of sources: which files a source has, where they come from, how they are read.

The entries are data (``data/catalogue/*.toml``), one table per source. A folder of the user
(``--catalogue``) may have files of the same names, whose entries are added and checked.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from clir_cli.corpus.own_entries import checked, own_tables
from clir_cli.errors import UserError, nearest
from clir_cli.settings import BitextSettings, DictionarySettings
from clir_cli.suites import bundled, once, own_catalogue, read_toml

Kind = Literal["bitext", "collections", "dictionaries"]
# What a licence says of commercial use: allows it, forbids it, or is not stated.
Terms = Literal["open", "noncommercial", "unstated"]
HUB = "https://huggingface.co"
OPUS, OPUS_STORE = "opus:", "https://object.pouta.csc.fi"
OPUS_NAME = re.compile(r"opus:([a-zA-Z0-9][\w.-]*)/([a-zA-Z0-9][\w.-]*)", re.ASCII)
WEB = ("http://", "https://")


@dataclass(frozen=True)
class CatalogueFile:
    """One file of a source; ``bytes`` and ``sha256`` pin it.

    If the publisher does not give them, the sha256 of the first fetch is recorded
    (corpus/checksums.py).
    """

    path: str
    url: str = ""  # none if it is in the package, or in the user's folder
    lang: str = ""
    role: str = ""
    bytes: int = 0
    sha256: str = ""
    about: int = 0  # the expected size, if ``bytes`` is not known
    folder: Path | None = None  # the user's

    @property
    def place(self) -> str:
        """Return where the file comes from: its URL, or in words."""
        return self.url or ("in the package" if self.folder is None else "in your catalogue")

    def local(self, downloads: Path) -> Path:
        """Return the path on this machine: in the package or the user's folder, or downloaded."""
        if self.url:
            return downloads / host_path(self.url)
        return (self.folder or bundled("data")) / self.path


def host_path(url: str) -> str:
    """Return ``<host>/<path>``: where downloads, a mirror and a shared cache have a URL's file."""
    parts = urlsplit(url)
    return f"{parts.netloc}/{parts.path.lstrip('/')}"


class LocalFile(NamedTuple):
    """A file on this machine, and what the catalogue declares about it."""

    path: Path
    declared: CatalogueFile


@dataclass(frozen=True)
class CatalogueEntry:
    """A source of sentence pairs, a collection, or a dictionary."""

    name: str
    kind: Kind
    format: str
    title: str
    licence: str
    homepage: str
    citation: str
    files: tuple[CatalogueFile, ...]
    options: Mapping[str, Any]  # for its reader
    terms: Terms = "unstated"
    domain: str = ""  # of sentence pairs: what the texts are about
    machine_translated: bool = False  # the side of the query language
    # The source's names of its languages, if one file (an archive, an id of ir_datasets) has all.
    codes: Mapping[str, str] = field(default_factory=dict)
    base: str = ""  # of a corpus of OPUS, which has a file for each pair: which, OPUS alone knows

    @property
    def languages(self) -> tuple[str, ...]:
        """Return the source's languages, including English if it is listed as one."""
        return tuple(dict.fromkeys([*(f.lang for f in self.files if f.lang), *self.codes]))

    @property
    def user_supplied(self) -> str:
        """Return what the user must supply and where to get it; empty if it can be fetched."""
        return str(self.options.get("bring", ""))

    def has(self, language: str) -> bool:
        """Return True if the source has a query language.

        A collection can always be read in English, for its documents; one that has only English
        queries can be read for every language, for methods that use those.
        """
        for_all = self.kind == "collections" and (language == "en" or self.languages == ("en",))
        return for_all or language in self.languages or bool(self.base)

    def files_for(self, language: str) -> tuple[CatalogueFile, ...]:
        """Return the files a query language needs, or none when the source lacks the language."""
        if self.base:
            name = f"{'-'.join(sorted((language, 'en')))}.txt.zip"
            return (CatalogueFile(name, url=self.base + name, lang=language),)
        files = self.files if self.has(language) else ()
        return tuple(file for file in files if file.lang in ("", "en", language))

    def local_files(self, language: str, downloads: Path) -> list[LocalFile]:
        """Return ``files_for`` a language with their paths on this machine."""
        return [LocalFile(file.local(downloads), file) for file in self.files_for(language)]


@dataclass(frozen=True)
class Package:
    """A distribution on the package index that carries a model.

    ``zip`` holds the very files of the catalogue; ``four_bit`` is a file that is converted
    (retrieval/e5_file.py) and known by its ``sha256``.
    """

    name: str
    version: str
    extra: str
    zip: str = ""
    four_bit: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class Model:
    """A model that clir fetches itself."""

    name: str
    title: str
    licence: str
    homepage: str
    citation: str
    repository: str
    revision: str
    files: tuple[CatalogueFile, ...]  # if none, the hub's; the manifest records what was fetched
    package: Package | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)  # of a query, of a document
    shape: Mapping[str, int] = field(default_factory=dict)  # for estimates (retrieval/memory.py)
    bytes: int = 0
    weights: str = "model.safetensors"
    looked_up: str = ""


@dataclass(frozen=True)
class Language:
    """A query language."""

    code: str
    name: str
    family: str
    resource: Literal["low", "high", ""]  # as OPTICAL's tables group them; none if it is not known
    iso639_3: tuple[str, ...] = ()  # the codes that sources with three letters use for it


def _tables(name: str) -> Iterator[tuple[str, dict[str, Any], Path | None]]:
    """Yield the tables of a file of the catalogue; those of the user with their file."""
    tables = read_toml(bundled("data") / "catalogue" / f"{name}.toml")
    yield from ((entry, table, None) for entry, table in tables.items())
    yield from own_tables(name, tables)


@once
def languages() -> dict[str, Language]:
    """Return the query languages by code."""
    known = {}
    for code, table, own in _tables("languages"):
        codes = tuple(table["iso639_3"]) if own is None else table["iso639_3"]
        known[code] = checked(Language, {"code": code, **table, "iso639_3": codes}, own, code)
    return known


def language(code: str) -> Language:
    """Return a query language; one that the catalogue lacks is known by its code alone."""
    return languages().get(code) or Language(code, code, "", "")


@once
def sources(kind: Kind) -> dict[str, CatalogueEntry]:
    """Return the sources of a kind by name.

    Raises:
        UserError: An entry of the user is not right, or trains with a file that tests.
    """
    entries = _entries(kind)
    if own_catalogue() is not None and kind in ("bitext", "collections"):
        _refuse_shared(entries, _entries("collections" if kind == "bitext" else "bitext"))
    return entries


def _refuse_shared(*kinds: Mapping[str, CatalogueEntry]) -> None:
    """Refuse a file that both trains and tests."""
    users: list[dict[Path, str]] = [
        {file.local(Path()): entry.name for entry in entries.values() for file in entry.files}
        for entries in kinds
    ]
    for path in users[0].keys() & users[1].keys():
        names = f"{users[0][path]} and {users[1][path]}"
        raise UserError(f"{names} share {path}, which would both train and test; remove one")


@once
def _entries(kind: Kind) -> dict[str, CatalogueEntry]:
    entries: dict[str, CatalogueEntry] = {}
    for name, table, file in _tables(kind):
        # A variant's table overrides the entry's; ``{variant}`` in texts is replaced by its name.
        for variant, changes in table.pop("variants", {"": {}}).items():
            full = f"{name}-{variant}" if variant else name
            if full in entries:
                raise UserError(f"{file}: clir has {full} among its {kind}; choose another name")
            values = _filled({**table, **changes}, "variant", variant)
            entries[full] = _entry(full, kind, values, file)
    return entries


@once
def models() -> dict[str, Model]:
    """Return the models by name."""
    known = {}
    for name, table, own in _tables("models"):
        base = f"{HUB}/{table.get('repository')}/resolve/{table.get('revision')}/"
        files = tuple(_file(base, row, own, name) for row in table.pop("files", []))
        package = table.pop("package", None)
        package = package and checked(Package, package, own, name)
        values = {"name": name, "files": files, "package": package, **table}
        known[name] = checked(Model, values, own, name)
    return known


def source(kind: Kind, name: str) -> CatalogueEntry:
    """Return one source; UserError, with the nearest name, if the catalogue does not have it.

    Bitext may be any corpus of OPUS, ``opus:NAME/VERSION``.
    """
    if kind == "bitext" and name.startswith(OPUS):
        return _of_opus(name)
    known = sources(kind)
    if name not in known:
        raise UserError(f"unknown {kind} source {name!r}: {nearest(name, known)}")
    return known[name]


def _of_opus(name: str) -> CatalogueEntry:
    if not (found := OPUS_NAME.fullmatch(name)):
        example = "write corpus and version as on opus.nlpl.eu, such as opus:WikiMatrix/v1"
        raise UserError(f"unknown bitext source {name!r}: {example}")
    corpus, version = found.groups()
    table = {
        "opus": f"{corpus}/{version}",
        "title": f"OPUS {corpus} {version}",
        "licence": "see its page",
        "citation": "Tiedemann, Parallel Data, Tools and Interfaces in OPUS, LREC 2012",
    }
    base = _shared_by_opus(corpus, version)["base"]
    return replace(_entry(name, "bitext", table, None), base=base)


def _shared_by_opus(corpus: str, version: str) -> dict[str, Any]:
    """Return what the entries of all corpora of OPUS have in common (``opus`` in the catalogue)."""
    return {
        "format": "moses",
        "homepage": f"https://opus.nlpl.eu/{corpus}-{version}.php",
        "base": f"{OPUS_STORE}/OPUS-{corpus}/{version}/moses/",
        "in_order": False,
        "faults": "skip",
        "drop_test_texts": True,
    }


def chosen(kind: Kind, settings: BitextSettings | DictionarySettings) -> list[CatalogueEntry]:
    """Return the sources that settings name, without those whose ``terms`` they do not allow.

    Raises:
        UserError: The catalogue does not have one of them.
    """
    named = [source(kind, name) for name in settings.sources]
    return [entry for entry in named if settings.licence == "any" or entry.terms == "open"]


def _filled(table: dict[str, Any], name: str, text: str) -> dict[str, Any]:
    filled: dict[str, Any] = json.loads(
        json.dumps(table, default=str).replace("{" + name + "}", text)
    )
    return filled


def _entry(name: str, kind: Kind, table: dict[str, Any], own: Path | None) -> CatalogueEntry:
    if own is None and "opus" in table:
        table = {**_shared_by_opus(*table.pop("opus").split("/")), **table}
    base, rows, codes = table.pop("base", ""), table.pop("files", []), table.pop("codes", {})
    known = [each.name for each in fields(CatalogueEntry)]
    texts = {key: table.pop(key) for key in known if key in table}
    files = tuple(_file(base, row, own, name) for row in _by_language(rows, codes))
    values = {"name": name, "kind": kind, "files": files, "options": table, "codes": codes}
    return checked(CatalogueEntry, {**texts, **values}, own, name)


def _by_language(rows: list[dict[str, Any]], codes: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of files, one for each language where ``{code}`` is in the path."""
    for row in rows:
        if "{code}" not in row["path"]:
            yield row
            continue
        for language, code in codes.items():
            # A value that differs by language (``bytes``, ``sha256``) is a table.
            values = {k: v.get(language) if isinstance(v, dict) else v for k, v in row.items()}
            known = {key: value for key, value in values.items() if value is not None}
            yield {"lang": language, **_filled(known, "code", code)}


def _file(base: str, row: dict[str, Any], own: Path | None, name: str) -> CatalogueFile:
    if own is not None and not base.startswith(WEB):
        values = {**row, "path": base + row["path"], "folder": own.parent}
    elif base.startswith("bundled:"):
        values = {**row, "path": base.removeprefix("bundled:") + row["path"]}
    else:
        values = {"url": base + row["path"], **row}
    return checked(CatalogueFile, values, own, name)
