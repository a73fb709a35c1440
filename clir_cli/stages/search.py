"""search: queries to a run, by exact late interaction."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from clir_cli import artifacts, runtime
from clir_cli.artifacts import Plan
from clir_cli.corpus.records import Collection, Document, Pair
from clir_cli.errors import MissingInput, UserError
from clir_cli.evaluation.runs import write_run
from clir_cli.retrieval import models
from clir_cli.retrieval.encoder import Encoder, load_encoder
from clir_cli.retrieval.maxsim import maxsim, top_documents
from clir_cli.stages.index import Index, open_index, plan_index
from clir_cli.stages.inputs import (
    collection_words,
    initial_folder,
    read_collection,
    teacher_folder,
)
from clir_cli.stages.methods import METHODS
from clir_cli.stages.workspace import Cell, Workspace

RUN = "run.trec"


def encoder_folder(workspace: Workspace, pair: Pair, cell: Cell) -> Path:
    """Return the folder of the encoder that reads a method's queries.

    Raises:
        UserError: The student has not been distilled; the command is told.
    """
    kind = METHODS[cell.method].encoder
    if kind == "teacher":
        return teacher_folder(workspace)
    if kind == "initial":
        return initial_folder(workspace)
    folder = workspace.student(pair, cell)
    words = [f"--lang {pair}", *cell.words]
    artifacts.require(folder, workspace.command("distill", *words))
    return folder


def query_language(pair: Pair, cell: Cell) -> str:
    """Return the language that a method's queries are in."""
    return "en" if METHODS[cell.method].queries == "english" else pair.query


def queries_of(collection: Collection, pair: Pair, cell: Cell) -> dict[str, str]:
    """Return the queries that a method reads.

    Raises:
        MissingInput: The collection has none in that language.
    """
    language = query_language(pair, cell)
    if language not in collection.queries:
        raise MissingInput(
            f"collection {collection.name} has no queries in {language!r}, which method "
            f"{cell.method} reads; add queries.{language}.jsonl or leave the method out"
        )
    return dict(collection.queries[language])


def answerable(
    workspace: Workspace, collection: Collection, pair: Pair, cells: Sequence[Cell]
) -> list[Cell]:
    """Return the cells whose queries the collection has; tell which are left out."""
    kept = []
    for cell in cells:
        language = query_language(pair, cell)
        if language in collection.queries:
            kept.append(cell)
        else:
            workspace.talk.say(f"{cell.label} left out: no queries in {language!r}")
    return kept


def plan_run(workspace: Workspace, collection: Collection, pair: Pair, cell: Cell) -> Plan:
    """Return what a run will be made from.

    Raises:
        UserError: The student, or queries for the method, are missing.
    """
    settings = workspace.settings
    queries_of(collection, pair, cell)
    language = query_language(pair, cell)
    words = [f"--lang {pair}", *cell.words, *collection_words(workspace)]
    return Plan(
        path=workspace.run(pair, cell, settings.collection),
        kind="run",
        config={
            "pair": str(pair),
            "method": cell.method,
            "collection": collection.name,
            "query_tokens": settings.teacher.query_tokens,
            "top_k": settings.search.top_k,
        },
        inputs={
            "queries": collection.digests[f"queries.{language}"],
            "encoder": models.model_digest(encoder_folder(workspace, pair, cell)),
            "index": plan_index(workspace, collection).fingerprint,
        },
        command=workspace.command("search", *words),
    )


def search(workspace: Workspace, pair: Pair, cells: Sequence[Cell]) -> list[Path]:
    """Rank the collection for every query with each method; return the runs' folders.

    Raises:
        UserError: A missing input, or a run that was made from something else.
    """
    collection = read_collection(workspace, pair.query)
    plans = [plan_run(workspace, collection, pair, cell) for cell in cells]
    opened: Index | None = None
    for plan, cell in zip(plans, cells, strict=True):
        with artifacts.make(plan, force=workspace.force) as draft:
            if draft is None:
                workspace.talk.say(f"{plan.path} is current")
                continue
            opened = opened or open_index(workspace, collection)
            queries = queries_of(collection, pair, cell)
            encoder = _encoder(workspace, pair, cell)
            ranked = _rank(workspace, encoder, queries, opened, f"search {pair} {cell.label}")
            write_run(draft / RUN, ranked, tag=cell.label)
            notes = {"queries": len(queries), "device": str(encoder.device)}
            artifacts.write_text(draft / "notes.json", json.dumps(notes) + "\n")
        workspace.talk.say(f"{plan.path}: {len(queries):,} queries")
    return [plan.path for plan in plans]


def _encoder(workspace: Workspace, pair: Pair, cell: Cell) -> Encoder:
    runtime.hush_libraries()
    device = runtime.choose_device(workspace.device)
    return load_encoder(encoder_folder(workspace, pair, cell), device)


def _rank(
    workspace: Workspace, encoder: Encoder, queries: dict[str, str], index: Index, title: str
) -> dict[str, list[tuple[str, float]]]:
    limit = workspace.settings.teacher.query_tokens
    packed = encoder.encode(list(queries.values()), limit)
    ranked = {}
    with workspace.talk.progress(unit="queries") as progress:
        bar = progress.add_task(title, total=len(queries), note="")
        for number, query in enumerate(queries):
            scores = _scores(packed[number].to(encoder.device), index)
            ranked[query] = top_documents(scores, index.ids, workspace.settings.search.top_k)
            progress.advance(bar)
    return ranked


def _scores(query: torch.Tensor, index: Index) -> torch.Tensor:
    return torch.cat([maxsim(query, shard) for shard in index.shards]).cpu()


@dataclass(frozen=True)
class Hit:
    """A document found for one query; ``marks`` are the spans of text that query tokens match."""

    rank: int
    score: float
    document: Document
    marks: list[tuple[int, int]]


def search_text(workspace: Workspace, pair: Pair, cell: Cell, text: str) -> list[Hit]:
    """Return the best documents for one query text, best first.

    Raises:
        UserError: An empty query, or a missing input.
    """
    if not text.strip():
        raise UserError("--query is empty; give the words to search for")
    language = "en" if query_language(pair, cell) == "en" else pair.query
    collection = read_collection(workspace, language)
    index = open_index(workspace, collection)
    encoder = _encoder(workspace, pair, cell)
    query = encoder.encode([text], workspace.settings.teacher.query_tokens)[0].to(encoder.device)
    found = top_documents(_scores(query, index), index.ids, workspace.settings.search.top_k)
    by_id = {document.id: document for document in collection.documents}
    place = {identity: number for number, identity in enumerate(index.ids)}
    teacher = load_encoder(teacher_folder(workspace), encoder.device)
    words = query[_word_tokens(encoder, text)]
    hits = []
    for rank, (key, score) in enumerate(found, start=1):
        spans = _token_spans(workspace, teacher, by_id[key].full_text)
        matched = (words @ _vectors(index, place[key]).to(words).T).argmax(dim=1).tolist()
        marks = _whole_words(by_id[key].full_text, {spans[token] for token in matched})
        hits.append(Hit(rank, score, by_id[key], marks))
    return hits


def _word_tokens(encoder: Encoder, text: str) -> list[int]:
    """Return the places of the query's tokens that stand for words: none special, none a comma."""
    tokens = encoder.tokenizer.convert_ids_to_tokens(encoder.tokenize([text], 1 << 20)[0])
    special = set(encoder.tokenizer.all_special_tokens)
    return [
        place
        for place, token in enumerate(tokens)
        if token not in special and any(mark.isalnum() for mark in token)
    ]


def _vectors(index: Index, place: int) -> torch.Tensor:
    for shard in index.shards:
        if place < len(shard):
            return shard[place]
        place -= len(shard)
    raise IndexError(place)


def _token_spans(workspace: Workspace, teacher: Encoder, text: str) -> list[tuple[int, int]]:
    limit = min(workspace.settings.teacher.document_tokens, teacher.position_limit)
    encoded = teacher.tokenizer(
        text, truncation=True, max_length=limit, return_offsets_mapping=True
    )
    return [tuple(span) for span in encoded["offset_mapping"]]


def _whole_words(text: str, spans: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the words that the spans lie in; punctuation and special tokens are left out."""
    words = [match.span() for match in re.finditer(r"\w+", text)]
    return [
        (low, high)
        for low, high in words
        if any(start < high and low < stop for start, stop in spans)
    ]
