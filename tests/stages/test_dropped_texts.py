"""Distillation without the texts of the suite's collection, counted in the manifest."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from clir_cli.artifacts import graph
from clir_cli.artifacts.store import read_manifest
from clir_cli.corpus import catalogue
from clir_cli.suites import bundled

QUERY, ENGLISH = "Nivune na kukausha MAHARAGWE lini", "when to harvest and dry beans"


def own_bitext(path: Path, *more: str) -> list[str]:
    """Write forty pairs of the sample and more as a user's file; return the option for it."""
    sides = [
        (bundled("data") / "sample" / "bitext" / f"sample.{language}.txt").read_text().split("\n")
        for language in ("sw", "en")
    ]
    rows = ["\t".join(pair) for pair in list(zip(*sides, strict=True))[:40]]
    path.write_text("\n".join([*rows, *more]) + "\n", encoding="utf-8")
    return ["--set", f"bitext.files={json.dumps([str(path)])}", "--set", "bitext.sources=[]"]


def test_what_equals_a_test_text_is_counted_and_decides_the_fingerprint(
    clir, home: Path, quick: list[str], tmp_path: Path
) -> None:
    def distill(*words: str) -> tuple[dict, str]:
        outcome = clir("distill", "--lang", "sw-en", *quick, *words, "--home", home)
        assert outcome.code == 0, outcome.err
        return read_manifest(home / "sample" / "sw-en" / "ot" / "student"), outcome.err

    own = own_bitext(tmp_path / "own.tsv")
    manifest, _ = distill(*own)
    assert set(manifest["inputs"]) == {str(tmp_path / "own.tsv"), "teacher", "initial student"}
    own = own_bitext(tmp_path / "own.tsv", f"{QUERY}\t{ENGLISH}", "Maji\twater")
    manifest, log = distill(*own, "--force")
    assert "sw-en: lines left out: equal to a test text: 1" in log
    assert manifest["notes"]["skipped_lines"] == {"equal to a test text": 1}
    assert manifest["notes"]["sources"] == {"files": 41}
    assert set(manifest["inputs"]) > {"test texts"}


def test_a_source_that_says_so_has_the_collection_as_an_input(
    clir, home: Path, quick: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("distill", "--lang", "sw-en,so-en", *quick, "--home", home, "--dry-run", "--json")
    before = [row["fingerprint"] for row in clir(*words).json]
    entries = catalogue.sources("bitext")
    checked = {**entries["sample"].options, "drop_test_texts": True}
    monkeypatch.setitem(entries, "sample", replace(entries["sample"], options=checked))
    graph.inputs_of.cache_clear()
    after = [row["fingerprint"] for row in clir(*words).json]
    assert not set(before) & set(after)
    joint = clir(*words, "--joint").json
    assert len(joint) == 1
    monkeypatch.undo()
    graph.inputs_of.cache_clear()
    assert [row["fingerprint"] for row in clir(*words).json] == before
