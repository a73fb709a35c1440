"""The initial student: what distillation starts from, and what zero-shot reads queries with."""

import copy
from dataclasses import replace
from pathlib import Path

import torch

from clir_cli.retrieval import projection
from clir_cli.retrieval.checkpoints import read_checkpoint
from clir_cli.retrieval.encoder import Encoder
from clir_cli.retrieval.memory import shape_of
from clir_cli.retrieval.projection import Projection
from clir_cli.stages.fitting import open_encoder_at
from clir_cli.stages.inputs import initial_folder, teacher_folder
from clir_cli.stages.workspace import Workspace


def initial_encoder(
    workspace: Workspace, device: torch.device, precision: torch.dtype, seed: int
) -> Encoder:
    """Return the initial student, in the teacher's dimensions.

    Where the student's hidden states are not of the size of the teacher's embeddings, they are
    projected: by a copy of the teacher's own projection where the sizes fit, else by an orthogonal
    one of the seed. It is trained with the rest.

    Raises:
        UserError: The model is missing, cannot be loaded, or does not fit the machine.
    """
    student = open_encoder_at(workspace, initial_folder(workspace), device, precision)
    student = replace(student, recipe=student.recipe.for_student())
    head, dimensions = _teacher_head(teacher_folder(workspace))
    if student.dimensions == dimensions:
        return student
    if head is not None and head.inputs == student.hidden_size:
        own = copy.deepcopy(head)
    else:
        own = projection.orthogonal(student.hidden_size, dimensions, seed)
    return replace(student, projection=own.to(device))


def _teacher_head(folder: Path) -> tuple[Projection | None, int]:
    """Return the teacher's projection, if any, and the size of its embeddings."""
    head = projection.load_projection(read_checkpoint(folder))
    return head, head.outputs if head is not None else shape_of(folder).hidden
