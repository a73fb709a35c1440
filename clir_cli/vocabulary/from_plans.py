"""Counts from transport plans: the mass that a first student's plans send from a word to a token.

The lexicon of a bitext is blind to context; the plans of a student that is already distilled are
not. Their mass, added up over the bitext, replaces the counts that embeddings are made from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from clir_cli.corpus.records import SentencePair
from clir_cli.optical.alignment import Advance, plans_of
from clir_cli.ragged import Ragged
from clir_cli.retrieval.encoder import Encoder, Packed
from clir_cli.settings import TransportSettings
from clir_cli.vocabulary.counts import CountFunction, Counts, Folds
from clir_cli.vocabulary.extend import word_indices

FAINTEST = 1e-3  # mass below this is left out


@dataclass(frozen=True)
class WordPlan:
    """The plan of one sentence pair: mass (words, tokens), and the ids (tokens,) of English."""

    mass: np.ndarray
    tokens: np.ndarray


def word_plans(
    student: Encoder,
    teacher: Encoder,
    bitext: Sequence[SentencePair],
    embeddings: Packed,
    settings: TransportSettings,
    *,
    max_tokens: int,
    advance: Advance = lambda *_: None,
) -> list[WordPlan]:
    """Return the mass that each word of a sentence sends to each English token.

    Words are those of the student's tokenizer; those behind ``max_tokens`` send nothing. The
    arguments are those of ``induce_dictionary``.
    """
    indices_of = word_indices(student.tokenizer, student.text_format.prefix("sentence"))
    special = set(teacher.tokenizer.all_special_ids)
    inputs = teacher.inputs([row.english for row in bitext], max_tokens, "sentence")
    plans: dict[int, WordPlan] = {}
    for index, plan in plans_of(student, bitext, embeddings, settings, max_tokens, advance):
        ids = inputs[index].embedded
        columns = [column for column, token in enumerate(ids) if token not in special]
        count, words = indices_of(bitext[index].query)
        last = len(plan) - 1  # a special token, also where the sentence was truncated
        placed = {row: word for row, word in enumerate(words[:last]) if word is not None}
        mass = np.zeros((count, len(columns)), dtype=np.float32)
        np.add.at(mass, list(placed.values()), plan.numpy()[np.ix_(list(placed), columns)])
        tokens = np.array([ids[column] for column in columns], dtype=int)
        plans[index] = WordPlan(mass, tokens)
    return [plans[index] for index in range(len(bitext))]


def plan_counts(plans: Sequence[WordPlan]) -> CountFunction:
    """Return a function that counts mass: a word's, and for a subword that of its word."""

    def of_rows(
        units: Ragged, sizes: tuple[int, int], owners: Ragged, chosen: Sequence[int]
    ) -> Counts:
        rows, columns, values = [np.zeros(0, int)], [np.zeros(0, int)], [np.zeros(0, np.float32)]
        for index in chosen:
            mass = plans[index].mass[owners[index]]
            unit, token = np.nonzero(mass > FAINTEST)
            rows.append(np.asarray(units[index], dtype=int)[unit])
            columns.append(plans[index].tokens[token])
            values.append(mass[unit, token])
        cells = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
        links = sparse.csr_matrix(cells, shape=sizes)
        links.sum_duplicates()
        totals = (np.asarray(links.sum(axis=axis)).ravel() for axis in (1, 0))
        return Counts(links, *totals)

    def count(
        units: Ragged, _: Ragged, sizes: tuple[int, int], owners: Ragged, folds: Folds
    ) -> list[Counts]:
        assert len(units) == len(plans)
        return [of_rows(units, sizes, owners, chosen) for chosen in folds]

    return count
