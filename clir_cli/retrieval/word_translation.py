"""Translation of queries to English, word by word, through a bilingual dictionary."""

from collections.abc import Mapping, Sequence

from clir_cli.corpus.unicode_words import words

LONGEST_TERM = 4  # words


def translate(text: str, dictionary: Mapping[str, Sequence[str]], choices: int = 1) -> str:
    """Return a text with each word replaced by its translations.

    Terms of several words are looked up first, longest first. Words that the dictionary lacks stay
    unchanged, which carries names over.

    Translations are by word or term, best first, with keys as ``words`` splits them; ``choices`` of
    them replace a word.
    """
    remaining = words(text)
    translated: list[str] = []
    while remaining:
        for length in range(min(LONGEST_TERM, len(remaining)), 0, -1):
            term = " ".join(remaining[:length])
            if term in dictionary:
                translated += dictionary[term][:choices]
                break
        else:
            length = 1
            translated.append(remaining[0])
        remaining = remaining[length:]
    return " ".join(translated)


def coverage(texts: Sequence[str], dictionary: Mapping[str, Sequence[str]]) -> float:
    """Return the share of the texts' words that the dictionary has, alone or in a term."""
    known = {part for term in dictionary for part in term.split()}
    tokens = [word for text in texts for word in words(text)]
    return sum(word in known for word in tokens) / max(1, len(tokens))
