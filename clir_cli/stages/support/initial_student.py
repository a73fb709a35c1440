"""The initial student: where distillation starts, and the query encoder of zero-shot."""

from dataclasses import replace

import torch
from transformers import PreTrainedModel

from clir_cli.corpus.records import Pair
from clir_cli.retrieval import projection
from clir_cli.retrieval.checkpoints import read_checkpoint
from clir_cli.retrieval.encoder import Encoder
from clir_cli.retrieval.loading import layer_stack
from clir_cli.retrieval.memory import size_of
from clir_cli.stages.support.fitting import open_encoder_at
from clir_cli.stages.support.used_models import initial_folder, teacher_folder
from clir_cli.stages.support.workspace import Workspace


def initial_encoder(
    workspace: Workspace,
    device: torch.device,
    precision: torch.dtype,
    seed: int,
    pair: Pair | None = None,
) -> Encoder:
    """Return the initial student, in the teacher's dimensions.

    If the student's hidden states do not have the size of the teacher's embeddings, they are
    projected: by the teacher's own projection if the sizes fit, else by an orthogonal one of the
    seed. It is trained with the rest. ``student.layers`` keeps only the first layers.

    Raises:
        UserError: The model is missing, cannot be loaded, does not fit the machine, or has fewer
            layers.
    """
    student = open_encoder_at(workspace, initial_folder(workspace, pair), device, precision)
    student = replace(student, text_format=student.text_format.for_student())
    if workspace.settings.student.layers:
        keep_layers(student.model, workspace.settings.student.layers)
    teacher = teacher_folder(workspace)
    head = projection.load_projection(read_checkpoint(teacher))
    dimensions = head.outputs if head is not None else size_of(teacher).hidden
    if student.dimensions == dimensions:
        return student
    if head is None or head.inputs != student.hidden_size:
        head = projection.orthogonal(student.hidden_size, dimensions, seed)
    return replace(student, projection=head.to(device), centres={})


def keep_layers(model: PreTrainedModel, count: int) -> None:
    """Keep the first ``count`` layers of a transformer, in place; UserError if it has fewer."""
    name, layers = layer_stack(model, count, "student.layers")
    model.set_submodule(name, layers[:count])
    model.config.num_hidden_layers = count
    if getattr(model.config, "layer_types", None):  # one a layer, where layers are of several kinds
        model.config.layer_types = model.config.layer_types[:count]
