import pytest

from clir_cli.retrieval.word_translation import coverage, translate

DICTIONARY = {
    "maji": ("water", "liquid"),
    "homa": ("fever",),
    "homa ya mapafu": ("pneumonia",),
    "watoto": ("children",),
}


@pytest.mark.parametrize(
    ("text", "choices", "expected"),
    [
        ("Maji ya watoto", 1, "water ya children"),
        ("maji", 2, "water liquid"),
        ("homa ya mapafu kwa watoto", 1, "pneumonia kwa children"),  # the longest term first
        ("homa ya watoto", 1, "fever ya children"),
        ("Nairobi 2019?", 1, "nairobi 2019"),
        ("", 1, ""),
    ],
)
def test_words_and_terms_are_replaced_and_names_stay(text, choices, expected):
    assert translate(text, DICTIONARY, choices) == expected


def test_coverage_counts_the_words_of_terms():
    assert coverage(["homa ya Nairobi", "maji"], DICTIONARY) == 3 / 4
    assert coverage([], DICTIONARY) == 0
