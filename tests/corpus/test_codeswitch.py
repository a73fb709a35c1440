"""Code-switched queries, and the spans that ask for their sentence."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clir_cli.corpus.codeswitch import CodeSwitcher, induced_dictionary, inverted
from clir_cli.corpus.inverse_cloze import cloze_pair, has_enough_words, passage_queries
from clir_cli.corpus.records import SentencePair
from clir_cli.corpus.unicode_words import words

SW = {"water": ("maji",), "children": ("watoto", "wana"), "clean": ("safi",)}
MR = {"water": ("पाणी",), "school": ("शाळा",)}
WORDS = ["water", "children", "clean", "school", "the", "Nairobi", "drink"]
steady = settings(derandomize=True, deadline=None, max_examples=60)
sentences = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join)
shares = st.floats(0, 1)


def switched(share, text, key="k", dictionaries=(SW,)):
    return CodeSwitcher(dictionaries, share, seed=0)(text, key)


@steady
@given(sentences)
def test_nothing_is_switched_with_a_share_of_0_and_all_that_can_be_with_1(text):
    assert switched(0.0, text) == text
    every = switched(1.0, text)
    assert not set(words(every)) & set(SW)
    left = [word for word in words(text) if word not in SW]
    assert [word for word in words(every) if word in words(text)] == left


@steady
@given(sentences, shares, shares)
def test_what_a_small_share_switches_a_larger_one_does_too(text, one, other):
    less, more = (words(switched(share, text)) for share in sorted((one, other)))
    for before, small, large in zip(words(text), less, more, strict=True):
        assert small == before or large == small


@steady
@given(sentences, shares)
def test_the_same_key_and_seed_give_the_same_words(text, share):
    assert switched(share, text) == switched(share, text)


def test_the_share_is_that_of_the_words_with_a_translation():
    text = " ".join(["water"] * 4000)
    found = words(switched(0.3, text)).count("maji") / 4000
    assert found == pytest.approx(0.3, abs=0.03)
    assert switched(0.5, text, "a") != switched(0.5, text, "b")


def test_marks_and_unknown_words_stay_where_they_are():
    assert switched(1.0, "Clean WATER, for Nairobi (now)!") == "safi maji, for Nairobi (now)!"


def test_several_languages_take_turns():
    text = " ".join(["water"] * 200)
    found = words(switched(1.0, text, dictionaries=(SW, MR)))
    assert 60 < found.count("maji") < 140
    assert found.count("maji") + found.count("पाणी") == 200
    assert CodeSwitcher((SW, MR), 0.5, 0).coverage(["water the school", "Nairobi"]) == 0.5


def test_a_dictionary_is_turned_around_word_by_word():
    given_ = {"maji": ("water",), "mto": ("river", "stream of water"), "ziwa": ("Water",)}
    assert inverted(given_) == {"water": ("maji", "ziwa"), "river": ("mto",)}


def test_words_that_go_together_are_found_in_the_bitext():
    bitext = [
        SentencePair("maji safi", "clean water"),
        SentencePair("watoto wanakunywa maji", "children drink water"),
        SentencePair("watoto safi", "clean children"),
        SentencePair("shule", "school"),
    ]
    found = induced_dictionary(bitext, least=0.9)
    assert found == {"water": ("maji",), "children": ("watoto",), "clean": ("safi",)}
    assert "school" not in induced_dictionary(bitext, least=0.0), "seen once"
    assert induced_dictionary([], least=0.3) == {}
    assert induced_dictionary(bitext[-1:], least=0.3) == {}


@steady
@given(st.lists(st.sampled_from(WORDS), min_size=4, max_size=30), st.text(max_size=5))
def test_a_span_is_a_run_of_the_sentence_and_less_than_all_of_it(parts, key):
    sentence = f"({', '.join(parts)}.)"
    found, rest = cloze_pair(sentence, key)
    assert found in sentence
    assert 3 <= len(words(found)) <= max(3, 2 * len(parts) // 3)
    assert cloze_pair(sentence, key) == (found, rest)
    assert sorted(words(found) + words(rest)) == sorted(words(sentence))


def test_a_sentence_of_three_words_is_not_asked_for():
    assert not has_enough_words("clean water, here!")
    assert has_enough_words("clean water runs here")
    with pytest.raises(ValueError, match="3 words"):
        cloze_pair("clean water, here!", "k")


def test_each_sentence_of_a_passage_asks_for_the_rest_of_it():
    asked = '"Where is all the water?" she asked.'
    passage = f"The well ran dry. {asked} No. It rained at 3.5 past noon!"
    found = passage_queries(passage)
    assert [sentence for sentence, _ in found] == [
        "The well ran dry.",
        asked,
        "It rained at 3.5 past noon!",
    ]
    assert found[0][1] == f"{asked} No. It rained at 3.5 past noon!"
    assert found[2][1] == f"The well ran dry. {asked} No."
    assert all(sentence not in rest for sentence, rest in found)
    assert passage_queries("One sentence of some length stands alone.") == []
    assert passage_queries("") == []
