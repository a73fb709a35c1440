"""evaluate: runs to scores, with intervals, as CSV; and methods compared with one another."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clir_cli import artifacts
from clir_cli.artifacts import Plan
from clir_cli.corpus.records import Collection, Pair
from clir_cli.errors import MissingInput, UserError
from clir_cli.evaluation import gaps, measures, scores, significance
from clir_cli.evaluation.measures import Score
from clir_cli.evaluation.runs import RUN_FILE, read_run
from clir_cli.stages.inputs import read_collection
from clir_cli.stages.search import plan_run
from clir_cli.stages.workspace import Cell, Workspace

Row = dict[str, object]


@dataclass(frozen=True)
class Scored:
    """The rows of an evaluation, and the cells that had no run."""

    rows: list[Row]
    missing: list[str]


@dataclass(frozen=True)
class Result:
    """One measure of one method: of a pair, or across pairs (``pair`` is then ``all``)."""

    collection: str
    pair: str
    cell: Cell
    score: Score
    queries: int


@dataclass(frozen=True)
class Judged:
    """The run of a pair and method, its judgments and its scores."""

    pair: Pair
    cell: Cell
    collection: Collection
    run: Mapping[str, Mapping[str, float]]
    scores: Sequence[Score]


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
    """Score the runs of the cells and bring ``scores.csv`` and ``per_query.csv`` up to date.

    Args:
        workspace: Settings, folders and behaviour.
        pairs: The language pairs.
        cells: The methods, with variant and seed.
        names: Metrics as ``gaps.parse_metrics`` returns them.
        results: The folder of the results of all suites.
        all_needed: Whether each cell must have a run; otherwise it is enough that one has.
        baseline: What the others are compared with; the rows then say ``baseline`` and
            ``p_value``, Holm-corrected over the methods of one pair and metric.

    Raises:
        UserError: A run is missing or was made from something that has changed since, or a metric
            across pairs has too few of them.
    """
    split = gaps.split_metrics(names)
    if baseline is not None and baseline not in cells:
        cells = [*cells, baseline]
    judged: list[Judged] = []
    missing: list[str] = []
    for pair in pairs:
        collection = read_collection(workspace, pair.query)
        for cell in cells:
            try:
                judged.append(_judge(workspace, collection, pair, cell, split.scored))
            except MissingInput as error:
                if all_needed or cell == baseline:
                    raise
                missing.append(str(error))
    if not judged:
        raise MissingInput(missing[0])
    found = [
        Result(each.collection.name, str(each.pair), each.cell, score, len(score.per_query))
        for each in judged
        for score in each.scores
    ]
    for group in _by_cell(judged):
        if split.across and len(group) < len(pairs):
            across = ", ".join(split.across)
            missing.append(f"{across} of {group[0].cell.label}: it has no run for every pair")
        else:
            found += _across(workspace, group, split.across)
    rows = [_row(workspace, each) for each in found]
    folder = results / workspace.suite
    per_query = [row for each in found for row in _query_rows(workspace, each)]
    scores.update(folder / "scores.csv", rows, scores.COLUMNS)
    scores.update(folder / "per_query.csv", per_query, scores.PER_QUERY_COLUMNS)
    if baseline is not None:
        rows = _compared(workspace, found, rows, baseline)
    return Scored(rows, missing)


def _judge(
    workspace: Workspace, collection: Collection, pair: Pair, cell: Cell, names: Sequence[str]
) -> Judged:
    plan = plan_run(workspace, collection, pair, cell)
    artifacts.require_current(plan)
    run = read_run(plan.path / RUN_FILE)
    settings = workspace.settings.evaluation
    found = measures.score(
        collection.qrels,
        run,
        names,
        resamples=settings.resamples,
        confidence=settings.confidence,
    )
    return Judged(pair, cell, collection, run, found)


def _by_cell(judged: Sequence[Judged]) -> list[list[Judged]]:
    groups: dict[Cell, list[Judged]] = {}
    for each in judged:
        groups.setdefault(each.cell, []).append(each)
    return list(groups.values())


def _across(workspace: Workspace, runs: Sequence[Judged], names: Sequence[str]) -> Iterator[Result]:
    """Yield the metrics across pairs of one method."""
    settings = workspace.settings.evaluation
    drawn = {"resamples": settings.resamples, "confidence": settings.confidence}
    queries = len({query for each in runs for query in each.collection.qrels})
    for name in names:
        if name == gaps.RANK_DISTANCE:
            found = gaps.rank_distance(
                {str(each.pair): each.run for each in runs},
                {str(each.pair): each.collection.qrels for each in runs},
                min(workspace.settings.search.top_k, len(runs[0].collection.documents)),
                **drawn,
            )
        else:
            base = name.removeprefix(gaps.GAP)
            values = {
                str(each.pair): score.per_query
                for each in runs
                for score in each.scores
                if score.measure == base
            }
            found = gaps.gap(values, base, **drawn)
        counted = len(found.per_query) or queries
        yield Result(runs[0].collection.name, gaps.ALL_PAIRS, runs[0].cell, found, counted)


def _compared(
    workspace: Workspace, found: Sequence[Result], rows: Sequence[Row], baseline: Cell
) -> list[Row]:
    """Return the rows with ``baseline`` and ``p_value``; the baseline's own has no p-value."""
    tables: dict[tuple[str, str], dict[str, Mapping[str, float]]] = {}
    for each in found:
        if each.score.per_query:  # a gap over pairs with queries of their own has no values a query
            table = tables.setdefault((each.pair, each.score.measure), {})
            table[each.cell.label] = each.score.per_query
    p_values: dict[tuple[str, str, str], float] = {}
    for key, table in tables.items():
        if len(table) < 2:
            raise UserError(
                f"there is nothing to compare with the baseline {baseline.label}; name another "
                "method with --method"
            )
        compared = significance.compare(
            table, baseline.label, test=workspace.settings.evaluation.test, resamples=100
        )
        p_values |= {(*key, each.method): each.p_value for each in compared}
    return [
        {
            **row,
            "baseline": baseline.label,
            "p_value": p_values.get((each.pair, each.score.measure, each.cell.label)),
        }
        for row, each in zip(rows, found, strict=True)
    ]


def _key(workspace: Workspace, each: Result) -> Row:
    return {
        "suite": workspace.suite,
        "collection": each.collection,
        "pair": each.pair,
        "method": each.cell.method,
        "variant": workspace.column_variant(each.cell),
        "seed": each.cell.seed,
        "metric": each.score.measure,
    }


def _row(workspace: Workspace, each: Result) -> Row:
    return {
        **_key(workspace, each),
        "value": each.score.value,
        "queries": each.queries,
        "ci_low": each.score.low,
        "ci_high": each.score.high,
    }


def _query_rows(workspace: Workspace, each: Result) -> list[Row]:
    key = _key(workspace, each)
    return [
        {**key, "query": query, "value": value} for query, value in each.score.per_query.items()
    ]
