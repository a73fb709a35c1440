"""evaluate: runs to scores, with intervals, as CSV."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clir_cli import artifacts
from clir_cli.artifacts import Plan
from clir_cli.corpus.records import Pair
from clir_cli.errors import MissingInput
from clir_cli.evaluation import measures, scores
from clir_cli.evaluation.runs import read_run
from clir_cli.stages.inputs import read_collection
from clir_cli.stages.search import RUN, plan_run
from clir_cli.stages.workspace import Cell, Workspace


@dataclass(frozen=True)
class Scored:
    """The rows of an evaluation, and the cells that had no run."""

    rows: list[dict[str, object]]
    missing: list[str]


def plans(workspace: Workspace, pairs: Sequence[Pair], cells: Sequence[Cell]) -> list[Plan]:
    """Return the runs that an evaluation reads."""
    return [
        plan_run(workspace, read_collection(workspace, pair.query), pair, cell)
        for pair in pairs
        for cell in cells
    ]


def evaluate(
    workspace: Workspace,
    pairs: Sequence[Pair],
    cells: Sequence[Cell],
    names: Sequence[str],
    results: Path,
    *,
    all_needed: bool,
) -> Scored:
    """Score the runs of the cells and bring ``scores.csv`` and ``per_query.csv`` up to date.

    Args:
        workspace: Settings, folders and behaviour.
        pairs: The language pairs.
        cells: The methods, with variant and seed.
        names: Measures as ``measures.parse_measures`` returns them.
        results: The folder of the results of all suites.
        all_needed: Whether each cell must have a run; otherwise it is enough that one has.

    Raises:
        UserError: A run is missing or was made from something that has changed since.
    """
    rows: list[dict[str, object]] = []
    per_query: list[dict[str, object]] = []
    missing: list[str] = []
    for pair in pairs:
        collection = read_collection(workspace, pair.query)
        for cell in cells:
            try:
                plan = plan_run(workspace, collection, pair, cell)
                artifacts.require_current(plan)
            except MissingInput as error:
                if all_needed:
                    raise
                missing.append(str(error))
                continue
            found = measures.score(
                collection.qrels,
                read_run(plan.path / RUN),
                names,
                resamples=workspace.settings.evaluation.resamples,
                confidence=workspace.settings.evaluation.confidence,
            )
            key = {
                "suite": workspace.suite,
                "collection": collection.name,
                "pair": str(pair),
                "method": cell.method,
                "variant": cell.variant,
                "seed": cell.seed,
            }
            for each in found:
                named = {**key, "metric": each.measure}
                rows.append(
                    {
                        **named,
                        "value": each.value,
                        "queries": len(each.per_query),
                        "ci_low": each.low,
                        "ci_high": each.high,
                    }
                )
                per_query += [
                    {**named, "query": query, "value": value}
                    for query, value in each.per_query.items()
                ]
    if not rows:
        raise MissingInput(missing[0])
    folder = results / workspace.suite
    scores.update(folder / "scores.csv", rows, scores.COLUMNS)
    scores.update(folder / "per_query.csv", per_query, scores.PER_QUERY_COLUMNS)
    return Scored(rows, missing)
