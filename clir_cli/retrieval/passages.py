"""Passages: overlapping parts of long documents, each a row of the index (MaxP).

A document has the score of its best passage (Dai and Callan, SIGIR 2019).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clir_cli.errors import UserError
from clir_cli.retrieval.batching import rows_of
from clir_cli.retrieval.encoder import Encoder
from clir_cli.settings import IndexSettings

FILE = "passages.npy"
BATCH = 1024  # texts that are tokenised at once
Span = tuple[int, int]  # the first of a run, and the one behind its last


@dataclass(frozen=True)
class Passages:
    """The rows of an index, as parts of its documents.

    ``documents`` (rows,) int64 are the numbers of the documents; ``spans`` (rows, 2) the characters
    of each passage in the full text of its document: the first, and the one behind the last.
    """

    documents: Tensor
    spans: np.ndarray

    @cached_property
    def count(self) -> int:
        """Return the number of documents."""
        return int(self.documents.max()) + 1

    @cached_property
    def _by_document(self) -> tuple[Tensor, Tensor, Tensor]:
        counts = torch.bincount(self.documents, minlength=self.count)
        return self.documents.argsort(stable=True), counts.cumsum(0) - counts, counts

    def rows(self, documents: Tensor) -> Tensor:
        """Return the rows of some documents (M,), ascending."""
        order, starts, counts = self._by_document
        return order[rows_of(starts[documents], counts[documents])].sort().values


def best_of(scores: Tensor, documents: Tensor, count: int) -> Tensor:
    """Return the largest score (..., count) of each document.

    ``scores`` (..., rows) are those of passages, ``documents`` (rows,) the numbers of the documents
    that they belong to; a document without any has minus infinity.
    """
    best = torch.full((*scores.shape[:-1], count), float("-inf"))
    return best.scatter_reduce(-1, documents.expand_as(scores), scores, "amax")


def write_passages(folder: Path, passages: Passages) -> None:
    """Write the passages of an index."""
    np.save(folder / FILE, np.column_stack([passages.documents.numpy(), passages.spans]))


def read_passages(folder: Path) -> Passages | None:
    """Return the passages of an index, None if its rows are whole documents."""
    if not (folder / FILE).exists():
        return None
    table = np.load(folder / FILE, allow_pickle=False)
    return Passages(torch.from_numpy(table[:, 0].copy()), table[:, 1:])


def split(
    teacher: Encoder, texts: Sequence[str], settings: IndexSettings, document_tokens: int
) -> Passages:
    """Return the passages of texts, in order; a text that is no longer than one is whole.

    A passage is at most ``index.passage_tokens`` long, as the teacher encodes it, and shares at
    most ``index.passage_overlap`` tokens with the one before. It begins and ends between words,
    but for a word that is longer than a passage.

    Raises:
        UserError: A passage is longer than the teacher takes, or no longer than the overlap; the
            tokenizer does not say which characters a token has.
    """
    longest = teacher.limit(document_tokens, "document")
    if settings.passage_tokens > longest:
        raise UserError(
            f"index.passage_tokens={settings.passage_tokens}: this teacher takes {longest} tokens "
            "(teacher.document_tokens); give no more"
        )
    if not teacher.tokenizer.is_fast:
        raise UserError("index.passage_tokens needs a tokenizer.json, which this teacher lacks")
    room = settings.passage_tokens - len(teacher.tokenize([""], longest, "document")[0])
    if room <= settings.passage_overlap:
        raise UserError(
            f"index.passage_tokens={settings.passage_tokens} has room for {max(0, room)} tokens of "
            f"text, and index.passage_overlap={settings.passage_overlap} must be fewer"
        )
    documents: list[int] = []
    spans: list[Span] = []
    for number, found in enumerate(_split(teacher, texts, room, settings.passage_overlap)):
        documents += [number] * len(found)
        spans += found
    return Passages(torch.tensor(documents), np.array(spans, dtype=np.int64).reshape(-1, 2))


def _split(teacher: Encoder, texts: Sequence[str], room: int, overlap: int) -> Iterator[list[Span]]:
    for start in range(0, len(texts), BATCH):
        batch = list(texts[start : start + BATCH])
        encoded = teacher.tokenizer(batch, add_special_tokens=False, return_offsets_mapping=True)
        for number, text in enumerate(batch):
            words, characters = encoded.word_ids(number), encoded["offset_mapping"][number]
            begins = [i for i, word in enumerate(words) if not i or word != words[i - 1]]
            runs = windows(begins, len(words), room, overlap)
            # What is no token (white space) belongs to the passage before it.
            starts = [characters[low][0] if low else 0 for low, _ in runs]
            ends = [characters[high - 1][1] for _, high in runs[:-1]]
            yield list(zip(starts, [*ends, len(text)], strict=True))


def windows(begins: Sequence[int], count: int, room: int, overlap: int) -> list[Span]:
    """Return runs of at most ``room`` of ``count`` tokens, which cover all of them.

    A run and the next one share at most ``overlap`` tokens; both begin at one of ``begins``, the
    first tokens of words, unless a word has more than ``room``.

    >>> windows(range(10), 10, room=4, overlap=1)
    [(0, 4), (3, 7), (6, 10)]
    """
    runs, low, ends = [], 0, [*begins, count]
    while low + room < count:
        word = bisect_right(ends, low + room)  # the word that does not fit begins before
        high = ends[word - 1]
        if high <= low:  # it is longer than a run
            runs.append((low, low + room))
            low += room
            continue
        runs.append((low, high))
        # The next run has that word, if a run can.
        earliest = min(high, max(high - overlap, ends[word] - room))
        low = begins[bisect_left(begins, earliest)]
    return [*runs, (low, count)]
