"""Transfers: one file from a URL or a mirror to its place, whole and checked, or not at all."""

import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from clir_cli.corpus.catalogue import SourceFile
from clir_cli.errors import UserError
from clir_cli.files import alone, file_digest

BLOCK = 1 << 16
ATTEMPTS = 5  # in a row without a byte of progress
TIMEOUT = httpx.Timeout(30.0, connect=15.0)

Advance = Callable[[int], None]


def is_whole(path: Path, entry: SourceFile) -> bool:
    """Tell whether a file is there with the size and sha256 of its catalogue entry."""
    if not path.is_file():
        return False
    if entry.bytes and path.stat().st_size != entry.bytes:
        return False
    return not entry.sha256 or file_digest(path) == entry.sha256


def fetch(
    entry: SourceFile,
    target: Path,
    *,
    mirror: str = "",
    advance: Advance = lambda _: None,
    pause: float = 1.0,
) -> bool:
    """Bring one file to ``target``; return False when it was there already.

    The file is written to ``<target>.part``, continued there after a cut, checked against size
    and sha256, and renamed. Only one process at a time writes it.

    Args:
        entry: What to fetch; ``url``, ``bytes`` and ``sha256`` come from the catalogue.
        target: Where it belongs.
        mirror: A directory or http(s) base that holds ``<host>/<path>`` for each URL.
        advance: Called with the number of bytes that arrived.
        pause: Seconds before the second attempt; doubled for each further one.

    Raises:
        UserError: Not reachable, not on the mirror, or not the file that the catalogue pins.
    """
    if is_whole(target, entry):
        return False
    part = target.with_name(target.name + ".part")
    folder = _mirror_folder(mirror)
    source = _on_mirror(folder, entry.url) if folder is not None else None
    with alone(target, wait=True):
        if is_whole(target, entry):
            return False
        if source is not None:
            _copy(source, part, advance)
        else:
            if not is_whole(part, entry):  # else only the renaming was cut
                url = _mirrored(entry.url, mirror) if mirror else entry.url
                _download(url, part, entry.bytes, advance, pause)
        _check(part, entry)
        part.replace(target)
    return True


def _mirror_folder(mirror: str) -> Path | None:
    if not mirror or mirror.startswith(("http://", "https://")):
        return None
    if not Path(mirror).is_dir():
        raise UserError(f"--mirror {mirror}: no such directory (or give an http(s) address)")
    return Path(mirror)


def _path_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.netloc}/{parts.path.lstrip('/')}"


def _mirrored(url: str, mirror: str) -> str:
    return f"{mirror.rstrip('/')}/{_path_of(url)}"


def _on_mirror(folder: Path, url: str) -> Path:
    path = folder / _path_of(url)
    if not path.is_file():
        raise UserError(f"{path}: not on the mirror; add it there, or leave --mirror out")
    return path


def _copy(source: Path, part: Path, advance: Advance) -> None:
    with source.open("rb") as reader, part.open("wb") as writer:
        while block := reader.read(BLOCK):
            writer.write(block)
            advance(len(block))


def _download(url: str, part: Path, size: int, advance: Advance, pause: float) -> None:
    failures = furthest = told = 0

    def reached(position: int) -> None:  # falls back when the server begins again
        nonlocal told
        advance(position - told)
        told = position

    while True:
        try:
            _download_once(url, part, size, reached)
            if size and part.stat().st_size < size:
                raise httpx.RemoteProtocolError("the transfer ended early")
            return
        except (httpx.RequestError, httpx.HTTPStatusError, httpx.InvalidURL) as error:
            _refuse_final(url, error)
            there = part.stat().st_size if part.exists() else 0
            # Progress is more than was ever there: a server may have less than was asked for.
            failures = 1 if there > furthest else failures + 1
            furthest = max(there, furthest)
            if failures >= ATTEMPTS:
                raise UserError(
                    f"{url}: cannot be fetched after {failures} attempts ({_brief(error)}); run "
                    "the same command again to continue, or give a copy with --mirror"
                ) from None
            time.sleep(pause * 2 ** (failures - 1))


def _refuse_final(url: str, error: Exception) -> None:
    """Stop at once where another attempt cannot help."""
    if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
        raise UserError(f"{url}: not an http(s) address") from None
    if isinstance(error, httpx.TooManyRedirects):
        raise UserError(f"{url}: redirects without end; give a copy with --mirror") from None
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        if status not in (408, 425, 429) and status < 500:
            raise UserError(
                f"{url}: the server answers {status}; give a copy with --mirror"
            ) from None


def _brief(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _download_once(url: str, part: Path, size: int, reached: Callable[[int], None]) -> None:
    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    # Compressed transfer would make sizes and ranges those of other bytes.
    headers["Accept-Encoding"] = "identity"
    with httpx.stream("GET", url, headers=headers, timeout=TIMEOUT, follow_redirects=True) as reply:
        if reply.status_code == 416:  # what is there is longer than the file: begin again
            part.unlink(missing_ok=True)
            raise httpx.RemoteProtocolError("the server cannot continue the transfer")
        reply.raise_for_status()
        continued = reply.status_code == 206
        with part.open("ab" if continued else "wb") as writer:
            written = have if continued else 0
            reached(written)
            for block in reply.iter_raw():  # as it comes: a cut loses nothing that had arrived
                written += len(block)
                if size and written > size:
                    writer.close()
                    part.unlink()
                    raise UserError(f"{url}: longer than the {size:,} bytes of the catalogue")
                writer.write(block)
                reached(written)


def _check(part: Path, entry: SourceFile) -> None:
    if is_whole(part, entry):
        return
    found, size = file_digest(part), part.stat().st_size
    part.unlink()
    raise UserError(
        f"{entry.url}: the checksum does not match: {size:,} bytes, sha256 {found[:12]}..., "
        f"expected {entry.bytes:,} bytes, {entry.sha256[:12]}...; nothing was kept, try again or "
        "take another mirror"
    )
