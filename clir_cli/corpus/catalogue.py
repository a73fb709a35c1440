"""The catalogue of sources: which files a source has, where they come from, how they are read.

The entries are data (``data/catalogue/*.toml``), one place a source.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from clir_cli.errors import UserError, nearest
from clir_cli.settings import bundled

Kind = Literal["bitext", "collections", "dictionaries"]
HUB = "https://huggingface.co"


@dataclass(frozen=True)
class SourceFile:
    """One file of a source. ``url`` is empty for files that travel with the package.

    ``bytes`` and ``sha256`` pin the file. Where the publisher does not tell them, ``about`` is the
    size to expect, and what was first fetched is on record beside the file (corpus/transfer.py).
    """

    path: str
    url: str = ""
    lang: str = ""
    role: str = ""
    bytes: int = 0
    sha256: str = ""
    about: int = 0

    def local(self, downloads: Path) -> Path:
        """Return where the file lies on this machine: under its own URL without the scheme."""
        if not self.url:
            return bundled("data") / self.path
        parts = urlsplit(self.url)
        return downloads / parts.netloc / parts.path.lstrip("/")


@dataclass(frozen=True)
class Source:
    """A source of sentence pairs, a collection, or a dictionary; ``options`` is for its reader."""

    name: str
    kind: Kind
    format: str
    title: str
    licence: str
    homepage: str
    citation: str
    files: tuple[SourceFile, ...]
    options: Mapping[str, Any]

    def files_for(self, language: str) -> tuple[SourceFile, ...]:
        """Return the files a query language needs, or none when the source lacks the language."""
        if not any(file.lang == language for file in self.files):
            return ()
        return tuple(file for file in self.files if file.lang in ("", "en", language))


@dataclass(frozen=True)
class Package:
    """A distribution on the package index that carries a model's files in a zip."""

    name: str
    version: str
    extra: str
    zip: str


@dataclass(frozen=True)
class Model:
    """A model that clir fetches and checks itself."""

    name: str
    title: str
    licence: str
    homepage: str
    citation: str
    repository: str
    revision: str
    files: tuple[SourceFile, ...]
    package: Package | None = None


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
def sources(kind: Kind) -> dict[str, Source]:
    """Return the sources of a kind by name."""
    return {name: _source(name, kind, dict(entry)) for name, entry in _table(kind).items()}


@cache
def models() -> dict[str, Model]:
    """Return the models by name."""
    return {name: _model(name, dict(entry)) for name, entry in _table("models").items()}


def source(kind: Kind, name: str) -> Source:
    """Return one source.

    Raises:
        UserError: The catalogue has no such source; the nearest name is told.
    """
    known = sources(kind)
    if name not in known:
        raise UserError(f"unknown {kind} source {name!r}: {nearest(name, known)}")
    return known[name]


def _source(name: str, kind: Kind, entry: dict[str, Any]) -> Source:
    base, rows = entry.pop("base", ""), entry.pop("files", [])
    told = {key: entry.pop(key) for key in ("format", "title", "licence", "homepage", "citation")}
    return Source(
        name=name, kind=kind, files=tuple(_file(base, row) for row in rows), options=entry, **told
    )


def _file(base: str, row: dict[str, Any]) -> SourceFile:
    if base.startswith("bundled:"):
        return SourceFile(**{**row, "path": base.removeprefix("bundled:") + row["path"]})
    return SourceFile(url=base + row["path"], **row)


def _model(name: str, entry: dict[str, Any]) -> Model:
    package = entry.pop("package", None)
    base = f"{HUB}/{entry['repository']}/resolve/{entry['revision']}/"
    files = tuple(_file(base, row) for row in entry.pop("files"))
    return Model(name=name, files=files, package=Package(**package) if package else None, **entry)
