"""The catalogue of sources: which files a source has, where they come from, how they are read.

The entries are data (``data/catalogue/*.toml``), one table per source.
"""

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from clir_cli.errors import UserError, nearest
from clir_cli.suites import bundled

Kind = Literal["bitext", "collections", "dictionaries"]
HUB = "https://huggingface.co"


@dataclass(frozen=True)
class CatalogueFile:
    """One file of a source. ``url`` is empty for files in the package.

    ``bytes`` and ``sha256`` pin the file. If the publisher does not give them, ``about`` is the
    expected size, and the sha256 of the first fetch is recorded beside the file
    (corpus/checksums.py).
    """

    path: str
    url: str = ""
    lang: str = ""
    role: str = ""
    bytes: int = 0
    sha256: str = ""
    about: int = 0

    def local(self, downloads: Path) -> Path:
        """Return the path on this machine: the URL without its scheme, under ``downloads``."""
        if not self.url:
            return bundled("data") / self.path
        parts = urlsplit(self.url)
        return downloads / parts.netloc / parts.path.lstrip("/")


class LocalFile(NamedTuple):
    """A file on this machine, and what the catalogue declares about it."""

    path: Path
    declared: CatalogueFile


@dataclass(frozen=True)
class CatalogueEntry:
    """A source of sentence pairs, a collection, or a dictionary; ``options`` is for its reader.

    ``codes`` maps the languages of a source whose files are not one per language (one archive for
    all, an id of ir_datasets) to the source's names of them.
    """

    name: str
    kind: Kind
    format: str
    title: str
    licence: str
    homepage: str
    citation: str
    files: tuple[CatalogueFile, ...]
    options: Mapping[str, Any]
    codes: Mapping[str, str] = field(default_factory=dict)

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
        if language in self.languages:
            return True
        return self.kind == "collections" and (language == "en" or self.languages == ("en",))

    def files_for(self, language: str) -> tuple[CatalogueFile, ...]:
        """Return the files a query language needs, or none when the source lacks the language."""
        if not self.has(language):
            return ()
        return tuple(file for file in self.files if file.lang in ("", "en", language))

    def local_files(self, language: str, downloads: Path) -> list[LocalFile]:
        """Return ``files_for`` a language with their paths on this machine."""
        return [LocalFile(file.local(downloads), file) for file in self.files_for(language)]


@dataclass(frozen=True)
class Package:
    """A distribution on the package index that carries a model's files in a zip."""

    name: str
    version: str
    extra: str
    zip: str


@dataclass(frozen=True)
class Model:
    """A model that clir fetches itself.

    Where the catalogue pins no ``files``, they are what the hub has under the revision, and the
    manifest records what was fetched first. ``shape`` has the sizes that memory is estimated from
    (retrieval/memory.py); ``weights`` names the file where it is not safetensors.
    """

    name: str
    title: str
    licence: str
    homepage: str
    citation: str
    repository: str
    revision: str
    files: tuple[CatalogueFile, ...]
    package: Package | None = None
    shape: Mapping[str, int] = field(default_factory=dict)
    bytes: int = 0
    weights: str = "model.safetensors"
    looked_up: str = ""


@dataclass(frozen=True)
class Language:
    """A query language; ``resource`` is `low` or `high`, as OPTICAL's tables group them.

    ``iso639_3`` are the codes that sources with three letters use for it.
    """

    code: str
    name: str
    family: str
    resource: Literal["low", "high"]
    iso639_3: tuple[str, ...] = ()


@cache
def _table(name: str) -> dict[str, dict[str, Any]]:
    text = (bundled("data") / "catalogue" / f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@cache
def languages() -> dict[str, Language]:
    """Return the query languages by code."""
    return {
        code: Language(code=code, **{**entry, "iso639_3": tuple(entry["iso639_3"])})
        for code, entry in _table("languages").items()
    }


@cache
def sources(kind: Kind) -> dict[str, CatalogueEntry]:
    """Return the sources of a kind by name."""
    entries: dict[str, CatalogueEntry] = {}
    for name, table in _table(kind).items():
        shared = {key: value for key, value in table.items() if key != "variants"}
        if "variants" not in table:
            entries[name] = _entry(name, kind, shared)
        # A variant's table overrides the entry's; ``{variant}`` in texts is replaced by its name.
        for variant, changes in table.get("variants", {}).items():
            full = f"{name}-{variant}"
            entries[full] = _entry(full, kind, _filled({**shared, **changes}, "variant", variant))
    return entries


@cache
def models() -> dict[str, Model]:
    """Return the models by name."""
    return {name: _model(name, dict(entry)) for name, entry in _table("models").items()}


def source(kind: Kind, name: str) -> CatalogueEntry:
    """Return one source.

    Raises:
        UserError: The catalogue has no such source; the message has the nearest name.
    """
    known = sources(kind)
    if name not in known:
        raise UserError(f"unknown {kind} source {name!r}: {nearest(name, known)}")
    return known[name]


def _filled(table: dict[str, Any], name: str, text: str) -> dict[str, Any]:
    """Return a table with ``{name}`` in its texts replaced."""
    filled: dict[str, Any] = json.loads(json.dumps(table).replace("{" + name + "}", text))
    return filled


def _entry(name: str, kind: Kind, table: dict[str, Any]) -> CatalogueEntry:
    base, rows, codes = table.pop("base", ""), table.pop("files", []), table.pop("codes", {})
    keys = ("format", "title", "licence", "homepage", "citation")
    texts = {key: table.pop(key) for key in keys}
    files = tuple(_file(base, row) for row in _by_language(rows, codes))
    return CatalogueEntry(name=name, kind=kind, files=files, options=table, codes=codes, **texts)


def _by_language(rows: list[dict[str, Any]], codes: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of files, one for each language where ``{code}`` is in the path.

    A value that differs by language (``bytes``, ``sha256``) is a table in such a row.
    """
    for row in rows:
        if "{code}" not in row["path"]:
            yield row
            continue
        for language, code in codes.items():
            values = {k: v.get(language) if isinstance(v, dict) else v for k, v in row.items()}
            known = {key: value for key, value in values.items() if value is not None}
            yield {"lang": language, **_filled(known, "code", code)}


def _file(base: str, row: dict[str, Any]) -> CatalogueFile:
    if base.startswith("bundled:"):
        return CatalogueFile(**{**row, "path": base.removeprefix("bundled:") + row["path"]})
    return CatalogueFile(url=base + row["path"], **row)


def _model(name: str, table: dict[str, Any]) -> Model:
    package = table.pop("package", None)
    base = f"{HUB}/{table['repository']}/resolve/{table['revision']}/"
    files = tuple(_file(base, row) for row in table.pop("files", []))
    return Model(name=name, files=files, package=Package(**package) if package else None, **table)
