"""Words of a text in any script."""

import unicodedata
from collections.abc import Iterator

import regex

# Letters, digits and their marks. Soft hyphens, joiners and marks of direction do not end a word
# (rule WB4 of Unicode's UAX #29); ``\w`` would split Devanagari at every vowel sign.
_WORD = regex.compile(
    r"(?<!\p{M})\p{M}*+[\p{L}\p{N}][\p{L}\p{N}\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}]*+"
)
_INVISIBLE = regex.compile(r"\p{Default_Ignorable_Code_Point}+")


def words(text: str) -> list[str]:
    """Return the words of a text, in lower case and Unicode NFC, without invisible characters."""
    return [word for _, _, word in word_spans(text)]


def word_spans(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield begin, end and word (as ``words`` has it) of each run of letters, digits and marks.

    A mark alone is not a word.
    """
    for match in _WORD.finditer(text):
        if word := unicodedata.normalize("NFC", _INVISIBLE.sub("", match[0]).lower()):
            yield *match.span(), word
