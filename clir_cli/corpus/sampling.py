"""Random samples: of a list, and of a stream without duplicates, in bounded memory.

Bottom-k sampling (Cohen and Kaplan, 2007): every key gets a pseudo-random number, its hash, and the
k smallest are kept. It is a reservoir that handles duplicates: equal keys have equal hashes, so
each distinct key has the same probability however often it occurs, and only k pairs are ever held.
The sample depends on the seed and the pairs alone, not on their order.
"""

import hashlib
import heapq
import random
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from clir_cli.corpus.records import SentencePair

Row = TypeVar("Row")


def sampled(rows: Sequence[Row], most: int, key: str) -> list[Row]:
    """Return a random sample in order; all if there are no more than ``most``, or it is 0."""
    if not most or len(rows) <= most:
        return list(rows)
    return [rows[index] for index in sorted(random.Random(key).sample(range(len(rows)), most))]


def bottom_k(
    rows: Iterable[SentencePair],
    count: int,
    *,
    seed: str,
    key: Callable[[SentencePair], object] = lambda row: row,
) -> list[SentencePair]:
    """Return a random sample of ``count`` pairs with distinct keys, in the order of the stream.

    All distinct pairs if there are fewer; of pairs with the same key the first is kept.
    """
    salt = hashlib.blake2b(seed.encode(), digest_size=16).digest()
    heap: list[tuple[int, int]] = []  # (minus hash, position): the largest hash on top
    sample: dict[int, tuple[int, SentencePair]] = {}
    for position, row in enumerate(rows):
        value = key(row)
        text = "\n".join(value) if isinstance(value, tuple) else str(value)
        # 64 bits: among 15 million pairs two have the same hash with probability 1 in 160,000.
        hashed = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, key=salt)
        rank = int.from_bytes(hashed.digest(), "big")
        if rank in sample:
            continue
        if len(heap) < count:
            heapq.heappush(heap, (-rank, position))
        elif -heap[0][0] > rank:
            largest, _ = heapq.heapreplace(heap, (-rank, position))
            del sample[-largest]
        else:
            continue
        sample[rank] = (position, row)
    return [row for _, row in sorted(sample.values())]
