"""Realign a bitext whose sides are shifted against each other.

Published translation memories are not always aligned: in the Somali TICO-19 more than half of the
lines are paired with their neighbour's translation. Both sides are still in the order of the text,
so the pairs are found by a monotone alignment (as Gale and Church, 1993, with words in place of
lengths; Moore, 2002): induce a lexicon from the pairs as they are, score each line against its
neighbours, take the best path, and repeat with the lexicon of the realigned pairs.
"""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from clir_cli.corpus.cooccurrence import dice_matrix, incidence, numbered
from clir_cli.corpus.records import SentencePair

BAND = 12  # lines; the largest shift
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
        [set(re.findall(r"\w+", text.lower())) for text in side]
        for side in zip(*pairs, strict=True)
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
    rows = [[left[word] for word in words] for words in queries]
    columns = [[right[word] for word in words] for words in english]
    # The discount removes what a pair says for itself: words that met only there.
    dice = dice_matrix(
        incidence((rows[one] for one, _ in path), len(left)),
        incidence((columns[two] for _, two in path), len(right)),
        discount=1.0,
    )
    count = len(queries)
    scores = np.full((count, 2 * BAND + 1), IMPOSSIBLE)
    for one in range(count):
        table = dice[rows[one]].toarray() if rows[one] else np.zeros((0, len(right)))
        for two in range(max(0, one - BAND), min(count, one + BAND + 1)):
            same = sum(len(word) > 1 for word in queries[one] & english[two])
            score = 0.0
            if rows[one] and columns[two]:
                cells = table[:, columns[two]]
                score = (cells.max(axis=1).sum() + same) / (len(rows[one]) + 1)
                score += (cells.max(axis=0).sum() + same) / (len(columns[two]) + 1)
            skew = abs(math.log(lengths[one, 0] / lengths[two, 1]))
            scores[one, two - one + BAND] = score / 2 - 0.1 * skew
    return scores


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
