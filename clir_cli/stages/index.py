"""index: the teacher encodes the documents, once for every pair and method of a suite."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from clir_cli import artifacts, files, runtime
from clir_cli.artifacts import Plan
from clir_cli.corpus.records import Collection
from clir_cli.retrieval import models, store
from clir_cli.retrieval.encoder import Encoder, Packed
from clir_cli.stages.fitting import open_encoder_at
from clir_cli.stages.inputs import collection_words, teacher_folder
from clir_cli.stages.workspace import Workspace

IDS = "documents.txt"


def plan_index(workspace: Workspace, collection: Collection) -> Plan:
    """Return what the index of a collection will be made from."""
    settings = workspace.settings
    chosen = settings.index.model_dump(mode="json")
    return Plan(
        path=workspace.index(settings.collection),
        kind="index",
        config={
            "collection": collection.name,
            "document_tokens": settings.teacher.document_tokens,
            **{name: chosen[name] for name in ("dtype", "shard_documents", "precision")},
        },
        inputs={
            "documents": collection.digests["documents"],
            "teacher": models.model_digest(teacher_folder(workspace)),
        },
        command=workspace.command("index", *collection_words(workspace)),
    )


def index(workspace: Workspace, collection: Collection) -> Path:
    """Encode a collection's documents and leave them as an artifact; return its folder.

    Shards are written as they are done; a run that was cut goes on behind the last one.

    Raises:
        UserError: The teacher is missing, or the index was made from something else.
    """
    plan = plan_index(workspace, collection)
    with artifacts.make(plan, force=workspace.force, resume=True) as draft:
        if draft is None:
            workspace.talk.say(f"{plan.path} is current")
            return plan.path
        runtime.hush_libraries()
        device = runtime.choose_device(workspace.device)
        settings = workspace.settings
        precision = runtime.choose_precision(settings.index.precision, device)
        tokens = settings.index.batch_tokens
        folder = teacher_folder(workspace)
        teacher = open_encoder_at(workspace, folder, device, precision, tokens=tokens)
        tokens = _write_shards(workspace, collection, teacher, draft)
        ids = "".join(f"{document.id}\n" for document in collection.documents)
        files.write_text(draft / IDS, ids)
        notes = {
            "documents": len(collection.documents),
            "tokens": tokens,
            "dimensions": teacher.dimensions,
            "device": str(device),
        }
        files.write_text(draft / "notes.json", json.dumps(notes, indent=1) + "\n")
    workspace.talk.say(f"{plan.path}: {len(collection.documents):,} documents, {tokens:,} tokens")
    return plan.path


def _write_shards(
    workspace: Workspace, collection: Collection, teacher: Encoder, draft: Path
) -> int:
    settings = workspace.settings
    documents = collection.documents
    size = settings.index.shard_documents
    tokens = 0
    with workspace.talk.progress(unit="documents") as progress:
        bar = progress.add_task(f"index {collection.name}", total=len(documents), note="")
        for number, start in enumerate(range(0, len(documents), size)):
            block = documents[start : start + size]
            if store.has_shard(draft, number):
                tokens += int(store.read_shard(draft, number).offsets[-1])
                progress.advance(bar, len(block))
                continue
            packed = teacher.encode(
                [document.full_text for document in block],
                settings.teacher.document_tokens,
                kind="document",
                batch_tokens=settings.index.batch_tokens,
                dtype=getattr(torch, settings.index.dtype),
                advance=lambda count: progress.advance(bar, count),
            )
            store.write_shard(draft, number, packed)
            tokens += len(packed.vectors)
    return tokens


@dataclass(frozen=True)
class Index:
    """An index that was opened for search: document ids in order, and shards."""

    ids: list[str]
    shards: list[Packed]


def open_index(workspace: Workspace, collection: Collection) -> Index:
    """Open the index of a collection.

    Raises:
        UserError: It is missing, damaged, or was made from other documents or another teacher.
    """
    plan = plan_index(workspace, collection)
    artifacts.require_current(plan)
    ids = (plan.path / IDS).read_text(encoding="utf-8").splitlines()
    return Index(ids, list(store.read_shards(plan.path)))
