"""search: queries to a run, by exact late interaction, by BM25, or by fusing other runs."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from clir_cli import files, runtime
from clir_cli.artifacts import graph, store
from clir_cli.artifacts.spec import Ref
from clir_cli.cluster.shard_search import sharded_ranker
from clir_cli.corpus.records import Collection, Pool
from clir_cli.errors import UserError, counted
from clir_cli.evaluation.fusion import fuse
from clir_cli.evaluation.runs import RUN_FILE, Rankings, Run, read_run, write_run
from clir_cli.retrieval import memory
from clir_cli.retrieval.checkpoints import TextKind
from clir_cli.retrieval.encoder import Encoder, Packed, encode_inputs
from clir_cli.retrieval.maxsim import BLOCK_CELLS_OF_GPU, top_documents
from clir_cli.retrieval.ranking import Ranker
from clir_cli.retrieval.store import resident
from clir_cli.stages.index import Index, open_index
from clir_cli.stages.support.centring import centred_student, centred_teacher
from clir_cli.stages.support.fitting import open_encoder_at
from clir_cli.stages.support.initial_student import initial_encoder
from clir_cli.stages.support.lengths import limit_of
from clir_cli.stages.support.methods import METHODS, fused_cells
from clir_cli.stages.support.sources import load_bitext, queries_in, read_collection, word_index
from clir_cli.stages.support.translations import (
    by_dictionary,
    by_model,
    open_translator,
    stored_translations,
)
from clir_cli.stages.support.used_models import encoder_of
from clir_cli.stages.support.workspace import Workspace

if TYPE_CHECKING:
    from clir_cli.retrieval.nmt import Translator


BLOCKS = 8  # of a GPU's memory that a search leaves free, for the encoder as well


class Opened:
    """What a method searches with: its collection, index and encoder, each loaded once."""

    def __init__(self, workspace: Workspace, ref: Ref) -> None:
        self.workspace, self.ref = workspace, ref
        self.method = METHODS[ref.cell.method]
        self._parts: dict[Ref, Opened] = {}

    def part(self, ref: Ref) -> "Opened":
        """Return the same of a run that this one fuses."""
        return self._parts.setdefault(ref, Opened(self.workspace, ref))

    @cached_property
    def collection(self) -> Collection:
        """Return the collection to search, with the queries of the pair."""
        return read_collection(self.workspace, self.ref.pair.query)

    @cached_property
    def index(self) -> Index:
        """Return the collection's index, as much of it as fits in the memory of a GPU."""
        return _on_gpu(self.workspace, open_index(self.workspace))

    @cached_property
    def encoder(self) -> Encoder:
        """Return the encoder of the method's queries."""
        return open_encoder(self.workspace, self.ref)

    @cached_property
    def translator(self) -> "Translator":
        """Return the model that translates the queries of ``nmt`` and ``nmt-bm25``."""
        return open_translator(self.workspace, self.ref)


class Search:
    """Queries to rank documents for: those of a collection, or one that a user typed."""

    def __init__(self, opened: Opened, typed: str = "") -> None:
        self.opened, self.typed = opened, typed
        self.cut = 0  # queries that are longer than the encoder takes, once they are encoded
        self.workspace, self.ref, self.method = opened.workspace, opened.ref, opened.method
        # A student is trained on sentences.
        self.kind: TextKind = "query" if self.method.encoder == "teacher" else "sentence"

    @cached_property
    def queries(self) -> dict[str, str]:
        """Return the queries by id, before anything is done to them."""
        if self.typed:
            return {"query": self.typed}
        language = self.method.query_language(self.ref.pair)
        return queries_in(self.opened.collection, language, self.method.name)

    @cached_property
    def texts(self) -> list[str]:
        """Return the texts to encode or to match, in the order of the queries."""
        texts = self.queries
        if self.method.queries == "dictionary":
            texts = by_dictionary(self.workspace, self.ref, texts)
        elif self.method.queries == "nmt" and self.typed:
            texts = by_model(self.workspace, self.ref, texts, self.opened.translator)
        elif self.method.queries == "nmt":
            texts = stored_translations(self.workspace, self.ref)
        return list(texts.values())

    @cached_property
    def runs(self) -> dict[str, Run]:
        """Return the runs to fuse, by the label of their cells."""
        cells = fused_cells(self.workspace.settings.fusion.runs, self.ref.cell)
        return {cell.label: _part(self, self.ref.other("run", cell=cell)) for cell in cells}

    @cached_property
    def encoded(self) -> tuple[Encoder, Packed]:
        """Return the encoder of the method's queries, and their token embeddings."""
        encoder = self.opened.encoder
        limit = limit_of(self.workspace, encoder, "query_tokens", self.kind)
        inputs = encoder.inputs(self.texts, limit, self.kind)
        self.cut = sum(text.is_cut for text in inputs)
        if self.cut:
            longest = encoder.limit(limit, self.kind)
            self.workspace.talk.say(
                f"{self.ref.pair} {self.ref.cell.label}: {self.cut:,} of {len(inputs):,} queries "
                f"were cut at {longest} tokens (teacher.query_tokens)"
            )
        return encoder, encode_inputs(encoder, inputs, self.kind)


def search(workspace: Workspace, ref: Ref) -> Path:
    """Rank a collection for every query of a pair with one method; return the run's folder.

    Raises:
        UserError: A missing input, or a run that was made from something else.
    """
    artifact = graph.resolve(workspace, ref)
    with store.make(artifact, force=workspace.force) as draft:
        if draft is None:
            workspace.talk.say(f"{artifact.path} is current")
            return artifact.path
        job = Search(Opened(workspace, ref))
        run = rank(job)
        write_run(draft / RUN_FILE, run, tag=ref.cell.label)
        notes = {"queries": len(run), **({"queries_cut": job.cut} if job.cut else {})}
        files.write_text(draft / "notes.json", json.dumps(notes) + "\n")
    workspace.talk.say(f"{artifact.path}: {counted(len(run), 'query')}")
    return artifact.path


def rank(job: Search) -> Rankings:
    """Return the best documents of each query with their scores, best first."""
    settings = job.workspace.settings
    if job.method.scorer == "fusion":
        return fuse(list(job.runs.values()), settings.fusion.by, settings.search.top_k)
    rankings: dict[str, list[tuple[str, float]]] = {}
    title, queries = f"search {job.ref.pair} {job.ref.cell.label}", list(job.queries)
    with job.workspace.talk.counting(title, len(queries), unit="queries") as advance:
        for rows, pool in _by_pool(job):
            documents, all_scores = _scores(job, rows, pool)
            for row, scores in zip(rows, all_scores, strict=True):
                rankings[queries[row]] = top_documents(scores, documents, settings.search.top_k)
                advance(1)
    return {query: rankings[query] for query in queries}


def _by_pool(job: Search) -> list[tuple[list[int], Pool | None]]:
    """Return the places of queries that are asked of the same documents, and of which: all or some.

    A query is asked of the documents on which it was judged.
    """
    pool_of = {} if job.typed else job.opened.collection.pool_of
    groups: dict[tuple[str, ...], tuple[list[int], Pool | None]] = {}
    for row, query in enumerate(job.queries):
        pool = pool_of.get(query)
        groups.setdefault(tuple(pool.documents) if pool else (), ([], pool))[0].append(row)
    return list(groups.values())


def _part(job: Search, part: Ref) -> Run:
    if job.typed and part.cell.is_imported:
        raise UserError(
            f"fusion.runs has the imported run {part.cell.method}, which cannot answer a new query"
        )
    if job.typed:
        rankings = rank(Search(job.opened.part(part), job.typed))
        return {query: dict(ranking) for query, ranking in rankings.items()}
    return read_run(graph.require_current(job.workspace, part).path / RUN_FILE)


def _scores(
    job: Search, rows: Sequence[int], pool: Pool | None
) -> tuple[list[str], Iterator[Tensor]]:
    """Return ids of documents, and their scores for the queries at some places."""
    if job.method.scorer == "bm25":
        every = job.opened.collection.documents
        ids = [document.id for document in every if not pool or pool.has(document.id)]
        found = word_index(job.workspace, job.opened.collection, pool)
        return ids, found.scores(job.texts[row] for row in rows)
    index = job.opened.index
    encoder, packed = job.encoded
    ranker = ranker_of(job.workspace, index)
    if pool:
        allowed = torch.tensor([pool.has(document) for document in index.ids])
        ranker = replace(ranker, allowed=allowed)
        packed = Packed.of([packed[row] for row in rows])
    queries = Packed(packed.vectors.to(encoder.device), packed.offsets)
    return index.ids, ranker.rank(queries)


def open_encoder(workspace: Workspace, ref: Ref) -> Encoder:
    """Load the encoder of a method's queries."""
    runtime.hush_libraries()
    device = runtime.choose_device(workspace.device)
    if METHODS[ref.cell.method].encoder == "initial":
        student = initial_encoder(workspace, device, torch.float32, ref.cell.seed, ref.pair)
        centre = workspace.settings.teacher.centre
        bitexts = [load_bitext(workspace, ref.pair)] if centre else []
        return centred_student(workspace, student, bitexts)
    encoder = open_encoder_at(workspace, encoder_of(ref).folder(workspace), device)
    is_teacher = METHODS[ref.cell.method].encoder == "teacher"
    return centred_teacher(workspace, encoder) if is_teacher else encoder


def _on_gpu(workspace: Workspace, index: Index) -> Index:
    """Return an index with the shards that fit in the memory of the GPU, if there is one."""
    device = runtime.choose_device(workspace.device)
    if device.type != "cuda" or workspace.engine.name != "local":
        return index
    room = memory.free_bytes(device) - BLOCKS * memory.WORD * BLOCK_CELLS_OF_GPU
    return replace(index, shards=resident(index.shards, device, room))


def ranker_of(workspace: Workspace, index: Index) -> Ranker:
    """Return what ranks the documents of an index: in this process, or on Ray by shards."""
    settings = workspace.settings
    if workspace.engine.name == "local":
        search = settings.search
        limit = settings.index.memory_bytes
        return Ranker(index.shards, search.top_k, search.candidates, limit, passages=index.passages)
    return sharded_ranker(
        workspace.engine,
        settings,
        graph.path_of(workspace, workspace.ref("index")),
        index.shards,
        home=workspace.home,
        device=workspace.device,
        say=workspace.talk.say,
    )
