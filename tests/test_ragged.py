"""Rows of numbers in one array behave like lists of lists."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clir_cli.ragged import Ragged

ROWS = st.lists(st.lists(st.integers(0, 5), max_size=4), max_size=6)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_each_operation_does_what_it_does_to_lists(rows, random):
    ragged = Ragged.of(iter(rows))
    assert list(ragged) == rows
    assert [ragged[row - len(rows)] for row in range(len(rows))] == rows  # from the end, too
    assert ragged.lengths.tolist() == list(map(len, rows))
    places = [(row, at) for row, values in enumerate(rows) for at in range(len(values))]
    assert list(zip(ragged.row_of_each, ragged.positions, strict=True)) == places
    assert list(ragged.distinct()) == [sorted(set(row)) for row in rows]
    even = [[value for value in row if value % 2 == 0] for row in rows]
    assert list(ragged.keep(ragged.values % 2 == 0)) == even
    chosen = random.choices(range(len(rows)), k=4) if rows else []
    assert list(ragged.select(chosen)) == [rows[row] for row in chosen]
    start, stop = sorted(random.choices(range(len(rows) + 1), k=2))
    assert list(ragged.slice(start, stop)) == rows[start:stop]
    assert list(Ragged.of_parts([ragged, ragged])) == rows + rows


def test_no_operation_changes_what_it_reads():
    ragged = Ragged.of([[3, 1, 3], [2]])
    ragged.distinct(), ragged.keep(ragged.values > 1), ragged.select([1, 0])
    assert list(ragged) == [[3, 1, 3], [2]]


def test_a_row_that_is_not_there_and_a_number_of_more_than_32_bits_are_refused():
    with pytest.raises(IndexError):
        Ragged.of([[1]])[1]
    with pytest.raises(OverflowError):
        Ragged.of([[1 << 40]])
    assert Ragged.of([[1]]).values.dtype == np.int32
