import torch

from clir_cli.corpus.unicode_words import words
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


def test_words_of_any_script_stay_whole():
    assert words("Watoto 12, wa-shule!") == ["watoto", "12", "wa", "shule"]
    assert words("मुलांना पाणी हवे.") == ["मुलांना", "पाणी", "हवे"]
    assert words("Ärzte\u0308 ÉTÉ") == ["ärztë", "été"]
    assert words(" … ") == []
