"""Sections drawn from the score tables: scores by pair and method, and the gap between pairs."""

import itertools
from collections.abc import Mapping, Sequence

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
)
from clir_cli.study.report.data import Results, ScoreKey, pair_title
from clir_cli.study.report.focus import Focus
from clir_cli.study.report.provenance import scored

TESTS = {"t": "t-test", "randomisation": "randomisation test"}


def scores(results: Results, focus: Focus) -> list[Section]:
    """Return a section for each collection: bars with intervals, and a table for each metric."""
    sections = []
    for collection in results.collections:
        metrics = results.metrics(collection)
        if not metrics:
            continue
        metrics.sort(key=lambda metric: metric != focus.metric)
        blocks: list[Block] = [_bars(results, collection, metrics, focus)]
        blocks += [
            _table(results, collection, metric, focus, folded=metric != metrics[0])
            for metric in metrics
        ]
        counts = [s.queries for key, s in results.scores.items() if key.collection == collection]
        queries = " to ".join(map(str, dict.fromkeys([min(counts), max(counts)])))
        text = f"{queries} queries a pair. Intervals are bootstrap intervals over the queries"
        if any(len(score.seeds) > 1 for score in results.scores.values()):
            text += ", and over the seeds where a method has several"
        name, title = f"scores-{collection}", f"Scores on {collection}"
        sections.append(Section(name, title, f"{text}.", blocks))
    return sections


def _bars(results: Results, collection: str, metrics: Sequence[str], focus: Focus) -> FigureBlock:
    by_pair = {
        pair: results.estimates(collection, pair, metrics[0]) for pair in results.pairs(collection)
    }
    ends = charts.ends_of(itertools.chain(*by_pair.values()))
    panels = [
        Panel(pair_title(pair), charts.bars(estimates, results.labels, ends))
        for pair, estimates in by_pair.items()
        if estimates
    ]
    made_by = scored(results, collection, results.scored(collection, metrics[0]), metrics)
    title = f"{metrics[0]} by pair and method, with {100 * focus.confidence:.0f} % intervals"
    return FigureBlock(title, panels, made_by)


def _table(
    results: Results, collection: str, metric: str, focus: Focus, *, folded: bool
) -> TableBlock:
    labels = results.scored(collection, metric)
    rows = []
    for pair in results.pairs(collection):
        compared = _compared(results, collection, pair, metric, labels, focus)
        resource = gaps.resource_of(pair)
        row = [TableCell(pair, f"{resource}-resource" if resource else "")]
        for label in labels:
            score = results.scores.get(ScoreKey(collection, pair, label, metric))
            row.append(_cell(score, compared.get(label)) if score else number_cell(None))
        rows.append(row)
    note = ""
    if focus.method in labels and len(labels) > 1:
        note = (
            f"▲ ▼ significantly above or below {focus.method}: paired {TESTS[focus.test]} over the "
            "queries, p < .05 after Holm's correction over the methods of a row. d is Cohen's d_z."
        )
    return TableBlock(metric, ["pair", *labels], rows, note=note, folded=folded)


def _compared(
    results: Results, collection: str, pair: str, metric: str, labels: Sequence[str], focus: Focus
) -> Mapping[str, Comparison]:
    """Return the comparisons with the method in focus, of methods that have its queries."""
    base = results.values(collection, pair, focus.method, metric).keys()
    values = {label: results.values(collection, pair, label, metric) for label in labels}
    values = {label: each for label, each in values.items() if each and each.keys() == base}
    if focus.method not in values:
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

    def draw(
        collection: str, bars: Sequence[charts.Estimate], metric: str, title: str, what: str
    ) -> None:
        chart = charts.bars(bars, results.labels, charts.ends_of(bars))
        made_by = scored(results, collection, [bar.label for bar in bars], [metric])
        blocks.append(FigureBlock(title, [Panel(what, chart)], made_by))

    for collection in results.collections:
        bars = _gaps(results, collection, focus)
        if bars:
            title = f"{focus.metric} of high- minus low-resource pairs on {collection}"
            zero = "0: the resource group makes no difference"
            draw(collection, bars, f"{gaps.GAP}{focus.metric}", title, zero)
        distances = results.estimates(collection, gaps.ALL_PAIRS, gaps.RANK_DISTANCE)
        if distances:
            title = f"Rank distance on {collection}: greatest minus least rank over the languages"
            draw(collection, distances, gaps.RANK_DISTANCE, title, "ranks; less is fairer")
        elif len(results.pairs(collection)) > 1:
            command = f"clir evaluate --suite {results.suite} --metric {gaps.RANK_DISTANCE}"
            blocks.append(
                ListBlock("The rank distance of these methods was not computed", [command])
            )
    text = (
        "The loss in quality when a query is asked in a low-resource language. Every pair counts "
        "the same; a query is resampled with all its translations. The rank distance is the bias "
        "measure of arXiv 2408.10536, over the languages of the query: how far apart translations "
        "of one query rank the same relevant document."
    )
    empty = f"needs scores of high- and low-resource pairs: clir evaluate --suite {results.suite}"
    title = "High- and low-resource languages"
    return Section("gap", title, text, blocks, f"{empty} --metric {focus.metric}")


def _gaps(results: Results, collection: str, focus: Focus) -> list[charts.Estimate]:
    bars = []
    for label in results.labels:
        values = {
            pair: results.values(collection, pair, label, focus.metric)
            for pair in results.pairs(collection)
        }
        if not all(values.values()):
            continue
        try:
            score = gaps.gap(values, focus.metric, Bootstrap(confidence=focus.confidence))
        except UserError:  # one of the groups has no pair
            break
        bars.append(charts.Estimate(label, score.value, score.low, score.high))
    return bars
