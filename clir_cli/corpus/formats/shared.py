"""What readers of all formats share: a located file, lines of text, zips."""

import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from clir_cli.corpus.catalogue import SourceFile
from clir_cli.errors import UserError

# Text shrinks to a tenth or, repeated, to a fiftieth; deflate itself can reach a thousandth.
LARGEST_RATIO = 200
ALWAYS_ALLOWED = 64 << 20  # bytes; a small file may shrink as it likes
LARGEST_ZIP = 1 << 38  # bytes unpacked, 256 GiB
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError)


@dataclass(frozen=True)
class Located:
    """A source's file on this machine, with what the catalogue says of it."""

    path: Path
    entry: SourceFile


def text_lines(path: Path) -> list[str]:
    """Return the lines of a file that takes part in a collection, without outer white space."""
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = raw.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {number}: not valid UTF-8") from None
    # Not splitlines(): it also cuts at characters that may stand inside a sentence.
    return [line.strip() for line in text.removesuffix("\n").split("\n")]


def open_zip(path: Path, *, tested: bool = True) -> zipfile.ZipFile:
    """Open a zip whose directory and checksums are whole, and which unpacks to a sane size.

    Args:
        path: The zip.
        tested: Whether to read it once from end to end, so that a damage is told before anything
            is used. A reader that streams a large zip tells it as it comes: ``zipfile`` checks a
            member's checksum at its end, and never reads more of it than the directory says.

    Raises:
        UserError: The file is cut or damaged, a member's path leads out of the zip, or it would
            unpack to far more than text can shrink (a zip bomb).
    """
    try:
        archive = zipfile.ZipFile(path)
        _refuse_unsafe(path, archive.infolist())
        damaged = archive.testzip() if tested else None
    except DAMAGED as error:
        raise damaged_zip(path, error) from None
    if damaged:
        raise UserError(f"{path}: {damaged} is damaged in the zip; delete it and download it again")
    return archive


def damaged_zip(path: Path, error: Exception) -> UserError:
    """Return what to tell of a zip that cannot be read."""
    return UserError(f"{path}: cut or damaged zip ({error}); delete it and download it again")


def _refuse_unsafe(path: Path, members: list[zipfile.ZipInfo]) -> None:
    for member in members:
        # Windows separators too: what one system takes for a name is a path on another.
        name = member.filename.replace("\\", "/")
        if re.match("/|[A-Za-z]:", name) or ".." in name.split("/"):
            raise UserError(f"{path}: {member.filename!r} leads out of the zip; not a safe file")
    unpacked, packed = sum(each.file_size for each in members), path.stat().st_size
    if unpacked > LARGEST_ZIP or unpacked > max(ALWAYS_ALLOWED, LARGEST_RATIO * packed):
        raise UserError(
            f"{path}: {packed:,} bytes that unpack to {unpacked:,}, which no text does; not a safe "
            "file"
        )
