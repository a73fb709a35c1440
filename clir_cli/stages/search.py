"""search: queries to a run, by exact late interaction, by BM25, or by fusing other runs."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor

from clir_cli import artifacts, files, runtime
from clir_cli.artifacts import Plan
from clir_cli.cluster.shard_search import sharded_ranker
from clir_cli.corpus.records import Collection, Pair
from clir_cli.errors import UserError
from clir_cli.evaluation.fusion import fuse
from clir_cli.evaluation.runs import RUN_FILE, Rankings, read_run, write_run
from clir_cli.retrieval import models
from clir_cli.retrieval.bm25 import bm25_scores
from clir_cli.retrieval.checkpoints import TextKind
from clir_cli.retrieval.encoder import Encoder, Packed
from clir_cli.retrieval.maxsim import top_documents
from clir_cli.retrieval.ranking import Ranker
from clir_cli.stages.index import Index, open_index, plan_index
from clir_cli.stages.support.fitting import open_encoder_at
from clir_cli.stages.support.initial_student import initial_encoder
from clir_cli.stages.support.inputs import (
    collection_words,
    initial_folder,
    teacher_folder,
)
from clir_cli.stages.support.methods import METHODS, parse_methods
from clir_cli.stages.support.queries import queries_of, query_language
from clir_cli.stages.support.recipes import refuse_seen, student_command
from clir_cli.stages.support.translations import INPUTS as TRANSLATION_INPUTS
from clir_cli.stages.support.translations import TRANSLATORS, Asked
from clir_cli.stages.support.workspace import Cell, Workspace


def encoder_folder(workspace: Workspace, pair: Pair, cell: Cell, *, deep: bool = True) -> Path:
    """Return the folder of the encoder that reads a method's queries.

    Its files are checked ``deep`` where they will be read.

    Raises:
        MissingInput: The student has not been trained; the command is told.
    """
    kind = METHODS[cell.method].encoder
    if kind == "teacher":
        return teacher_folder(workspace)
    if kind == "initial":
        return initial_folder(workspace, pair)
    if METHODS[cell.method].whose:
        cell = replace(cell, method=METHODS[cell.method].whose)
    folder = workspace.student(pair, cell)
    artifacts.require(folder, student_command(workspace, pair, cell), deep=deep)
    return folder


@dataclass(frozen=True)
class Job(Asked):
    """One run to make: the queries of a pair, read by a method, over a collection."""

    index: Callable[[], Index]

    def read(self) -> list[str]:
        """Return the texts that the method reads, in the order of the queries."""
        translate = TRANSLATORS.get(METHODS[self.cell.method].queries)
        return list((translate(self) if translate else self.queries).values())

    @property
    def documents(self) -> list[str]:
        """Return the ids of the documents, in the order in which they are scored."""
        if METHODS[self.cell.method].scorer == "maxsim":
            return self.index().ids
        return [document.id for document in self.collection.documents]

    @property
    def fuses(self) -> bool:
        """Tell whether the run is made of others."""
        return METHODS[self.cell.method].scorer == "fusion"

    def plan(self) -> Plan:
        """Return what the run will be made from.

        Raises:
            UserError: The student, queries for the method, or a run to fuse are missing.
        """
        settings, method = self.workspace.settings, METHODS[self.cell.method]
        language = query_language(self.pair, self.cell)
        queries_of(self.collection, self.pair, self.cell)
        words = [*self.cell.words_for(self.pair), *collection_words(self.workspace)]
        config = {
            "pair": str(self.pair),
            "method": self.cell.method,
            "collection": self.collection.name,
            "query_tokens": settings.teacher.query_tokens,
            "top_k": settings.search.top_k,
        }
        inputs = {
            "queries": self.collection.digests[f"queries.{language}"],
            **INPUTS[method.scorer](self),
        }
        if method.encoder == "initial" and settings.student.layers:
            config["layers"] = settings.student.layers
        if method.scorer == "maxsim" and settings.search.candidates:
            config["candidates"] = settings.search.candidates
        if self.fuses:
            config["fusion"] = settings.fusion.model_dump(mode="json")
        if method.queries in TRANSLATION_INPUTS:
            inputs |= TRANSLATION_INPUTS[method.queries](self)
        return Plan(
            path=self.workspace.run(self.pair, self.cell, settings.collection),
            kind="run",
            config=config,
            inputs=inputs,
            command=self.workspace.command("search", *words),
        )


# ------------------------------------------------------------------ late interaction


def _maxsim_inputs(job: Job) -> dict[str, str]:
    folder = encoder_folder(job.workspace, job.pair, job.cell, deep=False)
    for each in (folder, teacher_folder(job.workspace)):
        refuse_seen(each, job.collection.name)
    return {
        "encoder": models.model_digest(folder),
        "index": plan_index(job.workspace, job.collection).fingerprint,
    }


def _by_maxsim(job: Job) -> Iterator[Tensor]:
    index = job.index()
    encoder = open_encoder(job.workspace, job.pair, job.cell)
    limit = job.workspace.settings.teacher.query_tokens
    packed = encoder.encode(job.read(), limit, kind=reading(job.cell))
    queries = Packed(packed.vectors.to(encoder.device), packed.offsets)
    yield from ranker_of(job.workspace, index).rank(queries)


def open_encoder(workspace: Workspace, pair: Pair, cell: Cell) -> Encoder:
    """Load the encoder that reads a method's queries."""
    runtime.hush_libraries()
    device = runtime.choose_device(workspace.device)
    if METHODS[cell.method].encoder == "initial":
        return initial_encoder(workspace, device, torch.float32, cell.seed, pair)
    return open_encoder_at(workspace, encoder_folder(workspace, pair, cell), device)


def reading(cell: Cell) -> TextKind:
    """Return how a method's encoder reads queries: the teacher in full, a student as it learned."""
    return "query" if METHODS[cell.method].encoder == "teacher" else "sentence"


def ranker_of(workspace: Workspace, index: Index) -> Ranker:
    """Return what ranks an index by late interaction: this process, or workers of a cluster."""
    return RANKERS[workspace.engine.name](workspace, index)


def _ranker(workspace: Workspace, index: Index) -> Ranker:
    search, limit = workspace.settings.search, workspace.settings.index.memory_bytes
    return Ranker(index.shards, search.top_k, search.candidates, limit)


def _ranker_on_ray(workspace: Workspace, index: Index) -> Ranker:
    return sharded_ranker(
        workspace.engine,
        workspace.settings,
        workspace.index(workspace.settings.collection),
        index.shards,
        home=workspace.home,
        device=workspace.device,
        say=workspace.talk.say,
    )


RANKERS: dict[str, Callable[[Workspace, Index], Ranker]] = {"local": _ranker, "ray": _ranker_on_ray}


# ------------------------------------------------------------------ words


def _bm25_inputs(job: Job) -> dict[str, str]:
    return {"documents": job.collection.digests["documents"]}


def _by_bm25(job: Job) -> Iterator[Tensor]:
    texts = [document.full_text for document in job.collection.documents]
    yield from bm25_scores(texts, job.read())


# ------------------------------------------------------------------ other runs


def _fused_cells(job: Job) -> list[Cell]:
    names = job.workspace.settings.fusion.runs
    chosen = parse_methods(",".join(names), ())
    if len(chosen) < 2 or any(method.scorer == "fusion" for method in chosen):
        raise UserError(f"fusion.runs names {list(names)}; give two methods or more to fuse")
    return [
        Cell(
            method.name,
            job.cell.variant if method.has_variants else "",
            job.cell.seed if method.has_seeds else 0,
            job.cell.joint if method.has_seeds else (),
        )
        for method in chosen
    ]


def _fusion_inputs(job: Job) -> dict[str, str]:
    found = {}
    for cell in _fused_cells(job):
        plan = plan_run(job.workspace, job.collection, job.pair, cell)
        artifacts.require_current(plan)
        found[cell.label] = plan.fingerprint
    return found


def _by_fusion(job: Job) -> Rankings:
    settings = job.workspace.settings
    runs = [
        read_run(job.workspace.run(job.pair, cell, settings.collection) / RUN_FILE)
        for cell in _fused_cells(job)
    ]
    return fuse(runs, settings.fusion.by, settings.search.top_k)


# ------------------------------------------------------------------ all of them

INPUTS: dict[str, Callable[[Job], dict[str, str]]] = {
    "maxsim": _maxsim_inputs,
    "bm25": _bm25_inputs,
    "fusion": _fusion_inputs,
}
SCORERS: dict[str, Callable[[Job], Iterator[Tensor]]] = {
    "maxsim": _by_maxsim,
    "bm25": _by_bm25,
}


def plan_run(workspace: Workspace, collection: Collection, pair: Pair, cell: Cell) -> Plan:
    """Return what a run will be made from; raises as ``Job.plan`` does."""
    return _jobs(workspace, collection, pair, [cell])[0].plan()


def search(
    workspace: Workspace,
    collection: Collection,
    pair: Pair,
    cells: Sequence[Cell],
    opened: Callable[[], Index] | None = None,
) -> list[Plan]:
    """Rank a collection for every query with each method; return the runs that were made.

    Args:
        workspace: Settings, folders and behaviour.
        collection: What to search.
        pair: The language pair.
        cells: The methods, with variant and seed.
        opened: Returns the collection's index, where the caller keeps it open.

    Raises:
        UserError: A missing input, or a run that was made from something else.
    """
    jobs = _jobs(workspace, collection, pair, cells, opened)
    others = [job for job in jobs if not job.fuses]
    plans = [job.plan() for job in others]  # what is missing is told before any work is done
    for job, plan in zip(others, plans, strict=True):
        _make_run(job, plan)
    for job in (job for job in jobs if job.fuses):  # these read the runs of the others
        plans.append(job.plan())
        _make_run(job, plans[-1])
    return plans


def _jobs(
    workspace: Workspace,
    collection: Collection,
    pair: Pair,
    cells: Sequence[Cell],
    opened: Callable[[], Index] | None = None,
) -> list[Job]:
    """Return the jobs of several methods, which share one index, opened when it is needed."""
    opened = opened or cache(partial(open_index, workspace, collection))
    return [Job(workspace, collection, pair, cell, opened) for cell in cells]


def _make_run(job: Job, plan: Plan) -> None:
    talk = job.workspace.talk
    with artifacts.make(plan, force=job.workspace.force) as draft:
        if draft is None:
            talk.say(f"{plan.path} is current")
            return
        ranked = _rank(job)
        write_run(draft / RUN_FILE, ranked, tag=job.cell.label)
        notes = json.dumps({"queries": len(ranked)})
        files.write_text(draft / "notes.json", notes + "\n")
    talk.say(f"{plan.path}: {len(ranked):,} queries")


def _rank(job: Job) -> Rankings:
    if job.fuses:
        return _by_fusion(job)
    scorer = METHODS[job.cell.method].scorer
    top_k = job.workspace.settings.search.top_k
    documents, ranked = job.documents, {}
    with job.workspace.talk.progress(unit="queries") as progress:
        title = f"search {job.pair} {job.cell.label}"
        bar = progress.add_task(title, total=len(job.queries), note="")
        for query, scores in zip(job.queries, SCORERS[scorer](job), strict=True):
            ranked[query] = top_documents(scores, documents, top_k)
            progress.advance(bar)
    return ranked
