"""Lexicons of one language or of several: a word of two languages has one embedding, from both.

For a word or subword of one language the embedding is what that language's bitext alone gives.
Spellings that two languages share (*data*, *social*, a loan, or chance) cannot be distinguished by
an embedding table, and get one embedding from the counts of both.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
from scipy import sparse
from transformers import PreTrainedTokenizerBase

from clir_cli.corpus.records import SentencePair
from clir_cli.vocabulary.counts import Lexicon, UnitCounts, lexicon_of, row_of_each_value
from clir_cli.vocabulary.units import count_units


def induce_lexicons(
    bitexts: Sequence[Sequence[SentencePair]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    neighbours: int = 5,
    folds: Sequence[Sequence[Sequence[int]]] = (),
    **options: Any,
) -> list[Lexicon]:
    """Return the lexicon of one bitext, or of several; then that of all but each fold.

    There is one bitext per language; ``neighbours`` (k) English tokens make an embedding. ``folds``
    are, for each bitext, the indices of the pairs of each fold; ``options`` those of
    ``count_units``.
    """
    of_bitexts = [
        count_units(bitext, tokenizer, folds=own_folds, **options)
        for bitext, own_folds in zip(bitexts, folds or [()] * len(bitexts), strict=True)
    ]
    return [
        # Words, subwords or both; the words come first.
        reduce(Lexicon.joined, (_lexicon(kind, neighbours) for kind in zip(*view, strict=True)))
        for view in zip(*of_bitexts, strict=True)
    ]


def _lexicon(counted: Sequence[UnitCounts], neighbours: int) -> Lexicon:
    if len(counted) > 1:
        return merged(counted, neighbours)
    return lexicon_of(counted[0].units, counted[0].counts.dice(), neighbours)


def merged(counted: Sequence[UnitCounts], neighbours: int) -> Lexicon:
    """Return the lexicon of several bitexts' counts.

    With c_i the counts of bitext i, and S(w) the bitexts in which w would have its own embedding,

        Dice(w, t) = 2 sum c_i(w, t) / (sum c_i(w) + sum c_i(t)),  the sums over i in S(w).

    A language that hardly has a word, or has it as a name, contributes nothing to its embedding,
    and the English of a language that lacks it does not dilute its coefficients.
    """
    units = sorted(set().union(*(of_bitext.units for of_bitext in counted)))
    row_of = {unit: row for row, unit in enumerate(units)}
    size = (len(units), len(counted[0].counts.of_tokens))
    links = sparse.csr_matrix(size, dtype=np.float32)
    of_words = np.zeros(size[0], dtype=np.float32)
    has_unit = np.zeros((len(counted), size[0]), dtype=np.float32)
    for of_bitext, has in zip(counted, has_unit, strict=True):
        rows = [row_of[unit] for unit in of_bitext.units]
        ones = np.ones(len(rows), dtype=np.float32)
        moved = sparse.csr_matrix((ones, (rows, np.arange(len(rows)))), (size[0], len(rows)))
        links = links + moved @ of_bitext.counts.links
        of_words[rows] += of_bitext.counts.of_words
        has[rows] = 1
    table = links.tocsr()
    table.sort_indices()
    row = row_of_each_value(table)
    of_tokens = np.zeros(len(row), dtype=np.float32)
    for of_bitext, has in zip(counted, has_unit, strict=True):
        of_tokens += has[row] * of_bitext.counts.of_tokens[table.indices]
    table.data = 2 * table.data / (of_words[row] + of_tokens)
    return lexicon_of(units, table, neighbours)
