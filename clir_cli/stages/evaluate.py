"""evaluate: runs to scores, with intervals, as CSV; and methods compared with a baseline."""

from collections.abc import Sequence
from pathlib import Path

from clir_cli.artifacts import graph
from clir_cli.artifacts.cell import Cell
from clir_cli.artifacts.store import Artifact
from clir_cli.corpus.records import Pair
from clir_cli.errors import MissingInput, NoQueries
from clir_cli.evaluation import gaps, measures, scores, scoring
from clir_cli.evaluation.scoring import Result, ScoredRun
from clir_cli.stages.support.paths import column_variant
from clir_cli.stages.support.sources import read_collection
from clir_cli.stages.support.workspace import Workspace

Row = dict[str, object]


def artifacts(workspace: Workspace, pairs: Sequence[Pair], cells: Sequence[Cell]) -> list[Artifact]:
    """Return the runs that an evaluation reads."""
    return [
        graph.resolve(workspace, workspace.ref("run", (pair,), cell))
        for pair in pairs
        for cell in cells
    ]


def evaluate(
    workspace: Workspace,
    pairs: Sequence[Pair],
    cells: Sequence[Cell],
    names: Sequence[str],
    tables: Path,
    *,
    all_needed: bool,
    baseline: Cell | None = None,
    parts: bool = False,
) -> tuple[list[Row], list[str]]:
    """Score the runs of the cells and update ``scores.csv`` and ``per_query.csv``.

    They are in the suite's folder under ``tables``. With ``all_needed`` each cell must have
    a run; otherwise one run is enough. With a ``baseline`` the rows have it, and ``p_value``,
    Holm-corrected over the methods of one pair and metric. With ``parts`` each part of a collection
    is scored too, called ``COLLECTION:PART``; of these there is no row per query.

    Returns:
        The rows of the scores, and a message for each cell that was left out.

    Raises:
        UserError: A run is missing or was made from something that has changed since, or a metric
            across pairs has too few of them.
    """
    split, settings = gaps.split_metrics(names), workspace.settings.evaluation
    if baseline is not None and baseline not in cells:
        cells = [*cells, baseline]
    runs: list[ScoredRun[Cell]] = []
    missing: list[str] = []
    for pair in pairs:
        try:
            collection = read_collection(workspace, pair.query)
        except NoQueries as error:
            if len(pairs) == 1:
                raise
            missing.append(f"{pair} is left out: {error}")
            continue
        for cell in cells:
            try:
                run = graph.require_current(workspace, workspace.ref("run", (pair,), cell))
            except MissingInput as error:
                if all_needed or cell == baseline:
                    raise
                missing.append(str(error))
                continue
            scored = scoring.score_run(run.path, collection, split.scored, settings)
            made = (cell, cell.label, cell.seed, str(pair), collection, run.path, scored)
            runs.append(ScoredRun(*made))
    if not runs:
        raise MissingInput(missing[0])
    _report_pools(workspace, runs)
    _warn_of_short_runs(workspace, runs, split.scored)
    results = scoring.results_of(runs)
    if parts:
        results += list(scoring.results_of_parts(results, scoring.bootstrap_of(settings)))
    for cell in dict.fromkeys(run.owner for run in runs) if split.across else ():
        group = [run for run in runs if run.owner == cell]
        if len(group) == len(pairs):
            results += scoring.score_across_pairs(group, split.across, workspace.settings)
        else:
            across = ", ".join(split.across)
            missing.insert(0, f"{across} of {cell.label}: it has no run for every pair")
    rows = [_row(workspace, result) for result in results]
    per_query = [
        {**row, "query": query, "value": value}
        for row, result in zip(rows, results, strict=True)
        for query, value in ({} if result.part else result.score.per_query).items()
    ]
    scores.publish(tables / workspace.suite, rows, per_query)
    if baseline is not None:
        test = settings.test
        compared = scoring.compare_results(results, baseline.label, [test], strict=True)
        for index, row in enumerate(rows):  # None for the baseline itself
            p_value = compared[index][test].p_value if index in compared else None
            row |= {"baseline": baseline.label, "p_value": p_value}
    return rows, missing


def _report_pools(workspace: Workspace, runs: Sequence[ScoredRun[Cell]]) -> None:
    """Report on which documents queries were judged, if not on all of the collection."""
    for collection in {run.collection.name: run.collection for run in runs}.values():
        judged: dict[str, list[str]] = {}
        for pool in collection.pools:
            queries = f"{pool.queries[0]} to {pool.queries[-1]}"
            judged.setdefault(pool.title, []).append(f"{pool.name} ({queries})")
        listed = "; ".join(f"{', '.join(names)} on {title}" for title, names in judged.items())
        if listed:
            workspace.talk.say(
                f"{collection.name} was judged, and is searched and scored: {listed}"
            )


def _warn_of_short_runs(
    workspace: Workspace, runs: Sequence[ScoredRun[Cell]], names: Sequence[str]
) -> None:
    """Report the measures that count more ranks than runs have documents."""
    depth = workspace.settings.search.top_k
    has_more = any(len(run.collection.documents) > depth for run in runs)
    tradition = max(run.collection.depth for run in runs)
    ranks = {name: measures.cutoff(name) or 0 for name in names}
    deep = [name for name, count in ranks.items() if count > depth]
    if tradition > depth:
        deep += [f"{name} (of {tradition:,} by tradition)" for name in names if not ranks[name]]
    if deep and has_more and not all(run.owner.is_imported for run in runs):
        workspace.talk.say(
            f"warning: {', '.join(deep)}: runs have {depth} documents a query (search.top_k)"
        )


def _row(workspace: Workspace, result: Result[Cell]) -> Row:
    cell = result.run.owner
    return {
        **dict.fromkeys(scores.COLUMNS),
        "suite": workspace.suite,
        "method": cell.method,
        "variant": column_variant(workspace.settings, cell),
        "seed": cell.seed,
        **result.columns,
    }
