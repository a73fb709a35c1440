"""Transfers: one file from a mirror, a shared cache or its URL to its path, whole, or not at all.

Environment: ``CLIR_CACHE`` names a folder that is only read, with the layout of a mirror;
data sets of the hub are also in the cache of huggingface_hub (``HF_HOME``);
``CLIR_OFFLINE=1`` or ``HF_HUB_OFFLINE=1`` forbids the network. corpus/http.py has more.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from clir_cli.corpus.catalogue import WEB, CatalogueFile, host_path
from clir_cli.corpus.checksums import is_whole, known_digest, record_of, write_record
from clir_cli.corpus.hub_cache import cached_file
from clir_cli.errors import MissingInput, NotThere, UserError
from clir_cli.files import alone, file_digest

BLOCK = 1 << 16
PAGE = 1 << 10  # bytes that show whether a file is a web page
SIGNATURES = {".zip": b"PK", ".gz": b"\x1f\x8b"}  # how files of a kind begin


def is_offline() -> bool:
    """Return True if the environment forbids the network."""
    values = (os.environ.get(name, "") for name in ("CLIR_OFFLINE", "HF_HUB_OFFLINE"))
    return any(value.strip().lower() in ("1", "true", "yes", "on") for value in values)


def sources(
    declared: CatalogueFile, mirror: str = "", elsewhere: bool = True
) -> Iterator[Path | str]:
    """Yield where a file may be had, first to last: the mirror, shared caches, its own URL.

    Paths are of files that exist. URLs may lack the file, and there are none without a network.

    Raises:
        UserError: ``mirror`` is neither a folder nor an http(s) address.
    """
    online = not is_offline()
    if mirror:
        place = _on_mirror(mirror, declared)
        if mirror.startswith(WEB):
            yield from [place] * online
        elif Path(place).is_file():
            yield Path(place)
        elif cached := cached_file(declared.url, Path(mirror)):
            yield cached
    if declared.url and (elsewhere or not mirror):
        folder = os.environ.get("CLIR_CACHE", "")
        if folder and is_whole(path := Path(folder) / host_path(declared.url), declared):
            yield path.resolve()
        cached = cached_file(declared.url)
        if cached and is_whole(cached, declared):
            yield cached.resolve()
        yield from [declared.url] * online


def _on_mirror(mirror: str, declared: CatalogueFile) -> str:
    if not mirror.startswith(WEB) and not Path(mirror).is_dir():
        raise UserError(f"--mirror {mirror}: no such directory (or give an http(s) address)")
    return f"{mirror.rstrip('/')}/{host_path(declared.url)}"


def fetch(
    declared: CatalogueFile,
    target: Path,
    *,
    mirror: str = "",
    advance: Callable[[int], None] = lambda _: None,
    pause: float = 1.0,
    link: bool = False,
    elsewhere: bool = True,
) -> bool:
    """Fetch one file to ``target``; return False if it was there already.

    Its sources are asked in turn. The file is written to ``<target>.part``, resumed there after an
    interruption, checked against size and sha256, and renamed. Only one process at a time writes
    it. The sha256 of a file that the catalogue does not pin is recorded beside it
    (``<target>.sha256``) and checked from then on.

    ``mirror`` is a directory or http(s) base that holds ``<host>/<path>`` for each URL, ``advance``
    is called with the number of bytes that arrived, ``pause`` are the seconds before the second
    attempt (doubled for each further one). With ``link`` a file of the shared cache may be linked
    to, rather than copied. Without ``elsewhere`` the mirror is the only source, if there is one.

    Raises:
        MissingInput: The network is forbidden and the file is not available locally.
        NotThere: No source has such a file.
        UserError: Not reachable, or not the file that the catalogue pins.
    """
    if is_whole(target, declared):
        return False
    from clir_cli.corpus.http import download  # httpx, which nothing here needs before

    place = _on_mirror(mirror, declared) if mirror else ""
    refusal: UserError | None = None
    with alone(target, wait=True):
        if is_whole(target, declared):
            return False
        for source in sources(declared, mirror, elsewhere):
            try:
                part = target.with_name(target.name + ".part")
                if isinstance(source, str):
                    is_pinned = bool(declared.bytes or declared.sha256)
                    if not (is_pinned and is_whole(part, declared)):  # else only not renamed
                        download(source, part, declared, advance, pause, not mirror)
                elif link and not (mirror and source.is_relative_to(mirror)):
                    # Of another name: the partial file is written to, so it must be no link.
                    part = target.with_name(target.name + ".link")
                    part.unlink(missing_ok=True)
                    part.symlink_to(source)
                    advance(source.stat().st_size)
                else:
                    with source.open("rb") as reader, part.open("wb") as writer:
                        while block := reader.read(BLOCK):
                            writer.write(block)
                            advance(len(block))
                target.with_name(target.name + ".part.tag").unlink(missing_ok=True)
                _check(part, target, declared)
                part.replace(target)
                write_record(target, declared)
                return True
            except UserError as error:
                refusal = error
                if not isinstance(error, NotThere):
                    break
    if place and not elsewhere and refusal is None:
        raise NotThere(f"{place}: not on the mirror; add it there")
    if refusal is None:
        refusal = MissingInput(
            f"{declared.url} is missing and the network is switched off (CLIR_OFFLINE or "
            "HF_HUB_OFFLINE); give a folder with --mirror or CLIR_CACHE"
        )
    if not place or place in str(refusal):
        raise refusal
    raise type(refusal)(f"{refusal}; not on the mirror: {place}")


def _check(part: Path, target: Path, declared: CatalogueFile) -> None:
    known = known_digest(target, declared)
    actual, size = file_digest(part), part.stat().st_size
    other = "" if known else _other_kind(part, target.suffix)
    if actual == (known or actual) and size == (declared.bytes or size) and not other:
        return
    part.unlink()
    if other:
        raise UserError(
            f"{declared.url}: {other} came in its place; sign in or accept the terms there, or "
            "give a copy with --mirror"
        )
    expected = f"{declared.bytes:,} bytes, " if declared.bytes else ""
    remedy = "nothing was kept, try again or use another mirror"
    if not declared.sha256:
        remedy += f"; if the publisher changed it, delete {record_of(target)} first"
    raise UserError(
        f"{declared.url}: the checksum does not match: {size:,} bytes, sha256 {actual[:12]}..., "
        f"expected {expected}{known[:12]}...; {remedy}"
    )


def _other_kind(path: Path, suffix: str) -> str:
    """Return what a file is in place of what its name says, as a server sends for a login."""
    with path.open("rb") as stream:
        head = stream.read(PAGE)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<") and (b"<html" in text or b"<!doctype html" in text):
        return "" if suffix.startswith(".htm") else "a web page"
    return "" if head.startswith(SIGNATURES.get(suffix, b"")) else f"something that is no {suffix}"
