"""evaluate: runs to scores, with intervals, as CSV; and methods compared with a baseline."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clir_cli import artifacts
from clir_cli.artifacts import Plan
from clir_cli.corpus.records import Pair
from clir_cli.errors import MissingInput
from clir_cli.evaluation import gaps, scores, scoring
from clir_cli.evaluation.scoring import Result, ScoredRun
from clir_cli.stages.inputs import read_collection
from clir_cli.stages.search import plan_run
from clir_cli.stages.workspace import Cell, Workspace

Row = dict[str, object]


@dataclass(frozen=True)
class Scored:
    """The rows of an evaluation, and messages about the cells without a run."""

    rows: list[Row]
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
    baseline: Cell | None = None,
) -> Scored:
    """Score the runs of the cells and update ``scores.csv`` and ``per_query.csv``.

    Args:
        workspace: Settings, folders and behaviour.
        pairs: The language pairs.
        cells: The methods, with variant and seed.
        names: Metrics as ``gaps.parse_metrics`` returns them.
        results: The folder of the results of all suites.
        all_needed: Whether each cell must have a run; otherwise one run is enough.
        baseline: The cell that the others are compared with; the rows then have ``baseline`` and
            ``p_value``, Holm-corrected over the methods of one pair and metric.

    Raises:
        UserError: A run is missing or was made from something that has changed since, or a metric
            across pairs has too few of them.
    """
    split = gaps.split_metrics(names)
    if baseline is not None and baseline not in cells:
        cells = [*cells, baseline]
    runs: list[ScoredRun[Cell]] = []
    missing: list[str] = []
    for pair in pairs:
        collection = read_collection(workspace, pair.query)
        for cell in cells:
            try:
                plan = plan_run(workspace, collection, pair, cell)
                artifacts.require_current(plan)
            except MissingInput as error:
                if all_needed or cell == baseline:
                    raise
                missing.append(str(error))
                continue
            source = (cell, cell.label, cell.seed, pair, plan.path, collection)
            runs.append(scoring.score_run(*source, split.scored, workspace.settings))
    if not runs:
        raise MissingInput(missing[0])
    scored = scoring.results_of(runs)
    for cell in dict.fromkeys(run.owner for run in runs) if split.across else ():
        group = [run for run in runs if run.owner == cell]
        if len(group) == len(pairs):
            scored += scoring.score_across_pairs(group, split.across, workspace.settings)
        else:
            across = ", ".join(split.across)
            missing.append(f"{across} of {cell.label}: it has no run for every pair")
    rows = [_row(workspace, result) for result in scored]
    per_query = [
        {**row, "query": query, "value": value}
        for row, result in zip(rows, scored, strict=True)
        for query, value in result.score.per_query.items()
    ]
    scores.publish(results / workspace.suite, rows, per_query)
    if baseline is not None:
        test = workspace.settings.evaluation.test
        compared = scoring.compare_results(scored, baseline.label, [test], strict=True)
        for index, row in enumerate(rows):  # None for the baseline itself
            p_value = compared[index][test].p_value if index in compared else None
            row |= {"baseline": baseline.label, "p_value": p_value}
    return Scored(rows, missing)


def _row(workspace: Workspace, result: Result[Cell]) -> Row:
    cell = result.run.owner
    return {
        **dict.fromkeys(scores.COLUMNS),
        "suite": workspace.suite,
        "method": cell.method,
        "variant": workspace.column_variant(cell),
        "seed": cell.seed,
        **result.columns,
    }
