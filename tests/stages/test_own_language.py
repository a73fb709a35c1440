"""A language that the catalogue lacks: bitext of one's own is all that it takes."""

import json

import pytest
from command_words import refused

# Kinyarwanda, written for this test.
PAIRS = """\
umwana aranywa amazi\tthe child drinks water
umugore agurisha ibigori\tthe woman sells maize
imvura iragwa uyu munsi\tit rains today
ikigo nderabuzima kirafunguye\tthe health centre is open
umwarimu yigisha abana\tthe teacher teaches children
inka ziri mu rwuri\tthe cows are in the pasture
amazi meza ni ubuzima\tclean water is life
umuhinzi abika ibigori\tthe farmer stores maize
isoko rifungura mu gitondo\tthe market opens in the morning
umurwayi akeneye umuti\tthe patient needs medicine
abana bajya ku ishuri\tthe children go to school
bisi ihaguruka saa tatu\tthe bus leaves at nine
"""
RW = ("--lang", "rw-en")


@pytest.fixture
def own(quick, home, tmp_path, small_collection):
    """Options with which a student of Kinyarwanda takes a second; its bitext comes last."""
    (tmp_path / "rw-en.tsv").write_text(PAIRS * 3, encoding="utf-8")
    english = (small_collection / "queries.en.jsonl").read_text(encoding="utf-8")
    (small_collection / "queries.rw.jsonl").write_text(english, encoding="utf-8")
    sizes = ("--set", "training.batch_size=4", "--set", "bitext.held_out=1")
    files = json.dumps([str(tmp_path / "rw-en.tsv")])
    return [*quick, *sizes, "--home", str(home), "--set", f"bitext.files={files}"]


def test_a_language_from_bitext_to_an_answer_and_an_export(clir, own, home, tmp_path):
    outcome = clir("distill", *RW, *own)
    assert outcome.code == 0, outcome.err
    student = home / "sample" / "rw-en" / "ot" / "student"
    config = json.loads((student / "manifest.json").read_text())["config"]
    assert config["pair"] == "rw-en"
    assert clir("index", *own).code == 0
    answer = clir("search", *RW, "--query", "amazi meza", "--json", *own)
    assert [hit["rank"] for hit in answer.json] == [1, 2, 3, 4, 5]
    results = ("--results", tmp_path / "results")
    assert clir("export", "student", tmp_path / "student", *RW, *own, *results).code == 0
    card = (tmp_path / "student" / "README.md").read_text(encoding="utf-8")
    assert "- rw\n" in card
    assert "not known to clir: files of the user" in card
    # Without its bitext the language is known by what was made, and what is missing is told.
    line = refused(clir("search", *RW, "--query", "amazi", *own[:-2]))
    assert "no bitext for rw-en" in line
    assert "see bitext.files" in line


def test_without_bitext_a_language_is_refused_and_the_remedy_told(clir, home, quick):
    for verb in ("download", "distill"):
        line = refused(clir(verb, *RW, *quick, "--home", home))
        assert "unknown pair 'rw-en': did you mean " in line
        assert "Another language needs bitext of your own: --set 'bitext.files=[" in line
    assert not (home / "sample").exists()


@pytest.mark.parametrize("pair", ["en-en", "rw-sw", "rwanda-en", "r-en", "rw", "../-en"])
def test_what_is_no_pair_of_a_language_and_english_is_refused_with_bitext_too(clir, own, pair):
    assert f"unknown pair {pair!r}" in refused(clir("distill", "--lang", pair, *own))
