"""Runs in TREC format: a ranked list of documents for every query."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from clir_cli.errors import UserError
from clir_cli.files import write_text

RUN_FILE = "run.trec"
Run = Mapping[str, Sequence[tuple[str, float]]]


def write_run(path: Path, run: Run, *, tag: str) -> None:
    """Write a run, ``query Q0 document rank score tag`` a line, ranks from 1.

    Measures sort by score, and break ties in their own way; so a score that float formatting
    would make equal to the one before is written with all its digits.
    """
    lines = [
        f"{query} Q0 {document} {rank} {score!r} {tag}\n"
        for query, ranked in run.items()
        for rank, (document, score) in enumerate(ranked, start=1)
    ]
    write_text(path, "".join(lines))


def read_run(path: str | Path) -> dict[str, dict[str, float]]:
    """Return a run as ``{query: {document: score}}``.

    Raises:
        UserError: A line is not as the format demands; file and line are told.
    """
    run: dict[str, dict[str, float]] = {}
    text = Path(path).read_text(encoding="utf-8")
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            query, _, document, _, score, _ = line.split()
            run.setdefault(query, {})[document] = float(score)
        except ValueError:
            raise UserError(f"{path}, line {number}: not a line of a TREC run") from None
    return run
