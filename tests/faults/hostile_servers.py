"""Faulty replies to a download: statuses, ranges, lengths, encodings, cuts, redirects.

A client can see each of these faults; the replies of ``lies`` only where the sha256 is known.
"""

import gzip
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from random import Random
from typing import Literal

import httpx
from local_server import serving
from unruly_server import CONTENT, WHOLE, Reply, Server

from clir_cli.corpus import http
from clir_cli.corpus.catalogue import CatalogueFile
from clir_cli.corpus.checksums import record_of
from clir_cli.corpus.transfer import fetch
from clir_cli.errors import UserError
from faults.endings import in_child
from faults.judging import REFUSED, SAME, Fault, failure
from faults.world import Home, World

Pin = Literal["sha256", "size", "nothing"]
Answer = Callable[[int], bytes]  # from the first byte that is asked for

SIZE = len(CONTENT)
TAG = '"one"'
PAGE = b"\n<!DOCTYPE html><html><body>Please sign in.</body></html>"


@dataclass(frozen=True)
class Replies:
    """A server's replies in turn (the last one stays) to the download of a file.

    Attributes:
        name: What is wrong, in words.
        pin: What the catalogue knows of the file.
        replies: The replies.
    """

    name: str
    pin: Pin
    replies: tuple[Reply, ...]


def answer(status: int, body: bytes, **headers: str) -> bytes:
    """Return a reply as bytes; Content-Length is right unless given, '' leaves a header out."""
    fields = {"Content-Length": str(len(body)), "ETag": TAG}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}" for name, value in fields.items() if value]
    head = "\r\n".join([f"HTTP/1.1 {status} X", *lines, "Connection: close", "", ""])
    return head.encode("utf-8") + body


def part(first: int, span: str = "", body: bytes | None = None, **headers: str) -> bytes:
    """Return a reply 206 to ``bytes=first-``, by default a right one."""
    span = span or f"bytes {first}-{SIZE - 1}/{SIZE}"
    return answer(206, CONTENT[first:] if body is None else body, Content_Range=span, **headers)


def chunked(body: bytes, *sizes: str, end: bytes = b"0\r\n\r\n") -> bytes:
    """Return a chunked reply; ``sizes`` replaces the size of its one chunk."""
    chunks = b"".join(
        size.encode() + b"\r\n" + body + b"\r\n" for size in sizes or (f"{len(body):x}",)
    )
    return answer(200, chunks + end, Content_Length="", Transfer_Encoding="chunked")


def ranges() -> Iterator[tuple[str, Answer]]:
    """Yield faults of a reply 206."""
    for name, span in {
        "no Content-Range": " ",
        "another unit": "items {first}-{last}/{size}",
        "the whole file": "bytes 0-{last}/{size}",
        "five bytes later": "bytes {later}-{last}/{size}",
        "of unknown size": "bytes {first}-{last}/*",
        "of another size": "bytes {first}-{last}/{more}",
        "that ends before it begins": "bytes {last}-{first}/{size}",
        "behind its end": "bytes {first}-{more}/{size}",
        "with a sign": "bytes +{first}-{last}/{size}",
        "with huge digits": "bytes {first}-{last}/" + "9" * 5000,
        "twice": "bytes {first}-{last}/{size}, bytes {first}-{last}/{size}",
        "without numbers": "bytes */*",
    }.items():

        def wrong(first: int, span: str = span) -> bytes:
            numbers = {"first": first, "last": SIZE - 1, "size": SIZE, "more": SIZE + 9}
            body = CONTENT if span.startswith("bytes 0-") else CONTENT[first:]
            return part(first, span.format(later=first + 5, **numbers), body)

        yield f"206, range {name}", wrong
    yield "206, half of the file", lambda _: part(0, f"bytes 0-{SIZE // 2 - 1}/{SIZE}",
                                                  CONTENT[: SIZE // 2])  # fmt: skip
    yield (
        "206, half of the file as if it were all",
        lambda _: part(0, f"bytes 0-{SIZE // 2 - 1}/{SIZE // 2}", CONTENT[: SIZE // 2]),
    )
    yield (
        "206, a thousand bytes of the rest",
        lambda first: part(
            first, f"bytes {first}-{first + 999}/{SIZE}", CONTENT[first : first + 1000]
        ),
    )
    yield "206, fewer bytes than its range", lambda first: part(first, body=CONTENT[first:-9])
    yield "206, cut", lambda first: part(first)[:-9]
    yield "206, more bytes than its range", lambda first: part(first, body=CONTENT[first:] + b"9")
    yield (
        "206, several parts",
        lambda first: part(first, " ", Content_Type="multipart/byteranges; boundary=x"),
    )
    yield (
        "206, compressed",
        lambda first: part(first, body=gzip.compress(CONTENT[first:]), Content_Encoding="gzip"),
    )
    for tag in ('"two"', f"W/{TAG}", "one", '"\u0436"'):
        yield (
            f"206, ETag {tag}",
            lambda first, tag=tag: part(first, body=CONTENT[::-1][first:], ETag=tag),
        )
    yield "206, no ETag", lambda first: part(first, ETag="")
    yield "416, always", lambda _: answer(416, b"", Content_Range=f"bytes */{SIZE}")


def bodies() -> Iterator[tuple[str, Answer]]:
    """Yield faults of a reply 200."""
    compressed = {
        "gzip": gzip.compress(CONTENT), "deflate": zlib.compress(CONTENT), "br": CONTENT,
        "gzip, identity": gzip.compress(CONTENT), "x-unknown": CONTENT, "\u0436": CONTENT,
    }  # fmt: skip
    for name, body in compressed.items():
        yield (
            f"200, encoding {name}",
            lambda _, name=name, body=body: answer(200, body, Content_Encoding=name),
        )
    yield "200, nothing", lambda _: answer(200, b"")
    yield "200, nothing and no length", lambda _: answer(200, b"", Content_Length="")
    yield "200, no length", lambda _: answer(200, CONTENT, Content_Length="")
    yield "200, no length and cut", lambda _: answer(200, CONTENT[:-9], Content_Length="")
    yield "200, cut", lambda _: answer(200, CONTENT)[:-9]
    yield "200, a web page", lambda _: answer(200, PAGE, Content_Type="text/html")
    yield "200, a web page as data", lambda _: answer(200, b"\xef\xbb\xbf" + PAGE)
    for length in ("-1", "x", f"{SIZE}, {SIZE + 1}", "9" * 30, "1e5", "0x10", "\u0663"):
        yield (
            f"200, length {length}",
            lambda _, length=length: answer(200, CONTENT, Content_Length=length),
        )
    yield "200, much longer than expected", lambda _: answer(200, CONTENT * 9)
    yield "chunks, no end", lambda _: chunked(CONTENT, end=b"")
    yield "chunks, cut", lambda _: chunked(CONTENT)[:-99]
    for size in ("-5", "zz", "F" * 40, "0x5", ""):
        yield f"chunks of {size!r} bytes", lambda _, size=size: chunked(CONTENT, size)
    for tag in ("", '"', "W/", "\u0436", '"a\tb"', "x" * 60_000):
        yield f"200, cut, ETag {tag[:9]}", lambda _, tag=tag: answer(200, CONTENT, ETag=tag)[:-9]
    for date in ("yesterday", "\u0436", "Thu, 01 Jan 1970 00:00:00 GMT"):
        yield (
            f"200, cut, changed {date}",
            lambda _, date=date: answer(200, CONTENT, ETag="", Last_Modified=date)[:-9],
        )


def statuses() -> Iterator[tuple[str, Answer]]:
    """Yield statuses that are neither 200 nor 206, each with the right bytes behind it."""
    for status in (
        *(201, 202, 203, 204, 205, 207, 226, 300, 304, 305, 400, 401, 402, 403, 404, 405, 406),
        *(407, 408, 409, 410, 412, 413, 418, 421, 423, 425, 428, 429, 431, 451, 500, 501, 502),
        *(503, 504, 505, 507, 508, 511, 599, 600, 999, 99, 0),
    ):
        yield f"status {status}", lambda _, status=status: answer(status, CONTENT)
    for wait in ("-1", "nan", "1e999", "9" * 5000, "Thu, 99 Jan 9999 00:00:00 GMT", "\u0663", "0"):
        yield (
            f"503, Retry-After {wait[:9]}",
            lambda _, wait=wait: answer(503, b"", Retry_After=wait),
        )


def redirects() -> Iterator[tuple[str, Answer]]:
    """Yield redirects that lead to nothing good."""
    for place in (
        *("/file.bin", "", "file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "javascript:1"),
        *("http://xn--/", "http://[::1", "http://127.0.0.1:99999/", "//", "http://", "\u0436:"),
        *("https://" + "a" * 300 + "/", "http://127.0.0.1:1/", "http:// /", "http://\u0436/"),
    ):
        yield f"302 to {place[:20]!r}", lambda _, place=place: answer(302, b"", Location=place)
    yield "301 with a long body", lambda _: answer(301, CONTENT * 9, Location="/elsewhere.bin")


def connections() -> Iterator[tuple[str, Answer]]:
    """Yield what is hardly HTTP."""
    whole = answer(200, CONTENT)
    texts = {
        "nothing": b"", "half a status": b"HTTP/1.1 2", "headers without end": whole[:40],
        "HTTP/0.9": CONTENT, "HTTP/9.9": b"HTTP/9.9" + whole[8:], "SSH": b"SSH-2.0-x\r\n" * 9,
        "headers of 200 kB": whole.replace(b"ETag", b"X: " + b"x" * 200_000 + b"\r\nETag"),
        "NUL in a header": whole.replace(b"ETag", b"E\0Tag"),
        "a header without a name": whole.replace(b"ETag", b""),
        "early hints first": b"HTTP/1.1 103 Early\r\nLink: <x>\r\n\r\n" + whole,
        "two replies": whole + whole,
    }  # fmt: skip
    for name, text in texts.items():
        yield name, lambda _, text=text: text


def lies() -> Iterator[tuple[str, Answer]]:
    """Yield replies with nothing wrong but their bytes, which only a checksum shows."""
    yield "200, other bytes", lambda _: answer(200, CONTENT[::-1])
    yield "200, a length that is too short", lambda _: answer(200, CONTENT, Content_Length="1000")
    yield "206, bytes of another place", lambda first: part(first, body=CONTENT[: SIZE - first])
    yield "206, other bytes", lambda first: part(first, body=bytes(SIZE - first))


def faulty_replies(seed: int) -> Iterator[Replies]:
    """Yield faults, each for a fresh and a begun download, of a file that is pinned or not.

    The server answers rightly after the fault or stays at it, as the seed decides.
    """
    rng = Random(seed)
    begun = Reply(raw=lambda _: answer(200, CONTENT)[:-50_000])
    dated = {"ETag": "", "Last_Modified": "Thu, 01 Jan 1970 00:00:00 GMT"}
    starts = {
        "fresh": (),
        "begun": (begun,),
        "begun, dated": (Reply(raw=lambda _: answer(200, CONTENT, **dated)[:-50_000]),),
    }
    pins: tuple[Pin, ...] = ("sha256", "size", "nothing")
    for make in (ranges, bodies, statuses, redirects, connections, lies):
        for name, raw in make():
            for start, before in starts.items():
                after = rng.choice([(), (WHOLE,)])
                what = f"{start}: {name}{', then right' if after else ''}"
                pin = rng.choice(pins if make is not lies else pins[:1])
                yield Replies(what, pin, (*before, Reply(raw=raw), *after))


# --------------------------------------------------------------------------- what becomes of them


def outcome(fault: Replies, folder: Path) -> str:
    """Return what becomes of a download from a faulty server, in a process of its own."""
    ending = in_child(lambda: _download(fault, folder), seconds=60)
    if ending.refused:
        return REFUSED
    return SAME if ending.code == 0 else failure(ending)


def _download(fault: Replies, folder: Path) -> int:
    """Download once from the faulty server, and where it is refused again from a good one."""
    http.time.sleep = lambda _: None
    http.TIMEOUT = httpx.Timeout(2.0)
    os.environ["NO_PROXY"] = "127.0.0.1"
    for name in ("CLIR_OFFLINE", "HF_HUB_OFFLINE", "CLIR_CACHE"):
        os.environ.pop(name, None)
    target, server = folder / "file.bin", Server()
    with serving(server):
        entry = server.plan(*fault.replies)
        if fault.pin == "size":
            entry = replace(entry, sha256="")
        elif fault.pin == "nothing":
            entry = CatalogueFile("file.bin", entry.url, about=len(CONTENT))
        code = 0
        try:
            fetch(entry, target)
        except UserError as error:
            print(f"clir: {error}", file=sys.stderr)
            code = 2
            assert entry.url in str(error)
            assert not target.exists()
            server.plan(WHOLE)
            assert fetch(entry, target), "the fault spoils the next call"
    assert target.read_bytes() == CONTENT, "other bytes"
    left = {path.name for path in folder.iterdir()} - {target.name, record_of(target).name}
    assert not left, f"left behind: {left}"
    return code


def hostile_servers(world: World, chance: Random) -> Iterator[Fault]:
    """Yield faulty replies as faults."""
    for _ in count():
        faults = list(faulty_replies(chance.randrange(1 << 30)))
        for fault in chance.sample(faults, len(faults)):
            yield Fault("servers", f"{fault.name} ({fault.pin})",
                        lambda home, f=fault: outcome(f, _emptied(home)))  # fmt: skip


def _emptied(home: Home) -> Path:
    folder = home.folder / "server"
    folder.mkdir()
    return folder
