"""Zips: opened only if whole and safe; members are read as a stream, nothing is unpacked."""

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from clir_cli.corpus.formats.opening import (
    ALWAYS_ALLOWED,
    BUFFER,
    LARGEST_RATIO,
    require_regular,
)
from clir_cli.errors import UserError

LARGEST_ZIP = 1 << 38  # bytes unpacked, 256 GiB
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError)
REMEDY = "delete it and download it again"


@contextmanager
def open_zip(path: Path, *, tested: bool = True) -> Iterator[zipfile.ZipFile]:
    """Open a zip whose directory and checksums are whole, and which unpacks to a sane size.

    ``tested``: it is read once from end to end first, so that damage is reported before anything is
    used. Otherwise damage is reported at the end of the member that has it.

    Raises:
        UserError: The file is truncated or damaged, a member's path leads out of the zip, or it
            would unpack to far more than text can shrink (a zip bomb).
    """
    require_regular(path)
    try:
        with zipfile.ZipFile(path) as archive:
            _refuse_unsafe(path, archive.infolist())
            if tested and (damaged := archive.testzip()):
                raise UserError(f"{path}: {damaged} is damaged in the zip; {REMEDY}")
            yield archive
    except DAMAGED as error:
        raise UserError(f"{path}: truncated or damaged zip ({error}); {REMEDY}") from None


def buffered(archive: zipfile.ZipFile, name: str) -> io.BufferedReader:
    """Open a member; a zip's own stream is slow at lines of limited length."""
    return io.BufferedReader(cast(io.RawIOBase, archive.open(name)), BUFFER)


def only_member(archive: zipfile.ZipFile, name: str, kind: str) -> str:
    """Return the path of the one member, in whatever folder, with this name; ``*`` is any text.

    Raises:
        UserError: No member has this name, or several have; the message says what ``kind`` has.
    """
    pattern = re.compile(rf"(?:.*/)?{re.escape(name).replace(re.escape('*'), '[^/]+')}")
    members = [member for member in archive.namelist() if pattern.fullmatch(member)]
    if len(members) != 1:
        raise UserError(
            f"{archive.filename}: {len(members)} members are named {name}, where {kind} has one"
        )
    return members[0]


def _refuse_unsafe(path: Path, members: list[zipfile.ZipInfo]) -> None:
    for member in members:
        # Windows separators too: what one system takes for a name is a path on another.
        name = member.filename.replace("\\", "/")
        if re.match("/|[A-Za-z]:", name) or ".." in name.split("/"):
            raise UserError(f"{path}: {member.filename!r} leads out of the zip; not a safe file")
    unpacked, packed = sum(member.file_size for member in members), path.stat().st_size
    if unpacked > LARGEST_ZIP or unpacked > max(ALWAYS_ALLOWED, LARGEST_RATIO * packed):
        raise UserError(
            f"{path}: {packed:,} bytes that unpack to {unpacked:,}, which no text does; not a safe "
            "file"
        )
