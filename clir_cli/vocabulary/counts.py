"""Co-occurrence and alignment counts between query-language words and English tokens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from clir_cli.corpus.cooccurrence import best_columns, incidence
from clir_cli.corpus.ibm_model1 import FAINTEST, expected_links
from clir_cli.ragged import Ragged


@dataclass(frozen=True)
class Lexicon:
    """Query-language words and subwords with the English tokens they go with.

    ``tokens`` (W, k) are ids of the teacher's vocabulary, best first; ``strengths`` (W, k) are
    their association with the word, 0 to 1, and 0 where a word has fewer than k tokens.
    """

    words: list[str]
    tokens: Tensor
    strengths: Tensor

    def joined(self, other: "Lexicon") -> "Lexicon":
        """Return both; for a word of both, the entry of this one."""
        known = set(self.words)
        new = [row for row, word in enumerate(other.words) if word not in known]
        return Lexicon(
            self.words + [other.words[row] for row in new],
            torch.cat([self.tokens, other.tokens[new]]),
            torch.cat([self.strengths, other.strengths[new]]),
        )


@dataclass(frozen=True)
class Counts:
    """Counts of words (W) and English tokens (T) in a bitext.

    ``links`` (W, T) is how often they go together, ``of_words`` (W,) and ``of_tokens`` (T,) how
    often each occurs at all, in the same measure.
    """

    links: sparse.csr_matrix
    of_words: np.ndarray
    of_tokens: np.ndarray

    def __add__(self, other: "Counts") -> "Counts":
        """Return the counts of two bitexts together."""
        return Counts(
            self.links + other.links,
            self.of_words + other.of_words,
            self.of_tokens + other.of_tokens,
        )

    def __sub__(self, part: "Counts") -> "Counts":
        """Return the counts without a part of the bitext."""
        links = self.links - part.links
        links.data[links.data < FAINTEST] = 0  # what rounding leaves
        links.eliminate_zeros()
        return Counts(links, self.of_words - part.of_words, self.of_tokens - part.of_tokens)

    def rows(self, chosen: Sequence[int]) -> "Counts":
        """Return the counts of some of the words."""
        return Counts(self.links[chosen], self.of_words[chosen], self.of_tokens)

    def dice(self) -> sparse.csr_matrix:
        """Return Dice coefficients 2 links / (of_words + of_tokens): (W, T)."""
        table = self.links.tocsr()
        row = row_of_each_value(table)
        strength = 2 * table.data / (self.of_words[row] + self.of_tokens[table.indices])
        return sparse.csr_matrix((strength, table.indices, table.indptr), shape=table.shape)


@dataclass(frozen=True)
class UnitCounts:
    """Words, or subwords, that get a token embedding (W), and their counts."""

    units: list[str]
    counts: Counts


Folds = Sequence[Sequence[int]]
CountFunction = Callable[[Ragged, Ragged, tuple[int, int], Ragged, Folds], list[Counts]]
"""From the units (words or subwords) of each sentence as ids, its English tokens as ids, the sizes
of both vocabularies, the index in its sentence of the word that each unit is part of, and the
sentences of each fold, to the counts of each fold."""


def joint_occurrences(
    units: Ragged, tokens: Ragged, sizes: tuple[int, int], _: Ragged, folds: Folds
) -> list[Counts]:
    """Count the sentence pairs in which both occur (Dice, 1945)."""
    has_unit, has_token = incidence(units, sizes[0]), incidence(tokens, sizes[1])

    def count(rows: list[int]) -> Counts:
        left, right = has_unit[rows], has_token[rows]
        totals = (np.asarray(side.sum(axis=0)).ravel() for side in (left, right))
        return Counts((left.T @ right).tocsr(), *totals)

    return [count(list(rows)) for rows in folds]


def model1_links(
    units: Ragged, tokens: Ragged, sizes: tuple[int, int], _: Ragged, folds: Folds
) -> list[Counts]:
    """Count how often Model 1 expects them to be linked (corpus/ibm_model1.py)."""

    def totals(side: Ragged, size: int, rows: Sequence[int]) -> np.ndarray:
        return np.bincount(side.select(rows).values, minlength=size)

    return [
        Counts(links, totals(units, sizes[0], rows), totals(tokens, sizes[1], rows))
        for rows, links in zip(
            folds, expected_links(units, tokens, sizes, folds=folds), strict=True
        )
    ]


COUNT_FUNCTIONS: dict[str, CountFunction] = {"dice": joint_occurrences, "ibm1": model1_links}
"""``student.rows``: how the English tokens of a word are found."""


def row_of_each_value(table: sparse.csr_matrix) -> np.ndarray:
    """Return the row of each stored value of a matrix."""
    return np.repeat(np.arange(table.shape[0]), np.diff(table.indptr))


def lexicon_of(units: Sequence[str], dice: sparse.csr_matrix, neighbours: int) -> Lexicon:
    """Return the units (W) that go with any English token, and their k strongest tokens.

    ``dice`` are coefficients (W, T); ``neighbours`` is k.
    """
    columns, strengths = best_columns(dice, neighbours)
    rows = [row for row in range(len(units)) if strengths[row].any()]
    return Lexicon(
        [units[row] for row in rows],
        torch.from_numpy(columns[rows]),
        torch.from_numpy(strengths[rows]),
    )
