"""``ls settings`` and its page: every setting with its values, in the terminal and for programs."""

from pathlib import Path

import pytest
from outcomes import refused, well

from clir_cli.stages.setting_list import page, rows, values
from clir_cli.suites import known_keys

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_page_of_settings_is_what_the_code_makes() -> None:
    written = (DOCS / "settings.md").read_text(encoding="utf-8")
    assert written == page(), "settings have changed; run: make docs"


def test_every_setting_is_listed_and_says_what_it_does() -> None:
    listed = rows("sample")
    assert [row["setting"] for row in listed] == known_keys()
    assert not [row["setting"] for row in listed if not row["title"]]


def test_json_has_values_of_their_types(clir) -> None:
    found = {
        row["setting"]: row
        for row in well(clir("ls", "settings", "--suite", "open", "--json")).json
    }
    assert found["training.learning_rate"] == {
        "setting": "training.learning_rate", "section": "training", "type": "number",
        "title": "largest learning rate of AdamW", "choices": [], "default": 3e-4, "value": 1e-4,
        "least": 1e-30, "above": None, "most": None, "below": None,
    }  # fmt: skip
    assert found["student.vocabulary"]["choices"] == ["words", "subwords", "both", "initial"]
    assert found["dictionary.sources"]["value"] == ["tico-19"]
    assert found["bitext.realign"]["default"] is True
    assert found["evaluation.confidence"]["above"] == 0
    assert found["index.memory"]["type"] == "text"


def test_a_word_chooses_settings_and_shows_their_sections(clir, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    told = well(clir("ls", "settings", "warm")).out
    assert told == (
        "settings of the suite sample; change one with --set NAME=VALUE\n\n"
        "training: The training loop, the same for every method.\n"
        "  training.warmup=0.1\n"
        "      share of the steps with warm-up (number from 0 to below 1)\n"
    )
    assert "(integer from 1 to 1000000; default 2)" in well(clir("ls", "settings", "epochs")).out
    whole = well(clir("ls", "settings", "--suite", "open")).out.splitlines()
    assert not [line for line in whole if len(line) > 80 and "=" not in line]
    assert "has 'warmpu'" in refused(clir("ls", "settings", "warmpu"))


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("index.format", "dense, int8, residual1, residual2 or residual4"),
        ("bitext.max_pairs", "integer from 0"),
        ("augment.share", "number above 0 to below 1"),
        ("transport.tolerance", "number from 1e-06 to 1000000"),
        ("bitext.realign", "true or false"),
        ("fusion.runs", "list"),
        ("teacher.model", "text"),
    ],
)
def test_what_a_setting_may_be_is_said_in_words(key, words) -> None:
    assert values(next(row for row in rows("sample") if row["setting"] == key)) == words


def test_lists_have_numbers_and_lists_in_json(clir) -> None:
    model = well(clir("ls", "models", "MiniLM", "--json")).json[0]
    assert (model["parameters"], model["layers"], model["bytes"]) == (22_565_376, 6, 90_868_376)
    assert model["training_bytes"] > model["encoding_bytes"] > model["bytes"]
    sources = {row["name"]: row for row in well(clir("ls", "bitext", "--json")).json}
    assert sources["sample"]["languages"] == ["en", "sw", "so", "tl", "mr", "fi", "de", "fr"]
    assert (sources["sample"]["bytes"], sources["sample"]["bytes_are_all"]) == (0, True)
    assert sources["ccmatrix"]["bytes"] > 4e10
    assert not sources["ccmatrix"]["bytes_are_all"]
    assert sources["stsb"]["machine_translated"] is True
    assert "tico-19" in well(clir("ls", "languages", "--json")).json[0]["bitext"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["methods", "--home", "x"], "--home: clir ls methods does not use it; leave it out"),
        (["models", "--suite", "open"], "--suite: clir ls models does not use it; leave it out"),
        (["models", "quux"], "no row of models has 'quux': known: all-MiniLM-L6-v2"),
        (["settings", "--suite", "opne"], "unknown suite 'opne': did you mean open?"),
        (["setings"], "nothing to list under 'setings': did you mean settings?"),
    ],
)
def test_what_ls_does_not_know_or_use_is_refused(clir, words, said) -> None:
    assert said in refused(clir("ls", *words))
