"""The plan of one sentence pair, for people and programs."""

import pytest

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


def test_bad_words_are_told_in_one_line(align, clir, home):
    assert "is empty" in align(" ", "water").err
    outcome = clir("align", *SENTENCES, "--lang", "sw-en", "--method", "english", "--home", home)
    assert outcome.code == 2
    assert "take ot or zero-shot" in outcome.err
    outcome = clir("align", *SENTENCES, "--lang", "sw-en", "--home", home)
    assert "clir distill --lang sw-en --method ot" in outcome.err
