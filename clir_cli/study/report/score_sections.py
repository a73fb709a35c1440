"""Sections drawn from the score tables: by pair and method, between pairs, query by query."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from clir_cli.errors import UserError
from clir_cli.evaluation import gaps, significance
from clir_cli.evaluation.measures import Bootstrap
from clir_cli.evaluation.scoring import QUICK
from clir_cli.evaluation.seeds import Seeded
from clir_cli.evaluation.significance import Comparison
from clir_cli.study.report import charts
from clir_cli.study.report.blocks import (
    Block,
    FigureBlock,
    ListBlock,
    Panel,
    Section,
    TableBlock,
    TableCell,
    number,
    number_cell,
    p_text,
    score_cell,
    span,
)
from clir_cli.study.report.data import (
    CollectionScores,
    Results,
    ScoreKey,
    pair_title,
)
from clir_cli.study.report.focus import Focus
from clir_cli.study.report.provenance import imported_runs, scored

EXAMPLES = 6  # queries that gained, and as many that lost


def scores(results: Results, focus: Focus) -> list[Section]:
    """Return a section for each collection: bars with intervals, and a table for each metric."""
    sections = []
    for collection in results.collections:
        metrics = sorted(collection.metrics, key=lambda metric: metric != focus.metric)
        if not metrics:
            continue
        tables = [_table(results, collection, metric, focus) for metric in metrics]
        tables = [tables[0], *(replace(table, folded=True) for table in tables[1:])]
        counts = [score.queries for score in collection.scores.values()]
        text = f"{span(counts)} queries a pair. Intervals are bootstrap intervals over the queries"
        if any(len(score.seeds) > 1 for score in collection.scores.values()):
            text += ", and over the seeds where a method has several"
        tags: dict[str, dict[str, None]] = {}
        for run in imported_runs(results, collection, results.labels):
            tags.setdefault(run.label, {})[run.tag] = None
        for label, names in tags.items():
            text += f". {label} is a run that another tool wrote (tag {', '.join(names)})"
        if results.left_to_experiments:
            text += (
                f". {len(results.left_to_experiments)} variants of experiments have sections of "
                "their own below; --method NAME.VARIANT shows one here"
            )
        title = f"Scores on {collection.name}"
        blocks: list[Block] = [_bars(results, collection, metrics, focus), *tables]
        sections.append(Section(f"scores-{collection.name}", title, f"{text}.", blocks))
    return sections


def _bars(
    results: Results, collection: CollectionScores, metrics: Sequence[str], focus: Focus
) -> FigureBlock:
    lead, labels = metrics[0], results.labels
    by_pair = {pair: collection.estimates(pair, lead, labels) for pair in collection.pairs}
    estimates = list(itertools.chain(*by_pair.values()))
    ends = charts.ends_of(estimates)
    panels = [
        Panel(pair_title(pair), charts.bars(row, labels, ends))
        for pair, row in by_pair.items()
        if row
    ]
    made_by = scored(results, collection, sorted({e.label for e in estimates}), metrics)
    note = _counted(_queries(collection, lead), focus)
    return FigureBlock(f"{gaps.written(lead)} by pair and method", panels, made_by, note=note)


def _table(results: Results, collection: CollectionScores, metric: str, focus: Focus) -> TableBlock:
    scores = {key: score for key, score in collection.scores.items() if key.metric == metric}
    labels = [label for label in results.labels if label in {key.label for key in scores}]
    rows = []
    for pair in collection.pairs:
        compared = _compared(collection, pair, metric, labels, focus)
        resource = gaps.resource_of(pair)
        row = [TableCell(pair, f"{resource}-resource" if resource else "")]
        for label in labels:
            score = scores.get(ScoreKey(pair, label, metric))
            row.append(_cell(score, compared.get(label)) if score else number_cell(None))
        rows.append(row)
    note = _counted(_queries(collection, metric), focus)
    if focus.method in labels and len(labels) > 1:
        legend = significance.legend(focus.method, focus.test)
        note += f" {legend} over a row. d is Cohen's d_z."
    return TableBlock(gaps.written(metric), ["pair", *labels], rows, note)


def _queries(collection: CollectionScores, metric: str) -> list[int]:
    """Return the numbers of queries of a metric's scores."""
    return [score.queries for key, score in collection.scores.items() if key.metric == metric]


def _counted(counts: Sequence[int], focus: Focus) -> str:
    """Return the sentence that states n and the level of the intervals."""
    return f"n = {span(counts)} queries; {100 * focus.confidence:.0f} % intervals by bootstrap."


def _compared(
    collection: CollectionScores, pair: str, metric: str, labels: Sequence[str], focus: Focus
) -> Mapping[str, Comparison]:
    """Return the comparisons with the method in focus, of methods that have its queries."""
    base = collection.values(pair, focus.method, metric).keys()
    values = {label: collection.values(pair, label, metric) for label in labels}
    values = {label: scores for label, scores in values.items() if scores.keys() == base}
    if not base or focus.method not in values:
        return {}
    rows = significance.compare(values, focus.method, focus.test, QUICK)
    return {row.method: row for row in rows}


def _cell(score: Seeded, compared: Comparison | None) -> TableCell:
    more = []
    if len(score.seeds) > 1:
        more.append(f"±{number(score.spread)} over {len(score.seeds)} seeds")
    if compared:
        more.append(f"{p_text(compared.p_value)}, d {compared.effect:+.2f}")
    mark = significance.mark(compared.p_value, compared.difference) if compared else ""
    return score_cell(score.value, score.low, score.high, mark, more)


# ------------------------------------------------------------------ gap


def gap(results: Results, focus: Focus) -> Section:
    """Return the gap between high- and low-resource pairs, and the distance of ranks."""
    blocks: list[Block] = []
    for collection in results.collections:
        distances = collection.estimates(gaps.ALL_PAIRS, gaps.RANK_DISTANCE, results.labels)
        for metric, estimates, title, panel in (
            (
                f"{gaps.GAP}{focus.metric}",
                _gaps(results, collection, focus),
                f"{gaps.written(focus.metric)} of high- minus low-resource pairs on "
                f"{collection.name}",
                "0: the resource group makes no difference",
            ),
            (
                gaps.RANK_DISTANCE,
                distances,
                f"Rank distance on {collection.name}: greatest minus least rank over the languages",
                "ranks; less is fairer",
            ),
        ):
            if estimates:
                chart = charts.bars(estimates, results.labels, charts.ends_of(estimates))
                labels = [estimate.label for estimate in estimates]
                made_by = scored(results, collection, labels, [metric], all_stages=False)
                note = _counted(_queries(collection, focus.metric), focus)
                if metric != gaps.RANK_DISTANCE:
                    note += " The groups differ where the interval leaves 0 out; no other test."
                blocks.append(FigureBlock(title, [Panel(panel, chart)], made_by, note=note))
        if not distances and len(collection.pairs) > 1:
            option = ("--metric", gaps.RANK_DISTANCE)
            command = results.command("evaluate", option, on=collection)
            title = "The rank distance of these methods was not computed"
            blocks.append(ListBlock(title, [command]))
    text = (
        "The loss in quality when a query is asked in a low-resource language. Every pair counts "
        "the same; a query is resampled with all its translations. The rank distance is the bias "
        "measure of arXiv 2408.10536, over the languages of the query: how far apart translations "
        "of one query rank the same relevant document."
    )
    command = results.command("evaluate", ("--metric", focus.metric), on=results.collections[0])
    empty = f"needs scores of high- and low-resource pairs: {command}"
    return Section("gap", "High- and low-resource languages", text, blocks, empty)


def _gaps(results: Results, collection: CollectionScores, focus: Focus) -> list[charts.Estimate]:
    estimates = []
    for label in results.labels:
        values = {pair: collection.values(pair, label, focus.metric) for pair in collection.pairs}
        if not all(values.values()):
            continue
        try:
            score = gaps.gap(values, focus.metric, Bootstrap(confidence=focus.confidence))
        except UserError:  # one of the groups has no pair
            break
        estimates.append(charts.Estimate(label, score.value, score.low, score.high))
    return estimates


# ------------------------------------------------------------------ query by query


def queries(results: Results, focus: Focus) -> Section:
    """Return the method against the baseline, query by query, and where they differ most."""
    blocks: list[Block] = []
    compared = f"{focus.method} over {focus.baseline}"
    series = results.labels.index(focus.method)
    for collection in results.collections:
        panels: list[Panel] = []
        tables: list[TableBlock] = []
        numbers: list[int] = []
        for pair in collection.pairs:
            method = collection.values(pair, focus.method, focus.metric)
            baseline = collection.values(pair, focus.baseline, focus.metric)
            values = {
                query: (baseline[query], method[query]) for query in method if query in baseline
            }
            if not values:
                continue
            counts = Counter((round(low, 2), round(high, 2)) for low, high in values.values())
            chart = charts.scatter(counts, focus.baseline, focus.method, series)
            panels.append(Panel(pair_title(pair), chart))
            numbers.append(len(values))
            opened = not (blocks or tables)
            tables.append(_examples(collection, pair, focus, values, opened))
        if panels:
            labels = [focus.method, focus.baseline]
            made_by = scored(results, collection, labels, [focus.metric], all_stages=False)
            metric = gaps.written(focus.metric)
            title = f"{metric} of each query on {collection.name}: {compared}"
            note = (
                f"n = {span(numbers)} queries a pair. Above the diagonal the query gained; the "
                f"disc grows with the queries in it. The table {metric} above has "
                "the test of the mean difference."
            )
            blocks += [FigureBlock(title, panels, made_by, note=note), *tables]
    text = f"{focus.method} against {focus.baseline}, query by query."
    empty = f"{focus.method} and {focus.baseline} have no pair in common"
    return Section("queries", "Query by query", text, blocks, empty)


def _examples(
    collection: CollectionScores,
    pair: str,
    focus: Focus,
    values: Mapping[str, tuple[float, float]],
    opened: bool,
) -> TableBlock:
    changes = {query: method - baseline for query, (baseline, method) in values.items()}
    ranked = sorted(changes, key=lambda query: (-changes[query], query))
    gained = [query for query in ranked[:EXAMPLES] if changes[query] > 0]
    lost = [query for query in reversed(ranked[-EXAMPLES:]) if changes[query] < 0]
    sentences = collection.sentences(pair)
    rows = []
    for query in [*gained, *lost]:
        text, english = sentences.get(query, ("", ""))
        rows.append(
            [
                TableCell(query),
                number_cell(changes[query], f"{changes[query]:+.3f}"),
                TableCell(text or "-", lang=pair.partition("-")[0]),
                TableCell(english or "-"),
                *map(number_cell, values[query]),
            ]
        )
    signs = Counter((change > 0) - (change < 0) for change in changes.values())
    title = f"{pair_title(pair)}: {signs[1]} gained, {signs[-1]} lost, {signs[0]} as before"
    head = ["query", "change", "text", "in English", focus.baseline, focus.method]
    return TableBlock(title, head, rows, folded=True, opened=opened)
