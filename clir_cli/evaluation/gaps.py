"""Metrics across pairs: how much retrieval depends on the language of the query.

``gap-map`` (``gap-`` before any measure) and ``rank-distance`` are named as any other metric. Both
belong to a method, not to a pair; their rows have ``all`` as pair.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from clir_cli.corpus.catalogue import languages
from clir_cli.errors import UserError
from clir_cli.evaluation import measures
from clir_cli.evaluation.measures import BOOTSTRAP, Bootstrap, Qrels, Score, Values
from clir_cli.evaluation.runs import Run, ranks

GAP = "gap-"
RANK_DISTANCE = "rank-distance"
ALL_PAIRS = "all"
GROUPS = ("high", "low")


class MetricSplit(NamedTuple):
    """The metrics of a request: those of one run, and those across pairs."""

    single: tuple[str, ...]
    scored: tuple[str, ...]  # to compute for each run: ``single``, and what ``across`` needs
    across: tuple[str, ...]


def parse_metrics(text: str) -> list[str]:
    """Return the metrics that ``--metric`` names, as ``parse_measures`` and those across pairs."""
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    for name in names:
        if name != RANK_DISTANCE:
            measures.parse_measures(name.removeprefix(GAP) or name)
    return list(dict.fromkeys(names)) or measures.parse_measures(text)


def written(metric: str) -> str:
    """Return a metric as papers write it.

    >>> written("ndcg@10"), written("gap-map"), written("rank-distance")
    ('nDCG@10', 'gap in MAP', 'rank distance')
    """
    if metric == RANK_DISTANCE:
        return metric.replace("-", " ")
    base, at, cutoff = metric.removeprefix(GAP).partition("@")
    gap_in = "gap in " * metric.startswith(GAP)
    return f"{gap_in}{measures.WRITTEN.get(base, base)}{at}{cutoff}"


def split_metrics(names: Sequence[str]) -> MetricSplit:
    """Sort metrics into those of one run and those across pairs."""
    across = dict.fromkeys(name for name in names if name == RANK_DISTANCE or name.startswith(GAP))
    single = dict.fromkeys(name for name in names if name not in across)
    bases = [name.removeprefix(GAP) for name in across if name != RANK_DISTANCE]
    return MetricSplit(tuple(single), tuple(dict.fromkeys([*single, *bases])), tuple(across))


def resource_of(pair: str) -> str:
    """Return the resource group of a pair's query language: ``high``, ``low``, or neither."""
    language = languages().get(pair.partition("-")[0])
    return language.resource if language else ""


def gap(by_pair: Mapping[str, Values], metric: str, bootstrap: Bootstrap = BOOTSTRAP) -> Score:
    """Return the mean over high-resource pairs minus the mean over low-resource ones.

    Every pair has the same weight. Where the pairs share their queries (translations of one
    another, under one id), a query is resampled with all its translations, so that its difficulty
    in every language does not widen the interval; the value of a query is its own gap. Elsewhere
    each pair is resampled by itself, and queries have no values.

    Raises:
        UserError: One of the two groups has no pair.
    """
    groups = {group: [pair for pair in by_pair if resource_of(pair) == group] for group in GROUPS}
    for group, pairs in groups.items():
        if not pairs:
            raise UserError(
                f"{GAP}{metric} is high- minus low-resource pairs, and none of "
                f"{', '.join(by_pair)} is {group}-resource; take --lang all (clir ls languages)"
            )
    weights = {pair: 1 / len(groups["high"]) for pair in groups["high"]}
    weights |= {pair: -1 / len(groups["low"]) for pair in groups["low"]}
    if len({frozenset(values) for values in by_pair.values()}) == 1:
        # Rounded, so that equal pairs have a gap of 0 and not of the last bit of a float.
        query_gaps = {
            query: round(sum(by_pair[pair][query] * w for pair, w in weights.items()), 12) + 0
            for query in next(iter(by_pair.values()))
        }
        return measures.summarise(f"{GAP}{metric}", query_gaps, bootstrap)
    rng = np.random.default_rng(bootstrap.seed)
    value, means = 0.0, np.zeros(bootstrap.resamples)
    for pair, weight in weights.items():
        values = np.fromiter(by_pair[pair].values(), dtype=float)
        value += weight * float(np.mean(values))
        means += weight * bootstrap.means(values, rng)
    return Score(f"{GAP}{metric}", value, *bootstrap.percentiles(means), {})


def rank_distance(
    runs: Mapping[str, Run],
    qrels: Mapping[str, Qrels],
    depth: int,
    bootstrap: Bootstrap = BOOTSTRAP,
) -> Score:
    """Return the language bias: how far apart the languages rank the same relevant document.

    arXiv 2408.10536 searches, with one query, passages that are translations of one another, and
    takes the greatest rank minus the least; it is 0 for a retriever that treats all languages the
    same. Here the queries are translations of one another, so the spread is over their languages,
    for each relevant document; the value of a query is the mean over its documents. A document
    that a run of at most ``depth`` lacks has the rank ``depth`` + 1, so that with short runs the
    score is a lower bound.

    Raises:
        UserError: Fewer than two pairs, or none of their queries share an id and a document.
    """
    if len(runs) < 2:
        raise UserError(
            f"{RANK_DISTANCE} compares query languages; name two or more, as --lang sw-en,de-en"
        )
    values = {}
    for query, first in next(iter(qrels.values())).items():
        grades = [of_pair.get(query, {}) for of_pair in qrels.values()]
        documents = [name for name in first if all(of.get(name, 0) > 0 for of in grades)]
        if documents:
            by_run = [ranks(run.get(query, {})) for run in runs.values()]
            spans = [[of.get(document, depth + 1) for of in by_run] for document in documents]
            values[query] = float(np.mean([max(span) - min(span) for span in spans]))
    if not values:
        raise UserError(
            f"{RANK_DISTANCE} needs queries that are translations of one another under one id; "
            f"those of {', '.join(runs)} share none"
        )
    return measures.summarise(RANK_DISTANCE, values, bootstrap)
