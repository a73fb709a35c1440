"""The words and subwords that get a token embedding, and their counts."""

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from functools import reduce
from operator import add
from typing import NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerBase

from clir_cli.corpus.records import SentencePair
from clir_cli.errors import UserError
from clir_cli.ragged import Ragged
from clir_cli.retrieval.wordwise import WordTokens, parts_of
from clir_cli.vocabulary.counts import (
    CountFunction,
    Counts,
    Folds,
    UnitCounts,
    joint_occurrences,
)
from clir_cli.vocabulary.extend import is_unigram, word_splitter
from clir_cli.vocabulary.subwords import learn_subwords

MIN_SUBWORD_COUNT = 2


class Placed(NamedTuple):
    """Units, sentences of their numbers, and the index in its sentence of each one's word."""

    units: list[str]
    sentences: Ragged
    owners: Ragged


def units_of(tokenizer: PreTrainedTokenizerBase, units: str) -> Callable[[str], list[str]]:
    """Return the function from a text to its words; UserError if there can be no such units."""
    if units != "words" and is_unigram(tokenizer):
        raise UserError(
            f"student.vocabulary={units} needs a WordPiece tokenizer; for a Unigram one use --set "
            "student.vocabulary=words or initial"
        )
    return word_splitter(tokenizer)


def count_units(
    bitext: Sequence[SentencePair],
    tokenizer: PreTrainedTokenizerBase,
    *,
    min_count: int = 2,
    units: str = "words",
    subwords: int = 8000,
    count: CountFunction = joint_occurrences,
    folds: Folds = (),
    prompt: str = "",
) -> list[list[UnitCounts]]:
    """Count words, then subwords, of the query language together with English tokens.

    Words are those of the tokenizer's own normalisation and splitting. A word in fewer than
    ``min_count`` pairs is left out, and so is a name: one that occurs unchanged in the English side
    of more than half its pairs. Subwords are learned from all words but names; those that the
    tokenizer already has keep their embedding, and so do the words that a Unigram one has.

    At least ``min_count`` pairs must have a word; a subword needs two. ``units`` are ``words``,
    ``subwords`` or ``both``, as ``student.vocabulary``; ``count`` finds which English tokens a word
    goes with; ``folds`` are the indices of the pairs of each fold, if any. ``prompt`` is what the
    student reads before each text; its words keep their tokens.

    Returns:
        Counts of the whole bitext; then, if there are folds, of all but each of them.

    Raises:
        UserError: The tokenizer cannot have such units.
    """
    words_of = units_of(tokenizer, units)
    words, sentences = _numbered(words_of(pair.query) for pair in bitext)
    is_name = _names(words, sentences, (words_of(pair.english) for pair in bitext))
    tokens = _english_tokens(bitext, tokenizer)
    size, groups = len(tokenizer), folds or [range(len(bitext))]

    def counted(placed: Placed, left_out: Container[str], least: int) -> list[UnitCounts]:
        vocabulary, ids, owners = placed
        parts = count(ids, tokens, (len(vocabulary), size), owners, groups)
        once = ids.distinct()
        pairs_with = [
            np.bincount(once.select(group).values, minlength=len(vocabulary)) for group in groups
        ]
        allowed = np.array([unit not in left_out for unit in vocabulary], dtype=bool)

        def view(counts: Counts, times: np.ndarray) -> UnitCounts:
            rows = np.flatnonzero(allowed & (times >= least)).tolist()
            return UnitCounts([vocabulary[row] for row in rows], counts.rows(rows))

        whole, total = reduce(add, parts), np.sum(pairs_with, axis=0)
        without = zip(parts, pairs_with, strict=True) if folds else ()
        return [
            view(whole, total),
            *(view(whole - part, total - occurrences) for part, occurrences in without),
        ]

    kinds, at = [], Ragged(sentences.positions, sentences.offsets)
    if units != "subwords":
        # Names take part, so that the English that they stand for goes with nothing else.
        names = {word for word, name in zip(words, is_name, strict=True) if name}
        kept = names.union(words_of(prompt), tokenizer.get_vocab() if is_unigram(tokenizer) else ())
        kinds.append(counted(Placed(words, sentences, at), kept, min_count))
    if units != "words":
        common = ~is_name[sentences.values]
        placed = _in_subwords(Placed(words, sentences.keep(common), at.keep(common)), subwords)
        # Unseen names are split into the teacher's own subwords, so these stay as they are.
        kinds.append(counted(placed, tokenizer.get_vocab(), MIN_SUBWORD_COUNT))
    return [list(view) for view in zip(*kinds, strict=True)]


def _numbered(sentences: Iterable[Sequence[str]]) -> tuple[list[str], Ragged]:
    """Return the units of sentences in alphabetical order, and each sentence as their numbers."""
    number: dict[str, int] = {}
    rows = Ragged.of([number.setdefault(unit, len(number)) for unit in row] for row in sentences)
    units = sorted(number)
    moved = np.empty(len(units), np.int32)
    moved[[number[unit] for unit in units]] = np.arange(len(units))
    return units, Ragged(moved[rows.values], rows.offsets)


def _names(words: Sequence[str], sentences: Ragged, english: Iterable[Sequence[str]]) -> np.ndarray:
    """Return True (W,) for words that occur unchanged in the English side of most of their pairs.

    ``sentences`` are as numbers of the W words; ``english`` are the words of their other sides.
    """
    number = {word: row for row, word in enumerate(words)}
    others = Ragged.of([number[word] for word in row if word in number] for row in english)
    seen, there = sentences.distinct(), others.distinct()
    cells, of_others = (
        side.row_of_each.astype(np.int64) * len(words) + side.values for side in (seen, there)
    )
    shared = seen.values[np.isin(cells, of_others, assume_unique=True)]
    times, unchanged = (np.bincount(part, minlength=len(words)) for part in (seen.values, shared))
    return np.asarray(2 * unchanged > times)


def _english_tokens(bitext: Sequence[SentencePair], tokenizer: PreTrainedTokenizerBase) -> Ragged:
    """Return the token ids of the English sides, without special tokens."""
    by_words = WordTokens.of(tokenizer)

    def rows() -> Iterator[Sequence[int]]:
        for part in parts_of([pair.english for pair in bitext]):
            if by_words is None:
                yield from tokenizer(part, add_special_tokens=False)["input_ids"]
            else:
                yield from by_words(part)

    tokens = Ragged.of(rows())
    return tokens.keep(~np.isin(tokens.values, tokenizer.all_special_ids))


def _in_subwords(placed: Placed, most: int) -> Placed:
    """Return words in subwords that are learned from them, at most so many besides letters."""
    words, sentences, owners = placed
    split = learn_subwords(([words[word] for word in row] for row in sentences), most)
    has = np.bincount(sentences.values, minlength=len(words)) > 0
    units, parts = _numbered(
        split(word) if some else () for word, some in zip(words, has, strict=True)
    )
    lengths = parts.lengths[sentences.values]
    ends = np.concatenate([[0], np.cumsum(lengths)])
    offsets = ends[sentences.offsets]
    return Placed(
        units,
        Ragged(parts.select(sentences.values).values, offsets),
        Ragged(np.repeat(owners.values, lengths), offsets),
    )
