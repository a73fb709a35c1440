"""Which words of two languages occur together: Dice coefficients over sentence pairs."""

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from clir_cli.ragged import Ragged


def incidence(sentences: Ragged, columns: int) -> sparse.csr_matrix:
    """Return a matrix (sentences, columns), float32, with 1 where a sentence has the item."""
    once = sentences.distinct()
    ones = np.ones(len(once.values), dtype=np.float32)
    return sparse.csr_matrix((ones, once.values, once.offsets), shape=(len(once), columns))


def dice_matrix(
    left: sparse.csr_matrix, right: sparse.csr_matrix, *, discount: float = 0.0
) -> sparse.csr_matrix:
    """Return Dice(x, y) = 2 c(x, y) / (c(x) + c(y)) for all items that occur together.

    The incidences (sentences, X) and (sentences, Y) give a sparse matrix (X, Y), float32.
    ``discount`` is subtracted from joint counts: words that met once may be no translations.
    """
    dice = (left.T @ right).tocsr()
    left_counts, right_counts = (np.asarray(side.sum(axis=0)).ravel() for side in (left, right))
    rows = np.repeat(np.arange(dice.shape[0]), np.diff(dice.indptr))
    joint = np.maximum(dice.data - discount, 0)
    dice.data = 2 * joint / (left_counts[rows] + right_counts[dice.indices])
    return dice


def best_columns(matrix: sparse.csr_matrix, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns of the largest values of each row and the values, both (rows, count).

    Equal values are ordered by column, so that the result is deterministic; a row with fewer values
    is padded with column 0 and value 0.
    """
    columns = np.zeros((matrix.shape[0], count), dtype=np.int64)
    values = np.zeros((matrix.shape[0], count), dtype=np.float32)
    matrix = matrix.sorted_indices()
    sizes = np.diff(matrix.indptr)
    rows = np.flatnonzero(sizes)  # those with values; each loses its largest in each round
    starts = matrix.indptr[rows]
    left, places = matrix.data.astype(np.float64), np.arange(matrix.nnz)
    for rank in range(min(count, sizes.max(initial=0))):
        largest = np.maximum.reduceat(left, starts)
        is_largest = left == np.repeat(largest, sizes[rows])
        first = np.minimum.reduceat(np.where(is_largest, places, matrix.nnz), starts)
        there = largest > -np.inf
        columns[rows[there], rank] = matrix.indices[first[there]]
        values[rows[there], rank] = matrix.data[first[there]]
        left[first[there]] = -np.inf
    return columns, values


def numbered(sentences: Sequence[set[str]]) -> dict[str, int]:
    """Return a number for each word, in alphabetical order."""
    return {word: number for number, word in enumerate(sorted(set().union(*sentences)))}
