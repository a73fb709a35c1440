"""The masses that tokens hold in transport: `transport.marginals` other than uniform."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from clir_cli.corpus.bitext import Bitext
from clir_cli.optical.marginals import (
    Marginals,
    by_idf,
    by_norm,
    document_frequencies,
    idf_weights,
    norm_weights,
)
from clir_cli.retrieval.encoder import Encoder, TokenizedText, batches_by_tokens, pad
from clir_cli.retrieval.loading import embedding_table
from clir_cli.stages.support.fitting import open_encoder_at
from clir_cli.stages.support.models import teacher_folder
from clir_cli.stages.support.workspace import Workspace

CHUNK = 256  # sentences whose tokens are counted together
BATCH_TOKENS = 8192


def masses(
    workspace: Workspace,
    bitext: Bitext,
    ids: Sequence[Sequence[int]],
    student: Encoder,
    own_rows: int = 0,
) -> tuple[Marginals | None, Marginals | None]:
    """Return the masses of a bitext's tokens, train and held out; None where all have the same.

    Frequencies are counted over the sentences to train on, each side for itself. Norms are those of
    the states before they are brought to unit length; the student's change as it learns.

    Args:
        workspace: The setting, and the teacher.
        bitext: Sentence pairs.
        ids: The token ids by which the student reads the sentences to train on.
        student: Its tokenizer reads what is held out.
        own_rows: Where the rows of folds begin in its embedding table, if there are any
            (vocabulary/cross_fitting.py).
    """
    kind = workspace.settings.transport.marginals
    if kind == "uniform":
        return None, None
    teacher = open_encoder_at(workspace, teacher_folder(workspace), student.device)
    limit = workspace.settings.teacher.query_tokens
    english = [row.english for row in (*bitext.train, *bitext.held_out)]
    read = teacher.inputs(english, limit, "sentence")
    cut = len(bitext.train)
    of_student: Callable[[Tensor, Tensor, Tensor], Tensor] = by_norm
    if kind == "norm":
        weights = _norms(teacher, read)
    else:
        weights = _idf(read, cut, len(teacher.tokenizer))
        size = embedding_table(student.model).num_embeddings
        frequencies = _frequencies(ids, size)
        if own_rows:  # that of a fold stands for as many in each of the others
            own = student.tokenize([row.query for row in bitext.train], limit)
            frequencies *= workspace.settings.student.folds
            frequencies[:own_rows] = _frequencies(own, size)[:own_rows]
        of_student = by_idf(frequencies, len(ids))
    return Marginals(of_student, weights[:cut]), Marginals(of_student, weights[cut:])


def _kept(text: TokenizedText, values: Tensor) -> Tensor:
    """Return the values (n,) of the tokens that have an embedding."""
    return values[: len(text)] if text.selected is None else values[text.selected]


@torch.inference_mode()
def _norms(teacher: Encoder, read: Sequence[TokenizedText]) -> list[Tensor]:
    teacher.model.eval()
    found: dict[int, Tensor] = {}
    for batch in batches_by_tokens([len(each) for each in read], BATCH_TOKENS):
        ids, mask = pad([read[index].ids for index in batch], teacher.pad_id, teacher.device)
        norms = norm_weights(teacher.states(ids, mask), mask).cpu()
        found |= {index: _kept(read[index], norms[row]) for row, index in enumerate(batch)}
    return [found[index].clone() for index in range(len(read))]


def _idf(read: Sequence[TokenizedText], train: int, vocabulary: int) -> list[Tensor]:
    frequencies = _frequencies([each.ids for each in read[:train]], vocabulary)
    found = []
    for each in read:
        ids = torch.tensor([each.ids])
        weights = idf_weights(ids, torch.ones_like(ids, dtype=torch.bool), frequencies, train)
        found.append(_kept(each, weights[0]))
    return found


def _frequencies(ids: Sequence[Sequence[int]], vocabulary: int) -> Tensor:
    """Return in how many sentences each id occurs (V,)."""
    total = torch.zeros(vocabulary, dtype=torch.long)
    for start in range(0, len(ids), CHUNK):
        tokens, mask = pad(ids[start : start + CHUNK], 0, torch.device("cpu"))
        total += document_frequencies(tokens, mask, vocabulary)
    return total
