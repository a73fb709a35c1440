"""Which words of two languages explain each other: IBM Model 1 in both directions, in agreement.

Words that go together by chance occur together as well, so counts of joint occurrences spread a
word over its translation and over the neighbours of its translation. In Model 1 (Brown et al.,
1993) the words of a sentence compete for those of the other side, and what one word explains is not
left for the next. Each direction alone lets rare words collect what nothing else explains; here a
link counts only as far as both directions agree (Liang, Taskar and Klein, Alignment by Agreement,
2006).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from scipy import sparse

from clir_cli.corpus.cooccurrence import incidence

ROUNDS = 5
NOTHING = 0.1  # probability that a word has no counterpart
FAINTEST = 1e-3  # smaller expected numbers of links are left out
BLOCK = 1 << 21  # links between words that are processed at once
REMEMBERED = 64  # blocks whose words are looked up once


@dataclass(frozen=True)
class Side:
    """One language: the words of all sentences end to end, and where each sentence begins."""

    words: np.ndarray
    starts: np.ndarray
    vocabulary: int

    @classmethod
    def of(cls, sentences: Sequence[Sequence[int]], vocabulary: int) -> "Side":
        """Return sentences of word numbers below ``vocabulary`` as a side."""
        starts = np.concatenate([[0], np.cumsum(list(map(len, sentences)), dtype=np.int64)])
        words = np.fromiter(chain.from_iterable(sentences), np.int64, starts[-1])
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

    with p the probability of ``NOTHING`` and f a word's share of its language; b(j, i) is the same
    from the other side. The expected links c(x, y) are the sums of a(i, j) b(j, i) over the bitext,
    and give the next round's t(x | y) = c(x, y) / c(y) and t(y | x) = c(x, y) / c(x).

    Both sides are N sentences of word numbers, with repetitions; ``sizes`` are X and Y, the numbers
    of different words. ``rounds``, of expectation and maximisation, are at least one. The result
    has a sparse matrix (X, Y) for each fold, which lists its sentences, or one if there are no
    folds; the tables t are estimated on all sentences.
    """
    pairs = [
        (
            Side.of([left[row] for row in rows], sizes[0]),
            Side.of([right[row] for row in rows], sizes[1]),
        )
        for rows in folds or [range(len(left))]
    ]
    meetings = (
        incidence(map(set, left), sizes[0]).T @ incidence(map(set, right), sizes[1])
    ).tocsr()
    meetings.sort_indices()
    x = np.repeat(np.arange(sizes[0], dtype=np.int32), np.diff(meetings.indptr))
    y = meetings.indices
    keys = x.astype(np.int64) * sizes[1] + y
    shares = [side.counts / max(1, len(side.words)) for side in map(Side.of, (left, right), sizes)]
    by_left, by_right = shares[0][x], shares[1][y]  # t(x | y) and t(y | x), before the first round
    remembered: list[np.ndarray] = []  # the rest is looked up again in each round
    by_fold: list[tuple[np.ndarray, np.ndarray]] = []  # of the last round
    for step in range(rounds):
        links = np.zeros(len(keys))
        known = iter(tuple(remembered))
        for one, two in pairs:
            own = np.zeros(len(keys))
            for i, j in _linked(one, two):
                cell = next(known, None)
                if cell is None:
                    cell = _places(keys, one.words[i] * sizes[1] + two.words[j])
                    if len(remembered) < REMEMBERED:
                        remembered.append(cell)
                agreed = _choice(by_left[cell], i, shares[0][one.words])
                agreed *= _choice(by_right[cell], j, shares[1][two.words])
                np.add.at(own, cell, agreed)
            links += own
            if step == rounds - 1:
                # A fold has few of the links of all, and many folds have to fit in memory.
                some = np.flatnonzero(own > 0)
                by_fold.append((some, own[some]))
        by_left = links / np.maximum(np.bincount(y, links, sizes[1]), 1e-30)[y]
        by_right = links / np.maximum(np.bincount(x, links, sizes[0]), 1e-30)[x]
    strong = links > FAINTEST
    kept = [(some[strong[some]], part[strong[some]]) for some, part in by_fold]
    return [sparse.csr_matrix((part, (x[some], y[some])), shape=sizes) for some, part in kept]


def _choice(table: np.ndarray, chooser: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return each link's probability, from t(chooser | chosen) and word shares by position."""
    low = chooser.min(initial=0)
    position = chooser - low
    others = np.bincount(position)  # m: each link of a chooser is another word of the other side
    weight = table * (1 - NOTHING) / others[position]
    total = np.bincount(position, weight) + NOTHING * share[low : low + len(others)]
    return weight / np.maximum(total, 1e-30)[position]


def _places(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the index of each wanted key among ``keys``, which are ascending.

    In order, since a search for one key is fast after that for a near one.
    """
    order = np.argsort(wanted)
    places = np.empty(len(wanted), np.int32 if len(keys) < 1 << 31 else np.int64)
    places[order] = np.searchsorted(keys, wanted[order])
    return places


def _linked(one: Side, two: Side) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield positions (i, j) of the words of links, in blocks of whole sentences."""
    lengths, others = np.diff(one.starts), np.diff(two.starts)
    ends = np.cumsum(lengths * others)
    start = 0
    while start < len(lengths):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + BLOCK, side="right")))
        sentence = np.repeat(np.arange(start, stop), lengths[start:stop])
        width = others[sentence]
        i = np.repeat(np.arange(one.starts[start], one.starts[stop]), width)
        begins = np.cumsum(width) - width
        j = np.arange(len(i)) + np.repeat(two.starts[sentence] - begins, width)
        if len(i):
            yield i, j
        start = stop
