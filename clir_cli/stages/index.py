"""index: the teacher encodes the documents, once for every pair and method of a suite."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from clir_cli import files, runtime
from clir_cli.artifacts import graph
from clir_cli.artifacts.spec import Ref
from clir_cli.artifacts.store import (
    Artifact,
    changed_inputs,
    changed_settings,
    is_readable,
    make,
    older,
    read_manifest,
    refuse_another,
    require,
    stale,
)
from clir_cli.corpus.records import Collection, Document
from clir_cli.errors import MissingInput, UserError, counted
from clir_cli.retrieval import passages, shard_checksums, shard_layout, store
from clir_cli.retrieval.batching import usual_batch
from clir_cli.retrieval.encoder import Encoder
from clir_cli.retrieval.passages import Passages
from clir_cli.retrieval.shard_checksums import text_digests
from clir_cli.retrieval.shard_layout import ShardDocuments
from clir_cli.stages.support import encoding, index_codec
from clir_cli.stages.support.centring import centred_teacher
from clir_cli.stages.support.lengths import limit_of
from clir_cli.stages.support.sources import read_collection
from clir_cli.stages.support.used_models import teacher_folder
from clir_cli.stages.support.workspace import Workspace

IDS = "documents.txt"
UNSEEN = ("collection", "shard_documents")  # settings that no embedding depends on
How = Literal["make", "update", "repair"]
ENCODERS = {"local": encoding.encode_here, "ray": encoding.encode_on_ray}  # by the engine


def index(workspace: Workspace, ref: Ref, how: How = "make") -> Path:
    """Encode the documents of the collection to search with the teacher; return the folder.

    Each shard is written with its checksum as soon as it is done; an interrupted run resumes with
    those that are whole.

    Args:
        workspace: Settings, folders and behaviour.
        ref: The index.
        how: ``update`` encodes only documents that are new or changed. ``repair`` makes again what
            is damaged. ``make`` refuses to replace what was made from something else, unless
            forced.

    Raises:
        UserError: The teacher is missing, or the index was made from something else.
    """
    artifact = graph.resolve(workspace, ref)
    report = _repaired(workspace, artifact) if how == "repair" else _ready(workspace, artifact, how)
    if not report:
        before = None if how == "make" else artifact.path
        collection = read_collection(workspace, "en")
        with make(artifact, force=workspace.force or how != "make", resume=True) as draft:
            report = f"{artifact.path} is current"
            if draft is not None:
                for note in collection.notes:
                    workspace.talk.say(f"{collection.name}: {note}")
                tokens = _fill(workspace, collection, artifact, draft, before)
                count = len(collection.documents)
                report = f"{artifact.path}: {count:,} documents, {tokens:,} tokens"
    workspace.talk.say(report)
    return artifact.path


def _fill(
    workspace: Workspace,
    collection: Collection,
    artifact: Artifact,
    draft: Path,
    before: Path | None,
) -> int:
    """Write an index into a draft, reusing what is whole of the one before; return its tokens."""
    settings = workspace.settings.index
    device = runtime.choose_device(workspace.device)
    batch = settings.batch_tokens or usual_batch(device)
    teacher = encoding.open_teacher(workspace, teacher_folder(workspace), batch)
    teacher = centred_teacher(workspace, teacher)
    longest = limit_of(workspace, teacher, "document_tokens", "document")
    size = encoding.shard_size(settings, teacher, settings.passage_tokens or longest)
    whole, parts = collection, None
    if settings.passage_tokens:
        collection, parts = _in_passages(workspace, collection, teacher)
    if before is not None and is_readable(before) and _is_whole(before, store.CODEC):
        shard_checksums.link(before / store.CODEC, draft / store.CODEC)
        index_codec.record_codec(draft)
    codec = index_codec.make_codec(workspace, collection, teacher, draft)
    digests = text_digests([document.full_text for document in collection.documents])
    blocks = shard_layout.new_layout(len(digests), size)
    held: list[np.ndarray] = []
    if before is not None:
        if all(_is_whole(before, name) for name in (shard_layout.DIGESTS, shard_layout.SHARDS)):
            held = shard_layout.read_layout(before)
        # If it is not known what the shards hold, perhaps it is what a new index would have.
        held = held or [digests[block.documents] for block in blocks]
        blocks = shard_layout.updated_layout(digests, held, size)
    # The fingerprint of all that a document's embeddings depend on beside its text.
    config = {key: value for key, value in artifact.config.items() if key not in UNSEEN}
    made_by = files.digest({"config": config, "teacher": older(artifact.inputs["teacher"])})
    trained = draft / store.CODEC
    made_from = files.digest([made_by, files.file_digest(trained) if trained.exists() else ""])
    encoder = encoding.ShardEncoder(workspace.settings, teacher, codec, draft, batch, made_from)
    job = encoding.IndexJob(workspace, collection, encoder, digests, before, held)
    for line in encoding.write_shards(job, blocks, ENCODERS[workspace.engine.name]):
        workspace.talk.say(f"made again: {line}")
    rows = [row for block in blocks for row in block.documents.tolist()]
    in_order = [collection.documents[row] for row in rows]
    named = whole.documents if parts else in_order
    files.write_text(draft / IDS, "".join(f"{document.id}\n" for document in named))
    if parts:
        parts = Passages(parts.documents[rows], parts.spans[rows])
        passages.write_passages(draft, parts)
    shard_layout.write_layout(draft, digests, blocks)
    tokens = sum(int(shard.offsets[-1]) for shard in store.read_shards(draft))
    notes = {
        "documents": len(whole.documents),
        **({"passages": len(rows)} if parts else _cut(workspace, draft, blocks, teacher)),
        "tokens": tokens,
        "dimensions": teacher.dimensions,
        **index_codec.measured(workspace, in_order, teacher, draft),
        "device": str(device),
    }
    files.write_text(draft / "notes.json", json.dumps(notes, indent=1) + "\n")
    (draft / index_codec.RECORD).unlink(missing_ok=True)
    return tokens


def _in_passages(
    workspace: Workspace, collection: Collection, teacher: Encoder
) -> tuple[Collection, Passages]:
    """Return a collection whose documents are the passages of another's, and what they are of."""
    texts = [document.full_text for document in collection.documents]
    settings = workspace.settings
    parts = passages.split(teacher, texts, settings.index, settings.teacher.document_tokens)
    workspace.talk.say(f"{len(parts.spans):,} passages of {len(texts):,} documents")
    rows = zip(parts.documents.tolist(), parts.spans.tolist(), strict=True)
    documents = [
        Document(collection.documents[number].id, "", texts[number][begin:end])
        for number, (begin, end) in rows
    ]
    return replace(collection, documents=documents), parts


def _cut(
    workspace: Workspace, draft: Path, blocks: Sequence[ShardDocuments], teacher: Encoder
) -> dict[str, int]:
    """Return how many documents are longer than the teacher takes, if any, and report them."""
    count = sum(len(shard_checksums.cut_rows(draft, number)) for number in range(len(blocks)))
    if not count:
        return {}
    limit = teacher.limit(workspace.settings.teacher.document_tokens, "document")
    workspace.talk.say(
        f"{counted(count, 'document', 'was')} cut at {limit} tokens (teacher.document_tokens); "
        f"--set index.passage_tokens={limit} indexes all of their text"
    )
    return {"documents_cut": count}


# ------------------------------------------------------------------ the index before


def _ready(workspace: Workspace, artifact: Artifact, how: How) -> str:
    """Return why there is nothing to update; refuse to replace what was made from other things."""
    if how == "update" and artifact.state() == "current":
        return f"{artifact.path} is current"
    if artifact.state() == "stale" and not (how == "make" and workspace.force):
        refuse_another(artifact)
        only_documents = _only_documents_differ(artifact)
        if how == "update" and not only_documents:
            raise UserError(f"{stale(artifact)}; --force makes it again")
        if how == "make" and only_documents:
            raise UserError(
                f"{stale(artifact)}; --update encodes what is new or changed, --force all of it"
            )
    return ""


def _repaired(workspace: Workspace, artifact: Artifact) -> str:
    """Return that nothing is damaged; refuse what is of other documents or another teacher."""
    report = f"{artifact.path} is whole"
    try:
        require(artifact.path, artifact.command)
    except MissingInput:
        raise
    except UserError as error:
        workspace.talk.say(str(error))
        report = ""
        if not is_readable(artifact.path):
            return ""
    if artifact.state() == "stale":
        refuse_another(artifact)
        raise UserError(f"{stale(artifact)}; --update or --force makes it again")
    return report


def _only_documents_differ(artifact: Artifact) -> bool:
    """Return True if an index is as it would be made now, but for the documents."""
    if not is_readable(artifact.path):
        return False
    return not changed_settings(artifact) and changed_inputs(artifact) == ["documents"]


def _is_whole(before: Path, name: str) -> bool:
    """Return True if a file of an index is as its manifest says, or is there without a manifest."""
    if not (before / name).is_file():
        return False
    if not is_readable(before):
        return True
    entry = read_manifest(before)["files"].get(name)
    return bool(entry) and files.file_digest(before / name) == entry["sha256"]


@dataclass(frozen=True)
class Index:
    """An index that was opened for search: its shards, and document ids in their order.

    If there are ``passages``, these are the rows of the shards, and number the ids.
    """

    ids: list[str]
    shards: list[store.Shard]
    passages: Passages | None = None


def open_index(workspace: Workspace) -> Index:
    """Open the index of the collection to search; the last one stays open.

    Raises:
        UserError: It is missing, damaged, or was made from other documents or another teacher.
    """
    ref = workspace.ref("index")
    key = ("index", graph.resolve(workspace, ref).fingerprint)
    if key not in workspace.cache:
        for other in [other for other in workspace.cache if other[0] == "index"]:
            del workspace.cache[other]
        folder = graph.require_current(workspace, ref).path
        ids = (folder / IDS).read_text(encoding="utf-8").splitlines()
        workspace.cache[key] = Index(
            ids, list(store.read_shards(folder)), passages.read_passages(folder)
        )
    return workspace.cache[key]
