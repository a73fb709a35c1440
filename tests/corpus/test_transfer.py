"""Transfers against a real server that cuts, lies, stalls and redirects: they end whole."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unruly_server import CONTENT, WHOLE, Reply, Server

from clir_cli.corpus import http
from clir_cli.corpus.catalogue import CatalogueFile
from clir_cli.corpus.transfer import fetch, is_whole
from clir_cli.errors import UserError

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
    monkeypatch.setattr(http, "TIMEOUT", httpx.Timeout(0.5))
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


# --------------------------------------------------------------------------- several at once

CALL = """
import sys
from pathlib import Path
from clir_cli.corpus.catalogue import CatalogueFile
from clir_cli.corpus.transfer import fetch
url, size, sha256, target = sys.argv[1:]
print(fetch(CatalogueFile("file.bin", url, bytes=int(size), sha256=sha256), Path(target), pause=0))
"""


def call(entry: CatalogueFile, target: Path) -> subprocess.Popen[str]:
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
