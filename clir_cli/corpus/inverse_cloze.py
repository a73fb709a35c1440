"""Inverse cloze: a part of a text asks for the text it was taken from.

Lee, Chang and Toutanova, Latent Retrieval for Weakly Supervised Open Domain Question Answering (ACL
2019; arXiv 1906.00300). A sentence asks for the rest of its passage, as there; where there are no
passages, a run of words for the rest of its sentence. A query whose words are to be put in another
language asks for the whole sentence: what it has to learn is which words match.
"""

import itertools
import random
import re

from clir_cli.corpus.unicode_words import word_spans

LEAST = 4  # words of a sentence that can be asked for
SHORTEST = 3  # words of a query
END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]*[A-Z0-9])")  # of an English sentence


def has_enough_words(sentence: str) -> bool:
    """Tell whether a sentence has words enough for a query that is less than all of it."""
    return sum(1 for _ in word_spans(sentence)) >= LEAST


def cloze_query(sentence: str, key: str) -> str:
    """Return a run of the sentence's words, between three of them and two thirds.

    Args:
        sentence: One that ``has_enough_words``.
        key: Decides which run; the same key, the same run.

    Raises:
        ValueError: The sentence is too short.
    """
    low, high = _run(sentence, key)
    return sentence[low:high]


def cloze_pair(sentence: str, key: str) -> tuple[str, str]:
    """Return a run of the sentence's words as ``cloze_query`` does, and what is left without it."""
    low, high = _run(sentence, key)
    return sentence[low:high], " ".join(f"{sentence[:low]} {sentence[high:]}".split())


def _run(sentence: str, key: str) -> tuple[int, int]:
    spans = [(low, high) for low, high, _ in word_spans(sentence)]
    if len(spans) < LEAST:
        raise ValueError(f"a sentence of {len(spans)} words cannot be asked for: {sentence!r}")
    chance = random.Random(key)
    length = chance.randint(SHORTEST, max(SHORTEST, 2 * len(spans) // 3))
    first = chance.randint(0, len(spans) - length)
    return spans[first][0], spans[first + length - 1][1]


def passage_queries(passage: str) -> list[tuple[str, str]]:
    """Return each sentence of an English passage with the rest of it; none where it has but one.

    Sentences that cannot be asked for, as too short, stay in the rests.
    """
    cuts = [0, *(found.end() for found in END.finditer(passage)), len(passage)]
    pieces = [(low, high) for low, high in itertools.pairwise(cuts) if low < high]
    if len(pieces) < 2:
        return []
    return [
        (passage[low:high].strip(), f"{passage[:low]}{passage[high:]}".strip())
        for low, high in pieces
        if has_enough_words(passage[low:high])
    ]
