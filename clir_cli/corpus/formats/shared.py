"""What readers of all formats share: a located file, lines of text, zips."""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from clir_cli.corpus.catalogue import SourceFile
from clir_cli.errors import UserError


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


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip whose directory and checksums are whole.

    Raises:
        UserError: The file is cut or damaged.
    """
    try:
        archive = zipfile.ZipFile(path)
        damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"{path}: cut or damaged zip ({error}); delete it and download it again"
        ) from None
    if damaged:
        raise UserError(f"{path}: {damaged} is damaged in the zip; delete it and download it again")
    return archive
