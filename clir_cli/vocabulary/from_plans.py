"""New rows from transport plans: what a first student's plans say a word goes with.

The lexicon of a bitext is blind to context; the plans of a student that was distilled already are
not. Their mass, added up over the bitext, takes the place of the counts that rows are made from.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from clir_cli.corpus.records import SentencePair
from clir_cli.optical.alignment import plans_of
from clir_cli.retrieval.encoder import Encoder, Packed
from clir_cli.settings import TransportSettings
from clir_cli.vocabulary.counts import Count, Evidence, Numbered
from clir_cli.vocabulary.extend import word_places

FAINTEST = 1e-3  # mass below this is left out


@dataclass(frozen=True)
class WordPlan:
    """The plan of one sentence pair: mass (words, tokens), and the ids of the English tokens."""

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
    batch_size: int = 64,
    advance: Callable[[int], None] = lambda _: None,
) -> list[WordPlan]:
    """Return how much mass each word of a sentence sends to each English token.

    Args:
        student: The first student; its words are those of its tokenizer.
        teacher: The teacher, which cut the English sides.
        bitext: N sentence pairs.
        embeddings: The teacher's token embeddings of the N English sides.
        settings: Of the transport problem.
        max_tokens: Longest sentence in tokens; the words behind it send nothing.
        batch_size: Pairs whose plans are computed together.
        advance: Called with the number of pairs that were aligned.
    """
    places_of = word_places(student.tokenizer, student.text_format.prefix("sentence"))
    special = set(teacher.tokenizer.all_special_ids)
    found: dict[int, WordPlan] = {}
    order = sorted(range(len(bitext)), key=lambda index: len(bitext[index].query))
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        rows = [bitext[index] for index in chosen]
        vectors = [embeddings[index] for index in chosen]
        plans = plans_of(student, rows, vectors, settings, max_tokens)
        read = teacher.inputs([row.english for row in rows], max_tokens, "sentence")
        for index, row, plan, each in zip(chosen, rows, plans, read, strict=True):
            ids = each.ids if each.kept is None else [each.ids[place] for place in each.kept]
            columns = [place for place, token in enumerate(ids) if token not in special]
            count, places = places_of(row.query)
            last = len(plan) - 1  # a special token, also where the sentence was cut
            own = [number for number, place in enumerate(places[:last]) if place is not None]
            mass = np.zeros((count, len(columns)), dtype=np.float32)
            np.add.at(mass, [places[number] for number in own], plan.numpy()[np.ix_(own, columns)])
            found[index] = WordPlan(mass, np.array([ids[place] for place in columns], dtype=int))
        advance(len(chosen))
    return [found[index] for index in range(len(bitext))]


def plan_links(plans: Sequence[WordPlan]) -> Count:
    """Return a way to count that reads plans: a word's mass, and for a piece that of its word."""

    def counted(
        units: Numbered, sizes: tuple[int, int], owners: Numbered, kept: np.ndarray
    ) -> Evidence:
        rows, columns, values = [np.zeros(0, int)], [np.zeros(0, int)], [np.zeros(0, np.float32)]
        for number in kept:
            mass = plans[number].mass[list(owners[number])]
            one, two = np.nonzero(mass > FAINTEST)
            rows.append(np.asarray(units[number], dtype=int)[one])
            columns.append(plans[number].tokens[two])
            values.append(mass[one, two])
        cells = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
        links = sparse.csr_matrix(cells, shape=sizes)
        links.sum_duplicates()
        seen = (np.asarray(links.sum(axis=axis)).ravel() for axis in (1, 0))
        return Evidence(links, *seen)

    def count(
        units: Numbered, _: Numbered, sizes: tuple[int, int], owners: Numbered, folds: Numbered
    ) -> list[Evidence]:
        assert len(units) == len(plans)
        return [counted(units, sizes, owners, kept) for kept in folds]

    return count
