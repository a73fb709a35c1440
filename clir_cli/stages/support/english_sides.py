"""The English sides of a bitext as the student reads them, for `objective.anchor`."""

from collections.abc import Sequence

import torch

from clir_cli.corpus.bitext import Bitext
from clir_cli.optical.anchor import English, shared_tokens
from clir_cli.ragged import Ragged
from clir_cli.retrieval.encoder import Encoder, Packed
from clir_cli.stages.support.centring import centred_teacher
from clir_cli.stages.support.fitting import open_encoder_at
from clir_cli.stages.support.used_models import teacher_folder
from clir_cli.stages.support.workspace import Workspace


def english_sides(
    workspace: Workspace, bitext: Bitext, student: Encoder, embeddings: Sequence[Packed]
) -> tuple[English | None, English | None]:
    """Return the sides to train on and held out; None without an anchor.

    ``embeddings`` are the teacher's of both. A sentence without any is not trained on, and has no
    tokens here either.
    """
    if not workspace.settings.objective.anchor:
        return None, None
    teacher = open_encoder_at(workspace, teacher_folder(workspace), student.device)
    centres = centred_teacher(workspace, teacher).centres
    limit = workspace.settings.teacher.bitext_tokens

    def side(texts: Sequence[str], packed: Packed) -> English:
        drawn = [bool(size) for size in packed.offsets.diff()]
        inputs = student.inputs(texts, limit, "sentence")
        shared = [torch.empty(0, 2, dtype=torch.long)] * len(texts)
        for row, text in enumerate(texts):
            if drawn[row]:
                spans = (encoder.spans(text, limit) for encoder in (student, teacher))
                shared[row] = shared_tokens(text, *spans)
                if (chosen := inputs[row].selected) is not None:
                    shared[row][:, 0] = torch.tensor(chosen)[shared[row][:, 0]]
        ids = (each.ids if has else [] for each, has in zip(inputs, drawn, strict=True))
        return English(Ragged.of(ids), shared, centres)

    parts = zip((bitext.train, bitext.held_out), embeddings, strict=True)
    train, held_out = (side([row.english for row in rows], packed) for rows, packed in parts)
    return train, held_out
