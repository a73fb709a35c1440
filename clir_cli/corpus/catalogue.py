"""The catalogue of sources: which files a source has, where they come from, how they are read.

The entries are data (``data/catalogue/*.toml``), one place a source.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from clir_cli.errors import UserError, nearest
from clir_cli.suites import bundled

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
    """A source of sentence pairs, a collection, or a dictionary; ``options`` is for its reader.

    ``codes`` maps the languages of a source whose files are not one a language (an archive of
    all, an id of ir_datasets) to the names it has for them.
    """

    name: str
    kind: Kind
    format: str
    title: str
    licence: str
    homepage: str
    citation: str
    files: tuple[SourceFile, ...]
    options: Mapping[str, Any]
    codes: Mapping[str, str] = field(default_factory=dict)

    @property
    def languages(self) -> tuple[str, ...]:
        """Return the languages that the source has, English too where it tells English apart."""
        return tuple(dict.fromkeys([*(f.lang for f in self.files if f.lang), *self.codes]))

    @property
    def bring(self) -> str:
        """Return what the user must bring, and where to get it; empty when it can be fetched."""
        return str(self.options.get("bring", ""))

    def has(self, language: str) -> bool:
        """Tell whether the source has a query language.

        A collection can always be read in English, for its documents; one that has only English
        queries can be read for every language, for methods that read those.
        """
        if language in self.languages:
            return True
        return self.kind == "collections" and (language == "en" or self.languages == ("en",))

    def files_for(self, language: str) -> tuple[SourceFile, ...]:
        """Return the files a query language needs, or none when the source lacks the language."""
        if not self.has(language):
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
    """A model that clir fetches itself.

    Where the catalogue pins no ``files``, they are what the hub has under the revision, and the
    manifest records what was fetched first. ``shape`` is what memory is estimated from
    (retrieval/memory.py); ``weights`` names the file where it is not safetensors.
    """

    name: str
    title: str
    licence: str
    homepage: str
    citation: str
    repository: str
    revision: str
    files: tuple[SourceFile, ...]
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
def sources(kind: Kind) -> dict[str, Source]:
    """Return the sources of a kind by name."""
    return {
        found.name: found
        for name, entry in _table(kind).items()
        for found in _variants(name, kind, entry)
    }


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


def _variants(name: str, kind: Kind, entry: Mapping[str, Any]) -> list[Source]:
    """Return the sources of an entry: itself, or one ``<name>-<variant>`` for each of its variants.

    A variant's table is laid over the entry, and ``{variant}`` in the entry's texts is its name.
    """
    shared = {key: value for key, value in entry.items() if key != "variants"}
    if "variants" not in entry:
        return [_source(name, kind, shared)]
    return [
        _source(f"{name}-{variant}", kind, _filled({**shared, **own}, variant=variant))
        for variant, own in entry["variants"].items()
    ]


def _filled(value: Any, **names: str) -> Any:
    """Return a value of TOML with ``{name}`` in its texts replaced."""
    if isinstance(value, str):
        for name, text in names.items():
            value = value.replace("{" + name + "}", text)
        return value
    if isinstance(value, list):
        return [_filled(each, **names) for each in value]
    if isinstance(value, dict):
        return {key: _filled(each, **names) for key, each in value.items()}
    return value


def _source(name: str, kind: Kind, entry: dict[str, Any]) -> Source:
    base, rows = entry.pop("base", ""), entry.pop("files", [])
    told = {key: entry.pop(key) for key in ("format", "title", "licence", "homepage", "citation")}
    codes = entry.pop("codes", {})
    files = tuple(_file(base, row) for row in _by_language(rows, codes))
    return Source(name=name, kind=kind, files=files, options=entry, codes=codes, **told)


def _by_language(rows: list[dict[str, Any]], codes: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the rows of files, one for each language where ``{code}`` stands in the path.

    What is known of single languages (``bytes``, ``sha256``) is a table in such a row.
    """
    found = []
    for row in rows:
        if "{code}" not in row["path"]:
            found.append(row)
            continue
        for language, code in codes.items():
            own = {k: v.get(language) if isinstance(v, dict) else v for k, v in row.items()}
            told = {key: value for key, value in own.items() if value is not None}
            found.append({"lang": language, **_filled(told, code=code)})
    return found


def _file(base: str, row: dict[str, Any]) -> SourceFile:
    if base.startswith("bundled:"):
        return SourceFile(**{**row, "path": base.removeprefix("bundled:") + row["path"]})
    return SourceFile(url=base + row["path"], **row)


def _model(name: str, entry: dict[str, Any]) -> Model:
    package = entry.pop("package", None)
    base = f"{HUB}/{entry['repository']}/resolve/{entry['revision']}/"
    files = tuple(_file(base, row) for row in entry.pop("files", []))
    return Model(name=name, files=files, package=Package(**package) if package else None, **entry)
