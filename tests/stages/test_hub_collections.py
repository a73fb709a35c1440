"""A data set of the hub through the stages: indexed, searched, scored, stale once moved."""

import shutil
from collections.abc import Callable
from pathlib import Path

import hub_sets
import pytest
from command_words import refused
from hub_sets import COMMIT, DOCUMENTS, QRELS, QUERIES, SWAHILI, in_parquet
from huggingface_hub import constants
from outcomes import well

from clir_cli.artifacts.store import read_manifest

NAME = "hf:someone/set"
MOVED = "d" * 40
FILES = {
    "corpus/test-00000-of-00001.parquet": in_parquet(DOCUMENTS),
    "queries-sw/test-00000-of-00001.parquet": in_parquet(SWAHILI),
    "queries-en/test-00000-of-00001.parquet": in_parquet(QUERIES),
    "qrels/test-00000-of-00001.parquet": in_parquet(QRELS),
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "hf" / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.delenv("CLIR_CACHE", raising=False)
    monkeypatch.setenv("CLIR_OFFLINE", "1")
    hub_sets.add_snapshot(folder, "someone/set", FILES)
    return folder


def test_a_data_set_is_indexed_searched_and_scored(
    clir: Callable, home: Path, cache: Path, empty: Path
) -> None:
    words = ("--collection", NAME, "--suite", "sample", "--home", home)
    lang = ("--lang", "sw-en", "--method", "english,zero-shot")
    told = refused(clir("index", *words))
    command = f"clir download --lang all --collection {NAME} --suite sample --home {home}"
    assert told.endswith(
        f"the list of files of {NAME} has not been fetched; make it with: {command}\n"
    )
    plan = well(clir("download", *words, "--lang", "sw-en", "--dry-run", "--json")).json
    rows = {row["file"]: row for row in plan if row["source"] == NAME}
    assert sorted(rows) == sorted(["list of files", *FILES])
    assert all(rows[path]["bytes"] == len(content) for path, content in FILES.items())
    assert not (home / "downloads").exists()
    well(clir("download", *words, "--lang", "sw-en"))
    well(clir("index", *words))
    well(clir("search", *words, *lang))
    scores = well(clir("evaluate", *words, *lang, "--metric", "map", "--json")).json
    assert {row["method"]: row["queries"] for row in scores} == {"english": 2, "zero-shot": 2}
    assert {row["collection"] for row in scores} == {"hf-someone-set"}
    assert scores[0]["value"] == 1.0
    index = home / "sample" / "index" / "hf-someone-set"
    assert read_manifest(index)["inputs"][f"revision of {NAME}"] == COMMIT
    hub_sets.add_snapshot(cache, "someone/set", FILES, MOVED)
    well(clir("index", *words))
    well(clir("download", *words, "--lang", "sw-en", "--force"))
    change = f'(revision of {NAME}: "{COMMIT}" -> "{MOVED}")'
    stale = f"{index} was made from something else {change}; --force"
    assert stale in refused(clir("index", *words))
    assert change.replace(")", "; index)") in refused(clir("search", *words, *lang))
    well(clir("index", *words, "--force"))
    well(clir("search", *words, *lang, "--force"))
    shutil.rmtree(cache)
    told = refused(clir("evaluate", *words, *lang, "--metric", "map"))
    assert "is missing; make it with: clir download --lang sw-en --collection hf:someone" in told


def test_a_data_set_may_train_a_teacher(clir: Callable, home: Path, cache: Path) -> None:
    setting = ("--set", f"contrastive.collection={NAME}")
    words = ("--lang", "sw-en", "--suite", "sample", "--home", home, *setting)
    well(clir("download", *words))
    plan = well(clir("train", "--recipe", "late-interaction", *words, "--dry-run"))
    assert "late-interaction" in plan.out
