"""How an index stores its documents: the codec it learns, and what that costs in quality."""

import random
from collections.abc import Sequence
from pathlib import Path

from clir_cli.corpus.records import Collection, Document
from clir_cli.errors import UserError
from clir_cli.files import file_digest, write_text
from clir_cli.retrieval import index_recall, store
from clir_cli.retrieval.encoder import Encoder, Packed
from clir_cli.retrieval.passages import read_passages
from clir_cli.retrieval.ranking import Ranker
from clir_cli.stages.support.workspace import Workspace

RECORD = "codec.sha256"  # in drafts alone
QUERIED = 32  # documents that queries are made of, to measure candidates
COMPARED = 256  # documents that are encoded again, to measure the format
TOP_K = 100
MULTIPLES = (2, 5, 10, 20)  # of TOP_K: numbers of candidates that are measured


def make_codec(
    workspace: Workspace, collection: Collection, teacher: Encoder, draft: Path
) -> store.Codec:
    """Return the codec of an index: trained, or read from its draft if it is as it was written."""
    path, record = draft / store.CODEC, draft / RECORD
    recorded = record.read_bytes() if record.exists() else b""
    if path.exists() and file_digest(path).encode() == recorded:
        return store.read_codec(draft)
    settings, total = workspace.settings.index, len(collection.documents)
    sample = None
    if store.is_trained(settings):
        documents = random.Random(0).sample(collection.documents, store.sample_size(total))
        workspace.talk.say(f"learning codes from {len(documents):,} documents")
        sample = _encoded(workspace, documents, teacher)
    codec = store.train_codec(settings, sample, documents=total, device=teacher.device)
    store.save_codec(draft, codec)
    record_codec(draft)
    return codec


def record_codec(draft: Path) -> None:
    """Record the sha256 of the codec in a draft, if it needs a file, for a run that resumes."""
    if (draft / store.CODEC).exists():
        write_text(draft / RECORD, file_digest(draft / store.CODEC))


def _encoded(workspace: Workspace, documents: Sequence[Document], teacher: Encoder) -> Packed:
    settings = workspace.settings
    return teacher.encode(
        [document.full_text for document in documents],
        settings.teacher.document_tokens,
        kind="document",
        batch_tokens=settings.index.batch_tokens,
    )


def measured(
    workspace: Workspace, documents: Sequence[Document], teacher: Encoder, draft: Path
) -> dict[str, object]:
    """Return notes on the size of an index, and on how much of the ranking its format keeps.

    Documents, or passages, are in the order of the shards, which are in ``draft``; the teacher
    encodes some again if they are stored rounded.

    Returns:
        ``bytes_a_token``; if the vectors are rounded, ``format`` and ``format_recall``, the share
        of the ten best among some documents that the stored form keeps; if there are lists,
        ``candidate_recall``, for several values of ``search.candidates`` the recall@100 against
        scoring all documents. Queries are runs of 16 tokens of documents.
    """
    shards = list(store.read_shards(draft))
    codec, total = shards[0].codec, sum(len(shard) for shard in shards)
    tokens = sum(int(shard.offsets[-1]) for shard in shards)
    stored = [*draft.glob("*.npy"), *draft.glob(store.CODEC)]
    size = sum(file.stat().st_size for file in stored)
    notes: dict[str, object] = {"bytes_a_token": round(size / max(1, tokens), 2)}
    if codec.format != "dense":
        rows = index_recall.evenly_spaced(total, COMPARED)
        fresh = _encoded(workspace, [documents[row] for row in rows], teacher)
        vectors = [fresh[number] for number in range(len(fresh))]
        recall = index_recall.format_recall(vectors, index_recall.documents_at(shards, rows))
        notes |= {"format": codec.format, "format_recall": round(recall, 4)}
    if codec.has_lists:
        rows = index_recall.evenly_spaced(total, QUERIED)
        queries = index_recall.sampled_queries(index_recall.documents_at(shards, rows))
        limit = workspace.settings.index.memory_bytes
        ranker = Ranker(shards, TOP_K, memory=limit, passages=read_passages(draft))
        counts = sorted({min(ranker.documents, TOP_K * multiple) for multiple in MULTIPLES})
        try:
            recalls = index_recall.candidate_recall(ranker, queries, counts)
        except UserError as error:  # an index is not lost for want of memory to measure it
            workspace.talk.say(f"candidates are not measured: {error}")
            return notes
        notes["candidate_recall"] = {str(count): round(r, 4) for count, r in recalls.items()}
        line = ", ".join(f"{count:,}: {recall:.3f}" for count, recall in recalls.items())
        workspace.talk.say(f"recall@{TOP_K} by search.candidates, against all documents: {line}")
    return notes
