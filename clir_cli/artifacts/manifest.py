"""Manifests: what an artifact holds, and whether its files are as it says."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, StrictInt

from clir_cli.errors import UserError
from clir_cli.files import file_digest

MANIFEST = "manifest.json"
MARKER = "draft.json"  # in a draft: the fingerprint that it was begun for


class _File(BaseModel):
    bytes: StrictInt
    sha256: str


class _Manifest(BaseModel):
    """What a manifest must have; without it, or with another type, it is damaged."""

    model_config = ConfigDict(extra="allow")
    fingerprint: str
    config: dict[str, Any]
    inputs: dict[str, str]
    files: dict[str, _File]
    command: str = ""
    mend: str = ""
    source: str = ""
    versions: dict[str, str] = {}
    commit: str = ""
    hardware: dict[str, str] = {}
    finished: str = ""
    notes: dict[str, Any] = {}


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of an artifact; UserError if it is missing or not readable."""
    if not (path / MANIFEST).is_file():
        raise UserError(f"{path}: not an artifact, {MANIFEST} is missing")
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        _Manifest.model_validate(manifest)
    except (ValueError, RecursionError):  # no JSON, no UTF-8, or of other types
        raise UserError(
            f"{path / MANIFEST}: damaged; make the artifact again with --force"
        ) from None
    return manifest


def machine_of(manifest: Mapping[str, Any]) -> str:
    """Return the GPU or the processor that made an artifact; the kind of device if unknown."""
    device, hardware = manifest.get("notes", {}).get("device", ""), manifest.get("hardware", {})
    if device.startswith("cuda"):
        return str(hardware.get("GPU", device))
    return str(hardware.get("processor", device or "-")) if device in ("", "cpu") else str(device)


def is_readable(path: Path) -> bool:
    """Return True if a folder has a manifest that is not damaged."""
    try:
        return bool(read_manifest(path))
    except UserError:
        return False


def fault(path: Path, *, deep: bool = True) -> str:
    """Return what is wrong with the files of an artifact, with the name of one; empty if nothing.

    Args:
        path: The artifact.
        deep: True to check the sha256 of the files, and that there are no others: libraries read
            any file that has a name which they know. Hidden files are read by none. False to check
            sizes alone.

    Raises:
        UserError: The manifest is missing or damaged.
    """
    files = read_manifest(path)["files"]
    for name, entry in files.items():
        file = path / name
        if not file.is_file():
            return f"{file}: missing"
        if file.stat().st_size != entry["bytes"]:
            return f"{file}: {file.stat().st_size} bytes, {entry['bytes']} expected"
        if deep and file_digest(file) != entry["sha256"]:
            return f"{file}: sha256 differs from the manifest's"
    for file in sorted(path.rglob("*")) if deep else ():
        name = file.relative_to(path).as_posix()
        is_known = file.is_dir() or name in files or name in (MANIFEST, MARKER)
        if not is_known and not re.search(r"(^|/)\.", name):
            return f"{file}: not listed in the manifest; remove it"
    return ""


def verify(path: Path, *, deep: bool = True) -> dict[str, Any]:
    """Return the manifest of an artifact whose files are as it says; see ``fault``.

    Raises:
        UserError: A file is missing, truncated, changed or unlisted; the file is named.
    """
    manifest = read_manifest(path)
    if wrong := fault(path, deep=deep):
        again = f"make it again: {manifest.get('command') or 'the same command'} --force"
        remedy = f"repair it: {manifest['mend']}" if manifest.get("mend") else again
        raise UserError(f"{wrong}{', or' if wrong.endswith('remove it') else ';'} {remedy}")
    return manifest


def is_whole(path: Path, *, deep: bool = True) -> bool:
    """Return True if every file of an artifact is as its manifest says; see ``fault``."""
    try:
        return not fault(path, deep=deep)
    except UserError:
        return False
