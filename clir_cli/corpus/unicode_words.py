"""Words of a text in any script."""

import unicodedata
from collections.abc import Iterator
from itertools import groupby


def words(text: str) -> list[str]:
    """Return the words of a text, in lower case and Unicode NFC."""
    return [word for _, _, word in word_spans(text)]


def word_spans(text: str) -> Iterator[tuple[int, int, str]]:
    r"""Yield begin, end and word of each run of letters, digits and their marks.

    Marks count as parts of a word, which ``\w`` of the standard library denies: it would cut
    Devanagari at every vowel sign. A mark alone is no word.
    """
    for within, run in groupby(enumerate(text), key=lambda each: _belongs(each[1])):
        places = [place for place, _ in run]
        begin, end = places[0], places[-1] + 1
        if within and any(mark.isalnum() for mark in text[begin:end]):
            yield begin, end, unicodedata.normalize("NFC", text[begin:end].lower())


def _belongs(mark: str) -> bool:
    return mark.isalnum() or unicodedata.category(mark).startswith("M")
