"""Sections drawn from the score tables: scores by pair and method, and the gap between pairs."""

from collections.abc import Mapping, Sequence

from clir_cli.errors import UserError
from clir_cli.evaluation import gaps, significance
from clir_cli.evaluation.significance import Comparison
from clir_cli.study.report import figures
from clir_cli.study.report.blocks import (
    Block,
    Cell,
    Figure,
    How,
    Lines,
    Panel,
    Section,
    Table,
    number,
    p_text,
)
from clir_cli.study.report.choice import Choice, how, pair_name
from clir_cli.study.report.data import Point, Results


def scores(results: Results, choice: Choice) -> list[Section]:
    """Return a section for each collection: bars with intervals, and a table for each metric."""
    found = []
    for collection in results.collections:
        metrics = results.metrics(collection)
        if not metrics:
            continue
        lead = choice.metric if choice.metric in metrics else metrics[0]
        labels = [
            label
            for label in results.labels
            if any(results.point(collection, p, label, lead) for p in results.pairs(collection))
        ]
        made = how(results, collection, labels, metrics)
        blocks: list[Block] = [_bars(results, collection, labels, lead, choice, made)]
        for metric in [lead, *(each for each in metrics if each != lead)]:
            folded = metric != lead
            blocks.append(_table(results, collection, metric, choice, folded=folded))
        counts = sorted({p.queries for p in results.points if p.collection == collection})
        queries = " to ".join(str(each) for each in {counts[0]: 0, counts[-1]: 0})
        text = f"{queries} queries a pair. Intervals are bootstrap intervals over the queries"
        text += ", and over the seeds where a method has several" if _seeds(results) else ""
        found.append(Section(f"scores-{collection}", f"Scores on {collection}", f"{text}.", blocks))
    return found


def _seeds(results: Results) -> bool:
    return any(len(point.seeds) > 1 for point in results.points)


def _bars(
    results: Results, collection: str, labels: Sequence[str], metric: str, choice: Choice, made: How
) -> Figure:
    points = {
        pair: [results.point(collection, pair, label, metric) for label in labels]
        for pair in results.pairs(collection)
    }
    limits = limits_of([each for row in points.values() for each in row if each])
    panels = [
        Panel(
            pair_name(pair),
            figures.bars(
                [figures.Bar(p.label, p.value, p.low, p.high) for p in row if p],
                labels,
                limits=limits,
            ),
        )
        for pair, row in points.items()
        if any(row)
    ]
    percent = f"{100 * choice.confidence:.0f} %"
    return Figure(f"{metric} by pair and method, with {percent} intervals", panels, made)


def limits_of(points: Sequence[Point]) -> tuple[float, float]:
    """Return the ends of an axis that holds all intervals; from 0 where nothing is below."""
    low = min([0.0, *(point.low for point in points)])
    high = max([0.01, *(point.high for point in points)])
    return 1.06 * low, min(1.0, 1.04 * high) if high <= 1 else 1.04 * high


def _table(
    results: Results, collection: str, metric: str, choice: Choice, *, folded: bool
) -> Table:
    labels = [
        label
        for label in results.labels
        if any(results.point(collection, p, label, metric) for p in results.pairs(collection))
    ]
    rows = []
    for pair in results.pairs(collection):
        compared = _compared(results, collection, pair, metric, labels, choice)
        cells = [
            score_cell(results.point(collection, pair, label, metric), compared.get(label))
            for label in labels
        ]
        resource = gaps.resource_of(pair)
        rows.append([Cell(pair, f"{resource}-resource" if resource else ""), *cells])
    note = ""
    if choice.method in labels and len(labels) > 1:
        name = {"t": "t-test", "randomisation": "randomisation test"}[choice.test]
        note = (
            f"▲ ▼ significantly above or below {choice.method}: paired {name} over the queries, "
            f"p < .05 after Holm's correction over the methods of a row. d is Cohen's d_z."
        )
    return Table(metric, ["pair", *labels], rows, note=note, folded=folded)


def _compared(
    results: Results, collection: str, pair: str, metric: str, labels: Sequence[str], choice: Choice
) -> Mapping[str, Comparison]:
    values = {
        label: results.per_query[collection, pair, label, metric]
        for label in labels
        if (collection, pair, label, metric) in results.per_query
    }
    if choice.method not in values:
        return {}
    base = values[choice.method].keys()
    values = {label: each for label, each in values.items() if each.keys() == base}
    found = significance.compare(values, choice.method, test=choice.test, resamples=100)
    return {each.method: each for each in found}


def score_cell(point: Point | None, compared: Comparison | None = None) -> Cell:
    """Return a score with its interval, its mark, and what stands behind it."""
    if point is None:
        return Cell("-", kind="number", key=-1.0)
    small = f"[{number(point.low)}, {number(point.high)}]"
    if len(point.seeds) > 1:
        small += f"\n±{number(point.spread)} over {len(point.seeds)} seeds"
    text = number(point.value)
    if compared:
        small += f"\n{p_text(compared.p_value)}, d {compared.effect:+.2f}"
        text += f" {compared.mark}" if compared.mark else ""
    return Cell(text, small, point.value, "number")


# ------------------------------------------------------------------ gap


def gap(results: Results, choice: Choice) -> Section:
    """Return the gap between high- and low-resource pairs, and the distance of ranks."""
    blocks: list[Block] = []
    for collection in results.collections:
        rows = _gaps(results, collection, choice)
        made = how(results, collection, [row.label for row in rows], [f"gap-{choice.metric}"])
        if rows:
            points = [Point("", "", r.label, "", "", r.value, r.low, r.high, 0) for r in rows]
            svg = figures.bars(rows, results.labels, limits=limits_of(points))
            title = f"{choice.metric} of high- minus low-resource pairs on {collection}"
            panel = Panel("0: the resource group makes no difference", svg)
            blocks.append(Figure(title, [panel], made))
        distances = [
            figures.Bar(p.label, p.value, p.low, p.high)
            for label in results.labels
            if (p := results.point(collection, gaps.ALL_PAIRS, label, gaps.RANK_DISTANCE))
        ]
        if distances:
            points = [Point("", "", r.label, "", "", r.value, r.low, r.high, 0) for r in distances]
            svg = figures.bars(distances, results.labels, limits=limits_of(points))
            made = how(results, collection, [r.label for r in distances], [gaps.RANK_DISTANCE])
            title = f"Rank distance on {collection}: greatest minus least rank over the languages"
            blocks.append(Figure(title, [Panel("ranks; less is fairer", svg)], made))
        elif len(results.pairs(collection)) > 1:
            command = f"clir evaluate --suite {results.suite} --metric {gaps.RANK_DISTANCE}"
            blocks.append(Lines("The rank distance of these methods was not computed", [command]))
    text = (
        "What a query costs for being asked in a low-resource language. Every pair counts the "
        "same; a query is resampled with all its translations. The rank distance is the bias "
        "measure of arXiv 2408.10536, over the languages of the query: how far apart translations "
        "of one query rank the same relevant document."
    )
    empty = f"needs scores of high- and low-resource pairs: clir evaluate --suite {results.suite}"
    title = "High- and low-resource languages"
    return Section("gap", title, text, blocks, f"{empty} --metric {choice.metric}")


def _gaps(results: Results, collection: str, choice: Choice) -> list[figures.Bar]:
    found = []
    pairs = results.pairs(collection)
    for label in results.labels:
        values = results.by_pair(collection, label, choice.metric)
        try:
            if set(values) == set(pairs):
                score = gaps.gap(values, choice.metric, confidence=choice.confidence)
                found.append(figures.Bar(label, score.value, score.low, score.high))
        except UserError:  # one of the groups has no pair
            break
    return found
