"""Sections below the means: query by query, and how the students learned."""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import mean

from clir_cli.study.report import charts
from clir_cli.study.report.blocks import (
    Block,
    FigureBlock,
    Panel,
    Section,
    TableBlock,
    TableCell,
    number_cell,
)
from clir_cli.study.report.data import Results, Student, pair_title, pairs_in_order
from clir_cli.study.report.focus import Focus
from clir_cli.study.report.provenance import distillations, scored, trained

EXAMPLES = 6  # queries that gained, and as many that lost


def queries(results: Results, focus: Focus) -> Section:
    """Return the method against the baseline, query by query, and where they differ most."""
    blocks: list[Block] = []
    labels = [focus.method, focus.baseline]
    for collection in results.collections:
        panels: list[Panel] = []
        tables: list[TableBlock] = []
        for pair in results.pairs(collection):
            method, baseline = (
                results.values(collection, pair, label, focus.metric) for label in labels
            )
            values = {
                query: (baseline[query], method[query]) for query in method if query in baseline
            }
            if not values:
                continue
            counts = Counter((round(low, 2), round(high, 2)) for low, high in values.values())
            series = results.labels.index(focus.method)
            chart = charts.scatter(counts, focus.baseline, focus.method, series)
            panels.append(Panel(pair_title(pair), chart))
            opened = not (blocks or tables)
            tables.append(_examples(results, collection, pair, focus, values, opened))
        if panels:
            made_by = scored(results, collection, labels, [focus.metric])
            title = f"{focus.metric} of each query on {collection}: {' over '.join(labels)}"
            note = "Above the diagonal the query gained; the disc grows with the queries in it."
            blocks += [FigureBlock(title, panels, made_by, note=note), *tables]
    text = f"{focus.method} against {focus.baseline}, query by query."
    empty = f"{focus.method} and {focus.baseline} have no pair in common"
    return Section("queries", "Query by query", text, blocks, empty)


def _examples(
    results: Results,
    collection: str,
    pair: str,
    focus: Focus,
    values: Mapping[str, tuple[float, float]],
    opened: bool,
) -> TableBlock:
    """Return the queries that gained and lost most, with their texts."""
    changes = {query: method - baseline for query, (baseline, method) in values.items()}
    ranked = sorted(changes, key=lambda query: (-changes[query], query))
    gained = [query for query in ranked[:EXAMPLES] if changes[query] > 0]
    lost = [query for query in reversed(ranked[-EXAMPLES:]) if changes[query] < 0]
    texts, english = results.texts(collection, pair)
    rows = [
        [
            TableCell(query),
            number_cell(changes[query], f"{changes[query]:+.3f}"),
            TableCell(texts.get(query, "-"), lang=pair.partition("-")[0]),
            TableCell(english.get(query, "-")),
            *map(number_cell, values[query]),
        ]
        for query in [*gained, *lost]
    ]
    signs = Counter((change > 0) - (change < 0) for change in changes.values())
    title = f"{pair_title(pair)}: {signs[1]} gained, {signs[-1]} lost, {signs[0]} as before"
    head = ["query", "change", "text", "in English", focus.baseline, focus.method]
    return TableBlock(title, head, rows, folded=True, opened=opened)


# ------------------------------------------------------------------ learning curves


def learning(results: Results) -> Section:
    """Return how the students learned: MRR on held-out sentence pairs, by epoch."""
    curves: dict[str, dict[str, list[Student]]] = {}
    students = [student for student in results.students if student.held_out]
    for student in students:
        curves.setdefault(student.pair, {}).setdefault(student.method, []).append(student)
    present = {student.method for student in students}
    labels = results.series(present)
    values = [value for student in students for value in student.held_out.values()]
    blocks: list[Block] = []
    if students:
        ends = (max(0.0, min(values) - 0.03), min(1.02, max(values) + 0.03))
        panels = []
        for pair in pairs_in_order(curves):
            rows = [_curve(label, group) for label, group in curves[pair].items()]
            chart = charts.lines(rows, labels, ends, across="epoch", up="held-out MRR")
            panels.append(Panel(pair_title(pair), chart))
        made_by = trained(results.students, distillations(results.suite, results.students))
        note = "A band spans the seeds, where a student was trained with several."
        title = "MRR of held-out sentence pairs by epoch"
        legend = [(series, label) for series, label in enumerate(labels) if label in present]
        blocks.append(FigureBlock(title, panels, made_by, legend, note))
    text = (
        "Each held-out sentence is a query, the teacher's embeddings of the English sides are the "
        "documents. The epoch with the best value is kept."
    )
    empty = (
        "there is no student in the artifacts' folder; name it with --home, or make one with: "
        f"clir distill --suite {results.suite} --lang all"
    )
    return Section("learning", "How the students learned", text, blocks, empty)


def _curve(label: str, students: Sequence[Student]) -> list[tuple[float, charts.Estimate]]:
    """Return the mean over seeds by epoch, with least and greatest value as interval."""
    epochs: dict[float, list[float]] = {}
    for student in students:
        for epoch, value in student.held_out.items():
            epochs.setdefault(epoch, []).append(value)
    return [
        (epoch, charts.Estimate(label, mean(values), min(values), max(values)))
        for epoch, values in sorted(epochs.items())
    ]
