"""A download from a server with any fault ends in the right bytes or in one line."""

import hashlib
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from hostile_servers import Fault, faulty_replies
from local_server import serving
from unruly_server import CONTENT, WHOLE, Server

from clir_cli.corpus import http
from clir_cli.corpus.catalogue import CatalogueFile
from clir_cli.corpus.checksums import record_of
from clir_cli.corpus.transfer import fetch
from clir_cli.errors import UserError

SAMPLE = 9  # every ninth fault is tried in `make test`


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch):
    for name in ("CLIR_OFFLINE", "HF_HUB_OFFLINE", "CLIR_CACHE", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(http.time, "sleep", lambda _: None)
    monkeypatch.setattr(http, "TIMEOUT", httpx.Timeout(2.0))
    running = Server()
    with serving(running):
        yield running


def outcome(server: Server, fault: Fault, folder: Path) -> str:
    """Download once from a faulty server, then from a good one; return how the first ended."""
    target = folder / "file.bin"
    declared = server.plan(*fault.replies)
    pins = {"sha256": declared, "size": replace(declared, sha256="")}
    unpinned = CatalogueFile("file.bin", declared.url, about=len(CONTENT))
    entry = pins.get(fault.pin, unpinned)
    ended = "same result"
    try:
        fetch(entry, target)
    except UserError as error:
        ended = "refused"
        assert "\n" not in str(error)
        assert declared.url in str(error)
        assert not target.exists()
        server.plan(WHOLE)
        assert fetch(entry, target)
    assert target.read_bytes() == CONTENT, "other bytes"
    assert {path.name for path in folder.iterdir()} <= {target.name, record_of(target).name}
    if fault.pin == "nothing":
        assert record_of(target).read_text().split()[0] == hashlib.sha256(CONTENT).hexdigest()
    return ended


def try_all(server: Server, folder: Path, faults: list[Fault]) -> dict[str, int]:
    """Return how often a download ended rightly, was refused, or went wrong."""
    wrong, counts = [], {"same result": 0, "refused": 0}
    for number, fault in enumerate(faults):
        (folder / str(number)).mkdir()
        try:
            counts[outcome(server, fault, folder / str(number))] += 1
        except Exception as error:
            wrong.append(f"{fault.name} ({fault.pin}): {type(error).__name__} {error}"[:300])
    assert not wrong, "\n".join([f"{len(wrong)} of {len(faults)}", *wrong])
    return counts


def test_a_sample_of_faulty_replies(server: Server, tmp_path: Path) -> None:
    counts = try_all(server, tmp_path, list(faulty_replies(0))[::SAMPLE])
    assert min(counts.values()) > 5


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(2))
def test_every_faulty_reply(server: Server, tmp_path: Path, seed: int) -> None:
    faults = list(faulty_replies(seed))
    assert len(faults) > 300
    try_all(server, tmp_path, faults)
