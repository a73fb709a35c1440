"""HTTP: one file from an address, resumed where it was cut, and no other bytes than its own.

A reply is believed only if it says which bytes of which version it has, and then has them.
Environment: ``HF_TOKEN`` is sent to the hub and to no other host; httpx respects ``HTTPS_PROXY``,
``HTTP_PROXY``, ``NO_PROXY`` and ``SSL_CERT_FILE``.
"""

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx

from clir_cli.corpus.catalogue import CatalogueFile
from clir_cli.errors import NotThere, UserError, first_line
from clir_cli.files import file_digest

ATTEMPTS = 5  # in a row without a byte of progress
TIMEOUT = httpx.Timeout(30.0, connect=15.0)
PATIENCE = 300.0  # seconds that a server may ask us to wait
LARGEST = 1 << 36  # bytes (64 GiB) of a file of unknown size
RESERVE = 1 << 28  # bytes (256 MiB) that stay free on the disk
REDIRECTS = 20
WINDOW, SLOWEST = 60.0, 60_000  # fewer bytes in so many seconds are no progress
TOKEN_ORIGIN = ("https", "huggingface.co")
RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII)

Advance = Callable[[int], None]


class TooSlow(httpx.ReadTimeout):
    """A server that sends a byte now and then, which would take for ever."""


class Body(NamedTuple):
    """What a reply says that it holds: the file from byte ``first``, of ``whole`` bytes in all.

    ``whole`` is 0 if the server does not say; ``etag`` and ``date`` are its headers, '' if missing.
    """

    first: int = 0
    whole: int = 0
    etag: str = ""
    date: str = ""

    @property
    def version(self) -> str:
        """Return what identifies the version of the file, for If-Range: '' if nothing does."""
        if re.fullmatch(r'"[\x21\x23-\x7e]*"', self.etag):  # a weak one does not identify it
            return self.etag
        return self.date if self.date.isascii() and self.date.isprintable() else ""

    def is_of(self, begun: "Body") -> bool:
        """Return True if nothing shows that this is of another version than what was begun."""
        same_tag = self.etag == begun.etag or not (self.etag or begun.version == begun.etag)
        return same_tag and self.date in ("", begun.date) and begun.whole in (0, self.whole)


def download(
    url: str,
    part: Path,
    declared: CatalogueFile,
    advance: Advance,
    pause: float,
    expects_network: bool = True,
) -> None:
    """Download a file to ``part``, or what is still missing of it; see ``transfer.fetch``.

    Without ``expects_network`` a host that cannot be reached is not tried again.

    Raises:
        NotThere: The server has no such file.
        UserError: Not reachable, or the server sends something else than the file.
    """
    failures = furthest = reported = 0

    def reached(position: int) -> None:  # moves back when the server begins again
        nonlocal reported
        advance(position - reported)
        reported = position

    with _client() as client:
        while True:
            try:
                resumed = _download_once(client, url, part, declared, reached)
                if not (resumed and declared.sha256) or file_digest(part) == declared.sha256:
                    return
                part.unlink()  # the part that was there was not of this file
                failures = ATTEMPTS - 1
            except (httpx.RequestError, httpx.HTTPStatusError, httpx.InvalidURL) as error:
                _refuse_final(url, error)
                size = part.stat().st_size if part.exists() else 0
                # Progress is more than ever before: a server may have less than was asked for.
                progress = size > furthest and not isinstance(error, TooSlow)
                failures = 1 if progress else failures + 1
                furthest = max(size, furthest)
                is_closed = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if failures >= ATTEMPTS or (is_closed and not expects_network):
                    attempts = "1 attempt" if failures == 1 else f"{failures} attempts"
                    raise UserError(
                        f"{url}: cannot be fetched after {attempts} ({first_line(error)}); run the "
                        "same command again to continue, or give a copy with --mirror"
                    ) from None
                time.sleep(max(pause * 2 ** (failures - 1), _retry_after(url, error)))
            except (UnicodeError, OverflowError):  # of a host's name, of a port
                _refuse_final(url, httpx.InvalidURL(url))


def _client() -> httpx.Client:
    try:
        return httpx.Client(timeout=TIMEOUT)
    except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
        raise UserError(
            f"the network settings of the environment cannot be used: {first_line(error)}; correct "
            "or unset SSL_CERT_FILE, HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY"
        ) from None


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
        if not (token.isascii() and token.isprintable()):
            raise UserError("HF_TOKEN has characters that no token has; correct or unset it")
        headers["Authorization"] = f"Bearer {token}"
    return headers


def _download_once(
    client: httpx.Client,
    url: str,
    part: Path,
    declared: CatalogueFile,
    reached: Callable[[int], None],
) -> bool:
    """Download a file, or the rest of it; return True if some of it was there before."""
    size = part.stat().st_size if part.exists() else 0
    tag = part.with_name(part.name + ".tag")
    begun = _read_tag(tag)
    if not declared.sha256 and not begun.version:
        size = 0  # nothing would show that the rest is of another version of the file
    with _answered(client, url, _headers(url, size, begun.version)) as reply:
        try:
            body = _body_of(url, reply, size, begun)
        except httpx.RemoteProtocolError:  # begin again: what is there may be the fault
            part.unlink(missing_ok=True)
            raise
        size = body.first
        _refuse_long(url, body.whole, declared)
        _require_room(url, part, max(0, (body.whole or declared.bytes) - size))
        if not size and not declared.sha256:
            tag.write_text(f"{body.etag}\n{body.date}\n{body.whole}", encoding="utf-8")
        begin, mark = time.monotonic(), size
        with part.open("ab" if size else "wb") as writer:
            reached(size)
            for block in reply.iter_raw():  # as it comes: an interruption loses nothing
                size += len(block)
                try:
                    _refuse_long(url, size, declared)
                except UserError:
                    part.unlink()
                    raise
                if not declared.bytes and size // RESERVE != (size - len(block)) // RESERVE:
                    _require_room(url, part, 0)
                writer.write(block)
                reached(size)
                if (now := time.monotonic()) - begin >= WINDOW:
                    if size - mark < SLOWEST and size != (body.whole or declared.bytes):
                        raise TooSlow(f"{size - mark} bytes in {now - begin:.0f} seconds")
                    begin, mark = now, size
    has_end = body.whole or "chunked" in reply.headers.get("Transfer-Encoding", "").lower()
    if size and not (declared.bytes or declared.sha256 or has_end):
        part.unlink()
        raise UserError(
            f"{url}: neither server nor catalogue gives its length, so that a truncation would go "
            "unnoticed; give a copy with --mirror"
        )
    if not size or size < max(body.whole, declared.bytes):
        raise httpx.RemoteProtocolError("the transfer ended early")
    return bool(body.first)


@contextmanager
def _answered(
    client: httpx.Client, url: str, headers: Mapping[str, str]
) -> Iterator[httpx.Response]:
    """Yield the reply to a request, redirects followed; the body of a redirect is not read."""
    request = client.build_request("GET", url, headers=headers)
    for _ in range(REDIRECTS + 1):
        reply = client.send(request, stream=True)
        try:
            if reply.next_request is None:
                yield reply
                return
            request = reply.next_request
        finally:
            reply.close()
    raise httpx.TooManyRedirects("redirects without end")


def _body_of(url: str, reply: httpx.Response, asked: int, begun: Body) -> Body:
    """Return what a reply holds of a file whose bytes from ``asked`` on are wanted.

    Raises:
        HTTPStatusError: The server reports an error.
        RemoteProtocolError: It has other bytes than those that were asked for.
        UserError: It is no plain file.
    """
    if reply.status_code == 416:  # the partial file is longer than the file
        raise httpx.RemoteProtocolError("the server cannot continue the transfer")
    reply.raise_for_status()
    encoding = reply.headers.get("Content-Encoding", "identity").strip().lower()
    if reply.status_code not in (200, 206) or encoding != "identity":
        what = f"answers {reply.status_code}"
        if encoding != "identity":
            what = f"sends it as {encoding}, which was not asked for"
        raise UserError(f"{url}: the server {what}; give a copy with --mirror")
    length = int(reply.headers.get("Content-Length") or 0)  # a number: h11 has read it too
    etag, date = (reply.headers.get(name, "").strip() for name in ("ETag", "Last-Modified"))
    if reply.status_code == 200:
        return Body(0, length, etag, date)
    content_range = reply.headers.get("Content-Range", "")
    part = RANGE.fullmatch(content_range.strip())
    first, last, whole = map(int, part.groups()) if part else (0, 0, 0)
    body = Body(first, whole, etag, date)
    is_right = asked and first == asked <= last < whole and length in (0, last - first + 1)
    if not is_right or not (begun == Body() or body.is_of(begun)):
        raise httpx.RemoteProtocolError(f"the server sends another part ({content_range or 206})")
    return body


def _read_tag(tag: Path) -> Body:
    """Return what is known of the version of a partial file."""
    try:
        etag, date, whole = tag.read_text(encoding="utf-8").split("\n")
        return Body(0, int(whole), etag, date)
    except (OSError, ValueError):
        return Body()


def _refuse_long(url: str, size: int, declared: CatalogueFile) -> None:
    limit = declared.bytes or 2 * declared.about or LARGEST
    if size > limit:
        bound = f"{limit:,} bytes, where the catalogue knows no exact size"
        if declared.bytes:
            bound = f"the {limit:,} bytes of the catalogue"
        raise UserError(f"{url}: longer than {bound}")


def _require_room(url: str, part: Path, more: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if free < more + RESERVE:
        raise UserError(
            f"{url}: no room in {part.parent}: {more / 1e6:,.0f} MB to come, {free / 1e6:,.0f} MB "
            "free; make room, or choose another folder with --home"
        )
