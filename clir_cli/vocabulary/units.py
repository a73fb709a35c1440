"""The words and subwords that get a token embedding, and their counts."""

from collections import Counter
from collections.abc import Callable, Container, Sequence
from functools import reduce
from operator import add

import numpy as np
from transformers import PreTrainedTokenizerBase

from clir_cli.corpus.records import SentencePair
from clir_cli.errors import UserError
from clir_cli.vocabulary.counts import CountFunction, Counts, Ids, UnitCounts, joint_occurrences
from clir_cli.vocabulary.extend import is_unigram, word_splitter
from clir_cli.vocabulary.subwords import learn_subwords

Placed = Sequence[tuple[int, str]]  # units of a sentence, each with the index of its word
MIN_SUBWORD_COUNT = 2


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
    folds: Ids = (),
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
    sentences = [words_of(pair.query) for pair in bitext]
    names = _names(sentences, [set(words_of(pair.english)) for pair in bitext])
    special = set(tokenizer.all_special_ids)
    encoded = tokenizer([pair.english for pair in bitext], add_special_tokens=False)["input_ids"]
    tokens = [[token for token in ids if token not in special] for ids in encoded]
    groups = folds or [range(len(bitext))]

    def counted(placed: Sequence[Placed], left_out: Container[str], least: int) -> list[UnitCounts]:
        vocabulary = sorted({unit for sentence in placed for _, unit in sentence})
        id_of = {unit: number for number, unit in enumerate(vocabulary)}
        ids = [[id_of[unit] for _, unit in sentence] for sentence in placed]
        owners = [[word for word, _ in sentence] for sentence in placed]
        parts = count(ids, tokens, (len(vocabulary), len(tokenizer)), owners, groups)
        pairs_with = np.zeros((len(parts), len(vocabulary)), dtype=int)
        for occurrences, group in zip(pairs_with, groups, strict=True):
            for row in group:
                occurrences[list(set(ids[row]))] += 1
        allowed = np.array([unit not in left_out for unit in vocabulary], dtype=bool)

        def view(counts: Counts, times: np.ndarray) -> UnitCounts:
            rows = np.flatnonzero(allowed & (times >= least)).tolist()
            return UnitCounts([vocabulary[row] for row in rows], counts.rows(rows))

        whole, total = reduce(add, parts), pairs_with.sum(axis=0)
        without = zip(parts, pairs_with, strict=True) if folds else ()
        return [
            view(whole, total),
            *(view(whole - part, total - occurrences) for part, occurrences in without),
        ]

    kinds = []
    placed: list[list[tuple[int, str]]] = [list(enumerate(words)) for words in sentences]
    if units != "subwords":
        # Names take part, so that the English that they stand for goes with nothing else.
        kept = names.union(words_of(prompt), tokenizer.get_vocab() if is_unigram(tokenizer) else ())
        kinds.append(counted(placed, kept, min_count))
    if units != "words":
        common = [[(index, word) for index, word in row if word not in names] for row in placed]
        split = learn_subwords(([word for _, word in row] for row in common), subwords)
        parts = [[(index, part) for index, word in row for part in split(word)] for row in common]
        # Unseen names are split into the teacher's own subwords, so these stay as they are.
        kinds.append(counted(parts, tokenizer.get_vocab(), MIN_SUBWORD_COUNT))
    return [list(view) for view in zip(*kinds, strict=True)]


def _names(sentences: Sequence[Sequence[str]], english: Sequence[set[str]]) -> set[str]:
    """Return the words that occur unchanged in the English side of most of their pairs."""
    seen = Counter(word for words in sentences for word in set(words))
    shared = Counter(
        word for words, others in zip(sentences, english, strict=True) for word in {*words} & others
    )
    return {word for word, count in shared.items() if 2 * count > seen[word]}
