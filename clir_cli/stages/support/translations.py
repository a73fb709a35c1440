"""Queries in English: word by word through dictionaries, or by a translation model."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from clir_cli import artifacts, files, runtime
from clir_cli.artifacts import Plan
from clir_cli.corpus import catalogue, dictionaries
from clir_cli.corpus.dictionaries import Dictionary
from clir_cli.corpus.records import Collection, Pair
from clir_cli.errors import UserError
from clir_cli.files import digest
from clir_cli.retrieval import models
from clir_cli.retrieval.word_translation import coverage, translate
from clir_cli.stages.dictionary import merged, plan_dictionary, read_induced
from clir_cli.stages.support.inputs import download_command, fetched_model, made_by
from clir_cli.stages.support.methods import METHODS
from clir_cli.stages.support.queries import queries_of
from clir_cli.stages.support.workspace import Cell, Workspace

Queries = Mapping[str, str]


@dataclass(frozen=True)
class Asked:
    """The queries of a pair over a collection, and the method that wants them in English."""

    workspace: Workspace
    collection: Collection
    pair: Pair
    cell: Cell

    @property
    def queries(self) -> dict[str, str]:
        """Return the queries by id, as the collection has them."""
        return queries_of(self.collection, self.pair, self.cell)

    @cached_property
    def dictionary(self) -> Dictionary:
        """Return the dictionary of the pair; read once."""
        return read_dictionary(self.workspace, self.pair, self.cell)


def read_dictionary(workspace: Workspace, pair: Pair, cell: Cell) -> Dictionary:
    """Return the dictionary of a pair: what is given, then what the plans of ``ot`` induced.

    Raises:
        MissingInput: The induced one has not been made, or a given one not fetched.
        UserError: The settings name no dictionary at all.
    """
    settings = workspace.settings.dictionary
    given: Dictionary = {}
    if settings.sources or settings.files:
        with made_by(download_command(workspace, pair.query)):
            given = dictionaries.load_dictionary(settings, pair, workspace.downloads)
    if not settings.induced:
        if not given:
            raise UserError(f"no dictionary for {pair}; name one with dictionary.sources or .files")
        return given
    plan = plan_dictionary(workspace, pair, replace(cell, method="ot"))
    artifacts.require_current(plan)
    return merged(given, read_induced(plan.path, settings.least_score))


def _by_dictionary(asked: Asked) -> dict[str, str]:
    """One translation a word where the teacher reads; several where BM25 does.

    BM25 minds neither order nor grammar.
    """
    workspace, settings = asked.workspace, asked.workspace.settings.dictionary
    choices = settings.translations if METHODS[asked.cell.method].scorer == "bm25" else 1
    share = coverage(list(asked.queries.values()), asked.dictionary)
    workspace.talk.say(
        f"{asked.pair} {asked.cell.label}: the dictionary knows {share:.0%} of the query words"
    )
    return {key: translate(text, asked.dictionary, choices) for key, text in asked.queries.items()}


def _dictionary_inputs(asked: Asked) -> dict[str, str]:
    choices = asked.workspace.settings.dictionary.translations
    return {"dictionary": digest([sorted(asked.dictionary.items()), choices])}


def _nmt_folder(workspace: Workspace) -> Path:
    name = workspace.settings.nmt.model
    if not name:
        raise UserError(
            "method nmt needs a translation model; name it with --set nmt.model=FOLDER, or by its "
            "name on the hub (NLLB-200, M2M-100, mBART-50, MADLAD-400 and OPUS-MT are known)"
        )
    return fetched_model(workspace, name)


def _plan_nmt(asked: Asked) -> Plan:
    settings = asked.workspace.settings
    folder = asked.workspace.translations(asked.pair, settings.collection)
    return Plan(
        path=folder,
        kind="translations",
        config={
            "pair": str(asked.pair),
            "beams": settings.nmt.beams,
            "max_tokens": settings.nmt.max_tokens,
        },
        inputs={
            "queries": asked.collection.digests[f"queries.{asked.pair.query}"],
            "model": models.model_digest(_nmt_folder(asked.workspace)),
        },
        command=asked.workspace.command("search", f"--lang {asked.pair} --method nmt"),
    )


def _by_nmt(asked: Asked) -> dict[str, str]:
    """Translate once and keep it: ``nmt`` and ``nmt-bm25`` read the same translations."""
    plan = _plan_nmt(asked)
    with artifacts.make(plan, force=plan.state() == "stale", wait=True) as draft:
        if draft is not None:
            files.write_text(draft / "queries.en.jsonl", _records(_translate(asked)))
    lines = (plan.path / "queries.en.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["_id"]: row["text"] for row in map(json.loads, lines)}


def _translate(asked: Asked) -> Queries:
    from clir_cli.retrieval.nmt import load_translator

    runtime.hush_libraries()
    workspace, settings = asked.workspace, asked.workspace.settings.nmt
    codes = (asked.pair.query, *catalogue.languages()[asked.pair.query].iso639_3)
    device = runtime.choose_device(workspace.device)
    translator = load_translator(_nmt_folder(workspace), codes, device)
    texts = list(asked.queries.values())
    with workspace.talk.progress(unit="queries") as progress:
        bar = progress.add_task(f"translate {asked.pair}", total=len(texts), note="")
        english = translator.translate(
            texts,
            beams=settings.beams,
            max_tokens=settings.max_tokens,
            advance=lambda count: progress.advance(bar, count),
        )
    return dict(zip(asked.queries, english, strict=True))


def _records(queries: Queries) -> str:
    rows = ({"_id": key, "text": text} for key, text in queries.items())
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _nmt_inputs(asked: Asked) -> dict[str, str]:
    return {"translations": _plan_nmt(asked).fingerprint}


TRANSLATORS: dict[str, Callable[[Asked], dict[str, str]]] = {
    "dictionary": _by_dictionary,
    "nmt": _by_nmt,
}
INPUTS: dict[str, Callable[[Asked], dict[str, str]]] = {
    "dictionary": _dictionary_inputs,
    "nmt": _nmt_inputs,
}
