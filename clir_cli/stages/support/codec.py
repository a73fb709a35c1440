"""How an index stores its documents: the codec it learns, and what that costs in quality."""

import random
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from clir_cli.corpus.records import Collection, Document
from clir_cli.errors import UserError
from clir_cli.retrieval import index_recall, store
from clir_cli.retrieval.encoder import Encoder, Packed
from clir_cli.retrieval.ranking import Ranker
from clir_cli.stages.support.workspace import Workspace

ASKED = 32  # documents that queries are made of, to measure candidates
COMPARED = 256  # documents that are encoded again, to measure the format
TOP_K = 100
MULTIPLES = (2, 5, 10, 20)  # of TOP_K: numbers of candidates that are measured


def make_codec(
    workspace: Workspace, collection: Collection, teacher: Encoder, draft: Path
) -> store.Codec:
    """Return the codec of an index that is being made: trained, or read where it was cut."""
    if (draft / store.CODEC).exists():
        return store.read_codec(draft)
    settings, total = workspace.settings.index, len(collection.documents)
    sample = None
    if store.is_trained(settings):
        chosen = random.Random(0).sample(collection.documents, store.sample_size(total))
        workspace.talk.say(f"learning codes from {len(chosen):,} documents")
        sample = _encoded(workspace, chosen, teacher)
    codec = store.train_codec(settings, sample, documents=total)
    store.save_codec(draft, codec)
    return codec


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
    """Return and tell what the index takes, and what it keeps of the ranking.

    Args:
        workspace: Settings, and whom to tell.
        documents: In the order of the shards.
        teacher: Encodes some of them again, where they are stored rounded.
        draft: Folder of the shards.

    Returns:
        ``bytes_a_token``; where the vectors are rounded ``format`` and ``format_recall``, the share
        of the ten best among some documents that the stored form keeps; where there are lists
        ``candidate_recall``, for several values of ``search.candidates`` the recall@100 against
        scoring all documents. Queries are runs of 16 tokens of documents.
    """
    shards = list(store.read_shards(draft))
    codec, total = shards[0].codec, sum(len(shard) for shard in shards)
    tokens = sum(int(shard.offsets[-1]) for shard in shards)
    taken = sum(file.stat().st_size for file in draft.glob("*.npy"))
    taken += sum(file.stat().st_size for file in draft.glob(store.CODEC))
    told: dict[str, object] = {"bytes_a_token": round(taken / max(1, tokens), 2)}
    if codec.format != "dense":
        places = index_recall.evenly_spaced(total, COMPARED)
        fresh = _encoded(workspace, [documents[place] for place in places], teacher)
        kept = index_recall.documents_at(shards, places)
        told["format"] = codec.format
        told["format_recall"] = round(index_recall.format_recall(_each(fresh), kept), 4)
    if codec.has_lists:
        asked = index_recall.documents_at(shards, index_recall.evenly_spaced(total, ASKED))
        counts = sorted({min(total, TOP_K * multiple) for multiple in MULTIPLES})
        ranker = Ranker(shards, TOP_K, memory=workspace.settings.index.memory_bytes)
        try:
            found = index_recall.candidate_recall(
                ranker, index_recall.sampled_queries(asked), counts
            )
        except UserError as error:  # an index is not lost for want of memory to measure it
            workspace.talk.say(f"candidates are not measured: {error}")
            return told
        told["candidate_recall"] = {str(count): round(value, 4) for count, value in found.items()}
        line = ", ".join(f"{count:,}: {value:.3f}" for count, value in found.items())
        workspace.talk.say(f"recall@{TOP_K} by search.candidates, against all documents: {line}")
    return told


def _each(packed: Packed) -> list[Tensor]:
    return [packed[number] for number in range(len(packed))]
