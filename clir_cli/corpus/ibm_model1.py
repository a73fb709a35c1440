"""Which words of two languages explain each other: IBM Model 1 in both directions, in agreement.

Words that go together by chance occur together as well, so counts of joint occurrences spread a
word over its translation and over what its translation stands beside. In Model 1 (Brown et al.,
1993) the words of a sentence compete for those of the other side, and what one word explains is not
left for the next. Each direction alone lets rare words collect what nothing else explains; here a
link counts only as far as both directions see it (Liang, Taskar and Klein, Alignment by Agreement,
2006).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
from scipy import sparse

from clir_cli.corpus.cooccurrence import incidence

ROUNDS = 5
NOTHING = 0.1  # chance that a word has no counterpart
FAINTEST = 1e-3  # expected links below this are left out
BLOCK = 1 << 21  # links between words that are worked on at once
REMEMBERED = 8  # blocks whose words are looked up once


@dataclass(frozen=True)
class Side:
    """One language: the words of all sentences end to end, and where each sentence begins."""

    words: np.ndarray
    starts: np.ndarray
    vocabulary: int

    @classmethod
    def of(cls, sentences: Sequence[Sequence[int]], vocabulary: int) -> "Side":
        """Return sentences of word numbers below ``vocabulary`` as a side."""
        starts = np.concatenate([[0], np.cumsum([len(each) for each in sentences], dtype=np.int64)])
        words = np.fromiter((word for each in sentences for word in each), np.int64, starts[-1])
        return cls(words, starts, vocabulary)

    @property
    def counts(self) -> np.ndarray:
        """Return how often each word occurs, repetitions included."""
        return np.bincount(self.words, minlength=self.vocabulary).astype(np.float64)


def expected_links(
    left: Sequence[Sequence[int]],
    right: Sequence[Sequence[int]],
    sizes: tuple[int, int],
    *,
    rounds: int = ROUNDS,
    folds: Sequence[Sequence[int]] = (),
) -> list[sparse.csr_matrix]:
    """Return how often words of the two sides are expected to be linked, c(x, y), fold by fold.

    In each round word i of a sentence chooses among the m words of the other side and nothing,

        a(i, j) = t(x_i | y_j) (1 - p) / m / (sum over j' of the same + p f(x_i)),

    with p the chance of ``NOTHING`` and f a word's share of its language; b(j, i) is the same from
    the other side. The expected links c(x, y) are the sums of a(i, j) b(j, i) over the bitext, and
    give the next round's t(x | y) = c(x, y) / c(y) and t(y | x) = c(x, y) / c(x).

    Args:
        left: N sentences of word numbers, with repetitions; one without words explains nothing.
        right: The N sentences of the other side.
        sizes: Numbers of different words of both sides, X and Y.
        rounds: Rounds of expectation and maximisation, at least one.
        folds: The sentences of each fold, if there are to be folds; each sentence is in one. The
            tables t are those of all sentences.

    Returns:
        The links within each fold, (X, Y), sparse; one matrix where there are no folds.
    """
    of_sentence = np.zeros(len(left), dtype=int)
    for number, sentences in enumerate(folds):
        of_sentence[list(sentences)] = number
    fold_of = np.repeat(of_sentence, [len(each) for each in left])
    one, two = Side.of(left, sizes[0]), Side.of(right, sizes[1])
    meetings = incidence(map(set, left), sizes[0]).T @ incidence(map(set, right), sizes[1])
    meetings = meetings.tocsr()
    meetings.sort_indices()
    x = np.repeat(np.arange(sizes[0]), np.diff(meetings.indptr))
    y = meetings.indices.astype(np.int64)
    keys = x * sizes[1] + y
    share = [each.counts / max(1, len(each.words)) for each in (one, two)]
    by_left, by_right = share[0][x], share[1][y]  # t(x | y) and t(y | x), before anything is known
    found = np.zeros((max(1, len(folds)), len(keys)))
    blocks = _linked(one, two, keys)
    remembered = list(islice(blocks, REMEMBERED))  # the rest is looked up anew in each round
    rest = next(blocks, None) is not None
    for step in range(rounds):
        last = step == rounds - 1
        links = np.zeros(len(keys))
        looked_up = islice(_linked(one, two, keys), REMEMBERED, None) if rest else ()
        for i, j, cell in chain(remembered, looked_up):
            agreed = _choice(by_left[cell], i, share[0][one.words])
            agreed *= _choice(by_right[cell], j, share[1][two.words])
            links += np.bincount(cell, agreed, len(keys))
            for fold in range(len(found)) if last else ():
                here = fold_of[i] == fold
                found[fold] += np.bincount(cell[here], agreed[here], len(keys))
        by_left = links / np.maximum(np.bincount(y, links, sizes[1]), 1e-30)[y]
        by_right = links / np.maximum(np.bincount(x, links, sizes[0]), 1e-30)[x]
    kept = links > FAINTEST
    return [sparse.csr_matrix((part[kept], (x[kept], y[kept])), shape=sizes) for part in found]


def _choice(chance: np.ndarray, chooser: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return how far each chooser chooses each word that it could be linked to.

    ``chance`` is t(chooser | chosen) of each link; ``share`` a word's share of its language, by
    place. The links of a chooser are all in the same block.
    """
    low = chooser.min(initial=0)
    place = chooser - low
    others = np.bincount(place)  # m: each link of a chooser is another word of the other side
    weight = chance * (1 - NOTHING) / others[place]
    total = np.bincount(place, weight) + NOTHING * share[low : low + len(others)]
    return weight / np.maximum(total, 1e-30)[place]


def _linked(
    one: Side, two: Side, keys: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield places (i, j) of the links of some sentences, and where their words stand in ``keys``.

    ``keys`` are x * Y + y of all words that meet, ascending.
    """
    for i, j in _blocks(one, two):
        yield i, j, np.searchsorted(keys, one.words[i] * two.vocabulary + two.words[j])


def _blocks(one: Side, two: Side) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield places (i, j) of all links within sentences, some whole sentences at a time."""
    lengths, others = np.diff(one.starts), np.diff(two.starts)
    ends = np.cumsum(lengths * others)
    start = 0
    while start < len(lengths):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + BLOCK, side="right")))
        sentence = np.repeat(np.arange(start, stop), lengths[start:stop])
        width = others[sentence]
        words = np.arange(one.starts[start], one.starts[stop])
        i = np.repeat(words, width)
        begins = np.cumsum(width) - width
        j = np.arange(len(i)) - np.repeat(begins, width) + np.repeat(two.starts[sentence], width)
        if len(i):
            yield i, j
        start = stop
