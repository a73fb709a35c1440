"""Transport plans for the report: a query of the collection and its English translation."""

import shlex

from clir_cli.corpus.catalogue import languages
from clir_cli.corpus.records import parse_pair
from clir_cli.errors import UserError
from clir_cli.evaluation import gaps
from clir_cli.stages.methods import METHODS
from clir_cli.stages.workspace import Cell, Workspace
from clir_cli.study.report.blocks import Block, Lines, Plan, Section
from clir_cli.study.report.choice import settings_of
from clir_cli.study.report.data import Results, Student

WORDS = range(4, 10)  # what can be seen at a glance
PLANS = 3


def plans(workspace: Workspace, results: Results, method: str) -> Section:
    """Return the plans of the students of a method, low- and high-resource pairs in turn."""
    blocks: list[Block] = []
    untold: list[str] = []
    for student in _chosen(results, method):
        sentences = _sentences(results, student.pair)
        if sentences is None:
            continue
        try:
            blocks.append(_plan(workspace, student, *sentences))
        except UserError as error:
            untold.append(f"{student.pair}: {error}")
    if untold:
        blocks.append(Lines("These students could not be read", untold))
    text = (
        "A query of the collection and its English translation: each row says where the mass of a "
        "token of the query goes, as the transport plan aligns it with the teacher's tokens."
    )
    empty = "transport plans need a student, and queries in its language and in English (--home)"
    return Section("plans", "What stands for what", text, blocks, empty)


def _chosen(results: Results, method: str) -> list[Student]:
    """Return a student of a few pairs: of the method, else of any; groups take turns."""
    found: dict[str, Student] = {}
    for student in results.students:
        known = METHODS.get(student.label.split(".")[0])
        if known and known.encoder == "distilled" and student.pair.endswith("-en"):
            there = found.get(student.pair)
            if there is None or (student.label == method and there.label != method):
                found[student.pair] = student
    groups = [
        [found[pair] for pair in _order(found) if gaps.resource_of(pair) == name]
        for name in ("low", "high")
    ]
    turns = max(map(len, groups))
    return [group[turn] for turn in range(turns) for group in groups if turn < len(group)][:PLANS]


def _order(pairs: dict[str, Student]) -> list[str]:
    return [f"{code}-en" for code in languages() if f"{code}-en" in pairs]


def _sentences(results: Results, pair: str) -> tuple[str, str] | None:
    """Return a query that is short enough to be seen at a glance, and its translation."""
    language = pair.partition("-")[0]
    for collection in results.collections:
        texts = results.queries.get((collection, language), {})
        english = results.queries.get((collection, "en"), {})
        shared = [(texts[query], english[query]) for query in texts if query in english]
        short = [each for each in shared if all(len(side.split()) in WORDS for side in each)]
        if shared:
            return min(short or shared, key=_strangeness)
    return None


def _strangeness(sentences: tuple[str, str]) -> tuple[int, int, int]:
    """Return how ill a sentence pair fits a small picture: marks, odd lengths, long words."""
    text = " ".join(sentences)
    marks = sum(not (letter.isalpha() or letter.isspace()) for letter in text)
    return marks, abs(len(sentences[0].split()) - 6), len(text)


def _plan(workspace: Workspace, student: Student, text: str, english: str) -> Plan:
    from clir_cli.stages.align import align  # torch

    pair = parse_pair(student.pair, languages())
    method, _, variant = student.method.partition(".")
    seed = student.label.removeprefix(student.method).removeprefix(".seed")
    cell = Cell(method, variant, int(seed or 0))
    found = align(workspace, pair, cell, text, english)
    words = " ".join([*cell.words_for(pair), shlex.quote(text), shlex.quote(english)])
    return Plan(
        title=f"{pair}, {student.label}",
        lang=pair.query,
        sentence=text,
        english=english,
        rows=found.query_tokens,
        columns=found.english_tokens,
        shares=found.shares.tolist(),
        how=settings_of([student], [f"clir align --suite {workspace.suite} {words}"]),
    )
