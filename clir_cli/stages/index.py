"""index: the teacher encodes the documents, once for every pair and method of a suite."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from clir_cli import artifacts, files, runtime
from clir_cli.artifacts import Plan
from clir_cli.corpus.records import Collection
from clir_cli.errors import MissingInput, UserError
from clir_cli.retrieval import models, shard_checksums, shard_layout, store
from clir_cli.retrieval.encoder import usual_batch
from clir_cli.retrieval.shard_checksums import text_digests
from clir_cli.stages.support import codec as stored
from clir_cli.stages.support import encoding
from clir_cli.stages.support.inputs import collection_words, teacher_folder
from clir_cli.stages.support.workspace import Workspace

IDS = "documents.txt"
UNSEEN = ("collection", "shard_documents")  # settings that no embedding depends on
How = Literal["make", "update", "repair"]
ENCODERS = {"local": encoding.encode, "ray": encoding.encode_on_ray}  # by the engine


def plan_index(workspace: Workspace, collection: Collection) -> Plan:
    """Return what the index of a collection will be made from."""
    settings = workspace.settings
    chosen = settings.index.model_dump(mode="json")
    command = workspace.command("index", *collection_words(workspace))
    return Plan(
        path=workspace.index(settings.collection),
        kind="index",
        config={
            "collection": collection.name,
            "document_tokens": settings.teacher.document_tokens,
            **{name: chosen[name] for name in ("dtype", "shard_documents", "precision")},
            **{name: chosen[name] for name in ("format", "lists") if name in chosen},
        },
        inputs={
            "documents": collection.digests["documents"],
            "teacher": models.model_digest(teacher_folder(workspace)),
        },
        command=command,
        mend=f"{command} --repair",
    )


def index(workspace: Workspace, collection: Collection, how: How = "make") -> Path:
    """Encode a collection's documents and leave them as an artifact; return its folder.

    Shards are written as they are done, each with its checksum; a run that was cut goes on with
    those that are whole.

    Args:
        workspace: Settings, folders and behaviour.
        collection: The documents.
        how: ``update`` brings an index up to date with its collection: only documents that are new
            or changed are encoded. ``repair`` makes again what is damaged. ``make`` refuses to
            replace what was made from something else, unless forced.

    Raises:
        UserError: The teacher is missing, or the index was made from something else.
    """
    plan = plan_index(workspace, collection)
    ready = READY[how](workspace, plan)
    if ready:
        workspace.talk.say(ready)
        return plan.path
    force = workspace.force or how != "make"
    with artifacts.make(plan, force=force, resume=True) as draft:
        if draft is None:
            workspace.talk.say(f"{plan.path} is current")
            return plan.path
        tokens = _fill(workspace, collection, plan, draft, None if how == "make" else plan.path)
    workspace.talk.say(f"{plan.path}: {len(collection.documents):,} documents, {tokens:,} tokens")
    return plan.path


def _fill(
    workspace: Workspace, collection: Collection, plan: Plan, draft: Path, before: Path | None
) -> int:
    """Write an index into a draft, taking from the one before what is whole; return its tokens."""
    settings = workspace.settings.index
    device = runtime.choose_device(workspace.device)
    batch = settings.batch_tokens or usual_batch(device)
    teacher = encoding.open_teacher(workspace, teacher_folder(workspace), batch)
    size = encoding.shard_size(settings, teacher, workspace.settings.teacher.document_tokens)
    if before is not None:
        _take_codec(before, draft)
    codec = stored.make_codec(workspace, collection, teacher, draft)
    digests = text_digests([document.full_text for document in collection.documents])
    blocks = shard_layout.new_layout(len(digests), size)
    held: list[np.ndarray] = []
    if before is not None:
        # Where it is not known what the shards hold, perhaps it is what a new index would have.
        held = _held(before) or [digests[block.documents] for block in blocks]
        blocks = shard_layout.updated_layout(digests, held, size)
    job = encoding.Job(
        workspace, collection, teacher, draft, codec, _made_by(plan), digests, before, held
    )
    for line in encoding.write_shards(job, blocks, ENCODERS[workspace.engine.name]):
        workspace.talk.say(f"made again: {line}")
    rows = [place for block in blocks for place in block.documents.tolist()]
    in_order = [collection.documents[place] for place in rows]
    files.write_text(draft / IDS, "".join(f"{document.id}\n" for document in in_order))
    shard_layout.write_layout(draft, digests, blocks)
    tokens = sum(int(shard.offsets[-1]) for shard in store.read_shards(draft))
    notes = {
        "documents": len(collection.documents),
        "tokens": tokens,
        "dimensions": teacher.dimensions,
        **stored.measured(workspace, in_order, teacher, draft),
        "device": str(device),
    }
    files.write_text(draft / "notes.json", json.dumps(notes, indent=1) + "\n")
    return tokens


def _made_by(plan: Plan) -> str:
    """Return the fingerprint of all that a document's embeddings depend on beside its text."""
    config = {key: value for key, value in plan.config.items() if key not in UNSEEN}
    return files.digest({"config": config, "teacher": plan.inputs["teacher"]})


# ------------------------------------------------------------------ the index before


def _ready_to_make(workspace: Workspace, plan: Plan) -> str:
    """Refuse to replace an index of other documents, and tell what would bring it up to date."""
    if not workspace.force and plan.state() == "stale" and _only_documents_differ(plan):
        raise UserError(
            f"{artifacts.stale(plan)}; --update encodes what is new or changed, --force all of it"
        )
    return ""


def _ready_to_update(_: Workspace, plan: Plan) -> str:
    """Return why there is nothing to bring up to date; refuse what another teacher made."""
    state = plan.state()
    if state == "stale" and not _only_documents_differ(plan):
        raise UserError(f"{artifacts.stale(plan)}; --force makes it again")
    return f"{plan.path} is current" if state == "current" else ""


def _ready_to_repair(workspace: Workspace, plan: Plan) -> str:
    """Return that nothing is damaged; refuse what is of other documents or another teacher."""
    try:
        artifacts.require(plan.path, plan.command)
    except MissingInput:
        raise
    except UserError as error:
        workspace.talk.say(str(error))
        if not artifacts.is_readable(plan.path):
            return ""
        whole = False
    else:
        whole = True
    if plan.state() == "stale":
        raise UserError(f"{artifacts.stale(plan)}; --update or --force makes it again")
    return f"{plan.path} is whole" if whole else ""


READY: dict[How, Callable[[Workspace, Plan], str]] = {
    "make": _ready_to_make,
    "update": _ready_to_update,
    "repair": _ready_to_repair,
}


def _only_documents_differ(plan: Plan) -> bool:
    """Tell whether an index is as its plan says, but for the documents."""
    if not artifacts.is_readable(plan.path):
        return False
    before = artifacts.read_manifest(plan.path)
    config = json.loads(json.dumps(plan.config, default=str))
    return before["config"] == config and before["inputs"]["teacher"] == plan.inputs["teacher"]


def _is_whole(before: Path, name: str) -> bool:
    """Tell whether a file of an index is as its manifest says, so far as there is one to ask."""
    if not (before / name).is_file():
        return False
    if not artifacts.is_readable(before):
        return True
    entry = artifacts.read_manifest(before)["files"].get(name)
    return bool(entry) and files.file_digest(before / name) == entry["sha256"]


def _take_codec(before: Path, draft: Path) -> None:
    if not (draft / store.CODEC).exists() and _is_whole(before, store.CODEC):
        shard_checksums.link(before / store.CODEC, draft / store.CODEC)


def _held(before: Path) -> list[np.ndarray]:
    """Return the digests of the rows of each shard of an index; nothing where that is not known."""
    whole = _is_whole(before, shard_layout.DIGESTS) and _is_whole(before, shard_layout.SHARDS)
    return shard_layout.read_layout(before) if whole else []


@dataclass(frozen=True)
class Index:
    """An index that was opened for search: document ids in the order of the shards, and these."""

    ids: list[str]
    shards: list[store.Shard]


def open_index(workspace: Workspace, collection: Collection) -> Index:
    """Open the index of a collection.

    Raises:
        UserError: It is missing, damaged, or was made from other documents or another teacher.
    """
    plan = plan_index(workspace, collection)
    artifacts.require_current(plan)
    ids = (plan.path / IDS).read_text(encoding="utf-8").splitlines()
    return Index(ids, list(store.read_shards(plan.path)))
