"""Opening of files: regular ones alone, unpacked as they are read, and no more than text can be.

A compressed file is known by its name or its first bytes.
"""

import bz2
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from clir_cli.errors import MissingInput, UserError

# Text shrinks to a tenth or, repeated, to a fiftieth; deflate itself can reach a thousandth.
LARGEST_RATIO = 200
ALWAYS_ALLOWED = 64 << 20  # bytes unpacked; any ratio is accepted below this
BUFFER = 1 << 18
LONGEST_LINE = 1 << 20  # bytes; a sentence is never so long, a damaged file's line may be

DAMAGED = (EOFError, OSError, zlib.error, lzma.LZMAError)


def _open_zstandard(file: IO[bytes]) -> IO[bytes]:
    try:
        from backports.zstd import ZstdFile
    except ImportError:
        file.close()
        what = "zstd is read with a package: pip install 'clir-cli[zstd]'"
        raise UserError(f"{file.name}: {what}, or unpack the file") from None
    return cast(IO[bytes], ZstdFile(file))


COMPRESSED: tuple[tuple[str, re.Pattern[bytes], Callable[..., Any]], ...] = (
    (".gz", re.compile(rb"\x1f\x8b\x08"), gzip.open),
    (".bz2", re.compile(rb"BZh[1-9]1AY&SY"), bz2.open),
    (".xz", re.compile(rb"\xfd7zXZ\0"), lzma.open),
    (".zst", re.compile(rb"\x28\xb5\x2f\xfd"), _open_zstandard),
)
SUFFIXES = tuple(suffix for suffix, _, _ in COMPRESSED)
ARCHIVE = re.compile(rb"PK\x03\x04|\x1f\x9d|7z\xbc\xaf|Rar!|(?s:.{257})ustar")
WIDE = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")  # byte order marks of UTF-16 and UTF-32


def unpacked_name(path: Path) -> Path:
    """Return a path without the suffix of a compressed file.

    >>> unpacked_name(Path("train.csv.gz")).name
    'train.csv'
    """
    return path.with_suffix("") if path.suffix.lower() in SUFFIXES else path


def require_regular(path: Path, note: str = "") -> None:
    """Refuse what is no file that ends by itself.

    Raises:
        MissingInput: There is nothing; ``note`` ends the message.
        UserError: It is a folder, a pipe or a device.
    """
    if path.is_file():
        return
    if path.exists():
        raise UserError(f"{path}: not a regular file{note}")
    raise MissingInput(f"{path}: no such file{note}", has_remedy=True)


def open_unpacked(path: Path) -> io.BufferedReader:
    """Open a file; gzip, bzip2, xz and zstd are unpacked as they are read.

    Raises:
        UserError: It is no regular file, or zstd is not installed. While it is read: it is
            truncated or damaged, or unpacks to far more than text can shrink (a bomb).
    """
    require_regular(path)
    file = path.open("rb")
    head = file.peek(16)
    for suffix, magic, unpack in COMPRESSED:
        if path.suffix.lower() == suffix or magic.match(head):
            return io.BufferedReader(_Unpacked(path, file, unpack(file)), BUFFER)
    return file


def open_text(path: Path) -> io.BufferedReader:
    """Open a file of text as ``open_unpacked``; UserError for archives, UTF-16 and UTF-32."""
    stream = open_unpacked(path)
    try:
        head = stream.peek(512)[:512]
    except UserError:
        stream.close()
        raise
    if ARCHIVE.match(head):
        fault = f"unpack it first; plain files and {', '.join(SUFFIXES)} are read"
    elif head.startswith(WIDE) or head[:64].count(0) * 4 > len(head[:64]):
        fault = "UTF-16 or UTF-32, or no text; save it as UTF-8"
    else:
        return stream
    stream.close()
    raise UserError(f"{path}: {fault}")


def limited_lines(stream: io.BufferedReader, limit: int = LONGEST_LINE) -> Iterator[bytes]:
    """Yield lines, at most ``limit`` bytes of each."""
    while line := stream.readline(limit):
        yield line
        while len(line) == limit and not line.endswith(b"\n"):
            line = stream.readline(limit)


class _Unpacked(io.RawIOBase):
    """The content of a compressed file."""

    def __init__(self, path: Path, file: IO[bytes], stream: IO[bytes]) -> None:
        self._path, self._file, self._stream = path, file, stream
        self._left = max(ALWAYS_ALLOWED, LARGEST_RATIO * path.stat().st_size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            content = self._stream.read(len(buffer))
        except Exception as error:
            if not isinstance(error, DAMAGED) and type(error).__name__ != "ZstdError":
                raise
            raise UserError(
                f"{self._path}: truncated or damaged ({error}); replace it by a whole copy"
            ) from None
        self._left -= len(content)
        if self._left < 0:
            raise UserError(f"{self._path}: unpacks to far more than text does; not a safe file")
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        self._stream.close()
        self._file.close()
        super().close()
