"""Corpora of OPUS by name: from a mirror, a cache or the store, for any language."""

import json
import re
import shlex
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_words import refused
from local_server import LocalServer, QuietHandler, serving
from outcomes import well

from clir_cli.corpus import catalogue
from clir_cli.corpus.bitext import load_bitext
from clir_cli.corpus.records import Pair, SentencePair
from clir_cli.settings import BitextSettings

NAME = "opus:WikiMatrix/v1"
PLACE = "OPUS-WikiMatrix/v1/moses/en-rw.txt.zip"
ROWS = [SentencePair(f"interuro {at}", f"sentence {at}") for at in range(20)]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CLIR_OFFLINE", "HF_HUB_OFFLINE", "CLIR_CACHE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """A mirror with one corpus of one pair, whose third line is empty, as in mined corpora."""
    folder = tmp_path / "mirror"
    path = folder / "object.pouta.csc.fi" / PLACE
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        for side, code in enumerate(("rw", "en")):
            lines = [row[side] for row in ROWS]
            archive.writestr(f"WikiMatrix.en-rw.{code}", "\n".join([*lines[:2], "", *lines[2:]]))
    return folder


@pytest.fixture
def store(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """OPUS's object store on this machine; yields its address."""

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            path = mirror / "object.pouta.csc.fi" / self.path.lstrip("/")
            self.send_response(200 if path.is_file() else 404)
            body = path.read_bytes() if path.is_file() else b"NoSuchKey"
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = LocalServer(Handler)
    monkeypatch.setattr(catalogue, "OPUS_STORE", server.origin)
    with serving(server):
        yield server.origin


def words(lang: str, home: Path, name: str = NAME) -> list[object]:
    sources = f"bitext.sources={json.dumps([name])}"
    return ["--lang", lang, "--home", home, "--set", sources, "--set", "dictionary.sources=[]"]


def test_a_corpus_is_fetched_from_the_mirror_and_read(clir, home, mirror) -> None:
    plan = well(clir("download", *words("rw-en", home), "--mirror", mirror, "--dry-run", "--json"))
    (row,) = [row for row in plan.json if row["source"] == NAME]
    assert row["url"] == f"https://object.pouta.csc.fi/{PLACE}"
    assert row["bytes"] == (mirror / "object.pouta.csc.fi" / PLACE).stat().st_size
    assert (row["terms"], row["there"]) == ("unstated", False)
    told = well(clir("download", *words("rw-en", home), "--mirror", mirror)).err
    assert f"{NAME}: no licence is stated that allows commercial use (see its page)" in told
    found = load_bitext(BitextSettings(sources=(NAME,)), Pair("rw", "en"), home / "downloads")
    assert {*found.train, *found.held_out} == set(ROWS)
    assert (found.counts, found.skipped) == ({NAME: 20}, {"empty line": 1})


def test_its_size_is_not_known_without_a_copy(clir, home, mirror, monkeypatch) -> None:
    call = ("download", *words("rw-en", home), "--dry-run", "--json")
    assert [row["bytes"] for row in well(clir(*call)).json if row["source"] == NAME] == [0]
    monkeypatch.setenv("CLIR_CACHE", str(mirror))
    assert [row["bytes"] for row in well(clir(*call)).json if row["source"] == NAME] != [0]


def test_a_pair_that_the_store_lacks_is_one_line(clir, home, store) -> None:
    well(clir("download", *words("rw-en", home)))
    for lang, name in (("so-en", NAME), ("rw-en", "opus:WikiMatrix/v9"), ("rw-en", "opus:No/v1")):
        line = refused(clir("download", *words(lang, home, name), "--quiet"))
        assert f"{name}: OPUS has no {lang} of it, or no such corpus or version: {store}/" in line
        assert "the server answers 404" in line
    assert "en-so.txt.zip is missing" in refused(clir("distill", *words("so-en", home)))


def test_the_pairs_that_the_store_lacks_are_named_together(clir, home, store) -> None:
    call = ("download", *words("so-en,rw-en,tl-en", home), "--quiet")
    line = refused(clir(*call))
    assert f"{NAME}: OPUS has no so-en, tl-en of it, or no such corpus" in line
    assert (home / "downloads" / store.removeprefix("http://") / PLACE).is_file()
    assert (home / "models" / "all-MiniLM-L6-v2" / "manifest.json").is_file()


@pytest.mark.parametrize("name", ["opus:", "opus:Wiki", "opus:a/../b", "opus:../v1", "opus:a/"])
def test_a_name_without_corpus_and_version_is_refused(clir, home, name) -> None:
    line = refused(clir("distill", *words("rw-en", home, name)))
    assert f"unknown bitext source {name!r}: write corpus and version as on opus.nlpl.eu" in line


def test_the_command_of_the_page_works(clir, home) -> None:
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^clir (download .*opus:.*)$", page, re.MULTILINE)
    assert (
        "OPUS-WikiMatrix/v1/moses/en-rw.txt.zip"
        in well(clir(*shlex.split(command), "--json", "--home", home)).out
    )
