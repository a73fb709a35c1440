"""Words of a text in any script."""

import unicodedata


def words(text: str) -> list[str]:
    r"""Return the words of a text in lower case: runs of letters, digits and their marks.

    Marks count as parts of a word, which ``\w`` of the standard library denies: it would cut
    Devanagari at every vowel sign.
    """
    kept = [
        mark if mark.isalnum() or unicodedata.category(mark)[0] == "M" else " "
        for mark in unicodedata.normalize("NFC", text.lower())
    ]
    return "".join(kept).split()
