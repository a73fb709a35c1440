"""Sections below the means: query by query, and how the students learned."""

from collections import Counter
from collections.abc import Mapping, Sequence

from clir_cli.study.report import figures
from clir_cli.study.report.blocks import Block, Cell, Figure, Panel, Section, Table, number
from clir_cli.study.report.choice import Choice, distillations, how, pair_name, settings_of
from clir_cli.study.report.data import Results, Student, pairs_in_order

EXAMPLES = 6  # queries that gained, and as many that lost


def queries(results: Results, choice: Choice) -> Section:
    """Return the method against its rival, query by query, and where they differ most."""
    blocks: list[Block] = []
    for collection in results.collections:
        panels, tables = [], []
        for pair in results.pairs(collection):
            method, rival = (
                results.per_query.get((collection, pair, label, choice.metric), {})
                for label in (choice.method, choice.baseline)
            )
            shared = [query for query in method if query in rival]
            if not shared:
                continue
            counts = Counter((round(rival[q], 2), round(method[q], 2)) for q in shared)
            place = results.labels.index(choice.method)
            svg = figures.scatter(counts, choice.baseline, choice.method, place)
            panels.append(Panel(pair_name(pair), svg))
            changes = {query: method[query] - rival[query] for query in shared}
            first = not (blocks or tables)
            tables.append(_examples(results, collection, pair, choice, changes, rival, first))
        if panels:
            made = how(results, collection, [choice.method, choice.baseline], [choice.metric])
            title = f"{choice.metric} of each query on {collection}: {choice.method} over {{}}"
            note = "Above the diagonal the query gained; the disc grows with the queries in it."
            blocks.append(Figure(title.format(choice.baseline), panels, made, note=note))
            blocks += tables
    text = f"{choice.method} against {choice.baseline}, query by query."
    empty = f"{choice.method} and {choice.baseline} have no pair in common"
    return Section("queries", "Query by query", text, blocks, empty)


def _examples(
    results: Results,
    collection: str,
    pair: str,
    choice: Choice,
    changes: Mapping[str, float],
    rival: Mapping[str, float],
    opened: bool,
) -> Table:
    """Return the queries that gained and lost most, with their texts."""
    ours = {query: rival[query] + change for query, change in changes.items()}
    ranked = sorted(changes, key=lambda query: (-changes[query], query))
    gained = [query for query in ranked[:EXAMPLES] if changes[query] > 0]
    lost = [query for query in reversed(ranked[-EXAMPLES:]) if changes[query] < 0]
    language = pair.partition("-")[0]
    texts = results.queries.get((collection, language), {})
    english = results.queries.get((collection, "en"), {})
    rows = [
        [
            Cell(query),
            Cell(f"{changes[query]:+.3f}", key=changes[query], kind="number"),
            Cell(texts.get(query, "-"), lang=language),
            Cell(english.get(query, "-")),
            Cell(number(rival[query]), key=rival[query], kind="number"),
            Cell(number(ours[query]), key=ours[query], kind="number"),
        ]
        for query in [*gained, *lost]
    ]
    signs = Counter((value > 0) - (value < 0) for value in changes.values())
    told = f"{signs[1]} gained, {signs[-1]} lost, {signs[0]} as before"
    head = ["query", "change", "text", "in English", choice.baseline, choice.method]
    return Table(f"{pair_name(pair)}: {told}", head, rows, folded=True, opened=opened)


# ------------------------------------------------------------------ learning curves


def learning(results: Results) -> Section:
    """Return how the students learned: MRR on held-out sentence pairs, by epoch."""
    curves: dict[str, dict[str, list[Student]]] = {}
    for student in results.students:
        if any("held_out_mrr" in epoch for epoch in student.curve):
            curves.setdefault(student.pair, {}).setdefault(student.method, []).append(student)
    present = {label for by_label in curves.values() for label in by_label}
    labels = results.coloured(present)
    values = [
        epoch["held_out_mrr"]
        for student in results.students
        for epoch in student.curve
        if "held_out_mrr" in epoch
    ]
    panels = [
        Panel(
            pair_name(pair),
            figures.lines(
                [_curve(label, students) for label, students in curves[pair].items()],
                labels,
                across="epoch",
                up="held-out MRR",
                limits=(max(0.0, min(values) - 0.03), min(1.02, max(values) + 0.03)),
            ),
        )
        for pair in pairs_in_order(curves)
    ]
    commands = distillations(results.suite, results.students)
    blocks: list[Block] = []
    if panels:
        made = settings_of(results.students, commands)
        note = "A band spans the seeds, where a student was trained with several."
        title = "MRR of held-out sentence pairs by epoch"
        legend = [(place, label) for place, label in enumerate(labels) if label in present]
        blocks.append(Figure(title, panels, made, legend, note))
    text = (
        "Each held-out sentence is a query, the teacher's embeddings of the English sides are the "
        "documents. The epoch with the best value is kept."
    )
    empty = (
        "there is no student in the artifacts' folder; name it with --home, or make one with: "
        f"clir distill --suite {results.suite} --lang all"
    )
    return Section("learning", "How the students learned", text, blocks, empty)


def _curve(label: str, students: Sequence[Student]) -> figures.Line:
    epochs: dict[float, list[float]] = {}
    for student in students:
        for epoch in student.curve:
            if "held_out_mrr" in epoch:
                epochs.setdefault(epoch["epoch"], []).append(epoch["held_out_mrr"])
    places = sorted(epochs)
    low, high = ([f(epochs[x]) for x in places] if len(students) > 1 else [] for f in (min, max))
    means = [sum(epochs[x]) / len(epochs[x]) for x in places]
    return figures.Line(label, places, means, low, high)
