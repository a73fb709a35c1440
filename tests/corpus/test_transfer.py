"""Transfers against a real server that cuts, lies, stalls and redirects."""

import errno
import hashlib
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clir_cli.corpus import transfer
from clir_cli.corpus.catalogue import SourceFile
from clir_cli.corpus.transfer import fetch, is_whole
from clir_cli.errors import UserError

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


WHOLE = Reply()


class Handler(BaseHTTPRequestHandler):
    server: "Server"

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        reply = self.server.next_reply(self.path, asked)
        first = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
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

    def log_message(self, *words: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Answers each path with its replies in turn; the last one stays."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies: dict[str, list[Reply]] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.lock = threading.Lock()
        self.closing = threading.Event()

    def url(self, path: str = "/file.bin") -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def plan(self, *replies: Reply, path: str = "/file.bin") -> SourceFile:
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

    def handle_error(self, *words: object) -> None:
        pass  # the other side hung up, as it should


def pinned(url: str, content: bytes = CONTENT) -> SourceFile:
    known = hashlib.sha256(content).hexdigest()
    return SourceFile(Path(url).name, url, bytes=len(content), sha256=known)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch, Server() as running:
        patch.setenv("NO_PROXY", "127.0.0.1")
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.closing.set()
        running.shutdown()
        thread.join()


def closed_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


# --------------------------------------------------------------------------- ends whole


@pytest.mark.parametrize(
    ("replies", "begun", "ranges"),
    [
        pytest.param([WHOLE], 0, [None], id="undisturbed"),
        pytest.param([Reply(length=False)], 0, [None], id="length-not-told"),
        pytest.param([Reply(cut=150_000), WHOLE], 0, [None, "resumed"], id="cut-in-the-middle"),
        pytest.param(
            [*(Reply(cut=n) for n in range(70_000, 140_000, 10_000)), WHOLE],
            0,
            [None, *["resumed"] * 7],
            id="cut-more-often-than-attempts",
        ),
        pytest.param(
            [Reply(cut=150_000), Reply(ranges=False)],
            0,
            [None, "resumed"],
            id="cut-and-range-ignored",
        ),
        pytest.param([Reply(status=503), Reply(status=503), WHOLE], 0, [None] * 3, id="503-twice"),
        pytest.param([Reply(status=429), WHOLE], 0, [None] * 2, id="too-many-requests"),
        pytest.param([WHOLE], 90_000, ["resumed"], id="begun-by-an-earlier-process"),
        pytest.param([WHOLE], 200_000, [], id="only-the-renaming-was-cut"),
        pytest.param([WHOLE], 200_001, ["resumed", None], id="begun-file-is-too-long"),
        pytest.param([Reply(ranges=False)], 90_000, ["resumed"], id="begun-and-range-ignored"),
    ],
)
def test_a_disturbed_transfer_ends_whole(
    server: Server, tmp_path: Path, replies: list[Reply], begun: int, ranges: list[str | None]
) -> None:
    entry, target, told = server.plan(*replies), tmp_path / "deep" / "file.bin", []
    if begun:
        target.parent.mkdir()
        target.with_name("file.bin.part").write_bytes((CONTENT + b"?")[:begun])

    assert fetch(entry, target, advance=told.append, pause=0)

    assert target.read_bytes() == CONTENT
    assert [asked and "resumed" for asked in server.ranges()] == ranges
    assert list(target.parent.iterdir()) == [target], "something was left beside the file"
    assert sum(told) == (len(CONTENT) if ranges else 0), "progress is not what arrived"


def test_a_cut_transfer_goes_on_at_the_byte_where_it_stopped(
    server: Server, tmp_path: Path
) -> None:
    entry = server.plan(Reply(cut=150_000), WHOLE)
    fetch(entry, tmp_path / "file.bin", pause=0)
    kept = int(server.ranges()[1].removeprefix("bytes=").removesuffix("-"))
    assert 0 < kept <= 150_000


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.lists(
        st.builds(
            Reply,
            cut=st.integers(1, len(CONTENT) - 1),
            ranges=st.booleans(),
            length=st.booleans(),
            status=st.sampled_from([200, 200, 200, 500]),
        ),
        max_size=4,  # one more failure in a row would be given up
    )
)
def test_any_few_disturbances_end_whole(
    server: Server, tmp_path_factory: pytest.TempPathFactory, replies: list[Reply]
) -> None:
    target, told = tmp_path_factory.mktemp("any") / "file.bin", []
    assert fetch(server.plan(*replies, WHOLE), target, advance=told.append, pause=0)
    assert target.read_bytes() == CONTENT
    assert sum(told) == len(CONTENT)


def test_redirects_are_followed(server: Server, tmp_path: Path) -> None:
    server.plan(WHOLE, path="/moved.bin")
    entry = server.plan(
        Reply(status=302, location="/moved.bin"),
        Reply(status=307, location=server.url("/moved.bin")),
    )
    for name in ("relative", "absolute"):
        assert fetch(entry, tmp_path / name, pause=0)
        assert (tmp_path / name).read_bytes() == CONTENT


def test_a_silent_server_is_asked_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "TIMEOUT", httpx.Timeout(0.5))
    entry = server.plan(Reply(cut=150_000, silent=True), WHOLE)
    assert fetch(entry, tmp_path / "file.bin", pause=0)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.ranges()[1], "what had arrived was thrown away"


def test_a_second_call_asks_nobody_and_a_changed_file_is_fetched_again(
    server: Server, tmp_path: Path
) -> None:
    entry, target = server.plan(WHOLE), tmp_path / "file.bin"
    assert fetch(entry, target, pause=0)
    before = target.stat()
    assert not fetch(entry, target, pause=0)
    assert target.stat() == before
    assert len(server.asked) == 1
    target.write_bytes(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))  # same size, other bytes
    assert not is_whole(target, entry)
    assert fetch(entry, target, pause=0)
    assert target.read_bytes() == CONTENT


# --------------------------------------------------------------------------- is refused


@pytest.mark.parametrize(
    ("replies", "message", "requests"),
    [
        ([Reply(CONTENT[::-1])], "the checksum does not match", 1),
        ([Reply(CONTENT + b"more")], "longer than the 200,000 bytes", 1),
        ([Reply(endless=True)], "longer than the 200,000 bytes", 1),
        ([Reply(status=404)], "the server answers 404; give a copy with --mirror", 1),
        ([Reply(status=403)], "the server answers 403", 1),
        ([Reply(status=503)], r"after 5 attempts .*503.*run the same command again", 5),
        ([Reply(CONTENT[:100_000])], "cannot be fetched after 5 attempts", None),
        ([Reply(CONTENT[:100_000], ranges=False)], "cannot be fetched after 5 attempts", None),
        ([Reply(CONTENT[:100_000], ranges=False, length=False)], "after 5 attempts", None),
        ([Reply(b"")], "cannot be fetched after 5 attempts", 5),
        ([Reply(status=302, location="/file.bin")], "redirects without end", None),
        ([Reply(status=302, location="ftp://127.0.0.1/file.bin")], "not an http", 1),
        ([Reply(cut=150_000), Reply(CONTENT[::-1])], "the checksum does not match", 2),
    ],
    ids=lambda value: None if isinstance(value, list) else str(value)[:40],
)
def test_a_wrong_file_is_refused_and_leaves_nothing_that_spoils_the_next_call(
    server: Server, tmp_path: Path, replies: list[Reply], message: str, requests: int | None
) -> None:
    entry, target = server.plan(*replies), tmp_path / "file.bin"
    with pytest.raises(UserError, match=message) as error:
        fetch(entry, target, pause=0)
    assert entry.url in str(error.value)
    assert "\n" not in str(error.value)
    assert not target.exists()
    assert requests in (None, len(server.asked))
    assert len(server.asked) < 30

    assert fetch(server.plan(WHOLE), target, pause=0)
    assert target.read_bytes() == CONTENT


def test_a_refused_file_leaves_the_one_before_it_in_place(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    target.write_bytes(b"of another version")
    with pytest.raises(UserError, match="checksum"):
        fetch(server.plan(Reply(CONTENT[::-1])), target, pause=0)
    assert target.read_bytes() == b"of another version"


@pytest.mark.parametrize(
    ("url", "mirror", "message"),
    [
        ("http://127.0.0.1:{port}/file.bin", "", "cannot be fetched after 5 attempts"),
        ("ftp://127.0.0.1/file.bin", "", "not an http"),
        ("https://a.org/file.bin", "http://[::1", "not an http"),
        ("https://a.org/file.bin", "/no/such/folder", "no such directory"),
        ("https://a.org/file.bin", "htp://a.org", "no such directory"),
    ],
)
def test_an_address_that_cannot_be_reached_is_told(
    server: Server, tmp_path: Path, url: str, mirror: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        entry = pinned(url.format(port=closed_port()))
        fetch(entry, tmp_path / "file.bin", mirror=mirror, pause=0)
    assert not (tmp_path / "file.bin").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("way", ["server", "folder"])
def test_a_full_disk_stops_at_once_with_nothing_at_the_target(
    server: Server, tmp_path: Path, way: str
) -> None:
    entry, target, mirror = server.plan(WHOLE), tmp_path / "file.bin", ""
    if way == "folder":
        mirror = lay_mirror(tmp_path / "mirror", entry, CONTENT)
    target.with_name("file.bin.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        fetch(entry, target, mirror=mirror, pause=0)
    assert not target.exists()


# --------------------------------------------------------------------------- mirrors


def lay_mirror(folder: Path, entry: SourceFile, content: bytes) -> str:
    copy = folder / entry.url.removeprefix("http://").removeprefix("https://")
    copy.parent.mkdir(parents=True)
    copy.write_bytes(content)
    return str(folder)


def test_a_folder_serves_as_a_mirror(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    entry = pinned(f"http://127.0.0.1:{closed_port()}/a/file.bin")
    lay_mirror(tmp_path / "mirror", entry, CONTENT)
    (tmp_path / "file.bin.part").write_bytes(b"begun elsewhere")
    monkeypatch.chdir(tmp_path)
    told: list[int] = []
    assert fetch(entry, tmp_path / "file.bin", mirror="mirror", advance=told.append)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert sum(told) == len(CONTENT)
    assert not fetch(entry, tmp_path / "file.bin", mirror="mirror")


@pytest.mark.parametrize(
    ("copy", "message"),
    [
        (None, "a.org/b/file.bin: not on the mirror"),
        (b"", "the checksum does not match"),
        (CONTENT[:-1], "the checksum does not match"),
        (CONTENT[::-1], "the checksum does not match"),
    ],
    ids=["missing", "empty", "cut", "other-bytes"],
)
def test_a_folder_without_the_right_file_is_refused(
    tmp_path: Path, copy: bytes | None, message: str
) -> None:
    entry, mirror = pinned("https://a.org/b/file.bin"), tmp_path / "mirror"
    mirror.mkdir()
    if copy is not None:
        lay_mirror(mirror, entry, copy)
    with pytest.raises(UserError, match=message):
        fetch(entry, tmp_path / "file.bin", mirror=str(mirror))
    assert not (tmp_path / "file.bin").exists()
    assert not (tmp_path / "file.bin.part").exists()


@pytest.mark.parametrize("slash", ["", "/"])
def test_an_http_address_serves_as_a_mirror(server: Server, tmp_path: Path, slash: str) -> None:
    server.plan(Reply(cut=99_999), WHOLE, path="/base/a.org/b/file.bin")
    entry = pinned("https://a.org/b/file.bin?raw=true")
    assert fetch(entry, tmp_path / "file.bin", mirror=server.url("/base") + slash, pause=0)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert {path for path, _ in server.asked} == {"/base/a.org/b/file.bin"}


# --------------------------------------------------------------------------- several at once

CALL = """
import sys
from pathlib import Path
from clir_cli.corpus.catalogue import SourceFile
from clir_cli.corpus.transfer import fetch
url, size, sha256, target = sys.argv[1:]
print(fetch(SourceFile("file.bin", url, bytes=int(size), sha256=sha256), Path(target), pause=0))
"""


def call(entry: SourceFile, target: Path) -> subprocess.Popen[str]:
    words = [entry.url, str(entry.bytes), entry.sha256, str(target)]
    return subprocess.Popen([sys.executable, "-c", CALL, *words], stdout=subprocess.PIPE, text=True)


def test_threads_that_want_the_same_file_fetch_it_once(server: Server, tmp_path: Path) -> None:
    entry, target = server.plan(Reply(cut=150_000), WHOLE), tmp_path / "file.bin"
    with ThreadPoolExecutor(8) as pool:
        fetched = list(pool.map(lambda _: fetch(entry, target, pause=0), range(8)))
    assert sorted(fetched) == [False] * 7 + [True]
    assert len(server.asked) == 2
    assert list(tmp_path.iterdir()) == [target]
    assert target.read_bytes() == CONTENT


def test_a_thread_takes_over_where_another_was_refused(server: Server, tmp_path: Path) -> None:
    entry, target = server.plan(Reply(status=404), WHOLE), tmp_path / "file.bin"

    def attempt(_: int) -> object:
        try:
            return fetch(entry, target, pause=0)
        except UserError:
            return "refused"

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(attempt, range(4)))
    assert sorted(map(str, outcomes)) == ["False", "False", "True", "refused"]
    assert target.read_bytes() == CONTENT


def test_processes_that_want_the_same_file_fetch_it_once(server: Server, tmp_path: Path) -> None:
    entry, target = server.plan(WHOLE), tmp_path / "file.bin"
    running = [call(entry, target) for _ in range(3)]
    told = [process.communicate(timeout=60)[0].strip() for process in running]
    assert sorted(told) == ["False", "False", "True"]
    assert len(server.asked) == 1
    assert target.read_bytes() == CONTENT


def test_a_killed_process_leaves_no_target_and_the_next_one_goes_on(
    server: Server, tmp_path: Path
) -> None:
    entry, target = server.plan(Reply(cut=150_000, silent=True), WHOLE), tmp_path / "file.bin"
    part = target.with_name("file.bin.part")
    process = call(entry, target)
    while not part.exists() or not part.stat().st_size:
        assert process.poll() is None, "ended before it was killed"
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert not target.exists()
    kept = part.stat().st_size
    assert CONTENT.startswith(part.read_bytes())

    assert fetch(entry, target, pause=0)
    assert server.ranges() == [None, f"bytes={kept}-"]
    assert target.read_bytes() == CONTENT


def test_a_file_whose_size_alone_is_known_is_checked_by_size(
    server: Server, tmp_path: Path
) -> None:
    entry = replace(server.plan(Reply(CONTENT[::-1])), sha256="")
    assert fetch(entry, tmp_path / "file.bin", pause=0)
    assert is_whole(tmp_path / "file.bin", entry)
    assert not is_whole(tmp_path / "file.bin", replace(entry, bytes=entry.bytes + 1))
    assert not is_whole(tmp_path, entry)
