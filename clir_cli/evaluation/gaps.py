"""Measures across pairs: what a query costs for being asked in one language and not in another.

Two of them, asked for as any other metric: ``gap-map`` (``gap-`` before any measure) and
``rank-distance``. Both belong to a method, not to a pair; their rows have ``all`` as pair.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clir_cli.corpus.catalogue import languages
from clir_cli.errors import UserError
from clir_cli.evaluation.measures import Score, bootstrap_interval, parse_measures

GAP = "gap-"
RANK_DISTANCE = "rank-distance"
ALL_PAIRS = "all"
GROUPS = ("high", "low")
Values = Mapping[str, float]
Run = Mapping[str, Mapping[str, float]]
Qrels = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class MetricSplit:
    """The metrics of a request: those of one run, and those across pairs.

    ``scored`` are the measures to compute for each run: ``single``, then those that ``across``
    is computed from.
    """

    single: tuple[str, ...]
    scored: tuple[str, ...]
    across: tuple[str, ...]


def parse_metrics(text: str) -> list[str]:
    """Return the metrics that ``--metric`` names, with commas, those across pairs among them.

    Raises:
        UserError: An unknown measure, or one without the cut-off it needs.
    """
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    for name in names:
        if name != RANK_DISTANCE:
            parse_measures(name.removeprefix(GAP) or name)
    return list(dict.fromkeys(names)) or parse_measures(text)


def split_metrics(names: Sequence[str]) -> MetricSplit:
    """Sort metrics into those of one run and those across pairs."""
    across = dict.fromkeys(name for name in names if name == RANK_DISTANCE or name.startswith(GAP))
    single = dict.fromkeys(name for name in names if name not in across)
    bases = [name.removeprefix(GAP) for name in across if name != RANK_DISTANCE]
    return MetricSplit(tuple(single), tuple(dict.fromkeys([*single, *bases])), tuple(across))


def resource_of(pair: str) -> str:
    """Return the resource group of a pair's query language: ``high``, ``low``, or nothing."""
    language = languages().get(pair.partition("-")[0])
    return language.resource if language else ""


# ------------------------------------------------------------------ the gap


def gap(
    by_pair: Mapping[str, Values],
    metric: str,
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Score:
    """Return the mean over high-resource pairs minus the mean over low-resource ones.

    Every pair counts the same, however many queries it has. Where the pairs share their queries
    (translations of one another, under one id), a query is resampled with all its translations,
    so that what makes it hard in every language does not widen the interval; the values a query
    are its own gaps. Elsewhere each pair is resampled by itself, and there are no values a query.

    Args:
        by_pair: A value a query, for each pair; of one method and metric.
        metric: The name of the measure that the values are of.
        resamples: Bootstrap resamples over queries.
        confidence: Share of the resampled gaps inside the interval.
        seed: Of the resampling.

    Raises:
        UserError: One of the two groups has no pair.
    """
    groups = {name: [pair for pair in by_pair if resource_of(pair) == name] for name in GROUPS}
    for name, pairs in groups.items():
        if not pairs:
            raise UserError(
                f"{GAP}{metric} is high- minus low-resource pairs, and none of "
                f"{', '.join(by_pair)} is {name}-resource; take --lang all (clir ls languages)"
            )
    weights = {
        pair: sign / len(groups[name])
        for name, sign in zip(GROUPS, (1, -1), strict=True)
        for pair in groups[name]
    }
    if parallel(by_pair):
        queries = list(next(iter(by_pair.values())))
        own = {
            # Rounded, so that equal pairs have a gap of 0 and not of the last bit of a float.
            query: round(sum(by_pair[pair][query] * each for pair, each in weights.items()), 12) + 0
            for query in queries
        }
        low, high = bootstrap_interval(list(own.values()), resamples, confidence, seed)
        return Score(f"{GAP}{metric}", float(np.mean(list(own.values()))), low, high, own)
    value = sum(weight * np.mean(list(by_pair[pair].values())) for pair, weight in weights.items())
    chance = np.random.default_rng(seed)
    drawn = np.zeros(resamples)
    for pair, weight in weights.items():
        values = np.fromiter(by_pair[pair].values(), dtype=float)
        chosen = chance.integers(0, len(values), size=(resamples, len(values)))
        drawn += weight * values[chosen].mean(axis=1)
    tail = (1 - confidence) / 2
    low, high = (float(each) for each in np.quantile(drawn, [tail, 1 - tail]))
    return Score(f"{GAP}{metric}", float(value), low, high, {})


def parallel(by_pair: Mapping[str, Iterable[str]]) -> bool:
    """Tell whether all pairs have the same queries, as translations of one another do."""
    return len({frozenset(queries) for queries in by_pair.values()}) == 1


# ------------------------------------------------------------------ rank distance


def ranks(found: Mapping[str, float]) -> dict[str, int]:
    """Return the rank of each document, from 1, ties as trec_eval orders them."""
    order = sorted(found, key=lambda document: (found[document], document), reverse=True)
    return {document: rank for rank, document in enumerate(order, start=1)}


def rank_distance(
    runs: Mapping[str, Run],
    qrels: Mapping[str, Qrels],
    depth: int,
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Score:
    """Return the language bias: how far apart the languages rank the same relevant document.

    arXiv 2408.10536 asks one query over relevant passages that are translations of one another,
    and takes the greatest rank minus the least; 0 is a retriever to which the language is all the
    same. Here it is the other way about: the documents are English and the queries translations of
    one another, so the spread is over the query languages, for each relevant document; a query's
    value is the mean over its documents, and the measure the mean over queries. A document that a
    run did not bring counts as ``depth`` + 1, so that with short runs the figure is a lower bound.

    Args:
        runs: A run for each pair, of one method.
        qrels: Grades by query and document, for each pair.
        depth: Documents that a run holds at most.
        resamples: Bootstrap resamples over queries.
        confidence: Share of the resampled means inside the interval.
        seed: Of the resampling.

    Raises:
        UserError: Fewer than two pairs, or none of their queries share an id and a document.
    """
    if len(runs) < 2:
        raise UserError(
            f"{RANK_DISTANCE} compares query languages; name two or more, as --lang sw-en,de-en"
        )
    values = {}
    for query, documents in _shared(list(qrels.values())).items():
        placed = [ranks(run.get(query, {})) for run in runs.values()]
        spreads = [_spread([place.get(each, depth + 1) for place in placed]) for each in documents]
        values[query] = float(np.mean(spreads))
    if not values:
        raise UserError(
            f"{RANK_DISTANCE} needs queries that are translations of one another under one id; "
            f"those of {', '.join(runs)} share none"
        )
    low, high = bootstrap_interval(list(values.values()), resamples, confidence, seed)
    return Score(RANK_DISTANCE, float(np.mean(list(values.values()))), low, high, values)


def _spread(places: Sequence[int]) -> int:
    return max(places) - min(places)


def _shared(qrels: Sequence[Qrels]) -> dict[str, list[str]]:
    """Return the relevant documents that all pairs agree on, by query."""
    first, *others = qrels
    found = {}
    for query, grades in first.items():
        relevant = [document for document, grade in grades.items() if grade > 0]
        agreed = [
            document
            for document in relevant
            if all(other.get(query, {}).get(document, 0) > 0 for other in others)
        ]
        if agreed:
            found[query] = agreed
    return found
