"""Which words of two languages explain each other: IBM Model 1 in both directions, in agreement.

Words that go together by chance occur together as well, so counts of joint occurrences spread a
word over its translation and over the neighbours of its translation. In Model 1 (Brown et al.,
1993) the words of a sentence compete for those of the other side, and what one word explains is not
left for the next. Each direction alone lets rare words collect what nothing else explains; here a
link counts only as far as both directions agree (Liang, Taskar and Klein, Alignment by Agreement,
2006).
"""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy import sparse

from clir_cli.corpus.cooccurrence import incidence
from clir_cli.ragged import Ragged

ROUNDS = 5
NOTHING = 0.1  # probability that a word has no counterpart
FAINTEST = 1e-3  # smaller expected numbers of links are left out
BLOCK = 1 << 21  # links between words that are processed at once
REMEMBERED = 64  # blocks whose words are looked up once


def expected_links(
    left: Ragged,
    right: Ragged,
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
    pairs = [(left.select(rows), right.select(rows)) for rows in folds or [range(len(left))]]
    meetings = (incidence(left, sizes[0]).T @ incidence(right, sizes[1])).tocsr()
    meetings.sort_indices()
    x = np.repeat(np.arange(sizes[0], dtype=np.int32), np.diff(meetings.indptr))
    y = meetings.indices
    keys = x.astype(np.int64) * sizes[1] + y
    shares = [
        np.bincount(side.values, minlength=size) / max(1, len(side.values))
        for side, size in zip((left, right), sizes, strict=True)
    ]
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
                    cell = _places(keys, one.values[i].astype(np.int64) * sizes[1] + two.values[j])
                    if len(remembered) < REMEMBERED:
                        remembered.append(cell)
                agreed = _choice(by_left[cell], i, shares[0][one.values])
                agreed *= _choice(by_right[cell], j, shares[1][two.values])
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


def _linked(one: Ragged, two: Ragged) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield positions (i, j) of the words of links, in blocks of whole sentences."""
    lengths, others = one.lengths, two.lengths
    ends = np.cumsum(lengths * others)
    start = 0
    while start < len(lengths):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + BLOCK, side="right")))
        sentence = np.repeat(np.arange(start, stop), lengths[start:stop])
        width = others[sentence]
        i = np.repeat(np.arange(one.offsets[start], one.offsets[stop]), width)
        begins = np.cumsum(width) - width
        j = np.arange(len(i)) + np.repeat(two.offsets[sentence] - begins, width)
        if len(i):
            yield i, j
        start = stop
