"""The entries of the user's own catalogue: checked, with file and name in each message."""

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from clir_cli.errors import UserError, nearest
from clir_cli.foreign import JsonObject
from clir_cli.suites import own_catalogue, read_toml, shortened

Entry = TypeVar("Entry")
NAME = re.compile(r"[a-zA-Z0-9][\w.-]*", re.ASCII)
CODE = re.compile("(?!en$)[a-z]{2,3}")
# The others read what one publisher has, and only that.
FORMATS: Mapping[str, tuple[str, ...]] = {
    "bitext": ("files", "moses", "tmx"),
    "collections": ("beir", "beir-zip", "hub", "squad", "irds"),
    "dictionaries": ("tsv", "muse", "moses"),
}
# What an entry of the user may leave out, where those of the package have it.
LEFT_OUT: Mapping[str, Mapping[str, Any]] = {
    "languages": {"family": "", "resource": "", "iso639_3": []},
    "models": {"homepage": "", "citation": ""},
    "dictionaries": {"homepage": "", "citation": ""},
    "collections": {"homepage": "", "citation": ""},
    "bitext": {"homepage": "", "citation": "", "drop_test_texts": True},
}


class _Row(JsonObject):
    path: str


class _Shape(JsonObject, extra="forbid"):
    parameters: int
    layers: int
    hidden: int
    vocabulary: int


class _Parts(JsonObject):
    """What is taken apart before an entry is made of it."""

    base: str = ""
    files: Sequence[_Row] = ()
    codes: dict[str, str] = Field(default_factory=dict)
    variants: dict[str, dict[str, Any]] = Field(default_factory=dict)
    package: dict[str, Any] = Field(default_factory=dict)
    shape: _Shape | None = None


def own_tables(kind: str, taken: Container[str]) -> Iterator[tuple[str, dict[str, Any], Path]]:
    """Yield the user's entries of a kind: name, table and file.

    Raises:
        UserError: A name is taken or is no name, or an entry is not laid out as one.
    """
    folder = own_catalogue()
    if folder is None or not (file := folder / f"{kind}.toml").exists():
        return
    for name, table in read_toml(file).items():
        if not isinstance(table, dict):
            raise UserError(f"{file}: {name} is in no table; write it below a line as [name]")
        if name in taken:
            raise UserError(f"{file}: clir has {name} among its {kind}; choose another name")
        if not (CODE if kind == "languages" else NAME).fullmatch(name):
            right = "two or three letters" if kind == "languages" else "letters, digits, -, _ and ."
            raise UserError(f"{file}: [{name}] is no name; one of {kind} has {right}")
        with _named_in(file, name):
            _Parts.model_validate(table)
        if kind == "models" or table.get("base", "").startswith("http"):  # else none is written
            _refuse_outside(table, f"{file}: [{name}]")
        if kind in FORMATS:
            _refuse_unread(kind, table, f"{file}: [{name}]")
        yield name, {**LEFT_OUT[kind], **table}, file


def _refuse_outside(table: Mapping[str, Any], where: str) -> None:
    """Refuse a path that would be written outside the folder of models or downloads."""
    for path in (table.get("base", ""), *(row["path"] for row in table.get("files", []))):
        if path.startswith("/") or ".." in path.split("/"):
            raise UserError(f"{where} {path} leads out of its folder; write it without / or ..")


def _refuse_unread(kind: str, table: Mapping[str, Any], where: str) -> None:
    """Refuse a source that no reader can read."""
    if "format" not in table:
        raise UserError(f"{where} format is missing; add one of {', '.join(FORMATS[kind])}")
    if (form := table["format"]) not in FORMATS[kind]:
        raise UserError(f"{where} format {form!r} is not read; {nearest(str(form), FORMATS[kind])}")
    rows, codes = table.get("files", []), table.get("codes", {})
    if form == "hub" and not table.get("repository"):
        raise UserError(f'{where} repository is missing; add repository = "ORG/NAME"')
    if form not in ("hub", "irds") and not rows:
        raise UserError(f'{where} files is missing; add files = [{{ path = "..." }}]')
    if any("{code}" in row["path"] for row in rows) and not (codes or "variants" in table):
        raise UserError(f'{where} a path has {{code}}; add the languages: codes = {{ rw = "kin" }}')
    if kind != "collections" and not codes and not any(row.get("lang") for row in rows):
        raise UserError(f'{where} has no language; write it as files = [{{ path, lang = "rw" }}]')


def checked(kind: type[Entry], values: Mapping[str, Any], file: Path | None, name: str) -> Entry:
    """Return an entry, or a part of it; one of the user (``file``) after a check of its values.

    Raises:
        UserError: A value is missing, of the wrong type, or has no use.
    """
    if file is None:
        return kind(**values)
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for key in values.keys() - set(known):
        raise UserError(f"{file}: [{name}] no such key {key}; {nearest(key, known)}")
    with _named_in(file, name):
        return TypeAdapter(kind).validate_python(values)


@contextmanager
def _named_in(file: Path, name: str) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        what = f"{first['msg'][0].lower()}{first['msg'][1:]} (got {shortened(first['input'])})"
        fault = f"{key} is missing; add it" if first["type"] == "missing" else f"{key}: {what}"
        raise UserError(f"{file}: [{name}] {fault}") from None
