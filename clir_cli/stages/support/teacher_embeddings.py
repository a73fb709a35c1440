"""What the teacher makes of texts: token embeddings, computed once and kept."""

from collections.abc import Sequence

import numpy as np
import torch

from clir_cli.artifacts import graph, store
from clir_cli.artifacts.spec import Ref
from clir_cli.corpus.bitext import Bitext
from clir_cli.corpus.records import Pair
from clir_cli.files import digest
from clir_cli.retrieval.checkpoints import TextKind
from clir_cli.retrieval.encoder import Packed
from clir_cli.stages.support.fitting import open_encoder_at
from clir_cli.stages.support.models import teacher_folder
from clir_cli.stages.support.workspace import Workspace


def teacher_embeddings(
    workspace: Workspace, pair: Pair, bitext: Bitext, device: torch.device
) -> tuple[Packed, Packed]:
    """Return the teacher's embeddings of the English sides, train and held out; computed once.

    The student is a query encoder, and is to stand where the teacher's query encoder puts the
    translation: a teacher that tells queries and documents apart reads the sentences as queries.
    Tokens of query expansion are left out, since no word of the other language stands for them, and
    so is the length of a query, since sentences are longer.
    """
    english = [[row.english for row in rows] for rows in (bitext.train, bitext.held_out)]
    return _embeddings(
        workspace,
        workspace.ref("teacher embeddings", (pair,)),
        english,
        kind="sentence",
        limit=workspace.settings.teacher.query_tokens,
        title="encode the bitext",
        device=device,
    )


def document_embeddings(
    workspace: Workspace,
    name: str,
    documents: tuple[Sequence[str], Sequence[str]],
    device: torch.device,
) -> tuple[Packed, Packed]:
    """Return the teacher's embeddings of documents to train on and held out; computed once."""
    return _embeddings(
        workspace,
        workspace.ref("document embeddings", name=name),
        documents,
        kind="document",
        limit=workspace.settings.teacher.document_tokens,
        title=f"encode {name}",
        device=device,
    )


def _embeddings(
    workspace: Workspace,
    ref: Ref,
    parts: Sequence[Sequence[str]],
    *,
    kind: TextKind,
    limit: int,
    title: str,
    device: torch.device,
) -> tuple[Packed, Packed]:
    """Return the embeddings of two lists of texts from the artifact that holds them.

    ``limit`` is the longest text in tokens.
    """
    texts, plural = [*parts[0], *parts[1]], f"{kind}s"
    artifact = graph.resolve(workspace, ref, {plural: digest(texts)})
    # A cache of what can be computed again: replaced without asking when its inputs changed.
    with store.make(artifact, force=artifact.state() == "stale", wait=True) as draft:
        if draft is not None:
            teacher = open_encoder_at(workspace, teacher_folder(workspace), device)
            with workspace.talk.progress(unit=plural) as progress:
                bar = progress.add_task(title, total=len(texts), note="")
                packed = teacher.encode(
                    texts,
                    limit,
                    kind=kind,
                    dtype=torch.float16,
                    advance=lambda count: progress.advance(bar, count),
                )
            np.save(draft / "vectors.npy", packed.vectors.numpy())
            np.save(draft / "offsets.npy", packed.offsets.numpy())
    vectors = torch.from_numpy(np.load(artifact.path / "vectors.npy", mmap_mode="c"))
    offsets = torch.from_numpy(np.load(artifact.path / "offsets.npy"))
    cut = len(parts[0])
    first = int(offsets[cut])
    return (
        Packed(vectors[:first], offsets[: cut + 1]),
        Packed(vectors[first:], offsets[cut:] - first),
    )
