"""Sections drawn from the students: how they learned, and the transport plans of queries."""

import itertools
from collections.abc import Sequence
from statistics import mean

from pydantic import ValidationError

from clir_cli.artifacts.cell import Cell
from clir_cli.artifacts.command import Command
from clir_cli.corpus.catalogue import languages
from clir_cli.corpus.records import parse_pair
from clir_cli.errors import UserError, first_line
from clir_cli.evaluation import gaps
from clir_cli.settings import Settings
from clir_cli.stages.support.methods import METHODS
from clir_cli.stages.support.workspace import Workspace
from clir_cli.study.report import charts
from clir_cli.study.report.blocks import (
    Block,
    FigureBlock,
    ListBlock,
    Panel,
    PlanBlock,
    Section,
    span,
)
from clir_cli.study.report.data import (
    Results,
    pair_title,
    pairs_in_order,
)
from clir_cli.study.report.made import Student, neutral, neutral_command
from clir_cli.study.report.provenance import distillations, trained
from clir_cli.suites import flat, known_keys

WORDS = range(4, 10)  # of a sentence that fits into a small picture
PLANS = 3


def learning(results: Results) -> Section:
    """Return how the students learned: MRR on held-out sentence pairs, by epoch."""
    curves: dict[tuple[str, str], list[Student]] = {}
    for student in results.made.students:
        if student.held_out:
            curves.setdefault((student.pair, student.method), []).append(student)
    values = [v for student in results.made.students for v in student.held_out.values()]
    present = {label for _, label in curves}
    labels = results.series(present)
    blocks: list[Block] = []
    if curves:
        ends = (max(0.0, min(values) - 0.03), min(1.02, max(values) + 0.03))
        panels = []
        for pair in pairs_in_order({pair for pair, _ in curves}):
            rows = [_curve(name, curves[pair, name]) for name in labels if (pair, name) in curves]
            chart = charts.lines(rows, labels, ends, across="epoch", up="held-out MRR")
            panels.append(Panel(pair_title(pair), chart))
        made_by = trained(
            results.made.students, distillations(results.suite, results.made.students)
        )
        counts = [
            count
            for student in results.made.students
            if (count := student.manifest.get("notes", {}).get("held_out_pairs"))
        ]
        held_out = f"n = {span(counts)} sentence pairs. " if counts else ""
        note = (
            f"{held_out}A band spans the seeds, where a student was trained with several; no test."
        )
        title = "MRR of held-out sentence pairs by epoch"
        legend = [(series, label) for series, label in enumerate(labels) if label in present]
        blocks.append(FigureBlock(title, panels, made_by, legend, note))
    text = (
        "Each held-out sentence is a query, the teacher's embeddings of the English sides are the "
        "documents. The epoch with the best value is kept."
    )
    empty = (
        "there is no student in the artifacts' folder; name it with --home, or make one with: "
        + results.command("distill", ("--lang", "all"))
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


# ------------------------------------------------------------------ transport plans


def plans(workspace: Workspace, results: Results, method: str) -> Section:
    """Return the plans of the students of a method, low- and high-resource pairs in turn."""
    blocks: list[Block] = []
    errors: list[str] = []
    for student in _chosen(results, method):
        sentences = _sentences(results, student.pair)
        if sentences is None:
            continue
        try:
            blocks.append(_plan(workspace, student, *sentences))
        except UserError as error:
            errors.append(f"{student.pair}: {neutral(str(error))}")
    if errors:
        blocks.append(ListBlock("These students could not be read", errors))
    text = (
        "A query of the collection and its English translation: each row shows where the mass of a "
        "token of the query goes, as the transport plan aligns it with the teacher's tokens."
    )
    empty = "transport plans need a student, and queries in its language and in English (--home)"
    return Section("plans", "Transport plans of queries", text, blocks, empty)


def _chosen(results: Results, method: str) -> list[Student]:
    """Return a student of a few pairs: of the method, else of any; resource groups take turns."""
    by_pair: dict[str, Student] = {}
    for student in results.made.students:
        known = METHODS.get(Cell.parse(student.label).method)
        if not (known and known.encoder == "distilled" and student.pair.endswith("-en")):
            continue
        if student.pair not in by_pair or student.label == method:
            by_pair[student.pair] = student
    groups = [
        [by_pair[pair] for pair in pairs_in_order(by_pair) if gaps.resource_of(pair) == resource]
        for resource in ("low", "high")
    ]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*groups))
    return [student for student in turns if student][:PLANS]


def _sentences(results: Results, pair: str) -> tuple[str, str] | None:
    """Return a query that is short enough to be seen at a glance, and its translation."""
    for collection in results.collections:
        shared = [both for both in collection.sentences(pair).values() if both[1]]
        short = [both for both in shared if all(len(text.split()) in WORDS for text in both)]
        if shared:
            return min(short or shared, key=_unfitness)
    return None


def _unfitness(sentences: tuple[str, str]) -> tuple[int, int, int]:
    text = " ".join(sentences)
    marks = sum(not (letter.isalpha() or letter.isspace()) for letter in text)
    return marks, abs(len(sentences[0].split()) - 6), len(text)


def _own_settings(workspace: Workspace, student: Student) -> Settings:
    """Return settings with those that a student was made with, but for the models."""
    values = workspace.settings.model_dump()
    for key, value in flat(student.manifest["config"]).items():
        section, _, name = key.rpartition(".")
        if section and key in known_keys() and name != "model":
            values[section][name] = value
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise UserError(f"settings of its manifest: {first_line(error)}") from None


def _plan(workspace: Workspace, student: Student, text: str, english: str) -> PlanBlock:
    from clir_cli.stages.align import align  # torch

    pair, cell = parse_pair(student.pair, languages()), Cell.parse(student.label)
    alignment = align(workspace.using(_own_settings(workspace, student)), pair, cell, text, english)
    given = neutral_command(str(student.manifest.get("command"))).options
    options = (("--suite", workspace.suite), *cell.options(pair))
    options += tuple(option for option in given if option[0] == "--set")
    command = str(Command("align", options, (text, english)))
    return PlanBlock(
        title=f"{pair}, {student.label}",
        lang=pair.query,
        sentence=text,
        english=english,
        rows=alignment.query_tokens,
        columns=alignment.english_tokens,
        shares=alignment.shares.tolist(),
        made_by=trained([student], [str(command)]),
    )
