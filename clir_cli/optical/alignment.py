"""What the plans of a whole bitext say of words: a bilingual dictionary, induced.

Each plan is a soft alignment of one sentence pair. Its mass, added up by word over all pairs, tells
which English word a word stands for; what a sentence leaves open, the next ones settle.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from clir_cli.corpus.records import SentencePair
from clir_cli.corpus.unicode_words import word_spans
from clir_cli.optical.objectives import TokenBatch, aligned, cosine_cost
from clir_cli.retrieval.encoder import Encoder, Packed, pad
from clir_cli.settings import TransportSettings
from clir_cli.training.batches import pad_vectors


@dataclass(frozen=True)
class Entry:
    """A word with an English one, how sure the plans are of it (0 to 1), and in how many pairs."""

    word: str
    english: str
    score: float
    pairs: int


def induce_dictionary(
    student: Encoder,
    teacher: Encoder,
    bitext: Sequence[SentencePair],
    embeddings: Packed,
    settings: TransportSettings,
    *,
    max_tokens: int,
    batch_size: int = 64,
    translations: int = 5,
    min_pairs: int = 2,
    least_score: float = 0.01,
    advance: Callable[[int], None] = lambda _: None,
) -> list[Entry]:
    """Return the English words that the plans pair each word with, best first.

    With m(w, e) the mass between two words over the bitext, and m(w), m(e) their masses in all, the
    score is Dice's, 2 m(w, e) / (m(w) + m(e)). Each student token carries the same mass.

    Args:
        student: The query encoder, with an extended vocabulary or without.
        teacher: The teacher, which cut the English sides.
        bitext: N sentence pairs.
        embeddings: The teacher's token embeddings of the N English sides.
        settings: Of the transport problem.
        max_tokens: Longest sentence in tokens.
        batch_size: Pairs whose plans are computed together.
        translations: English words kept for a word.
        min_pairs: A word and its translation must meet in so many pairs.
        least_score: Entries below this are left out.
        advance: Called with the number of pairs that were aligned.
    """
    mass: dict[tuple[str, str], float] = defaultdict(float)
    meetings: dict[tuple[str, str], int] = defaultdict(int)
    of_word: dict[str, float] = defaultdict(float)
    of_english: dict[str, float] = defaultdict(float)
    order = sorted(range(len(bitext)), key=lambda index: len(bitext[index].query))
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        rows = [bitext[index] for index in chosen]
        plans = plans_of(
            student, rows, [embeddings[index] for index in chosen], settings, max_tokens
        )
        for row, plan in zip(rows, plans, strict=True):
            left = token_words(student, row.query, max_tokens)
            right = token_words(teacher, row.english, max_tokens)
            for (word, english), value in _by_word(plan, left, right):
                mass[word, english] += value
                meetings[word, english] += 1
                of_word[word] += value
                of_english[english] += value
        advance(len(chosen))
    found: dict[str, list[Entry]] = defaultdict(list)
    for (word, english), value in mass.items():
        if meetings[word, english] >= min_pairs:
            score = 2 * value / (of_word[word] + of_english[english])
            if score >= least_score:
                found[word].append(Entry(word, english, score, meetings[word, english]))
    return [
        entry
        for word in sorted(found)
        for entry in sorted(found[word], key=lambda each: (-each.score, each.english))[
            :translations
        ]
    ]


@torch.inference_mode()
def plans_of(
    student: Encoder,
    rows: Sequence[SentencePair],
    teacher: Sequence[torch.Tensor],
    settings: TransportSettings,
    max_tokens: int,
) -> list[torch.Tensor]:
    """Return the plan (n, m) of each pair, scaled so that each student token has the mass 1."""
    ids = student.tokenize([row.query for row in rows], max_tokens)
    padded, mask = pad(ids, student.pad_id, student.device)
    vectors, teacher_mask = pad_vectors(teacher, student.device)
    batch = TokenBatch(student.embed(padded, mask), mask, vectors, teacher_mask)
    plans = aligned(batch, cosine_cost(batch), settings).plan
    return [
        plan[: len(each), : len(other)].cpu() * len(each)
        for plan, each, other in zip(plans, ids, teacher, strict=True)
    ]


def token_words(encoder: Encoder, text: str, max_tokens: int) -> list[str]:
    """Return the word that each token of a sentence is a part of; empty for those of no word."""
    spans = list(word_spans(text))
    return [
        next((word for begin, end, word in spans if begin < high and low < end), "")
        for low, high in encoder.spans(text, max_tokens)
    ]


def _by_word(
    plan: torch.Tensor, left: Sequence[str], right: Sequence[str]
) -> Iterator[tuple[tuple[str, str], float]]:
    total: dict[tuple[str, str], float] = defaultdict(float)
    for row, word in enumerate(left):
        for column, english in enumerate(right):
            if word and english:
                total[word, english] += float(plan[row, column])
    yield from total.items()
