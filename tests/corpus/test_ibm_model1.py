import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clir_cli.corpus import ibm_model1
from clir_cli.corpus.ibm_model1 import expected_links
from clir_cli.ragged import Ragged

WORDS = 6
sentences = st.lists(st.integers(0, WORDS - 1), max_size=5)
bitexts = st.lists(st.tuples(sentences, sentences), min_size=1, max_size=12)


def plain_links(left, right, rounds):
    """The formula of the docstring, word by word."""
    shares = [
        np.bincount([w for s in side for w in s], minlength=WORDS)
        / max(1, sum(len(s) for s in side))
        for side in (left, right)
    ]
    by_left = {(x, y): shares[0][x] for x in range(WORDS) for y in range(WORDS)}
    by_right = {(x, y): shares[1][y] for x in range(WORDS) for y in range(WORDS)}
    some, none = 1 - ibm_model1.NOTHING, ibm_model1.NOTHING
    links = np.zeros((WORDS, WORDS))
    for _ in range(rounds):
        links = np.zeros((WORDS, WORDS))
        for one, two in zip(left, right, strict=True):
            for x in one:
                for y in two:
                    rest = sum(by_left[x, other] * some / len(two) for other in two)
                    a = by_left[x, y] * some / len(two) / (rest + none * shares[0][x])
                    rest = sum(by_right[other, y] * some / len(one) for other in one)
                    b = by_right[x, y] * some / len(one) / (rest + none * shares[1][y])
                    links[x, y] += a * b
        for x in range(WORDS):
            for y in range(WORDS):
                by_left[x, y] = links[x, y] / max(links[:, y].sum(), 1e-30)
                by_right[x, y] = links[x, y] / max(links[x].sum(), 1e-30)
    return np.where(links > ibm_model1.FAINTEST, links, 0)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(bitexts, st.integers(1, 3), st.sampled_from([1, 7, 1 << 21]))
def test_blocks_of_links_give_what_the_formula_says(rows, rounds, block):
    left, right = [one for one, _ in rows], [two for _, two in rows]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ibm_model1, "BLOCK", block)
        patch.setattr(ibm_model1, "REMEMBERED", 2)
        sides = map(Ragged.of, (left, right))
        found = expected_links(*sides, (WORDS, WORDS), rounds=rounds)[0].toarray()
    np.testing.assert_allclose(found, plain_links(left, right, rounds), atol=1e-9)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(bitexts)
def test_the_sides_may_be_exchanged_and_no_word_is_linked_more_often_than_it_occurs(rows):
    left, right = (Ragged.of(side) for side in zip(*rows, strict=True))
    (found,) = expected_links(left, right, (WORDS, WORDS))
    (other,) = expected_links(right, left, (WORDS, WORDS))
    np.testing.assert_allclose(found.toarray(), other.toarray().T, atol=1e-9)
    counts = [np.bincount(side.values, minlength=WORDS) for side in (left, right)]
    assert (np.asarray(found.sum(axis=1)).ravel() <= counts[0] + 1e-9).all()
    assert (np.asarray(found.sum(axis=0)).ravel() <= counts[1] + 1e-9).all()


def test_a_word_is_not_thought_to_mean_what_its_neighbour_means():
    # 0 stands always beside 1; what 1 means is known from where it stands alone.
    left = [[0, 1], [1, 2], [1, 3], [0, 1], [1, 4]]
    right = [[0, 1], [1, 2], [1, 3], [0, 1], [1, 4]]
    links = expected_links(Ragged.of(left), Ragged.of(right), (5, 5))[0].toarray()
    assert links[0].argmax() == 0
    assert links[0, 0] > 5 * links[0, 1]
    assert (links.argmax(axis=1) == np.arange(5)).all()


def test_a_bitext_without_words_has_no_links():
    no_pair = Ragged.of([[], [1]]), Ragged.of([[0], []])
    assert expected_links(*no_pair, (2, 2))[0].nnz == 0
    assert expected_links(Ragged.of([]), Ragged.of([]), (2, 2))[0].shape == (2, 2)
