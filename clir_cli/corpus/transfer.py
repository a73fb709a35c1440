"""Transfers: one file from a URL, a mirror or a shared cache to its path, whole, or not at all.

Environment: ``CLIR_CACHE`` names a folder that is only read, with the layout of a mirror;
``CLIR_OFFLINE=1`` or ``HF_HUB_OFFLINE=1`` forbids the network; ``HF_TOKEN`` is sent to the hub and
to no other host; httpx respects ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY``.
"""

import os
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from clir_cli.corpus.catalogue import CatalogueFile, host_path
from clir_cli.corpus.checksums import is_whole, known_digest, record_of, write_record
from clir_cli.errors import MissingInput, NotThere, UserError, first_line
from clir_cli.files import alone, file_digest

BLOCK = 1 << 16
ATTEMPTS = 5  # in a row without a byte of progress
TIMEOUT = httpx.Timeout(30.0, connect=15.0)
PATIENCE = 300.0  # seconds that a server may ask us to wait
LARGEST = 1 << 36  # bytes (64 GiB) of a file of unknown size
RESERVE = 1 << 28  # bytes (256 MiB) that stay free on the disk
TOKEN_ORIGIN = ("https", "huggingface.co")

Advance = Callable[[int], None]


def is_offline() -> bool:
    """Return True if the environment forbids the network."""
    values = (os.environ.get(name, "") for name in ("CLIR_OFFLINE", "HF_HUB_OFFLINE"))
    return any(value.strip().lower() in ("1", "true", "yes", "on") for value in values)


def cached(declared: CatalogueFile) -> Path | None:
    """Return the file in the shared cache (``CLIR_CACHE``), if it is there and whole."""
    folder = os.environ.get("CLIR_CACHE", "")
    if not folder or not declared.url:
        return None
    path = Path(folder) / host_path(declared.url)
    return path.resolve() if is_whole(path, declared) else None


def fetch(
    declared: CatalogueFile,
    target: Path,
    *,
    mirror: str = "",
    advance: Advance = lambda _: None,
    pause: float = 1.0,
    link: bool = False,
) -> bool:
    """Fetch one file to ``target``; return False if it was there already.

    The file is written to ``<target>.part``, resumed there after an interruption, checked against
    size and sha256, and renamed. Only one process at a time writes it. The sha256 of a file that
    the catalogue does not pin is recorded beside it (``<target>.sha256``) and checked from then on.

    ``mirror`` is a directory or http(s) base that holds ``<host>/<path>`` for each URL, ``advance``
    is called with the number of bytes that arrived, ``pause`` are the seconds before the second
    attempt (doubled for each further one). With ``link`` a file of the shared cache may be linked
    to, rather than copied.

    Raises:
        MissingInput: The network is forbidden and the file is not available locally.
        UserError: Not reachable, not on the mirror, or not the file that the catalogue pins.
    """
    if is_whole(target, declared):
        return False
    part = target.with_name(target.name + ".part")
    is_folder = bool(mirror) and not mirror.startswith(("http://", "https://"))
    source = _on_mirror(mirror, declared.url) if is_folder else cached(declared)
    if source is None and is_offline():
        raise MissingInput(
            f"{declared.url} is missing and the network is switched off (CLIR_OFFLINE or "
            "HF_HUB_OFFLINE); give a folder with --mirror or CLIR_CACHE"
        )
    with alone(target, wait=True):
        if is_whole(target, declared):
            return False
        if source is not None and link and not is_folder:
            # Under another name: the partial file is written to, and must never be a link.
            shortcut = target.with_name(target.name + ".link")
            shortcut.unlink(missing_ok=True)
            shortcut.symlink_to(source)
            shortcut.replace(target)
            write_record(target, declared)
            advance(source.stat().st_size)
            return True
        is_pinned = bool(declared.bytes or declared.sha256)
        if source is not None:
            with source.open("rb") as reader, part.open("wb") as writer:
                while block := reader.read(BLOCK):
                    writer.write(block)
                    advance(len(block))
        elif not (is_pinned and is_whole(part, declared)):  # else only renaming was interrupted
            url = f"{mirror.rstrip('/')}/{host_path(declared.url)}" if mirror else declared.url
            _download(url, part, declared, advance, pause)
        _check(part, target, declared)
        part.replace(target)
        write_record(target, declared)
    return True


def _on_mirror(mirror: str, url: str) -> Path:
    if not Path(mirror).is_dir():
        raise UserError(f"--mirror {mirror}: no such directory (or give an http(s) address)")
    path = Path(mirror) / host_path(url)
    if not path.is_file():
        raise NotThere(f"{path}: not on the mirror; add it there, or leave --mirror out")
    return path


def _download(
    url: str, part: Path, declared: CatalogueFile, advance: Advance, pause: float
) -> None:
    failures = furthest = reported = 0

    def reached(position: int) -> None:  # moves back when the server begins again
        nonlocal reported
        advance(position - reported)
        reported = position

    while True:
        try:
            _download_once(url, part, declared, reached)
            if declared.bytes and part.stat().st_size < declared.bytes:
                raise httpx.RemoteProtocolError("the transfer ended early")
            return
        except (httpx.RequestError, httpx.HTTPStatusError, httpx.InvalidURL) as error:
            _refuse_final(url, error)
            size = part.stat().st_size if part.exists() else 0
            # Progress is more than ever before: a server may have less than was asked for.
            failures = 1 if size > furthest else failures + 1
            furthest = max(size, furthest)
            if failures >= ATTEMPTS:
                raise UserError(
                    f"{url}: cannot be fetched after {failures} attempts ({first_line(error)}); "
                    "run the same command again to continue, or give a copy with --mirror"
                ) from None
            time.sleep(max(pause * 2 ** (failures - 1), _retry_after(url, error)))


def _refuse_final(url: str, error: Exception) -> None:
    """Raise UserError at once if another attempt cannot help."""
    if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
        raise UserError(f"{url}: not an http(s) address") from None
    if isinstance(error, httpx.TooManyRedirects):
        raise UserError(f"{url}: redirects without end; give a copy with --mirror") from None
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        if status in (401, 403) and _is_hub(url):
            raise UserError(
                f"{url}: the server answers {status}; accept its terms on the hub and set HF_TOKEN"
            ) from None
        if status not in (408, 425, 429) and status < 500:
            kind = NotThere if status in (404, 410) else UserError
            raise kind(f"{url}: the server answers {status}; give a copy with --mirror") from None


def _retry_after(url: str, error: Exception) -> float:
    """Return the seconds that the server asks to wait in Retry-After (seconds, or a date)."""
    if not isinstance(error, httpx.HTTPStatusError):
        return 0.0
    value = error.response.headers.get("Retry-After", "").strip()
    try:
        if value.isdecimal():
            seconds = float(value)
        else:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return 0.0
    if seconds > PATIENCE:
        raise UserError(
            f"{url}: the server asks to wait {seconds / 60:.0f} minutes; run the same command "
            "then, or give a copy with --mirror"
        ) from None
    return max(0.0, seconds)


def _is_hub(url: str) -> bool:
    return urlsplit(url)[:2] == TOKEN_ORIGIN


def _headers(url: str, size: int, version: str) -> dict[str, str]:
    # With compression, sizes and ranges would count other bytes.
    headers = {"Accept-Encoding": "identity"}
    if size:
        headers["Range"] = f"bytes={size}-"
        if version:
            headers["If-Range"] = version
    token = os.environ.get("HF_TOKEN", "").strip()
    if token and _is_hub(url):  # httpx removes it when a redirect leads to another host
        headers["Authorization"] = f"Bearer {token}"
    return headers


def _download_once(
    url: str, part: Path, declared: CatalogueFile, reached: Callable[[int], None]
) -> None:
    size = part.stat().st_size if part.exists() else 0
    tag = part.with_name(part.name + ".tag")
    version = tag.read_text(encoding="utf-8") if tag.exists() else ""
    if not declared.sha256 and not version:
        size = 0  # nothing would show that the rest is of another version of the file
    limit = declared.bytes or 2 * declared.about or LARGEST
    headers = _headers(url, size, version)
    with httpx.stream("GET", url, headers=headers, timeout=TIMEOUT, follow_redirects=True) as reply:
        if reply.status_code == 416:  # the partial file is longer than the file: begin again
            part.unlink(missing_ok=True)
            raise httpx.RemoteProtocolError("the server cannot continue the transfer")
        reply.raise_for_status()
        if reply.status_code != 206:
            size = 0
            if not declared.sha256:
                version = reply.headers.get("ETag", "")
                if not version or version.startswith("W/"):  # a weak one does not identify a file
                    version = reply.headers.get("Last-Modified", "")
                tag.write_text(version, encoding="utf-8")
        length = reply.headers.get("Content-Length", "")
        announced = int(length) if length.isdecimal() else 0
        _require_room(url, part, announced or max(0, declared.bytes - size))
        with part.open("ab" if reply.status_code == 206 else "wb") as writer:
            reached(size)
            for block in reply.iter_raw():  # as it comes: an interruption loses nothing
                size += len(block)
                if size > limit:
                    writer.close()
                    part.unlink()
                    bound = f"{limit:,} bytes, where the catalogue knows no exact size"
                    if declared.bytes:
                        bound = f"the {limit:,} bytes of the catalogue"
                    raise UserError(f"{url}: longer than {bound}")
                if not declared.bytes and size // RESERVE != (size - len(block)) // RESERVE:
                    _require_room(url, part, 0)
                writer.write(block)
                reached(size)
    chunked = "chunked" in reply.headers.get("Transfer-Encoding", "").lower()
    has_end = chunked or "Content-Length" in reply.headers or reply.http_version == "HTTP/2"
    if not (declared.bytes or declared.sha256 or has_end):
        part.unlink()
        raise UserError(
            f"{url}: neither server nor catalogue gives its length, so that a truncation would go "
            "unnoticed; give a copy with --mirror"
        )
    tag.unlink(missing_ok=True)


def _require_room(url: str, part: Path, more: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if free < more + RESERVE:
        raise UserError(
            f"{url}: no room in {part.parent}: {more / 1e6:,.0f} MB to come, {free / 1e6:,.0f} MB "
            "free; make room, or choose another folder with --home"
        )


def _check(part: Path, target: Path, declared: CatalogueFile) -> None:
    known = known_digest(target, declared)
    actual, size = file_digest(part), part.stat().st_size
    if actual == (known or actual) and size == (declared.bytes or size):
        return
    part.unlink()
    expected = f"{declared.bytes:,} bytes, " if declared.bytes else ""
    remedy = "nothing was kept, try again or use another mirror"
    if not declared.sha256:
        remedy += f"; if the publisher changed it, delete {record_of(target)} first"
    raise UserError(
        f"{declared.url}: the checksum does not match: {size:,} bytes, sha256 {actual[:12]}..., "
        f"expected {expected}{known[:12]}...; {remedy}"
    )
