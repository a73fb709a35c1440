"""Queries in English: word by word through dictionaries, or by a translation model."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from clir_cli import files, runtime
from clir_cli.artifacts import graph, store
from clir_cli.artifacts.spec import Ref
from clir_cli.corpus import catalogue
from clir_cli.retrieval.word_translation import coverage, translate
from clir_cli.stages.support.lexicons import query_dictionary, translations_of
from clir_cli.stages.support.methods import METHODS
from clir_cli.stages.support.sources import queries_in, read_collection
from clir_cli.stages.support.used_models import translator_of
from clir_cli.stages.support.workspace import Workspace

if TYPE_CHECKING:
    from clir_cli.retrieval.nmt import Translator

TABLE = "queries.en.jsonl"


def by_dictionary(workspace: Workspace, run: Ref, queries: Mapping[str, str]) -> dict[str, str]:
    """Translate word by word: one translation a word for an encoder, several for BM25.

    BM25 ignores word order.
    """
    words = query_dictionary(workspace, run)
    bm25 = METHODS[run.cell.method].scorer == "bm25"
    choices = workspace.settings.dictionary.translations if bm25 else 1
    share = coverage(list(queries.values()), words)
    workspace.talk.say(
        f"{run.pair} {run.cell.label}: the dictionary knows {share:.0%} of the query words"
    )
    return {key: translate(text, words, choices) for key, text in queries.items()}


def open_translator(workspace: Workspace, ref: Ref) -> "Translator":
    """Load the model that ``nmt.model`` names, for the pair of a run."""
    from clir_cli.retrieval.nmt import load_translator

    runtime.hush_libraries()
    codes = (ref.pair.query, *catalogue.language(ref.pair.query).iso639_3)
    device = runtime.choose_device(workspace.device)
    pickled = workspace.settings.models.allow_pickle
    return load_translator(translator_of(ref).folder(workspace), codes, device, pickled=pickled)


def by_model(
    workspace: Workspace, ref: Ref, queries: Mapping[str, str], translator: "Translator"
) -> dict[str, str]:
    """Translate queries of a run."""
    settings, pair = workspace.settings.nmt, ref.pair
    with workspace.talk.counting(f"translate {pair}", len(queries), unit="queries") as advance:
        english = translator.translate(
            list(queries.values()),
            beams=settings.beams,
            max_tokens=settings.max_tokens,
            advance=advance,
        )
    return dict(zip(queries, english, strict=True))


def translations(workspace: Workspace, ref: Ref) -> Path:
    """Translate the queries of a collection once; ``nmt`` and ``nmt-bm25`` share the result."""
    artifact = graph.resolve(workspace, ref)
    with store.make_cache(artifact, workspace.talk.say) as draft:
        if draft is not None:
            collection = read_collection(workspace, ref.pair.query)
            queries = queries_in(collection, ref.pair.query, "nmt")
            english = by_model(workspace, ref, queries, open_translator(workspace, ref))
            rows = ({"_id": key, "text": text} for key, text in english.items())
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            files.write_text(draft / TABLE, lines)
    return artifact.path


def stored_translations(workspace: Workspace, run: Ref) -> dict[str, str]:
    """Return the translations of the queries of a run, made where they are missing."""
    folder = translations(workspace, translations_of(run))
    lines = (folder / TABLE).read_text(encoding="utf-8").splitlines()
    return {row["_id"]: row["text"] for row in map(json.loads, lines)}
