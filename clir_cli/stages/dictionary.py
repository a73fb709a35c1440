"""dictionary: a student's plans over the bitext to a bilingual dictionary."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clir_cli import files, runtime
from clir_cli.artifacts import graph, store
from clir_cli.artifacts.spec import Ref
from clir_cli.corpus.dictionaries import Dictionary, DictionaryEntry
from clir_cli.optical.alignment import induce_dictionary
from clir_cli.stages.support.fitting import open_encoder_at
from clir_cli.stages.support.lexicons import TABLE
from clir_cli.stages.support.sources import load_bitext, load_given_dictionary
from clir_cli.stages.support.teacher_embeddings import align_bitext
from clir_cli.stages.support.used_models import UsedModel, student_of
from clir_cli.stages.support.workspace import Workspace


def dictionary(workspace: Workspace, ref: Ref) -> Path:
    """Induce the dictionary of a pair from a student's transport plans; return its folder.

    Where ``dictionary.sources`` or ``.files`` give one to compare with, the manifest's notes have
    the precision of the induced translations.
    """
    artifact = graph.resolve(workspace, ref)
    with store.make(artifact, force=workspace.force) as draft:
        if draft is None:
            workspace.talk.say(f"{artifact.path} is current")
            return artifact.path
        entries = _induce(workspace, ref)
        with (draft / TABLE).open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
            writer.writerow(("word", "english", "score", "pairs"))
            writer.writerows((e.word, e.english, f"{e.score:.4f}", e.pairs) for e in entries)
        notes = {"words": len({entry.word for entry in entries}), "entries": len(entries)}
        notes |= _precision(entries, load_given_dictionary(workspace, ref.pair))
        files.write_text(draft / "notes.json", json.dumps(notes, indent=1) + "\n")
    labels = {"words_also_given": "words also in the reference dictionary"}
    named = {labels.get(name, name.replace("_", " ")): value for name, value in notes.items()}
    summary = ", ".join(f"{label} {value}" for label, value in named.items())
    workspace.talk.say(f"{artifact.path}: {summary}")
    return artifact.path


def _induce(workspace: Workspace, ref: Ref) -> list[DictionaryEntry]:
    runtime.hush_libraries()
    bitext = load_bitext(workspace, ref.pair)
    folder = UsedModel(student_of(ref.settings, ref.pair, ref.cell)).folder(workspace)
    student = open_encoder_at(workspace, folder, runtime.choose_device(workspace.device))
    title = f"align {ref.pair}"
    return align_bitext(workspace, ref.pair, bitext, student, induce_dictionary, title)


def _precision(entries: Sequence[DictionaryEntry], given: Dictionary) -> dict[str, Any]:
    """Compare with the given dictionary: of the words in both, how often the right translation."""
    if not given:
        return {}
    induced: dict[str, list[str]] = {}
    for entry in entries:
        induced.setdefault(entry.word, []).append(entry.english)
    both = [word for word in induced if word in given]
    right = {word: {english.lower() for english in given[word]} for word in both}
    first = sum(induced[word][0] in right[word] for word in both)
    any_of = sum(bool(right[word] & set(induced[word])) for word in both)
    return {
        "words_also_given": len(both),
        "precision_at_1": round(first / max(1, len(both)), 4),
        "precision_at_5": round(any_of / max(1, len(both)), 4),
    }
