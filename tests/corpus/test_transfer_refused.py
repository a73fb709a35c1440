"""Transfers that are refused, with nothing left that spoils the next call; and mirrors."""

import errno
import os
import socket
from pathlib import Path

import pytest
from unruly_server import CONTENT, WHOLE, Reply, Server, pinned

from clir_cli.corpus import http
from clir_cli.corpus.catalogue import CatalogueFile
from clir_cli.corpus.transfer import fetch
from clir_cli.errors import UserError


def closed_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


def lay_mirror(folder: Path, entry: CatalogueFile, content: bytes) -> str:
    copy = folder / entry.url.removeprefix("http://").removeprefix("https://")
    copy.parent.mkdir(parents=True)
    copy.write_bytes(content)
    return str(folder)


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
        ([Reply(cut=150_000), Reply(CONTENT[::-1])], "the checksum does not match", 3),
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


def test_a_part_that_is_not_of_this_file_is_fetched_again(server: Server, tmp_path: Path) -> None:
    entry = server.plan(WHOLE)
    (tmp_path / "file.bin.part").write_bytes(b"<html>")
    assert fetch(entry, tmp_path / "file.bin", pause=0)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.ranges() == ["bytes=6-", None]


def test_a_server_that_trickles_is_given_up(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "WINDOW", 0.0)
    monkeypatch.setattr(http, "SLOWEST", 1 << 20)  # more than comes at once
    with pytest.raises(UserError, match=r"after 5 attempts \(\d+ bytes in 0 seconds\)"):
        fetch(CatalogueFile("file.bin", server.plan(WHOLE).url), tmp_path / "file.bin", pause=0)
    assert len(server.asked) == 5


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("weights.bin", b"\xef\xbb\xbf\n<!doctype HTML><html>Please sign in</html>", "a web page"),
        ("pairs.txt", b"<?xml version='1.0'?><!-- x --><html>Please sign in</html>", "a web page"),
        ("pairs.txt.zip", b'{"error": "sign in"}', r"something that is no \.zip"),
        ("topics.gz", b"not found", r"something that is no \.gz"),
        ("page.html", b"<html></html>", ""),
        ("memory.tmx", b"<?xml version='1.0'?><!DOCTYPE tmx><tmx/>", ""),
        ("pairs.txt.zip", b"PK\5\6" + bytes(18), ""),
    ],
)
def test_another_kind_of_file_is_refused_where_nothing_pins_it(
    server: Server, tmp_path: Path, name: str, content: bytes, what: str
) -> None:
    server.plan(Reply(content))
    entry = CatalogueFile(name, server.url())
    if not what:
        assert fetch(entry, tmp_path / name)
        return
    with pytest.raises(UserError, match=f"{what} came in its place; sign in"):
        fetch(entry, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


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
        ("https://a.org/file.bin", "http://xn--/", "not an http|cannot be fetched"),
        ("https://a.org/file.bin", "http://127.0.0.1:99999", "not an http|cannot be fetched"),
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
        (None, "switched off .*; not on the mirror: .*/mirror/a.org/b/file.bin"),
        (b"", "the checksum does not match"),
        (CONTENT[:-1], "the checksum does not match"),
        (CONTENT[::-1], "the checksum does not match"),
    ],
    ids=["missing", "empty", "cut", "other-bytes"],
)
def test_a_folder_without_the_right_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copy: bytes | None, message: str
) -> None:
    monkeypatch.setenv("CLIR_OFFLINE", "1")
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
