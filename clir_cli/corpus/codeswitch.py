"""Code-switching: some words of an English query are put in another language.

Litschko, Artemova and Plank, Boosting Zero-shot Cross-lingual Retrieval by Training on Artificially
Code-Switched Data (ACL Findings 2023; arXiv 2305.05295). Bilingual: through the dictionary of one
pair; multilingual: each word through the dictionary of a pair that is drawn anew.
"""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from clir_cli.corpus.cooccurrence import best_columns, dice_matrix, incidence, numbered
from clir_cli.corpus.dictionaries import Dictionary
from clir_cli.corpus.records import SentencePair
from clir_cli.corpus.unicode_words import word_spans, words

MOST = 3  # induced translations of a word
SEEN = 2  # a word of fewer sentence pairs has no induced translation


def inverted(dictionary: Mapping[str, Sequence[str]]) -> Dictionary:
    """Return a dictionary to English as one from English: ``{english word: (word, ...)}``.

    English translations of several words are left out, as a query is switched word by word. The
    order is that of the dictionary.
    """
    found: dict[str, dict[str, None]] = {}
    for word, translations in dictionary.items():
        for english in translations:
            parts = words(english)
            if len(parts) == 1:
                found.setdefault(parts[0], {})[word] = None
    return {english: tuple(own) for english, own in found.items()}


def induced_dictionary(bitext: Iterable[SentencePair], least: float) -> Dictionary:
    """Return English words with the words that they occur with most, by Dice's coefficient.

    Args:
        bitext: Sentence pairs.
        least: Coefficient, 0 to 1, below which two words are not thought translations.
    """
    rows = [(set(words(pair.english)), set(words(pair.query))) for pair in bitext]
    sides = []
    for side in (0, 1):
        seen = Counter(word for row in rows for word in row[side])
        often = {word for word, times in seen.items() if times >= SEEN}
        sides.append([row[side] & often for row in rows])
    english, own = (numbered(side) if side else {} for side in sides)
    if not english or not own:
        return {}
    matrices = [
        incidence(([number[word] for word in row] for row in side), len(number))
        for side, number in zip(sides, (english, own), strict=True)
    ]
    columns, values = best_columns(dice_matrix(*matrices), MOST)
    names = list(own)
    found = {
        word: tuple(
            names[column]
            for column, value in zip(columns[row], values[row], strict=True)
            if value >= least and value > 0
        )
        for word, row in english.items()
    }
    return {word: translations for word, translations in found.items() if translations}


@dataclass(frozen=True)
class CodeSwitcher:
    """Puts a share of the words of a text in other languages.

    Attributes:
        dictionaries: From English words to those of a language, one a language.
        share: Probability p that a word which has a translation is put in its place, 0 to 1.
        seed: Of the draws.
    """

    dictionaries: Sequence[Mapping[str, Sequence[str]]]
    share: float
    seed: int

    def __call__(self, text: str, key: str) -> str:
        """Return the text switched; the same key, the same words.

        What is switched with a smaller share is switched with a larger one too, to the same word.
        """
        chance = random.Random(f"{self.seed} {key}")
        parts, end = [], 0
        for low, high, word in word_spans(text):
            # All are drawn for every word, so that one word's lot does not change the next's.
            luck, language, choice = chance.random(), chance.random(), chance.random()
            having = [each[word] for each in self.dictionaries if word in each]
            if having and luck < self.share:
                translations = having[int(language * len(having))]
                parts += [text[end:low], translations[int(choice * len(translations))]]
                end = high
        return "".join([*parts, text[end:]])

    def coverage(self, texts: Iterable[str]) -> float:
        """Return the share of the texts' words that have a translation."""
        every = [word for text in texts for word in words(text)]
        known = sum(any(word in each for each in self.dictionaries) for word in every)
        return known / max(1, len(every))
