"""Word rows for several languages at once: a word of two languages has one row, from both.

For a word or piece of one language the row is what that language's bitext alone makes of it.
Spellings that two languages share (*data*, *social*, a loan, or chance) cannot be told apart by an
embedding table, and get one row from the counts of both.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy import sparse
from transformers import PreTrainedTokenizerBase

from clir_cli.corpus.cooccurrence import best_columns
from clir_cli.corpus.records import SentencePair
from clir_cli.vocabulary.counts import Counted, Lexicon, lexicon_of
from clir_cli.vocabulary.extend import count_units


def induce_lexicons(
    bitexts: Sequence[Sequence[SentencePair]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    neighbours: int = 5,
    folds: Sequence[Sequence[Sequence[int]]] = (),
    **chosen: Any,
) -> list[Lexicon]:
    """Return the lexicon of one bitext, or of several; then that of all but each fold.

    Args:
        bitexts: Sentence pairs, a bitext each language.
        tokenizer: The teacher's.
        neighbours: English tokens that a row is the mean of, k.
        folds: Of each bitext the numbers of the pairs of each fold, if there are to be folds.
        chosen: What ``vocabulary.count_units`` takes by name.
    """
    of_bitexts = [
        count_units(bitext, tokenizer, folds=own, **chosen)
        for bitext, own in zip(bitexts, folds or [()] * len(bitexts), strict=True)
    ]
    if len(of_bitexts) == 1:
        return [lexicon_of(view, neighbours) for view in of_bitexts[0]]
    found = []
    for views in zip(*of_bitexts, strict=True):
        first, *rest = (merged(same, neighbours) for same in zip(*views, strict=True))
        found.append(first.joined(rest[0]) if rest else first)
    return found


def merged(counted: Sequence[Counted], neighbours: int) -> Lexicon:
    """Return the lexicon of several bitexts' counts.

    With c_i the counts of bitext i, and S(w) the bitexts in which w would have a row of its own,

        Dice(w, t) = 2 sum c_i(w, t) / (sum c_i(w) + sum c_i(t)),  the sums over i in S(w).

    A language that hardly has a word, or has it as a name, has no say in its row, and the English
    of a language that lacks it does not water its coefficients down.
    """
    units = sorted(set().union(*(each.units for each in counted)))
    number = {unit: place for place, unit in enumerate(units)}
    size = (len(units), len(counted[0].evidence.of_tokens))
    links = sparse.csr_matrix(size, dtype=np.float32)
    of_words = np.zeros(size[0], dtype=np.float32)
    member = np.zeros((len(counted), size[0]), dtype=np.float32)
    for each, has in zip(counted, member, strict=True):
        places = [number[unit] for unit in each.units]
        own = np.arange(len(places))
        put = sparse.csr_matrix(
            (np.ones(len(places), dtype=np.float32), (places, own)), (size[0], len(places))
        )
        links = links + put @ each.evidence.links
        of_words[places] += each.evidence.of_words
        has[places] = 1
    table = links.tocsr()
    table.sort_indices()
    row = np.repeat(np.arange(size[0]), np.diff(table.indptr))
    of_tokens = np.zeros(len(row), dtype=np.float32)
    for each, has in zip(counted, member, strict=True):
        of_tokens += has[row] * each.evidence.of_tokens[table.indices]
    table.data = 2 * table.data / (of_words[row] + of_tokens)
    columns, dice = best_columns(table, neighbours)
    kept = [place for place in range(size[0]) if dice[place].any()]
    return Lexicon(
        [units[place] for place in kept],
        torch.from_numpy(columns[kept]),
        torch.from_numpy(dice[kept]),
    )
