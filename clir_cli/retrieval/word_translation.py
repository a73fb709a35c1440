"""Queries to English, word by word, through a bilingual dictionary."""

from collections.abc import Mapping, Sequence

from clir_cli.corpus.unicode_words import words

LONGEST_TERM = 4  # words


def translate(text: str, dictionary: Mapping[str, Sequence[str]], choices: int = 1) -> str:
    """Return a text with each word replaced by its translations.

    Terms of several words are looked up first, longest first; what the dictionary lacks stays as it
    stands, so names carry over.

    Args:
        text: A query in the query language.
        dictionary: Translations by word or term, best first; keys as ``words`` cuts them.
        choices: How many translations of a word to put in its place.
    """
    left, found = words(text), []
    while left:
        for length in range(min(LONGEST_TERM, len(left)), 0, -1):
            term = " ".join(left[:length])
            if term in dictionary:
                found += dictionary[term][:choices]
                break
        else:
            length = 1
            found.append(left[0])
        left = left[length:]
    return " ".join(found)


def coverage(texts: Sequence[str], dictionary: Mapping[str, Sequence[str]]) -> float:
    """Return the share of the texts' words that the dictionary has, alone or in a term."""
    known = {part for term in dictionary for part in term.split()}
    every = [word for text in texts for word in words(text)]
    return sum(word in known for word in every) / max(1, len(every))
