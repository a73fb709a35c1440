"""The teacher's token embeddings of texts, computed once and stored."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch

from clir_cli.artifacts import graph, store
from clir_cli.artifacts.spec import Ref
from clir_cli.corpus.bitext import Bitext
from clir_cli.corpus.records import Pair
from clir_cli.files import digest
from clir_cli.optical.transport import missed_line
from clir_cli.retrieval.checkpoints import TextKind
from clir_cli.retrieval.encoder import Encoder, Packed
from clir_cli.stages.support.centring import centred_teacher
from clir_cli.stages.support.fitting import open_encoder_at
from clir_cli.stages.support.lengths import limit_of
from clir_cli.stages.support.used_models import teacher_folder
from clir_cli.stages.support.workspace import Workspace
from clir_cli.training.batches import drawn

T = TypeVar("T")


def teacher_embeddings(
    workspace: Workspace,
    pair: Pair,
    bitext: Bitext,
    device: torch.device,
    seed: int | None = None,
) -> tuple[Packed, Packed]:
    """Return the teacher's embeddings of the English sides, train and held out; computed once.

    With the ``seed`` of a student, only the sentences that its epochs draw from a larger bitext
    (``training.epoch_pairs``) are encoded, and the others have no tokens.

    The student is trained against the teacher's query encoder, so a teacher that encodes queries
    and documents differently encodes the sentences as queries. Tokens of query expansion are left
    out, since no word of the other language corresponds to them, and so is the fixed length of a
    query, since sentences are longer.
    """
    loop, count, name = workspace.settings.training, len(bitext.train), ""
    chosen = list(range(count))
    if seed is not None and 0 < loop.epoch_pairs < count:
        chosen = drawn(count, seed=seed, epochs=loop.epochs, most=loop.epoch_pairs)
        name = f"{loop.epochs}x{loop.epoch_pairs}.seed{seed}"
    ref = workspace.ref("teacher embeddings", (pair,), name=name)
    rows = ([bitext.train[index] for index in chosen], bitext.held_out)
    train, held_out = _embeddings(
        workspace, ref, [[row.english for row in part] for part in rows], device
    )
    sizes = torch.zeros(count + 1, dtype=torch.long)
    sizes[torch.tensor(chosen) + 1] = train.offsets.diff()
    return Packed(train.vectors, sizes.cumsum(0)), held_out


def align_bitext(
    workspace: Workspace,
    pair: Pair,
    bitext: Bitext,
    student: Encoder,
    align: Callable[..., T],
    title: str,
) -> T:
    """Return what ``align`` makes of a student's transport plans over the pairs to train on.

    ``align`` is ``alignment.induce_dictionary`` or ``from_plans.word_plans``.
    """
    settings, missed = workspace.settings, 0
    embeddings, _ = teacher_embeddings(workspace, pair, bitext, student.device)
    teacher = open_encoder_at(workspace, teacher_folder(workspace), student.device)
    with workspace.talk.counting(title, len(bitext.train), unit="pairs") as advance:

        def count(pairs: int, unconverged: int) -> None:
            nonlocal missed
            missed += unconverged
            advance(pairs)

        made = align(
            student,
            teacher,
            bitext.train,
            embeddings,
            settings.transport,
            max_tokens=settings.teacher.bitext_tokens,
            advance=count,
        )
    if missed:
        line = missed_line(missed, len(bitext.train), settings.transport)
        workspace.talk.say(f"warning: {title}: {line}")
    return made


def document_embeddings(
    workspace: Workspace,
    name: str,
    documents: tuple[Sequence[str], Sequence[str]],
    device: torch.device,
) -> tuple[Packed, Packed]:
    """Return the teacher's embeddings of documents to train on and held out; computed once."""
    return _embeddings(
        workspace, workspace.ref("document embeddings", name=name), documents, device
    )


def _embeddings(
    workspace: Workspace, ref: Ref, parts: Sequence[Sequence[str]], device: torch.device
) -> tuple[Packed, Packed]:
    texts = [*parts[0], *parts[1]]
    of_documents = ref.kind == "document embeddings"
    kind: TextKind = "document" if of_documents else "sentence"
    length = "document_tokens" if of_documents else "bitext_tokens"
    plural, title = f"{kind}s", f"encode {ref.name if of_documents else 'the bitext'}"
    artifact = graph.resolve(workspace, ref, {plural: digest(texts)})
    with store.make_cache(artifact, workspace.talk.say) as draft:
        if draft is not None:
            teacher = open_encoder_at(workspace, teacher_folder(workspace), device)
            teacher = centred_teacher(workspace, teacher)
            limit = limit_of(workspace, teacher, length, kind)
            with workspace.talk.counting(title, len(texts), unit=plural) as advance:
                packed = teacher.encode(
                    texts, limit, kind=kind, dtype=torch.float16, advance=advance
                )
            np.save(draft / "vectors.npy", packed.vectors.numpy())
            np.save(draft / "offsets.npy", packed.offsets.numpy())
    vectors = torch.from_numpy(np.load(artifact.path / "vectors.npy", mmap_mode="c"))
    offsets = torch.from_numpy(np.load(artifact.path / "offsets.npy"))
    count = len(parts[0])
    split = int(offsets[count])
    train = Packed(vectors[:split], offsets[: count + 1])
    return train, Packed(vectors[split:], offsets[count:] - split)
