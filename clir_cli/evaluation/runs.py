"""Runs in TREC format: a ranked list of documents for every query."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from clir_cli.errors import UserError
from clir_cli.files import write_text

RUN_FILE = "run.trec"
Run = Mapping[str, Mapping[str, float]]  # scores by query and document
Rankings = Mapping[str, Sequence[tuple[str, float]]]  # (document, score) by query, best first


def write_run(path: Path, rankings: Rankings, *, tag: str) -> None:
    """Write a run, one line ``query Q0 document rank score tag`` per document, ranks from 1.

    Measures sort by score and break ties in their own way, so scores have all their digits.
    """
    lines = [
        f"{query} Q0 {document} {rank} {score!r} {tag}\n"
        for query, ranking in rankings.items()
        for rank, (document, score) in enumerate(ranking, start=1)
    ]
    write_text(path, "".join(lines))


def read_run(path: str | Path) -> dict[str, dict[str, float]]:
    """Return a run as ``{query: {document: score}}``.

    Raises:
        UserError: A line is not in TREC format, or a document is ranked twice; the message names
            file and line.
    """
    try:
        with Path(path).open(encoding="utf-8") as lines:
            return parse_run(path, lines)[0]
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: a run is UTF-8: {error}") from None


def parse_run(
    path: str | Path, lines: Iterable[str]
) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Return the run that the lines of a file are, and the tags in it; raises as ``read_run``."""
    run: dict[str, dict[str, float]] = {}
    tags: dict[str, None] = {}
    for number, line in enumerate(lines, start=1):
        try:
            query, _, document, _, score, tag = line.split()
            value = float(score)
            if "_" in score or not math.isfinite(value):
                raise ValueError(score)
        except ValueError:
            raise UserError(f"{path}, line {number}: not a line of a TREC run") from None
        scores = run.setdefault(query, {})
        if document in scores:
            raise UserError(f"{path}, line {number}: {query} {document} is ranked twice")
        scores[document] = value
        tags[tag] = None
    return run, list(tags)


def require_finite(scores: Mapping[str, float]) -> None:
    """Raise UserError if the score of a document is NaN or infinite: such scores have no order."""
    for document, score in scores.items():
        if not math.isfinite(score):
            raise UserError(f"document {document} has the score {score}, which is no finite number")


def trec_order(scores: Mapping[str, float]) -> list[str]:
    """Return documents best first; trec_eval puts the greater id first among equals.

    Raises:
        UserError: As ``require_finite``.
    """
    require_finite(scores)
    return sorted(scores, key=lambda document: (scores[document], document), reverse=True)


def ranks(scores: Mapping[str, float]) -> dict[str, int]:
    """Return the rank of each document, from 1, in ``trec_order``."""
    return {document: rank for rank, document in enumerate(trec_order(scores), start=1)}
