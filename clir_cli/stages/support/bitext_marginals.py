"""The marginals of transport: `transport.marginals` other than uniform."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from clir_cli.corpus.bitext import Bitext
from clir_cli.optical import marginals
from clir_cli.optical.marginals import (
    Marginals,
    document_frequencies,
    inverse_document_frequencies,
    norm_weights,
)
from clir_cli.retrieval.batching import TokenizedText, batches_by_tokens, pad
from clir_cli.retrieval.encoder import Encoder
from clir_cli.retrieval.loading import embedding_table
from clir_cli.stages.support.fitting import open_encoder_at
from clir_cli.stages.support.used_models import teacher_folder
from clir_cli.stages.support.workspace import Workspace

BATCH_TOKENS = 8192


def masses(
    workspace: Workspace,
    bitext: Bitext,
    ids: Sequence[Sequence[int]],
    student: Encoder,
    own_rows: int = 0,
) -> tuple[Marginals | None, Marginals | None]:
    """Return the marginals of a bitext, train and held out; None if they are uniform.

    Frequencies are counted over the sentences to train on, separately for each side. Norms are
    those of the hidden states before normalisation; the student's change as it is trained.

    ``ids`` are the student's token ids of the sentences to train on; for ``own_rows`` see
    ``starting_points.Start``.
    """
    kind = workspace.settings.transport.marginals
    if kind == "uniform":
        return None, None
    teacher = open_encoder_at(workspace, teacher_folder(workspace), student.device)
    limit = workspace.settings.teacher.bitext_tokens
    english = [row.english for row in (*bitext.train, *bitext.held_out)]
    inputs, count = teacher.inputs(english, limit, "sentence"), len(bitext.train)
    of_student: Callable[[Tensor, Tensor, Tensor], Tensor] = marginals.by_norm
    if kind == "norm":
        weights = _norms(teacher, inputs)
    else:
        weights = _idf(inputs, count, len(teacher.tokenizer))
        frequencies = document_frequencies(ids, embedding_table(student.model).num_embeddings)
        if own_rows:  # a token's embedding in one fold has a copy in each of the other folds
            final = student.tokenize([row.query for row in bitext.train], limit)
            frequencies *= workspace.settings.student.folds
            frequencies[:own_rows] = document_frequencies(final, len(frequencies))[:own_rows]
        idf = inverse_document_frequencies(frequencies, len(ids)).to(student.device)
        of_student = marginals.by_idf(idf)
    return Marginals(of_student, weights[:count]), Marginals(of_student, weights[count:])


def _embedded(text: TokenizedText, values: Tensor) -> Tensor:
    return values[: len(text)] if text.selected is None else values[text.selected]


@torch.inference_mode()
def _norms(teacher: Encoder, inputs: Sequence[TokenizedText]) -> list[Tensor]:
    teacher.model.eval()
    by_text: dict[int, Tensor] = {}
    for batch in batches_by_tokens([len(text) for text in inputs], BATCH_TOKENS):
        ids, mask = pad([inputs[index].ids for index in batch], teacher.pad_id, teacher.device)
        norms = norm_weights(teacher.states(ids, mask), mask).cpu()
        by_text |= {index: _embedded(inputs[index], norms[row]) for row, index in enumerate(batch)}
    return [by_text[index].clone() for index in range(len(inputs))]


def _idf(inputs: Sequence[TokenizedText], train: int, vocabulary: int) -> list[Tensor]:
    frequencies = document_frequencies((text.ids for text in inputs[:train]), vocabulary)
    idf = inverse_document_frequencies(frequencies, train)
    return [_embedded(text, idf[torch.tensor(text.ids)]) for text in inputs]
