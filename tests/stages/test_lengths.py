"""Limits of sentences, queries and documents: each reaches what it names; what is cut is told."""

import json
from pathlib import Path

import numpy as np
import pytest
from outcomes import refused, well
from safetensors.torch import load_file
from tiny_encoders import stanford
from transformers import AutoTokenizer

from clir_cli.artifacts.store import read_manifest
from clir_cli.corpus.bitext import load_bitext
from clir_cli.corpus.records import Pair
from clir_cli.suites import load_settings

PAIR = ("--lang", "sw-en")


@pytest.fixture
def own(quick, home) -> list[object]:
    return [*quick, "--home", home]


@pytest.fixture
def colbert(quick, tmp_path) -> Path:
    """A tiny ColBERT: by its own procedure queries have 32 tokens, and documents 24."""
    return stanford(tmp_path / "tiny", tmp_path / "colbert")


def notes_of(folder: Path) -> dict:
    return read_manifest(folder)["notes"]


def lengths(folder: Path, texts: list[str]) -> np.ndarray:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return np.array([len(ids) for ids in tokenizer(texts)["input_ids"]])


def student_of(home: Path) -> Path:
    return home / "sample" / "sw-en" / "ot" / "student"


def test_distill_tells_how_many_sentences_it_cuts_on_either_side(
    clir, own, home, quick, tmp_path
) -> None:
    told = well(clir("distill", *PAIR, *own, "--set", "teacher.sentence_tokens=14"))
    settings = load_settings("sample", None, quick[1::2])
    rows = load_bitext(settings.bitext, Pair("sw", "en"), home / "downloads").train
    expected = {
        "query": int((lengths(student_of(home), [row.query for row in rows]) > 14).sum()),
        "english": int((lengths(tmp_path / "tiny", [row.english for row in rows]) > 14).sum()),
    }
    assert 0 < expected["english"] < len(rows) and expected["query"] > 0
    found = notes_of(student_of(home))["cut_sentences"]
    assert found["english"] == expected["english"]
    # Each sentence is encoded with the new tokens of the other folds, and so in some more.
    assert found["query"] == pytest.approx(expected["query"], abs=3)
    line = (
        f"sw-en: {found['query']} sentences in sw and {found['english']} translations of "
        f"{len(rows)} were cut at 14 tokens (teacher.sentence_tokens)"
    )
    assert line in told.err


def test_nothing_is_told_where_nothing_is_cut(clir, own, home) -> None:
    told = well(clir("distill", *PAIR, *own)).err
    told += well(clir("index", *own)).err
    told += well(clir("search", *PAIR, *own, "--method", "english,ot")).err
    assert "cut" not in told
    assert "cut_sentences" not in notes_of(student_of(home))
    run = home / "sample" / "sw-en" / "english" / "runs" / "small"
    assert notes_of(run) == {"queries": notes_of(run)["queries"]}


def test_the_limit_of_sentences_is_that_of_queries_unless_it_is_set(clir, own, home) -> None:
    def weights(*words: str) -> dict:
        well(clir("distill", *PAIR, *own, *words, "--force"))
        return load_file(student_of(home) / "model.safetensors")

    def same(one: dict, other: dict) -> bool:
        return all((one[name] == other[name]).all() for name in one)

    short = weights("--set", "teacher.query_tokens=12")
    apart = weights("--set", "teacher.query_tokens=64", "--set", "teacher.sentence_tokens=12")
    long = weights("--set", "teacher.query_tokens=12", "--set", "teacher.sentence_tokens=64")
    assert same(short, apart)
    assert not same(short, long)
    assert "cut_sentences" not in notes_of(student_of(home))


def test_search_tells_how_many_queries_it_cuts(clir, own, home, small_collection, tmp_path) -> None:
    limit = ("--set", "teacher.query_tokens=10")
    well(clir("index", *own))
    told = well(clir("search", *PAIR, *own, *limit, "--method", "english,bm25"))
    texts = [
        json.loads(line)["text"]
        for line in (small_collection / "queries.en.jsonl").read_text().splitlines()
    ]
    cut = int((lengths(tmp_path / "tiny", texts) > 10).sum())
    assert 0 < cut < len(texts)
    runs = home / "sample" / "sw-en"
    assert notes_of(runs / "english/runs/small") == {"queries": len(texts), "queries_cut": cut}
    assert "queries_cut" not in notes_of(runs / "bm25/runs/small")
    line = f"sw-en english: {cut} of {len(texts)} queries were cut at 10 tokens (teacher.query_tok"
    assert line in told.err
    asked = clir("search", *PAIR, *own, *limit, "--method", "english", "--query", "maize " * 20)
    assert "sw-en english: 1 of 1 queries were cut at 10 tokens" in well(asked).err


def tokens_of(home: Path) -> int:
    return int(notes_of(home / "sample" / "index" / "small")["tokens"])


def test_a_limit_that_a_checkpoint_does_not_keep_is_refused_or_lifted(
    clir, own, home, colbert
) -> None:
    """ColBERT's own lengths were kept, whatever teacher.document_tokens was set to."""
    teacher = [*own, "--set", f"teacher.model={colbert}"]
    well(clir("index", *teacher))
    before = tokens_of(home)
    line = refused(clir("index", *teacher, "--set", "teacher.document_tokens=100", "--force"))
    assert "teacher.document_tokens=100: " in line
    assert "takes 24 tokens of a document; give no more, or lift its own limit with --set " in line
    lifted = [*teacher, "--set", "teacher.own_lengths=false"]
    well(clir("index", *lifted, "--set", "teacher.document_tokens=100", "--force"))
    assert tokens_of(home) > before
    line = refused(clir("index", *lifted, "--set", "teacher.document_tokens=600", "--force"))
    assert line.rstrip().endswith("takes 512 tokens of a document; give no more")
    assert tokens_of(home) > before, "what was there is kept"


def test_queries_are_cut_at_the_checkpoints_own_length_unless_it_is_lifted(
    clir, own, home, colbert
) -> None:
    teacher = [*own, "--set", f"teacher.model={colbert}"]
    well(clir("index", *teacher))
    ask = ("search", *PAIR, "--method", "english", "--query", "maize and rain " * 20)
    told = well(clir(*ask, *teacher)).err
    assert "1 of 1 queries were cut at 32 tokens (teacher.query_tokens)" in told
    line = refused(clir(*ask, *teacher, "--set", "teacher.query_tokens=64"))
    assert "teacher.query_tokens=64: " in line and "takes 32 tokens of a query" in line
    lifted = [*teacher, "--set", "teacher.own_lengths=false"]
    well(clir("index", *lifted, "--force"))
    assert "were cut" not in well(clir(*ask, *lifted)).err


def test_sentences_that_no_model_can_read_whole_are_refused(clir, own) -> None:
    for name in ("sentence_tokens", "query_tokens"):
        outcome = clir("distill", *PAIR, *own, "--set", f"teacher.{name}=600", "--quiet")
        line = refused(outcome).rstrip()
        assert f"teacher.{name}=600: " in line
        assert line.endswith("takes 512 tokens of a sentence; give no more")
    line = refused(clir("distill", *PAIR, *own, "--set", "teacher.sentence_tokens=3"))
    assert "teacher.sentence_tokens" in line and "it is 0, or 8 and more" in line


def test_the_suite_paper_has_colberts_lengths_for_what_colbert_encodes_alone() -> None:
    settings = load_settings("paper", None, ())
    assert settings.teacher.bitext_tokens == settings.teacher.query_tokens == 128
    assert settings.teacher.document_tokens == settings.index.passage_tokens == 180
    assert settings.teacher.own_lengths
    assert settings.search.top_k == 1000
