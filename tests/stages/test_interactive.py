"""search --interactive: one query after another, each answered as ``--query`` answers it."""

import io
import sys

import pytest

from clir_cli.retrieval import encoder


@pytest.fixture
def ask(clir, home, small_collection, monkeypatch):
    own = ("--home", home, "--collection", small_collection, "--lang", "sw-en")
    assert clir("index", *own[:4]).code == 0

    def call(text: str | bytes, *words: str):
        content = text.encode() if isinstance(text, str) else text
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), "utf-8"))
        return clir("search", *own, "--top-k", 3, *words)

    return call


def test_queries_have_the_answers_of_query_and_models_are_loaded_once(ask, monkeypatch):
    methods = ("--method", "zero-shot,bm25")
    first, second = (ask("", "--query", text, *methods) for text in ("mahindi", "bei ya soko"))
    loaded, load = [], encoder._try
    monkeypatch.setattr(encoder, "_try", lambda *given: loaded.append(given) or load(*given))
    outcome = ask("mahindi\n\n  bei ya soko \n", *methods, "--interactive")
    assert outcome.code == 0, outcome.err
    assert outcome.out == first.out + second.out
    assert len(loaded) == 2  # the student before training, and the teacher


def test_a_query_that_cannot_be_answered_is_reported_and_the_next_is_asked(ask, home):
    words = ("--method", "bm25", "--interactive")
    outcome = ask("\ud83d!\n".encode("utf-8", "surrogatepass") + b"soko\n", *words)
    assert outcome.code == 2
    assert "a line is not UTF-8 text" in outcome.err
    outcome = ask("---\nsoko\n", "--method", "bm25", "--interactive", "--json")
    assert outcome.code == 0
    assert outcome.out.count("[") == 2


def test_it_makes_no_run_and_takes_no_query(ask, home):
    assert ask("soko\n", "--interactive", "--method", "bm25").code == 0
    assert not list(home.rglob("run.trec"))
    for words, what in (
        (("--query", "soko"), "leave out --query"),
        (("--dry-run",), "clir search --interactive makes nothing"),
    ):
        outcome = ask("", "--interactive", *words)
        assert outcome.code == 2
        assert what in outcome.err
    outcome = ask("soko\n", "--interactive", "--method", "ot")
    assert outcome.code == 2
    assert "clir distill --lang sw-en --method ot" in outcome.err
