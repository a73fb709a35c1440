"""Transfers as the environment rules: patience, tokens, proxies, caches, no network, records."""

import hashlib
import importlib.util
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from local_server import LocalServer, QuietHandler, serving

from clir_cli.corpus import http
from clir_cli.corpus.catalogue import CatalogueFile
from clir_cli.corpus.checksums import is_whole, record_of
from clir_cli.corpus.transfer import fetch
from clir_cli.errors import MissingInput, UserError

CONTENT = random.Random(1).randbytes(200_000)


@dataclass
class Reply:
    status: int = 200
    content: bytes = CONTENT
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    length: bool = True
    endless: bool = False


class Handler(QuietHandler):
    server: "Server"

    def do_GET(self) -> None:
        self.server.asked.append((self.command, self.path, dict(self.headers)))
        reply = self.server.replies.pop(0) if self.server.replies else Reply()
        begin = int(self.headers.get("Range", "bytes=0-")[6:-1])
        kept = self.headers.get("If-Range") in (None, reply.headers.get("ETag"))
        begin = begin if kept else 0
        self.send_response(206 if begin and reply.status == 200 else reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        body = reply.content[begin:] if reply.status == 200 else b""
        if begin and body:
            whole = len(reply.content)
            self.send_header("Content-Range", f"bytes {begin}-{whole - 1}/{whole}")
        if reply.length and not reply.endless:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: reply.cut - begin] if reply.cut else body)
        while reply.endless:
            self.wfile.write(bytes(1 << 16))

    do_CONNECT = do_GET


class Server(LocalServer):
    def __init__(self) -> None:
        super().__init__(Handler)
        self.replies: list[Reply] = []
        self.asked: list[tuple[str, str, dict[str, str]]] = []


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Server]]:
    """Two servers, and an environment that says nothing of the network."""
    for name in ("CLIR_OFFLINE", "HF_HUB_OFFLINE", "CLIR_CACHE", "HF_TOKEN", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running = [Server(), Server()]
    with serving(running[0]), serving(running[1]):
        yield running


def pinned(url: str) -> CatalogueFile:
    known = hashlib.sha256(CONTENT).hexdigest()
    return CatalogueFile("file.bin", url, bytes=len(CONTENT), sha256=known)


def unpinned(server: Server, **told: int) -> CatalogueFile:
    return CatalogueFile("file.bin", f"{server.origin}/file.bin", **told)


# --------------------------------------------------------------------------- Retry-After


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock's pauses, which nobody has to sit through."""
    found: list[float] = []
    monkeypatch.setattr(http.time, "sleep", found.append)
    return found


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_asks_for_patience_gets_it(
    servers: list[Server], waits: list[float], tmp_path: Path, status: int
) -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    for told in ("7", soon, "nonsense", "-3", ""):
        servers[0].replies.append(Reply(status=status, headers={"Retry-After": told}))
    del servers[0].replies[4:]
    assert fetch(pinned(f"{servers[0].origin}/f"), tmp_path / "f", pause=0.25)
    assert waits[0] == 7
    assert 60 < waits[1] <= 90
    assert waits[2:] == [1.0, 2.0], "what cannot be understood leaves the usual pause"


def test_a_server_that_asks_for_too_much_patience_is_told_of(
    servers: list[Server], waits: list[float], tmp_path: Path
) -> None:
    servers[0].replies.append(Reply(status=503, headers={"Retry-After": "7200"}))
    with pytest.raises(UserError, match="asks to wait 120 minutes; run the same command then"):
        fetch(pinned(f"{servers[0].origin}/f"), tmp_path / "f")
    assert waits == []


# --------------------------------------------------------------------------- tokens


def test_the_token_goes_to_the_hub_and_to_no_other_host(
    servers: list[Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, other = servers
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(http, "TOKEN_ORIGIN", ("http", f"127.0.0.1:{hub.server_port}"))
    away = Reply(status=302, headers={"Location": f"{other.origin}/cdn"}, content=b"")
    hub.replies += [away, Reply()]
    assert fetch(pinned(f"{hub.origin}/a"), tmp_path / "a")  # the hub sends on to another host
    assert fetch(pinned(f"{hub.origin}/b"), tmp_path / "b")
    assert fetch(pinned(f"{other.origin}/c"), tmp_path / "c")
    assert fetch(pinned("https://huggingface.co/d"), tmp_path / "d", mirror=other.origin)
    assert [told.get("Authorization") for *_, told in hub.asked] == ["Bearer hf_secret"] * 2
    assert len(other.asked) == 3
    assert not any("Authorization" in told or "hf_secret" in str(told) for *_, told in other.asked)


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://huggingface.co/x/resolve/main/f", True),
        ("http://huggingface.co/x", False),
        ("https://huggingface.co.evil.org/x", False),
        ("https://huggingface.co@evil.org/x", False),
        ("https://cdn-lfs.huggingface.co/x", False),
        ("https://evil.org/https://huggingface.co/x", False),
    ],
)
def test_only_the_hub_itself_is_the_hub(
    monkeypatch: pytest.MonkeyPatch, url: str, sent: bool
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert ("Authorization" in http._headers(url, 0, "")) is sent


def test_the_token_is_asked_for_where_the_hub_wants_one(
    servers: list[Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "TOKEN_ORIGIN", ("http", f"127.0.0.1:{servers[0].server_port}"))
    servers[0].replies.append(Reply(status=401))
    with pytest.raises(
        UserError, match="answers 401; accept its terms on the hub and set HF_TOKEN"
    ):
        fetch(pinned(f"{servers[0].origin}/a"), tmp_path / "a")


# --------------------------------------------------------------------------- proxies


def test_the_proxy_of_the_environment_is_used(
    servers: list[Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, _ = servers
    monkeypatch.setenv("HTTP_PROXY", proxy.origin)
    monkeypatch.setenv("HTTPS_PROXY", proxy.origin)
    assert fetch(pinned("http://example.invalid/file.bin"), tmp_path / "a")
    proxy.replies += [Reply(status=502)] * 5
    with pytest.raises(UserError, match=r"https://example\.invalid/b: cannot be fetched"):
        fetch(pinned("https://example.invalid/b"), tmp_path / "b", pause=0)
    assert [each[:2] for each in proxy.asked[:2]] == [
        ("GET", "http://example.invalid/file.bin"),
        ("CONNECT", "example.invalid:443"),
    ]


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:1", r"SOCKS proxy.*pip install httpx\[socks\]"),
        ("HTTPS_PROXY", "gopher://x", "Unknown scheme for proxy .* correct or unset SSL_CERT_FILE"),
        ("HTTPS_PROXY", "http://\u0436.xn--/", "settings of the environment cannot be used"),
        ("SSL_CERT_FILE", "/no/such/file.pem", "No such file .* correct or unset SSL_CERT_FILE"),
        ("HF_TOKEN", "hf_\u0436", "HF_TOKEN has characters that no token has"),
        ("HF_TOKEN", "hf_a\nb", "HF_TOKEN has characters that no token has"),
    ],
)
def test_an_environment_that_cannot_be_used_is_told(
    servers: list[Server],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    message: str,
) -> None:
    if "socks" in value and importlib.util.find_spec("socksio"):
        pytest.skip("socksio is installed")
    monkeypatch.setattr(http, "TOKEN_ORIGIN", ("http", f"127.0.0.1:{servers[0].server_port}"))
    monkeypatch.setenv(variable, value)
    with pytest.raises(UserError, match=message) as error:
        fetch(pinned(f"{servers[0].origin}/a"), tmp_path / "a", pause=0)
    assert "hf_" not in str(error.value)
    assert not servers[0].asked


# --------------------------------------------------------------------------- no network, a cache


def lay(folder: Path, entry: CatalogueFile, content: bytes = CONTENT) -> Path:
    path = entry.local(folder)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("variable", ["CLIR_OFFLINE", "HF_HUB_OFFLINE"])
def test_without_the_network_nobody_is_asked(
    servers: list[Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    entry = pinned(f"{servers[0].origin}/a/file.bin")
    monkeypatch.setenv(variable, "1")
    for mirror in ("", servers[1].origin):
        with pytest.raises(MissingInput, match="is missing and the network is switched off"):
            fetch(entry, tmp_path / "home" / "file.bin", mirror=mirror)
    lay(tmp_path / "mirror", entry)
    assert fetch(entry, tmp_path / "home" / "file.bin", mirror=str(tmp_path / "mirror"))
    assert not fetch(entry, tmp_path / "home" / "file.bin")
    monkeypatch.setenv(variable, "0")
    assert fetch(entry, tmp_path / "other" / "file.bin")
    assert len(servers[0].asked) == 1
    assert not servers[1].asked


@pytest.mark.parametrize("link", [True, False])
def test_a_shared_cache_is_read_and_never_written(
    servers: list[Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: bool
) -> None:
    entry = pinned(f"{servers[0].origin}/a/file.bin")
    copy, target = lay(tmp_path / "cache", entry), tmp_path / "home" / "file.bin"
    copy.chmod(0o444)
    for folder in (copy.parent, copy.parent.parent, tmp_path / "cache"):
        folder.chmod(0o555)
    monkeypatch.setenv("CLIR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CLIR_OFFLINE", "1")
    told: list[int] = []
    assert fetch(entry, target, link=link, advance=told.append)
    assert target.is_symlink() is link
    assert target.read_bytes() == CONTENT
    assert sum(told) == len(CONTENT)
    assert not fetch(entry, target, link=link)
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == [copy]
    assert not servers[0].asked
    for folder in (tmp_path / "cache", copy.parent.parent, copy.parent):
        folder.chmod(0o755)


def test_mirror_cache_and_address_are_asked_in_turn(
    servers: list[Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin, other = servers
    entry = pinned(f"{origin.origin}/a/file.bin")
    monkeypatch.setenv("CLIR_CACHE", str(tmp_path / "cache"))
    (tmp_path / "empty").mkdir()

    def requests(name: str, mirror: str) -> list[int]:
        assert fetch(entry, tmp_path / name, mirror=mirror, pause=0)
        return [len(server.asked) for server in servers]

    assert requests("from-the-address", str(tmp_path / "empty")) == [1, 0]
    other.replies.append(Reply(status=404))
    assert requests("after-a-mirror-that-lacks-it", other.origin) == [2, 1]
    lay(tmp_path / "cache", entry)
    other.replies.append(Reply(status=404))
    assert requests("from-the-cache", other.origin) == [2, 2]
    assert requests("from-the-mirror", other.origin) == [2, 3]
    copy = lay(tmp_path / "mirror", entry)
    assert requests("from-a-folder", str(tmp_path / "mirror")) == [2, 3]

    copy.unlink()
    monkeypatch.delenv("CLIR_CACHE")
    origin.replies.append(Reply(status=404))
    with pytest.raises(UserError, match=r"answers 404; .*; not on the mirror: .*mirror/127"):
        fetch(entry, tmp_path / "nowhere", mirror=str(tmp_path / "mirror"))
    assert not (tmp_path / "nowhere").exists()


def test_a_closed_network_behind_a_mirror_is_tried_once(
    tmp_path: Path, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = pinned("http://127.0.0.1:1/file.bin")
    with pytest.raises(UserError, match=r"after 1 attempt .*; not on the mirror"):
        fetch(entry, tmp_path / "file.bin", mirror=str(tmp_path))
    assert not waits


def test_a_cache_with_other_bytes_is_passed_over_and_left_alone(
    servers: list[Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = pinned(f"{servers[0].origin}/a/file.bin")
    copy, target = lay(tmp_path / "cache", entry, CONTENT[::-1]), tmp_path / "file.bin"
    target.symlink_to(copy)  # linked while the cache was right
    monkeypatch.setenv("CLIR_CACHE", str(tmp_path / "cache"))
    assert fetch(entry, target, link=True)
    assert not target.is_symlink()
    assert target.read_bytes() == CONTENT
    assert copy.read_bytes() == CONTENT[::-1]


# --------------------------------------------------------------------------- files that nobody pins


def test_the_first_fetch_of_an_unpinned_file_is_put_on_record(
    servers: list[Server], tmp_path: Path
) -> None:
    entry, target = unpinned(servers[0], about=150_000), tmp_path / "file.bin"
    assert fetch(entry, target)
    expected = hashlib.sha256(CONTENT).hexdigest()
    assert record_of(target).read_text() == f"{expected}  file.bin\n"
    assert not fetch(entry, target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.bin", "file.bin.sha256"]

    target.write_bytes(CONTENT[:-1])
    assert not is_whole(target, entry)
    servers[0].replies.append(Reply(content=CONTENT[::-1]))
    with pytest.raises(UserError, match=r"does not match: .*if the publisher changed it, delete"):
        fetch(entry, target)
    assert target.read_bytes() == CONTENT[:-1]
    record_of(target).unlink()
    target.unlink()
    servers[0].replies.append(Reply(content=CONTENT[::-1]))
    assert fetch(entry, target)
    assert target.read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize(
    ("reply", "bound", "message"),
    [
        (Reply(endless=True), {"about": 40_000}, "longer than 80,000 bytes, where the catalogue"),
        (Reply(endless=True), {}, "longer than 100,000 bytes, where the catalogue knows"),
        (Reply(), {"about": 60_000}, "longer than 120,000 bytes"),
        (Reply(length=False), {"about": 150_000}, "neither server nor catalogue gives its length"),
    ],
)
def test_a_body_of_unknown_length_is_bounded(
    servers: list[Server],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reply: Reply,
    bound: dict[str, int],
    message: str,
) -> None:
    monkeypatch.setattr(http, "LARGEST", 100_000)
    servers[0].replies.append(reply)
    with pytest.raises(UserError, match=message):
        fetch(unpinned(servers[0], **bound), tmp_path / "file.bin")
    assert not (tmp_path / "file.bin").exists()
    assert not (tmp_path / "file.bin.part").exists()


def test_a_full_disk_is_told_before_it_is_full(
    servers: list[Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "RESERVE", 1 << 60)
    for entry in (unpinned(servers[0]), pinned(f"{servers[0].origin}/a")):
        with pytest.raises(UserError, match=r"no room in .*make room, or choose another folder"):
            fetch(entry, tmp_path / "file.bin")
    assert not (tmp_path / "file.bin").exists()


@pytest.mark.parametrize("changed", [False, True])
def test_an_unpinned_file_goes_on_only_with_the_same_version(
    servers: list[Server], tmp_path: Path, changed: bool
) -> None:
    later = CONTENT[::-1] if changed else CONTENT
    servers[0].replies += [
        Reply(headers={"ETag": '"one"'}, cut=150_000),
        Reply(headers={"ETag": '"two"' if changed else '"one"'}, content=later),
    ]
    assert fetch(unpinned(servers[0]), tmp_path / "file.bin", pause=0)
    assert (tmp_path / "file.bin").read_bytes() == later
    first, second = (told for *_, told in servers[0].asked)
    assert "Range" not in first
    assert second["If-Range"] == '"one"'
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["file.bin", "file.bin.sha256"]


def test_an_unpinned_file_without_a_version_begins_again(
    servers: list[Server], tmp_path: Path
) -> None:
    servers[0].replies += [Reply(cut=150_000, headers={"ETag": 'W/"weak"'}), Reply()]
    assert fetch(unpinned(servers[0]), tmp_path / "file.bin", pause=0)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert all("Range" not in told for *_, told in servers[0].asked)
