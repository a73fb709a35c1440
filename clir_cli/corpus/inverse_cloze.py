"""Inverse cloze: a part of a text is the query for the text that it was taken from.

Lee, Chang and Toutanova, Latent Retrieval for Weakly Supervised Open Domain Question Answering (ACL
2019; arXiv 1906.00300). A sentence is the query for the rest of its passage, as there; where there
are no passages, a run of words for the rest of its sentence. If the words of a query are to be
code-switched, it is for the whole sentence: the task is then to learn which words match.
"""

import itertools
import random
import re

from clir_cli.corpus.unicode_words import word_spans

LEAST = 4  # words of a sentence that a query can be taken from
SHORTEST = 3  # words of a query
END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]*[A-Z0-9])")  # of an English sentence


def has_enough_words(sentence: str) -> bool:
    """Return True if a query can be taken from a sentence and leave something."""
    return sum(1 for _ in word_spans(sentence)) >= LEAST


def cloze_pair(sentence: str, key: str) -> tuple[str, str]:
    """Return a run of the sentence's words, from three to two thirds of them, and the rest.

    ``key`` is the seed of the run. ValueError unless ``has_enough_words(sentence)``.
    """
    spans = [(low, high) for low, high, _ in word_spans(sentence)]
    if len(spans) < LEAST:
        raise ValueError(f"no query in a sentence of {len(spans)} words: {sentence!r}")
    rng = random.Random(key)
    length = rng.randint(SHORTEST, max(SHORTEST, 2 * len(spans) // 3))
    first = rng.randint(0, len(spans) - length)
    low, high = spans[first][0], spans[first + length - 1][1]
    return sentence[low:high], " ".join(f"{sentence[:low]} {sentence[high:]}".split())


def passage_queries(passage: str) -> list[tuple[str, str]]:
    """Return each sentence of an English passage with the rest of it; none if it has only one.

    Sentences that are too short for a query stay in the rests.
    """
    ends = [0, *(match.end() for match in END.finditer(passage)), len(passage)]
    spans = [(low, high) for low, high in itertools.pairwise(ends) if low < high]
    if len(spans) < 2:
        return []
    return [
        (passage[low:high].strip(), f"{passage[:low]}{passage[high:]}".strip())
        for low, high in spans
        if has_enough_words(passage[low:high])
    ]
