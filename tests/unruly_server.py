"""A real server that cuts, lies, stalls and redirects, as each test tells it to."""

import hashlib
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from local_server import LocalServer, QuietHandler

from clir_cli.corpus.catalogue import CatalogueFile

CONTENT = random.Random(0).randbytes(200_000)  # a few blocks


@dataclass(frozen=True)
class Reply:
    """How the server answers one request."""

    content: bytes = CONTENT
    status: int = 200
    ranges: bool = True
    cut: int = 0  # close the connection before this byte of the file
    silent: bool = False  # with cut: say nothing more instead of closing
    length: bool = True  # tell Content-Length
    endless: bool = False
    location: str = ""
    raw: Callable[[int], bytes] | None = None  # all that is sent, by the first byte asked for


WHOLE = Reply()


class Handler(QuietHandler):
    server: "Server"

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        reply = self.server.next_reply(self.path, asked)
        first = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if reply.raw:
            self.close_connection = True
            self.wfile.write(reply.raw(first))
            return
        status = reply.status
        if status == 200 and asked and reply.ranges:
            status = 206 if first < len(reply.content) else 416
        self.send_response(status)
        if reply.location:
            self.send_header("Location", reply.location)
        body = b"" if status not in (200, 206) else reply.content
        if status == 206:
            whole = len(reply.content)
            self.send_header("Content-Range", f"bytes {first}-{whole - 1}/{whole}")
            body = body[first:]
        else:
            first = 0
        if reply.length and not reply.endless:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: max(0, reply.cut - first)] if reply.cut else body)
        self.wfile.flush()
        if reply.silent:
            self.server.closing.wait(30)
        while reply.endless:
            self.wfile.write(bytes(1 << 16))


class Server(LocalServer):
    """Answers each path with its replies in turn; the last one stays."""

    def __init__(self) -> None:
        super().__init__(Handler)
        self.replies: dict[str, list[Reply]] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.lock = threading.Lock()
        self.closing = threading.Event()

    def url(self, path: str = "/file.bin") -> str:
        return self.origin + path

    def plan(self, *replies: Reply, path: str = "/file.bin") -> CatalogueFile:
        """Say how a path is answered; return the entry of a catalogue that pins CONTENT there."""
        self.replies[path] = list(replies)
        self.asked.clear()
        return pinned(self.url(path))

    def next_reply(self, path: str, asked: str | None) -> Reply:
        with self.lock:
            self.asked.append((path, asked))
            replies = self.replies.get(path, [Reply(status=404)])
            return replies.pop(0) if len(replies) > 1 else replies[0]

    def ranges(self) -> list[str | None]:
        return [asked for _, asked in self.asked]


def pinned(url: str, content: bytes = CONTENT) -> CatalogueFile:
    known = hashlib.sha256(content).hexdigest()
    return CatalogueFile(Path(url).name, url, bytes=len(content), sha256=known)
