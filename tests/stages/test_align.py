"""The plan of one sentence pair, for people and programs."""

import re
from xml.etree import ElementTree

import pytest

from clir_cli.artifacts.cell import Cell
from clir_cli.commands.cells import asked
from clir_cli.corpus.records import Pair

SENTENCES = ("watoto wanakunywa maji", "children drink water")


@pytest.fixture
def align(clir, home):
    def call(*words):
        own = ("--lang", "sw-en", "--method", "zero-shot", "--home", home)
        return clir("align", *(words or SENTENCES), *own)

    return call


def test_each_token_shares_out_its_mass(align):
    (found,) = [align(*SENTENCES, "--json").json]
    assert found["english_tokens"] == ["[CLS]", "children", "drink", "water", "[SEP]"]
    assert found["query_tokens"][0] == "[CLS]"
    assert len(found["shares"]) == len(found["query_tokens"])
    assert all(sum(row) == pytest.approx(1, abs=1e-2) for row in found["shares"])
    same = align("children drink water", "children drink water", "--json").json
    assert all(row[place] > 0.9 for place, row in enumerate(same["shares"]))
    assert same["loss"] < found["loss"]


def test_it_is_a_heat_map_in_the_terminal_and_in_a_file(align, tmp_path):
    picture = tmp_path / "plan.svg"
    outcome = align("children drink water", "children drink water", "--draw", picture)
    assert outcome.code == 0, outcome.err
    rows = [line for line in outcome.out.splitlines() if line.lstrip().startswith("children")]
    assert rows[0].split() == ["children", ".", "9", ".", ".", "."]
    assert "<svg" in picture.read_text()
    outcome = align(*SENTENCES, "--draw", tmp_path / "plan.xyz")
    assert outcome.code == 2
    assert "plan.xyz" in outcome.err


def test_every_pair_and_method_is_shown(clir, home, tmp_path):
    words = ("align", *SENTENCES, "--lang", "sw-en,so-en", "--method", "zero-shot", "--home", home)
    plans = clir(*words, "--json").json
    assert [(plan["pair"], plan["method"]) for plan in plans] == [
        ("sw-en", "zero-shot"), ("so-en", "zero-shot")
    ]  # fmt: skip
    shown = clir(*words).out
    assert shown.index("sw-en, zero-shot") < shown.index("so-en, zero-shot")
    assert shown.count("plan entropy") == 2
    assert "name one pair and one method" in clir(*words, "--draw", tmp_path / "a.svg").err
    assert not (tmp_path / "a.svg").exists()


def test_a_joint_student_is_asked_once_and_other_methods_for_every_pair():
    pairs = [Pair("so", "en"), Pair("sw", "en")]
    cells = [Cell("bm25"), Cell("ot", joint=tuple(pairs))]
    assert asked(pairs, cells) == [(pairs[0], cells[0]), (pairs[1], cells[0]), (pairs[0], cells[1])]


def test_a_picture_shows_texts_as_they_are(align, tmp_path):
    picture = tmp_path / "plan.svg"
    outcome = align("maji $x^$ $y$", "water <b> & $_$", "--draw", picture)
    assert outcome.code == 0, outcome.err
    texts = [part.text for part in ElementTree.parse(picture).iter() if part.tag.endswith("text")]
    assert texts.count("$") == 4 + 2
    outcome = align(*SENTENCES, "--draw", tmp_path / "no" / "plan.svg")
    assert (outcome.code, outcome.out) == (2, "")
    assert "there is no folder" in outcome.err


def test_bad_words_are_told_in_one_line(align, clir, home):
    assert "is empty" in align(" ", "water").err
    outcome = clir("align", *SENTENCES, "--lang", "sw-en", "--method", "english", "--home", home)
    assert outcome.code == 2
    assert "take ot or zero-shot" in outcome.err
    outcome = clir("align", *SENTENCES, "--lang", "sw-en", "--home", home)
    assert "clir distill --lang sw-en --method ot" in outcome.err


def test_a_plan_that_did_not_converge_is_shown_as_such(align):
    (found,) = [align(*SENTENCES, "--json").json]
    assert found["converged"] is True
    assert found["violation"] < 1e-3
    few = ("--set", "transport.eps=0.02", "--set", "transport.max_iterations=3")
    outcome = align(*SENTENCES, *few, "--json")
    assert outcome.json["converged"] is False
    assert outcome.json["violation"] > 1e-3
    assert "1 of 1 transport plans did not converge" in outcome.err
    outcome = align(*SENTENCES, *few, "--quiet")
    assert not outcome.err
    assert re.search(r"not converged: \d+% of the mass\sis misplaced", outcome.out)
    assert "a row a token of sw, a column a token of English" in outcome.out
    assert "eps 0.02, loss " in outcome.out


def test_a_plan_that_is_wider_than_the_screen_goes_on_below(align, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    words = "one two three four five six seven eight nine ten eleven twelve"
    told = align("maji safi", words).out.splitlines()
    assert max(map(len, told)) <= 40
    assert sum(line.lstrip().startswith("[CLS] ") for line in told) == 2
