"""Realign a bitext whose sides are shifted against each other.

Published translation memories are not always aligned: in the Somali TICO-19 more than half of the
lines are paired with their neighbour's translation. Both sides are still in the order of the text,
so the pairs are found by a monotone alignment (as Gale and Church, 1993, with words in place of
lengths; Moore, 2002): induce a lexicon from the pairs as they are, score each line against its
neighbours, take the best path, and repeat with the lexicon of the realigned pairs.
"""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from scipy import sparse

from clir_cli.corpus import unicode_words
from clir_cli.corpus.cooccurrence import dice_matrix, incidence, numbered
from clir_cli.corpus.records import SentencePair
from clir_cli.ragged import Ragged

BAND = 12  # lines; the largest shift
CHUNK = 16  # lines that are scored at once: their table fits a processor's cache
THRESHOLD = 0.12  # a lower score is not a translation
ROUNDS = 3
SUSPICIOUS = 0.02  # a bitext is misaligned if a larger share of its lines is shifted
SHORTEST_RUN = 6  # lines with the same shift; fewer may be chance in unordered text
WIDEST_GAP = 3  # lines without a partner that do not end a run
LARGEST = 50_000  # lines; larger corpora are mined sentence by sentence and are not shifted

SKIP_QUERY, SKIP_ENGLISH, MATCH = 1, 2, 3
IMPOSSIBLE = -1e9

Matches = list[tuple[int, int]]  # a line of the query language, and its English one


class Realigned(NamedTuple):
    """The pairs, and how many of them have another line than before."""

    pairs: list[SentencePair]
    moved: int


def realign(pairs: Sequence[SentencePair]) -> Realigned:
    """Return the pairs with shifted lines realigned; an aligned bitext is returned as it is.

    Lines without a partner are left out, but only in a misaligned bitext: more than ``SUSPICIOUS``
    of its lines match another line than their own.
    """
    if not 100 <= len(pairs) <= LARGEST:
        return Realigned(list(pairs), 0)
    queries, english = (
        [set(unicode_words.words(text)) for text in side] for side in zip(*pairs, strict=True)
    )
    lengths = np.array([[len(pair.query) + 10, len(pair.english) + 10] for pair in pairs])
    path = [(line, line) for line in range(len(pairs))]
    for _ in range(ROUNDS):
        scores = _band_scores(queries, english, lengths, path)
        path = _in_step(_best_path(scores))
        moved = sum(one != two for one, two in path)
        if moved <= SUSPICIOUS * len(pairs):
            return Realigned(list(pairs), 0)
    realigned = [SentencePair(pairs[one].query, pairs[two].english) for one, two in path]
    return Realigned(realigned, moved)


def _band_scores(
    queries: list[set[str]], english: list[set[str]], lengths: np.ndarray, path: Matches
) -> np.ndarray:
    """Return how well line i goes with line i + k - BAND, as (lines, 2 BAND + 1).

    The score is the mean over the words of both sides of the best Dice coefficient on the other
    side, with 1 for a word that is on both; minus a tenth of the difference in log length.
    """
    left, right = numbered(queries), numbered(english)
    rows = [sorted(left[word] for word in words) for words in queries]
    columns = [sorted(right[word] for word in words) for words in english]
    # The discount removes what a pair says for itself: words that met only there.
    dice = dice_matrix(
        incidence(Ragged.of(rows[one] for one, _ in path), len(left)),
        incidence(Ragged.of(columns[two] for _, two in path), len(right)),
        discount=1.0,
    )
    shared = [{word for word in words if len(word) > 1 and word in right} for words in queries]
    words, others = (np.array(list(map(len, side))) for side in (rows, columns))
    count, logs = len(queries), np.log(lengths)
    scores = np.full((count, 2 * BAND + 1), IMPOSSIBLE)
    for start in range(0, count, CHUNK):  # a chunk's lines are scored in few calls of numpy
        stop = min(start + CHUNK, count)
        first, last = max(0, start - BAND), min(stop + BAND, count)
        sums = _best_sums(dice, rows[start:stop], columns[first:last])
        one, two = np.mgrid[start:stop, first:last].reshape(2, -1)
        near = abs(two - one) <= BAND
        one, two = one[near], two[near]
        same = np.array([len(shared[i] & english[j]) for i, j in zip(one, two, strict=True)])
        of_one, of_two = (part[one - start, two - first] for part in sums)
        score = (of_one + same) / (words[one] + 1) + (of_two + same) / (others[two] + 1)
        score[(words[one] == 0) | (others[two] == 0)] = 0
        scores[one, two - one + BAND] = score / 2 - 0.1 * abs(logs[one, 0] - logs[two, 1])
    return scores


def _best_sums(
    dice: sparse.csr_matrix, rows: list[list[int]], columns: list[list[int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums of the best coefficients of lines' words in lines of the other language.

    ``rows`` are the words of L lines, ``columns`` those of M lines of the other language. Both
    results are (L, M): the first sums over the words of the L lines, the second over the others'.
    """
    needed, place = np.unique(list(chain.from_iterable(columns)), return_inverse=True)
    cells = dice[list(chain.from_iterable(rows))][:, needed].toarray()[:, place]
    sums = np.zeros((2, len(rows), len(columns)))
    (lines, begins), (others, starts) = map(_beginnings, (rows, columns))
    if len(lines) and len(others):
        best = (
            np.maximum.reduceat(cells, starts, axis=1),
            np.maximum.reduceat(cells, begins, axis=0),
        )
        both = np.ix_(lines, others)
        sums[0][both] = np.add.reduceat(best[0], begins, axis=0)
        sums[1][both] = np.add.reduceat(best[1], starts, axis=1)
    return sums[0], sums[1]


def _beginnings(lines: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the lines that have words, and where each begins when all are end to end."""
    sizes = np.array(list(map(len, lines)))
    filled = np.flatnonzero(sizes)
    return filled, (np.cumsum(sizes) - sizes)[filled]


def _in_step(path: Matches) -> Matches:
    """Return the matches of lines that are not shifted, or shifted like their neighbours."""
    runs: list[Matches] = []
    for one, two in path:
        last = runs[-1][-1] if runs else (-WIDEST_GAP, 0)
        if runs and two - one == last[1] - last[0] and one - last[0] <= WIDEST_GAP:
            runs[-1].append((one, two))
        else:
            runs.append([(one, two)])
    in_step = (run for run in runs if run[0][0] == run[0][1] or len(run) >= SHORTEST_RUN)
    return [match for run in in_step for match in run]


def _best_path(scores: np.ndarray) -> Matches:
    """Return the monotone alignment with the largest sum of scores above ``THRESHOLD``."""
    # Dynamic programming over (query lines used, English lines used) within the band.
    count, width = scores.shape
    best = np.full((count + 1, width + 2), IMPOSSIBLE)
    step = np.zeros((count + 1, width + 2), dtype=np.int8)
    best[0, BAND:width] = 0
    step[0, BAND + 1 : width] = SKIP_ENGLISH
    for one in range(1, count + 1):
        for slot in range(width):
            two = one + slot - BAND
            if not 0 <= two <= count:
                continue
            choices = [(best[one - 1, slot + 1], SKIP_QUERY)]
            if slot and two:
                choices.append((best[one, slot - 1], SKIP_ENGLISH))
            if two:
                gain = scores[one - 1, slot] - THRESHOLD
                choices.append((best[one - 1, slot] + gain, MATCH))
            best[one, slot], step[one, slot] = max(choices)
    one, slot = count, int(best[count, :width].argmax())
    path = []
    while one > 0 or slot > BAND:
        if step[one, slot] == MATCH:
            one -= 1
            path.append((one, one + slot - BAND))
        elif step[one, slot] == SKIP_QUERY:
            one, slot = one - 1, slot + 1
        else:
            slot -= 1
    return path[::-1]
