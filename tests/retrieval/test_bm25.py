from random import Random

import bm25s
import pytest
import torch

from clir_cli.corpus.unicode_words import word_spans, words
from clir_cli.retrieval.bm25 import bm25_scores
from clir_cli.retrieval.maxsim import top_documents

DOCUMENTS = [
    "Nairobi has new buses.",
    "The buses of Mombasa are old, and the roads are bad; buses break down.",
    "Maize grows well after the long rains.",
]


def test_rare_words_and_short_documents_count_for_more():
    (scores,) = bm25_scores(DOCUMENTS, ["buses in Nairobi"])
    assert [name for name, _ in top_documents(scores, ["a", "b", "c"], 3)] == ["a", "b"]


def test_documents_without_a_word_of_the_query_are_not_found():
    first, second = bm25_scores(DOCUMENTS, ["mahindi shambani", "Nairobi mpya"])
    assert top_documents(first, ["a", "b", "c"], 3) == []
    assert [name for name, _ in top_documents(second, ["a", "b", "c"], 3)] == ["a"]
    assert torch.isneginf(second).tolist() == [False, True, True]


@pytest.mark.parametrize("documents", [["...", ""], ["!"], ["...", "maize"]])
def test_documents_without_words_are_not_found(documents):
    (scores,) = bm25_scores(documents, ["buses"])
    assert torch.isneginf(scores).tolist() == [True] * len(documents)


def test_scores_are_those_of_bm25s_on_the_words_themselves():
    chance, known = Random(4), ["maji", "safi", "ya", "watoto", "shule", "Nairobi"]
    texts = [" ".join(chance.choices(known, k=count)) for count in range(90)]
    queries = ["maji safi maji", "shule", "watoto wa Nairobi", "none"]
    plain = bm25s.BM25(k1=0.9, b=0.4)
    plain.index([words(text) for text in texts], show_progress=False)
    for query, found in zip(queries, bm25_scores(texts, queries), strict=True):
        terms = [word for word in words(query) if word in plain.vocab_dict]
        expected = torch.from_numpy(plain.get_scores(terms)) if terms else torch.zeros(90)
        assert torch.equal(found, expected.masked_fill(expected <= 0, float("-inf")))


def test_words_of_any_script_stay_whole():
    assert words("Watoto 12, wa-shule!") == ["watoto", "12", "wa", "shule"]
    assert words("मुलांना पाणी हवे.") == ["मुलांना", "पाणी", "हवे"]
    assert words("Ärzte\u0308 ÉTÉ") == ["ärztë", "été"]
    assert words(" … ") == []


@pytest.mark.parametrize(
    ("text", "found", "end"),
    [
        ("infor\u00admation", "information", 12),  # soft hyphen
        ("तिसर्\u200dया", "तिसर्या", 8),  # joiner
        ("ma\u200cji", "maji", 5),  # non-joiner
        ("\u2060wa\u2060ter", "water", 7),  # word joiner, before the word too
        ("\ufeffwater", "water", 6),  # a stray byte order mark
        ("wat\u202de\u202cr", "water", 7),  # marks of direction
        ("wat\U000e0020er", "water", 6),  # a tag
    ],
)
def test_invisible_characters_do_not_cut_a_word(text, found, end):
    (span,) = word_spans(text)
    assert span == (text.index(found[0]), end, found)


def test_a_zero_width_space_divides_words_and_a_filler_is_none():
    assert words("moja\u200bmbili \u3164 \u0301") == ["moja", "mbili"]
    assert words("\u0301" * 3 + "a" + "\u00ad" * 3) == ["\u0301\u0301\u0301a"]
