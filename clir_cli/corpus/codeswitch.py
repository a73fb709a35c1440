"""Code-switching: some words of an English query are replaced by words of another language.

Litschko, Artemova and Plank, Boosting Zero-shot Cross-lingual Retrieval by Training on Artificially
Code-Switched Data (ACL Findings 2023; arXiv 2305.05295). Bilingual: with the dictionary of one
pair; multilingual: for each word the dictionary of a randomly drawn pair.
"""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from clir_cli.corpus.cooccurrence import best_columns, dice_matrix, incidence, numbered
from clir_cli.corpus.dictionaries import Dictionary
from clir_cli.corpus.records import SentencePair
from clir_cli.corpus.unicode_words import word_spans, words
from clir_cli.ragged import Ragged

MOST = 3  # induced translations of a word
LEAST_PAIRS = 2  # sentence pairs with a word, for it to have an induced translation


def inverted(dictionary: Mapping[str, Sequence[str]]) -> Dictionary:
    """Return a dictionary to English as one from English: ``{english: (word, ...)}``, in order.

    English translations of several words are left out, as a query is switched word by word.
    """
    sources: dict[str, dict[str, None]] = {}
    for word, translations in dictionary.items():
        for english in translations:
            parts = words(english)
            if len(parts) == 1:
                sources.setdefault(parts[0], {})[word] = None
    return {english: tuple(sources[english]) for english in sources}


def induced_dictionary(bitext: Iterable[SentencePair], least: float) -> Dictionary:
    """Return English words with the words that they occur with most, by Dice's coefficient.

    ``least`` is the coefficient, 0 to 1, below which two words are not regarded as translations.
    """
    rows = [(set(words(pair.english)), set(words(pair.query))) for pair in bitext]
    sides = [_frequent([row[side] for row in rows]) for side in (0, 1)]
    english, query = map(numbered, sides)
    if not english or not query:
        return {}
    left, right = (
        incidence(Ragged.of([number[word] for word in row] for row in side), len(number))
        for side, number in zip(sides, (english, query), strict=True)
    )
    columns, values = best_columns(dice_matrix(left, right), MOST)
    query_words = list(query)
    dictionary = {}
    for word, row in english.items():
        scored = zip(columns[row], values[row], strict=True)
        close = tuple(query_words[column] for column, dice in scored if dice >= least and dice > 0)
        if close:
            dictionary[word] = close
    return dictionary


def _frequent(sentences: Sequence[set[str]]) -> list[set[str]]:
    counts = Counter(chain.from_iterable(sentences))
    return [{word for word in row if counts[word] >= LEAST_PAIRS} for row in sentences]


@dataclass(frozen=True)
class CodeSwitcher:
    """Replaces a share of the words of a text by words of other languages."""

    dictionaries: Sequence[Mapping[str, Sequence[str]]]  # from English, one per language
    share: float  # probability, 0 to 1, that a word which has a translation is replaced by it
    seed: int

    def __call__(self, text: str, key: str) -> str:
        """Return the text switched; the same key gives the same words.

        What is switched with a smaller share is switched with a larger one too, to the same word.
        """
        rng = random.Random(f"{self.seed} {key}")
        parts, end = [], 0
        for low, high, word in word_spans(text):
            # All are drawn for every word, so that the outcome of one does not change the next.
            draw, language, choice = rng.random(), rng.random(), rng.random()
            usable = [dictionary[word] for dictionary in self.dictionaries if word in dictionary]
            if usable and draw < self.share:
                translations = usable[int(language * len(usable))]
                parts += [text[end:low], translations[int(choice * len(translations))]]
                end = high
        return "".join([*parts, text[end:]])

    def coverage(self, texts: Iterable[str]) -> float:
        """Return the share of the texts' words that have a translation."""
        tokens = [word for text in texts for word in words(text)]
        known = sum(any(word in d for d in self.dictionaries) for word in tokens)
        return known / max(1, len(tokens))
