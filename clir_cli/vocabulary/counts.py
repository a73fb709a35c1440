"""What a bitext says of the words of the query language: which English tokens they go with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from clir_cli.corpus.cooccurrence import best_columns, incidence
from clir_cli.corpus.ibm_model1 import FAINTEST, expected_links


@dataclass(frozen=True)
class Lexicon:
    """Query-language words and pieces with the English tokens they go with.

    ``tokens`` (W, k) are ids of the teacher's vocabulary, best first; ``dice`` (W, k) how strongly
    they go together, 0 to 1, and 0 where a word has fewer than k companions.
    """

    words: list[str]
    tokens: Tensor
    dice: Tensor

    def joined(self, other: "Lexicon") -> "Lexicon":
        """Return both; where they share a word, the row of this one."""
        known = set(self.words)
        new = [place for place, word in enumerate(other.words) if word not in known]
        return Lexicon(
            self.words + [other.words[place] for place in new],
            torch.cat([self.tokens, other.tokens[new]]),
            torch.cat([self.dice, other.dice[new]]),
        )


@dataclass(frozen=True)
class Evidence:
    """What a bitext says of words (W) and English tokens (T).

    ``links`` (W, T) tells how often they go together, ``of_words`` and ``of_tokens`` how often each
    is seen at all, in the same measure.
    """

    links: sparse.csr_matrix
    of_words: np.ndarray
    of_tokens: np.ndarray

    def __add__(self, other: "Evidence") -> "Evidence":
        """Return what two bitexts say together."""
        return Evidence(
            self.links + other.links,
            self.of_words + other.of_words,
            self.of_tokens + other.of_tokens,
        )

    def __sub__(self, part: "Evidence") -> "Evidence":
        """Return what is said without a part of the bitext."""
        links = self.links - part.links
        links.data[links.data < FAINTEST] = 0  # what rounding leaves
        links.eliminate_zeros()
        return Evidence(links, self.of_words - part.of_words, self.of_tokens - part.of_tokens)

    def rows(self, kept: Sequence[int]) -> "Evidence":
        """Return what is said of some of the words."""
        return Evidence(self.links[kept], self.of_words[kept], self.of_tokens)

    def strongest(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return tokens and Dice coefficients 2 links / (of_words + of_tokens), both (W, count)."""
        table = self.links.tocsr()
        row = np.repeat(np.arange(table.shape[0]), np.diff(table.indptr))
        strength = 2 * table.data / (self.of_words[row] + self.of_tokens[table.indices])
        return best_columns(
            sparse.csr_matrix((strength, table.indices, table.indptr), shape=table.shape), count
        )


Numbered = Sequence[Sequence[int]]
Placed = Sequence[tuple[int, str]]
Count = Callable[[Numbered, Numbered, tuple[int, int], Numbered, Numbered], list[Evidence]]
"""From the words or pieces of each sentence and its English tokens, as numbers, how many of both
there are, which word of its sentence each of the first is a part of, and the sentences of each
fold, to the evidence of each fold."""


def joint_occurrences(
    words: Numbered, tokens: Numbered, sizes: tuple[int, int], _: Numbered, folds: Numbered
) -> list[Evidence]:
    """Count the sentence pairs in which both occur (Dice, 1945)."""
    has_word = incidence(map(set, words), sizes[0])
    has_token = incidence(map(set, tokens), sizes[1])

    def counted(kept: Sequence[int]) -> Evidence:
        parts = has_word[list(kept)], has_token[list(kept)]
        seen = (np.asarray(each.sum(axis=0)).ravel() for each in parts)
        return Evidence((parts[0].T @ parts[1]).tocsr(), *seen)

    return [counted(kept) for kept in folds]


def model1_links(
    words: Numbered, tokens: Numbered, sizes: tuple[int, int], _: Numbered, folds: Numbered
) -> list[Evidence]:
    """Count how often Model 1 expects them to be linked (corpus/ibm_model1.py)."""

    def seen(side: Numbered, size: int, kept: Sequence[int]) -> np.ndarray:
        units = (each for number in kept for each in side[number])
        return np.bincount(np.fromiter(units, np.int64), minlength=size)

    found = expected_links(words, tokens, sizes, folds=folds)
    return [
        Evidence(links, seen(words, sizes[0], kept), seen(tokens, sizes[1], kept))
        for kept, links in zip(folds, found, strict=True)
    ]


COUNTS: dict[str, Count] = {"dice": joint_occurrences, "ibm1": model1_links}
"""How ``student.rows`` finds out which English tokens a word goes with."""


@dataclass(frozen=True)
class Counted:
    """The words, or the pieces, that are to have a row; the evidence has a row for each (W)."""

    units: list[str]
    evidence: Evidence

    def lexicon(self, neighbours: int) -> Lexicon:
        """Return the units that go with any English token, and with which."""
        columns, dice = self.evidence.strongest(neighbours)
        kept = [place for place in range(len(self.units)) if dice[place].any()]
        return Lexicon(
            [self.units[place] for place in kept],
            torch.from_numpy(columns[kept]),
            torch.from_numpy(dice[kept]),
        )


def lexicon_of(counted: Sequence[Counted], neighbours: int) -> Lexicon:
    """Return the lexicon of words, or of pieces, or of both: the rows of words come first."""
    first, *rest = (each.lexicon(neighbours) for each in counted)
    return first.joined(rest[0]) if rest else first
