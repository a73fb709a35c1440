"""What the teacher makes of a bitext: embeddings of the English sides, computed once and kept."""

import numpy as np
import torch

from clir_cli import artifacts
from clir_cli.artifacts import Plan
from clir_cli.corpus.bitext import Bitext
from clir_cli.corpus.records import Pair
from clir_cli.files import digest
from clir_cli.retrieval import models
from clir_cli.retrieval.encoder import Packed
from clir_cli.stages.fitting import open_encoder_at
from clir_cli.stages.inputs import teacher_folder
from clir_cli.stages.workspace import Workspace


def teacher_embeddings(
    workspace: Workspace, pair: Pair, bitext: Bitext, device: torch.device
) -> tuple[Packed, Packed]:
    """Return the teacher's embeddings of the English sides, train and held out; computed once.

    The student is a query encoder, and is to stand where the teacher's query encoder puts the
    translation: a teacher that tells queries and documents apart reads the sentences as queries.
    Tokens of query expansion are left out, since no word of the other language stands for them, and
    so is the length of a query, since sentences are longer.
    """
    settings = workspace.settings
    folder = teacher_folder(workspace)
    english = [row.english for row in (*bitext.train, *bitext.held_out)]
    plan = Plan(
        path=workspace.teacher_embeddings(pair),
        kind="teacher-embeddings",
        config={"query_tokens": settings.teacher.query_tokens},
        inputs={"teacher": models.model_digest(folder), "sentences": digest(english)},
    )
    # A cache of what can be computed again: replaced without asking when its inputs changed.
    with artifacts.make(plan, force=plan.state() == "stale", wait=True) as draft:
        if draft is not None:
            teacher = open_encoder_at(workspace, folder, device)
            with workspace.talk.progress(unit="sentences") as progress:
                bar = progress.add_task("teacher reads the bitext", total=len(english), note="")
                packed = teacher.encode(
                    english,
                    settings.teacher.query_tokens,
                    kind="sentence",
                    dtype=torch.float16,
                    advance=lambda count: progress.advance(bar, count),
                )
            np.save(draft / "vectors.npy", packed.vectors.numpy())
            np.save(draft / "offsets.npy", packed.offsets.numpy())
    vectors = torch.from_numpy(np.load(plan.path / "vectors.npy", mmap_mode="c"))
    offsets = torch.from_numpy(np.load(plan.path / "offsets.npy"))
    cut = len(bitext.train)
    first_rows = int(offsets[cut])
    return (
        Packed(vectors[:first_rows], offsets[: cut + 1]),
        Packed(vectors[first_rows:], offsets[cut:] - first_rows),
    )
