"""Transfers: one file from a URL, a mirror or a shared cache to its place, whole, or not at all.

Environment: ``CLIR_CACHE`` names a folder that is only read, laid out like a mirror;
``CLIR_OFFLINE=1`` or ``HF_HUB_OFFLINE=1`` forbids the network; ``HF_TOKEN`` is sent to the hub and
to no other host; ``HTTPS_PROXY``, ``HTTP_PROXY``, ``NO_PROXY`` are heeded by httpx.
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

from clir_cli.corpus.catalogue import SourceFile
from clir_cli.corpus.checksums import is_whole, known_digest, record_of, write_record
from clir_cli.errors import MissingInput, NotThere, UserError
from clir_cli.files import alone, file_digest

BLOCK = 1 << 16
ATTEMPTS = 5  # in a row without a byte of progress
TIMEOUT = httpx.Timeout(30.0, connect=15.0)
PATIENCE = 300.0  # seconds that a server may ask us to wait
LARGEST = 1 << 36  # bytes (64 GiB) of a file whose size nobody told
RESERVE = 1 << 28  # bytes (256 MiB) that stay free on the disk
TOKEN_ORIGIN = ("https", "huggingface.co")

Advance = Callable[[int], None]


def is_offline() -> bool:
    """Tell whether the environment forbids the network."""
    told = (os.environ.get(name, "") for name in ("CLIR_OFFLINE", "HF_HUB_OFFLINE"))
    return any(word.strip().lower() in ("1", "true", "yes", "on") for word in told)


def cached(entry: SourceFile) -> Path | None:
    """Return the file in the shared cache (``CLIR_CACHE``), if it is there and whole."""
    folder = os.environ.get("CLIR_CACHE", "")
    if not folder or not entry.url:
        return None
    path = Path(folder) / _path_of(entry.url)
    return path.resolve() if is_whole(path, entry) else None


def fetch(
    entry: SourceFile,
    target: Path,
    *,
    mirror: str = "",
    advance: Advance = lambda _: None,
    pause: float = 1.0,
    link: bool = False,
) -> bool:
    """Bring one file to ``target``; return False when it was there already.

    The file is written to ``<target>.part``, continued there after a cut, checked against size
    and sha256, and renamed. Only one process at a time writes it. A file that the catalogue does
    not pin is put on record beside itself (``<target>.sha256``) and compared with that ever after.

    Args:
        entry: What to fetch; ``url``, ``bytes`` and ``sha256`` come from the catalogue.
        target: Where it belongs.
        mirror: A directory or http(s) base that holds ``<host>/<path>`` for each URL.
        advance: Called with the number of bytes that arrived.
        pause: Seconds before the second attempt; doubled for each further one.
        link: Whether a file of the shared cache may be linked to, rather than copied.

    Raises:
        MissingInput: The network is forbidden and the file is nowhere at hand.
        UserError: Not reachable, not on the mirror, or not the file that the catalogue pins.
    """
    if is_whole(target, entry):
        return False
    part = target.with_name(target.name + ".part")
    folder = _mirror_folder(mirror)
    source = _on_mirror(folder, entry.url) if folder is not None else cached(entry)
    if source is None and is_offline():
        raise MissingInput(
            f"{entry.url} is missing and the network is switched off (CLIR_OFFLINE or "
            "HF_HUB_OFFLINE); give a folder with --mirror or CLIR_CACHE"
        )
    with alone(target, wait=True):
        if is_whole(target, entry):
            return False
        if source is not None and link and folder is None:
            # Under a name of its own: what is begun is written to, and must never be a link.
            shortcut = target.with_name(target.name + ".link")
            shortcut.unlink(missing_ok=True)
            shortcut.symlink_to(source)
            shortcut.replace(target)
            write_record(target, entry)
            advance(source.stat().st_size)
            return True
        if source is not None:
            _copy(source, part, advance)
        elif not _is_complete(part, entry):  # else only the renaming was cut
            url = _mirrored(entry.url, mirror) if mirror else entry.url
            _download(url, part, entry, advance, pause)
        _check(part, target, entry)
        part.replace(target)
        write_record(target, entry)
    return True


def _is_complete(part: Path, entry: SourceFile) -> bool:
    """Tell whether a begun file needs only its name; without a pin nobody can know."""
    return bool(entry.bytes or entry.sha256) and is_whole(part, entry)


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
        raise NotThere(f"{path}: not on the mirror; add it there, or leave --mirror out")
    return path


def _copy(source: Path, part: Path, advance: Advance) -> None:
    with source.open("rb") as reader, part.open("wb") as writer:
        while block := reader.read(BLOCK):
            writer.write(block)
            advance(len(block))


def _download(url: str, part: Path, entry: SourceFile, advance: Advance, pause: float) -> None:
    failures = furthest = told = 0

    def reached(position: int) -> None:  # falls back when the server begins again
        nonlocal told
        advance(position - told)
        told = position

    while True:
        try:
            _download_once(url, part, entry, reached)
            if entry.bytes and part.stat().st_size < entry.bytes:
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
            time.sleep(max(pause * 2 ** (failures - 1), _asked_to_wait(url, error)))


def _refuse_final(url: str, error: Exception) -> None:
    """Stop at once where another attempt cannot help."""
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


def _asked_to_wait(url: str, error: Exception) -> float:
    """Return the seconds that the server asks for with Retry-After (seconds, or a date).

    Raises:
        UserError: It asks for more than ``PATIENCE``.
    """
    if not isinstance(error, httpx.HTTPStatusError):
        return 0.0
    told = error.response.headers.get("Retry-After", "").strip()
    try:
        seconds = float(told) if told.isdecimal() else _seconds_until(told)
    except (ValueError, TypeError):
        return 0.0
    if seconds > PATIENCE:
        raise UserError(
            f"{url}: the server asks to wait {seconds / 60:.0f} minutes; run the same command "
            "then, or give a copy with --mirror"
        ) from None
    return max(0.0, seconds)


def _seconds_until(date: str) -> float:
    return (parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds() if date else 0.0


def _brief(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _is_hub(url: str) -> bool:
    parts = urlsplit(url)
    return (parts.scheme, parts.netloc) == TOKEN_ORIGIN


def _headers(url: str, have: int, version: str) -> dict[str, str]:
    # Compressed transfer would make sizes and ranges those of other bytes.
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if version:
            headers["If-Range"] = version
    token = os.environ.get("HF_TOKEN", "").strip()
    if token and _is_hub(url):  # httpx takes it away again when a redirect leads elsewhere
        headers["Authorization"] = f"Bearer {token}"
    return headers


def _download_once(url: str, part: Path, entry: SourceFile, reached: Callable[[int], None]) -> None:
    have = part.stat().st_size if part.exists() else 0
    tag = part.with_name(part.name + ".tag")
    version = tag.read_text(encoding="utf-8") if tag.exists() else ""
    if not entry.sha256 and not version:
        have = 0  # nothing would tell that the rest is of another version of the file
    headers = _headers(url, have, version)
    with httpx.stream("GET", url, headers=headers, timeout=TIMEOUT, follow_redirects=True) as reply:
        if reply.status_code == 416:  # what is there is longer than the file: begin again
            part.unlink(missing_ok=True)
            raise httpx.RemoteProtocolError("the server cannot continue the transfer")
        reply.raise_for_status()
        continued = reply.status_code == 206
        written = have if continued else 0
        if not continued and not entry.sha256:
            tag.write_text(_version(reply), encoding="utf-8")
        _require_room(url, part, _announced(reply) or max(0, entry.bytes - written))
        with part.open("ab" if continued else "wb") as writer:
            reached(written)
            for block in reply.iter_raw():  # as it comes: a cut loses nothing that had arrived
                written += len(block)
                if written > _most(entry):
                    writer.close()
                    part.unlink()
                    raise UserError(_too_long(url, entry))
                if not entry.bytes and written // RESERVE != (written - len(block)) // RESERVE:
                    _require_room(url, part, 0)
                writer.write(block)
                reached(written)
    if not entry.bytes and not entry.sha256 and not _tells_its_end(reply):
        part.unlink()
        raise UserError(
            f"{url}: neither server nor catalogue tells its length, so that a cut would go unseen; "
            "give a copy with --mirror"
        )
    tag.unlink(missing_ok=True)


def _version(reply: httpx.Response) -> str:
    """Return what names the version of a file in ``If-Range``; a weak tag does not."""
    tag = reply.headers.get("ETag", "")
    return reply.headers.get("Last-Modified", "") if tag.startswith("W/") or not tag else tag


def _tells_its_end(reply: httpx.Response) -> bool:
    chunked = "chunked" in reply.headers.get("Transfer-Encoding", "").lower()
    return chunked or "Content-Length" in reply.headers or reply.http_version == "HTTP/2"


def _announced(reply: httpx.Response) -> int:
    told = reply.headers.get("Content-Length", "")
    return int(told) if told.isdecimal() else 0


def _most(entry: SourceFile) -> int:
    """Return how long a file may be: its size, or a bound where only a rough one is known."""
    return entry.bytes or (2 * entry.about if entry.about else LARGEST)


def _too_long(url: str, entry: SourceFile) -> str:
    if entry.bytes:
        return f"{url}: longer than the {entry.bytes:,} bytes of the catalogue"
    return f"{url}: longer than {_most(entry):,} bytes, where the catalogue knows no exact size"


def _require_room(url: str, part: Path, more: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if free < more + RESERVE:
        raise UserError(
            f"{url}: no room in {part.parent}: {more / 1e6:,.0f} MB to come, {free / 1e6:,.0f} MB "
            "free; make room, or choose another folder with --home"
        )


def _check(part: Path, target: Path, entry: SourceFile) -> None:
    known = known_digest(target, entry)
    found, size = file_digest(part), part.stat().st_size
    if found == (known or found) and size == (entry.bytes or size):
        return
    part.unlink()
    expected = f"{entry.bytes:,} bytes, " if entry.bytes else ""
    remedy = "nothing was kept, try again or take another mirror"
    if not entry.sha256:
        remedy += f"; if the publisher changed it, delete {record_of(target)} first"
    raise UserError(
        f"{entry.url}: the checksum does not match: {size:,} bytes, sha256 {found[:12]}..., "
        f"expected {expected}{known[:12]}...; {remedy}"
    )
