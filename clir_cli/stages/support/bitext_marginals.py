"""The marginals of transport: `transport.marginals` other than uniform."""

from collections.abc import Callable, Sequence
from itertools import compress
from typing import NamedTuple

import torch
from torch import Tensor

from clir_cli.artifacts.spec import Ref
from clir_cli.corpus.bitext import Bitext
from clir_cli.optical import marginals
from clir_cli.optical.marginals import (
    Marginals,
    document_frequencies,
    inverse_document_frequencies,
    norm_weights,
)
from clir_cli.ragged import Ragged
from clir_cli.retrieval.batching import TokenizedText, batches_by_tokens, pad
from clir_cli.retrieval.encoder import Encoder, Packed
from clir_cli.retrieval.loading import embedding_table
from clir_cli.stages.support.fitting import open_encoder_at
from clir_cli.stages.support.stored_bitext import stored_tokens
from clir_cli.stages.support.used_models import teacher_folder
from clir_cli.stages.support.workspace import Workspace

BATCH_TOKENS = 8192


class Student(NamedTuple):
    """A student, its token ids of the sentences to train on, and its ``Start.own_rows``."""

    encoder: Encoder
    ids: Ragged
    own_rows: int = 0


def masses(
    workspace: Workspace,
    ref: Ref,
    bitext: Bitext,
    student: Student,
    embeddings: tuple[Packed, Packed],
) -> tuple[Marginals | None, Marginals | None]:
    """Return the marginals of a bitext, train and held out; None if they are uniform.

    Frequencies are counted over the sentences to train on, separately for each side. Norms are
    those of the hidden states before normalisation; the student's change as it is trained.

    ``ref`` is the student, ``embeddings`` are the teacher's of both parts: a sentence without any
    has no weights either.
    """
    settings = workspace.settings
    if settings.transport.marginals == "uniform":
        return None, None
    encoder, limit = student.encoder, settings.teacher.bitext_tokens
    teacher = open_encoder_at(workspace, teacher_folder(workspace), encoder.device)
    english = [[row.english for row in rows] for rows in (bitext.train, bitext.held_out)]
    drawn = [
        teacher.inputs(list(compress(texts, packed.offsets.diff().tolist())), limit, "sentence")
        for texts, packed in zip(english, embeddings, strict=True)
    ]
    of_student: Callable[[Tensor, Tensor, Tensor], Tensor] = marginals.by_norm
    if settings.transport.marginals == "norm":
        weights = [_norms(teacher, inputs) for inputs in drawn]
    else:
        count = len(bitext.train)
        (tokens,) = stored_tokens(workspace, ref, english[:1], teacher, limit)
        idf = inverse_document_frequencies(
            document_frequencies(tokens, len(teacher.tokenizer)), count
        )
        weights = [
            [_embedded(text, idf[torch.tensor(text.ids)]) for text in inputs] for inputs in drawn
        ]
        rows = _student_frequencies(workspace, ref, bitext, student)
        of_student = marginals.by_idf(inverse_document_frequencies(rows, count).to(encoder.device))
    train, held_out = (
        Marginals(of_student, Packed(torch.cat(of_texts), packed.offsets))
        for of_texts, packed in zip(weights, embeddings, strict=True)
    )
    return train, held_out


def _student_frequencies(
    workspace: Workspace, ref: Ref, bitext: Bitext, student: Student
) -> Tensor:
    encoder, ids, own_rows = student
    frequencies = document_frequencies(ids, embedding_table(encoder.model).num_embeddings)
    if own_rows:  # a token's embedding in one fold has a copy in each of the other folds
        texts, limit = [row.query for row in bitext.train], workspace.settings.teacher.bitext_tokens
        (final,) = stored_tokens(workspace, ref, [texts], encoder, limit)
        frequencies *= workspace.settings.student.folds
        frequencies[:own_rows] = document_frequencies(final, len(frequencies))[:own_rows]
    return frequencies


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
