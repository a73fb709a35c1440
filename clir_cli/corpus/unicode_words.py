"""Words of a text in any script."""

import unicodedata
from collections.abc import Iterator
from itertools import groupby


def words(text: str) -> list[str]:
    """Return the words of a text, in lower case and Unicode NFC."""
    return [word for _, _, word in word_spans(text)]


def word_spans(text: str) -> Iterator[tuple[int, int, str]]:
    r"""Yield begin, end and word of each run of letters, digits and their marks.

    Marks belong to words, unlike in ``\w`` of the standard library, which would split Devanagari at
    every vowel sign. A mark alone is not a word.
    """
    for in_word, run in groupby(enumerate(text), key=lambda item: _belongs(item[1])):
        indices = [index for index, _ in run]
        begin, end = indices[0], indices[-1] + 1
        if in_word and any(character.isalnum() for character in text[begin:end]):
            yield begin, end, unicodedata.normalize("NFC", text[begin:end].lower())


def _belongs(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character).startswith("M")
