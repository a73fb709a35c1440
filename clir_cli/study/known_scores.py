"""Scores that a table of results already has: their cells need no artifacts.

A table has suite, collection, pair, method, variant and seed of a score, and not its settings: that
they are the present ones cannot be checked.
"""

from collections.abc import Iterable
from pathlib import Path

from clir_cli.corpus.collections import collection_label
from clir_cli.errors import UserError
from clir_cli.evaluation import gaps, measures, scores, scoring
from clir_cli.evaluation.measures import Score
from clir_cli.study.experiment import Experiment
from clir_cli.study.grid import Point

NAME = "per_query.csv"
Key = tuple[str, ...]  # collection, pair, method, variant, seed, metric


def known_scores(
    folder: Path, experiments: Iterable[tuple[Experiment, Iterable[Point]]]
) -> dict[Point, list[Score]]:
    """Return the scores of the cells for which a folder of results has values by query.

    They are read from ``per_query.csv`` and ``per_query.csv.gz``. A cell counts if all its metrics
    are there, and if none of its experiment needs the run itself.

    Raises:
        UserError: There is neither table, or one is damaged.
    """
    values = _values(folder)
    known = {}
    for experiment, points in experiments:
        split = gaps.split_metrics(experiment.metrics)
        if gaps.RANK_DISTANCE in split.across:
            continue
        for point in points:
            cell = (
                *(collection_label(point.collection), str(point.pair), point.cell.method),
                *(point.variant, str(point.cell.seed)),
            )
            by_metric = {name: values.get((*cell, name)) for name in split.scored}
            if all(by_metric.values()):
                bootstrap = scoring.bootstrap_of(point.settings.evaluation)
                known[point] = [
                    measures.summarise(name, by_query, bootstrap)
                    for name, by_query in by_metric.items()
                    if by_query
                ]
    return known


def _values(folder: Path) -> dict[Key, dict[str, float]]:
    tables = [path for path in (folder / f"{NAME}.gz", folder / NAME) if path.exists()]
    if not tables:
        raise UserError(f"--from-results: there is no {folder / NAME}, nor {NAME}.gz beside it")
    values: dict[Key, dict[str, float]] = {}
    for path in tables:
        for row in scores.read_rows(path, scores.PER_QUERY_COLUMNS, ["value"])[1]:
            key = tuple(str(row[column]) for column in scores.KEY[1:])
            values.setdefault(key, {})[row["query"]] = row["value"]
    return values
