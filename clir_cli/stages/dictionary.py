"""dictionary: a student's plans over the bitext to a bilingual dictionary."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from clir_cli import artifacts, files, runtime
from clir_cli.artifacts import Plan
from clir_cli.corpus import bitext as corpus
from clir_cli.corpus import dictionaries
from clir_cli.corpus.dictionaries import Dictionary
from clir_cli.corpus.records import Pair
from clir_cli.optical.alignment import DictionaryEntry, induce_dictionary
from clir_cli.retrieval import models
from clir_cli.stages.support.fitting import open_encoder_at
from clir_cli.stages.support.inputs import bitext_inputs, download_command, made_by, teacher_folder
from clir_cli.stages.support.recipes import student_command
from clir_cli.stages.support.teacher_embeddings import teacher_embeddings
from clir_cli.stages.support.workspace import Cell, Workspace

TABLE = "dictionary.tsv"


def plan_dictionary(workspace: Workspace, pair: Pair, cell: Cell) -> Plan:
    """Return what the induced dictionary of a pair will be made from.

    Raises:
        MissingInput: The student has not been distilled, or the bitext not fetched.
    """
    settings = workspace.settings
    student = workspace.student(pair, cell)
    words = cell.words_for(pair)
    artifacts.require(student, student_command(workspace, pair, cell), deep=False)
    return Plan(
        path=workspace.dictionary(pair, cell),
        kind="dictionary",
        config={
            "pair": str(pair),
            "bitext": settings.bitext.model_dump(mode="json"),
            "transport": settings.transport.model_dump(mode="json"),
            "query_tokens": settings.teacher.query_tokens,
        },
        inputs={
            **bitext_inputs(workspace, pair),
            "student": models.model_digest(student),
            "teacher": models.model_digest(teacher_folder(workspace)),
        },
        command=workspace.command("dictionary", *words),
    )


def dictionary(workspace: Workspace, pair: Pair, cell: Cell) -> Path:
    """Induce the dictionary of a pair from a student's plans; return its folder.

    Where ``dictionary.sources`` or ``.files`` give one to compare with, the manifest's notes tell
    for how many of its words the plans found a translation, and how often the right one.
    """
    plan = plan_dictionary(workspace, pair, cell)
    with artifacts.make(plan, force=workspace.force) as draft:
        if draft is None:
            workspace.talk.say(f"{plan.path} is current")
            return plan.path
        entries = _induce(workspace, pair, cell)
        with (draft / TABLE).open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
            writer.writerow(("word", "english", "score", "pairs"))
            writer.writerows((e.word, e.english, f"{e.score:.4f}", e.pairs) for e in entries)
        notes = {"words": len({entry.word for entry in entries}), "entries": len(entries)}
        notes |= _precision(workspace, pair, entries)
        files.write_text(draft / "notes.json", json.dumps(notes, indent=1) + "\n")
    told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in notes.items())
    workspace.talk.say(f"{plan.path}: {told}")
    return plan.path


def _induce(workspace: Workspace, pair: Pair, cell: Cell) -> list[DictionaryEntry]:
    runtime.hush_libraries()
    device = runtime.choose_device(workspace.device)
    bitext = corpus.load_bitext(workspace.settings.bitext, pair, workspace.downloads)
    embeddings, _ = teacher_embeddings(workspace, pair, bitext, device)
    artifacts.verify(workspace.student(pair, cell))
    student = open_encoder_at(workspace, workspace.student(pair, cell), device)
    teacher = open_encoder_at(workspace, teacher_folder(workspace), device)
    with workspace.talk.progress(unit="pairs") as progress:
        bar = progress.add_task(f"align {pair}", total=len(bitext.train), note="")
        return induce_dictionary(
            student,
            teacher,
            bitext.train,
            embeddings,
            workspace.settings.transport,
            max_tokens=workspace.settings.teacher.query_tokens,
            advance=lambda count: progress.advance(bar, count),
        )


def _precision(
    workspace: Workspace, pair: Pair, entries: Sequence[DictionaryEntry]
) -> dict[str, object]:
    """Compare with the given dictionary: of the words in both, how often the right translation."""
    settings = workspace.settings.dictionary
    if not (settings.sources or settings.files):
        return {}
    with made_by(download_command(workspace, pair.query)):
        given = dictionaries.load_dictionary(settings, pair, workspace.downloads)
    found: dict[str, list[str]] = {}
    for entry in entries:
        found.setdefault(entry.word, []).append(entry.english)
    both = [word for word in found if word in given]
    right = {word: {english.lower() for english in given[word]} for word in both}
    first = sum(found[word][0] in right[word] for word in both)
    any_of = sum(bool(right[word] & set(found[word])) for word in both)
    return {
        "words_also_given": len(both),
        "precision_at_1": round(first / max(1, len(both)), 4),
        "precision_at_5": round(any_of / max(1, len(both)), 4),
    }


def read_induced(path: Path, least: float) -> Dictionary:
    """Return the entries of an induced dictionary with a score of at least ``least``."""
    found: dict[str, list[str]] = {}
    with (path / TABLE).open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream, delimiter="\t"):
            if float(row["score"]) >= least:
                found.setdefault(row["word"], []).append(row["english"])
    return {word: tuple(english) for word, english in found.items()}


def merged(first: Mapping[str, Sequence[str]], second: Mapping[str, Sequence[str]]) -> Dictionary:
    """Return both dictionaries as one; the translations of the first come first."""
    return {
        word: tuple(dict.fromkeys((*first.get(word, ()), *second.get(word, ()))))
        for word in {**first, **second}
    }
