"""Data sets of the hub over HTTP: a server that answers huggingface_hub as the hub does."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import hub_sets
import pytest
from hub_sets import COMMIT, EXPECTED
from huggingface_hub import constants
from local_server import LocalServer, QuietHandler, serving

from clir_cli.corpus import hub
from clir_cli.corpus.collections import load_collection
from clir_cli.errors import MissingInput, UserError
from clir_cli.stages import download
from clir_cli.stages.support.workspace import Workspace
from clir_cli.suites import load_settings

SETS: dict[str, Mapping[str, bytes]] = {
    "mteb/scifact": hub_sets.scifact(),
    "BeIR/scifact": hub_sets.beir(),
    "BeIR/scifact-qrels": hub_sets.beir_qrels(),
}
REFUSALS = {"someone/gated": (403, "GatedRepo"), "someone/broken": (500, "")}


class Hub(QuietHandler):
    """The hub's addresses: what a revision is, its files, and each file."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = urlsplit(self.path).path.removeprefix("/huggingface.co").strip("/")
        parts = path.removeprefix("api/").split("/")
        name = "/".join(parts[1:3])
        self.server.asked.append(path)
        if name in REFUSALS or name not in SETS:
            code, word = REFUSALS.get(name, (404, "RepoNotFound"))
            self.answer(code, b"{}", {"X-Error-Code": word} if word else {})
        elif parts[4] not in ("main", COMMIT):
            self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        elif path.startswith("api/"):
            self.answer(200, json.dumps(self.listing(name, parts[3])).encode())
        elif "/".join(parts[5:]) not in SETS[name]:
            self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})
        else:
            content = SETS[name]["/".join(parts[5:])]
            tag = f'"{hashlib.sha256(content).hexdigest()}"'
            self.answer(200, content, {"ETag": tag, "X-Repo-Commit": COMMIT})

    def listing(self, name: str, what: str) -> object:
        files = []
        for path, content in SETS[name].items():
            digest = hashlib.sha256(content).hexdigest()
            large = {"lfs": {"sha256": digest, "size": len(content), "pointerSize": 130}}
            files.append((path, len(content), digest[:40], large if ".parquet" in path else {}))
        if what == "tree":
            return [
                {
                    "type": "file",
                    "path": path,
                    "size": size,
                    "oid": oid,
                    **({"lfs": {"oid": lfs["lfs"]["sha256"], **lfs["lfs"]}} if lfs else {}),
                }
                for path, size, oid, lfs in files
            ]
        siblings = [
            {"rfilename": path, "size": size, "blobId": oid, **lfs}
            for path, size, oid, lfs in files
        ]
        return {"_id": "1", "id": name, "sha": COMMIT, "tags": [], "siblings": siblings}

    def answer(self, code: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(code)
        for key, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalServer]:
    running = LocalServer(Hub)
    running.asked = []
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    for name in ("CLIR_OFFLINE", "HF_HUB_OFFLINE", "CLIR_CACHE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with serving(running):
        yield running


def fetched(home: Path, name: str, mirror: str) -> Path:
    settings = load_settings("sample", None, ()).model_copy(update={"collection": name})
    space = Workspace(settings, home, mirror=mirror)
    download.fetch_part(space, space.ref("collection"))
    return space.downloads


@pytest.mark.parametrize("name", ["hf:mteb/scifact", "hf:BeIR/scifact"])
def test_a_data_set_comes_from_a_mirror_s_address(server, tmp_path: Path, name: str) -> None:
    downloads = fetched(tmp_path / "home", name, server.origin)
    assert load_collection(name, "en", downloads).qrels == EXPECTED
    pin = hub.read_pin(hub.pin_path(hub.parse_name(name), downloads))
    assert pin is not None
    assert (pin.commit, pin.card["language"]) == (COMMIT, ["en"])
    corpus = {path: file for path, file in pin.files.items() if path.startswith("corpus")}
    for path, file in corpus.items():
        content = SETS[pin.repository][path]
        digest = hashlib.sha256(content).hexdigest()
        assert (file.bytes, file.sha256) == (len(content), digest if "parquet" in path else "")
    assert not (tmp_path / "hf").exists(), "the hub's own cache has what is of the hub"
    server.asked.clear()
    fetched(tmp_path / "home", name, server.origin)
    assert server.asked == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf:someone/none", r"hf:someone/none: the hub has no such data set, or it is private"),
        ("hf:someone/gated", r"gated; accept its terms at https://hugg\S+/gated and set HF_TOKEN"),
        ("hf:mteb/scifact@v9", r"hf:mteb/scifact: no revision 'v9'; see https://"),
        ("hf:BeIR/scifact-qrels", r"no corpus, .* \(qrels: test\.tsv; qrels: train\.tsv\)"),
    ],
    ids=["unknown", "gated", "revision", "no corpus"],
)
def test_what_the_hub_refuses_is_one_line(server, clir, tmp_path, name, message) -> None:
    words = ("download", "--lang", "sw-en", "--home", tmp_path / "home", "--collection", name)
    outcome = clir(*words, "--mirror", server.origin)
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    with pytest.raises(UserError, match=message):
        fetched(tmp_path / "home", name, server.origin)
    assert not list(tmp_path.rglob("*.json")), "nothing is left behind"


def test_a_hub_that_is_not_there_is_one_line(server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"127\S+ cannot be reached \(.*\); try again, or g"):
        fetched(tmp_path / "home", "hf:mteb/scifact", "http://127.0.0.1:9")
    with pytest.raises(MissingInput, match=r"--mirror") as refusal:
        os.environ["CLIR_OFFLINE"] = "1"
        try:
            fetched(tmp_path / "home", "hf:mteb/scifact", server.origin)
        finally:
            del os.environ["CLIR_OFFLINE"]
    assert "\n" not in str(refusal.value)
    assert server.asked == []


def test_the_hub_fills_its_own_cache_which_then_serves_without_network(
    server, tmp_path: Path
) -> None:
    """In a process of its own: huggingface_hub reads its environment once."""
    hub_home = {"HF_ENDPOINT": f"{server.origin}/huggingface.co", "HF_HOME": str(tmp_path / "hf")}
    words = ["--collection", "hf:BeIR/scifact", "--suite", "sample", "--quiet"]

    def run(command: str, home: str, **environment: str) -> subprocess.CompletedProcess[str]:
        lang = ["--lang", "sw-en"] if command == "download" else []
        return subprocess.run(
            [sys.executable, "-m", "clir_cli", command, *words, *lang, "--home", tmp_path / home],
            env={**os.environ, **hub_home, **environment}, capture_output=True, text=True,
        )  # fmt: skip

    first = run("download", "first")
    assert (first.returncode, first.stdout, first.stderr) == (0, "", "")
    snapshot = tmp_path / "hf" / "hub" / "datasets--BeIR--scifact" / "snapshots" / COMMIT
    assert sorted(path.name for path in snapshot.iterdir()) == ["README.md", "corpus", "queries"]
    (corpus, _) = sorted((tmp_path / "first" / "downloads").rglob("corpus-*.parquet"))
    assert corpus.resolve() == next(snapshot.rglob(corpus.name)).resolve(), "not stored twice"
    server.asked.clear()
    second = run("download", "second", HF_HUB_OFFLINE="1")
    assert (second.returncode, second.stderr) == (0, "")
    assert server.asked == []
    found = load_collection("hf:BeIR/scifact", "en", tmp_path / "second" / "downloads")
    assert (len(found.documents), found.qrels) == (3, EXPECTED)
