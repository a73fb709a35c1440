"""Bilingual dictionary induced from transport plans.

Each plan is a soft alignment of one sentence pair. Its mass, added up by word over all pairs,
shows which English word translates a word; what one sentence leaves open, the next ones settle.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from clir_cli.corpus.dictionaries import DictionaryEntry
from clir_cli.corpus.records import SentencePair
from clir_cli.corpus.unicode_words import word_spans, words
from clir_cli.optical.objectives import TokenBatch, aligned, cosine_cost
from clir_cli.retrieval.batching import batches_by_count, pad
from clir_cli.retrieval.encoder import Encoder, Packed
from clir_cli.settings import TransportSettings
from clir_cli.training.batches import pad_vectors

BATCH_SIZE = 64  # pairs whose plans are computed together
Advance = Callable[[int, int], None]


def induce_dictionary(
    student: Encoder,
    teacher: Encoder,
    bitext: Sequence[SentencePair],
    embeddings: Packed,
    settings: TransportSettings,
    *,
    max_tokens: int,
    translations: int = 5,
    min_pairs: int = 2,
    least_score: float = 0.01,
    advance: Advance = lambda *_: None,
) -> list[DictionaryEntry]:
    """Return the English words that the plans pair each word with, best first.

    With m(w, e) the mass between two words over the bitext, and m(w), m(e) their total masses, the
    score is Dice's, 2 m(w, e) / (m(w) + m(e)). Each student token has the same mass.

    ``embeddings`` are the teacher's token embeddings of the English sides. A word has at most
    ``translations``, each met in ``min_pairs`` pairs and with a score of ``least_score`` or more.
    ``advance`` is called with the number of pairs that were aligned, and of plans that did not
    converge among them.
    """
    mass: dict[tuple[str, str], float] = defaultdict(float)
    meetings: dict[tuple[str, str], int] = defaultdict(int)
    of_word: dict[str, float] = defaultdict(float)
    of_english: dict[str, float] = defaultdict(float)
    for index, plan in plans_of(student, bitext, embeddings, settings, max_tokens, advance):
        left = token_words(student, bitext[index].query, max_tokens)
        right = token_words(teacher, bitext[index].english, max_tokens)
        for (word, english), value in _by_word(plan, left, right).items():
            mass[word, english] += value
            meetings[word, english] += 1
            of_word[word] += value
            of_english[english] += value
    entries: dict[str, list[DictionaryEntry]] = defaultdict(list)
    for (word, english), value in mass.items():
        score, pairs = 2 * value / (of_word[word] + of_english[english]), meetings[word, english]
        if pairs >= min_pairs and score >= least_score:
            entries[word].append(DictionaryEntry(word, english, score, pairs))
    for word in entries:
        entries[word].sort(key=lambda entry: (-entry.score, entry.english))
    return [entry for word in sorted(entries) for entry in entries[word][:translations]]


def plans_of(
    student: Encoder,
    bitext: Sequence[SentencePair],
    embeddings: Packed,
    settings: TransportSettings,
    max_tokens: int,
    advance: Advance = lambda *_: None,
) -> Iterator[tuple[int, Tensor]]:
    """Yield the index and the plan (n, m) of each pair, each student token with the mass 1.

    Short sentences come first. The arguments are those of ``induce_dictionary``.
    """
    for batch in batches_by_count([len(row.query) for row in bitext], BATCH_SIZE):
        ids = student.tokenize([bitext[index].query for index in batch], max_tokens)
        vectors = [embeddings[index] for index in batch]
        plans, converged = _plans(student, ids, vectors, settings)
        yield from zip(batch, plans, strict=True)
        advance(len(batch), converged.count(False))


@torch.inference_mode()
def _plans(
    student: Encoder,
    ids: Sequence[Sequence[int]],
    vectors: Sequence[Tensor],
    settings: TransportSettings,
) -> tuple[list[Tensor], list[bool]]:
    padded, mask = pad(ids, student.pad_id, student.device)
    teacher, teacher_mask = pad_vectors(vectors, student.device)
    batch = TokenBatch(student.embed(padded, mask), mask, teacher, teacher_mask)
    transport = aligned(batch, cosine_cost(batch), settings)
    plans = [
        plan[: len(rows), : len(columns)].cpu() * len(rows)
        for plan, rows, columns in zip(transport.plan, ids, vectors, strict=True)
    ]
    return plans, transport.converged.tolist()


def sentence_batch(
    student: Encoder, teacher: Encoder, text: str, english: str, max_tokens: int
) -> TokenBatch:
    """Return the token embeddings of one sentence pair, with equal masses."""
    rows, columns = (
        side.encode([sentence], max_tokens)[0][None]
        for side, sentence in ((student, text), (teacher, english))
    )
    masks = (torch.ones(side.shape[:2], dtype=torch.bool) for side in (rows, columns))
    return TokenBatch(rows, next(masks), columns, next(masks))


def token_places(encoder: Encoder, text: str, max_tokens: int) -> list[int | None]:
    """Return the position of the word that each token is a part of; None for those of no word."""
    spans = [(begin, end) for begin, end, _ in word_spans(text)]
    return [
        next(
            (place for place, (begin, end) in enumerate(spans) if begin < high and low < end), None
        )
        for low, high in encoder.spans(text, max_tokens)
    ]


def token_words(encoder: Encoder, text: str, max_tokens: int) -> list[str]:
    """Return the word that each token of a sentence is a part of; empty for those of no word."""
    known = words(text)
    places = token_places(encoder, text, max_tokens)
    return ["" if place is None else known[place] for place in places]


def _by_word(
    plan: Tensor, left: Sequence[str], right: Sequence[str]
) -> dict[tuple[str, str], float]:
    mass: dict[tuple[str, str], float] = defaultdict(float)
    for word, row in zip(left, plan.tolist(), strict=False):
        for english, value in zip(right, row, strict=False):
            if word and english:
                mass[word, english] += value
    return mass
