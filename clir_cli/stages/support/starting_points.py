"""What training starts from: the initial student, its new rows, and how it reads the bitext."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch

from clir_cli.artifacts.spec import Ref
from clir_cli.corpus.bitext import Bitext
from clir_cli.retrieval import adapters
from clir_cli.retrieval.encoder import Encoder
from clir_cli.retrieval.loading import embedding_table
from clir_cli.stages.support.first_pass import row_count
from clir_cli.stages.support.initial_student import initial_encoder
from clir_cli.stages.support.recipes import trained_cell
from clir_cli.stages.support.workspace import Workspace
from clir_cli.vocabulary.counts import Lexicon
from clir_cli.vocabulary.cross_fitting import Ids, InitialVocabulary, cross_fit, folds_of
from clir_cli.vocabulary.extend import extend_vocabulary
from clir_cli.vocabulary.multilingual import induce_lexicons


@dataclass(frozen=True)
class Start:
    """A student before training, and the token ids of each bitext's sentences to train on.

    ``own_rows`` of its embedding table are its tokenizer's, where those of folds stand behind them
    (vocabulary/cross_fitting.py), else 0; ``new_rows`` of them came from the bitext.
    """

    student: Encoder
    ids: list[Ids]
    new_rows: int
    own_rows: int


def initial_student(
    workspace: Workspace,
    bitexts: Sequence[Bitext],
    device: torch.device,
    precision: torch.dtype,
    ref: Ref,
) -> tuple[Encoder, int]:
    """Return what training starts from, and how many rows it was given."""
    student = initial_encoder(workspace, device, precision, ref.cell.seed, ref.cell.only(ref.pair))
    if not _gets_rows(workspace):
        return _adapted(workspace, student, []), 0
    (lexicon,) = _lexicons(workspace, bitexts, student, ref)
    student = _with_rows(workspace, student, lexicon)
    return _adapted(workspace, student, lexicon.words), len(lexicon.words)


def student_to_train(
    workspace: Workspace,
    bitexts: Sequence[Bitext],
    device: torch.device,
    precision: torch.dtype,
    ref: Ref,
    *,
    folds: int,
) -> Start:
    """Return what distillation starts from, with rows of its own for each fold if there are folds.

    Args:
        workspace: The settings.
        bitexts: One, or those of a joint student.
        device: Where the student goes.
        precision: What it computes in.
        ref: The student; its seed is that of weights that are drawn.
        folds: 1 has the student read the rows that it ends with, and train them too.
    """
    limit = workspace.settings.teacher.query_tokens
    if folds < 2 or not _gets_rows(workspace):
        student, new_rows = initial_student(workspace, bitexts, device, precision, ref)
        ids = [student.tokenize([row.query for row in each.train], limit) for each in bitexts]
        return Start(student, ids, new_rows, own_rows=0)
    student = initial_encoder(workspace, device, precision, ref.cell.seed, ref.cell.only(ref.pair))
    rows = embedding_table(student.model).weight.detach().clone()
    initial = InitialVocabulary(student.tokenizer, rows)
    trained = [each.train for each in bitexts]
    parts = [folds_of(each, folds) for each in trained]
    lexicon, *others = _lexicons(workspace, bitexts, student, ref, parts)
    student = _with_rows(workspace, student, lexicon)
    fitted = cross_fit(student, initial, trained, parts, others, max_tokens=limit)
    student = _adapted(workspace, fitted.student, [])
    return Start(student, fitted.ids, len(lexicon.words), fitted.own_rows)


def _gets_rows(workspace: Workspace) -> bool:
    """Return True if the bitext adds new tokens; a student from recipe augment has them already."""
    chosen = workspace.settings.student
    return chosen.vocabulary != "initial" and not trained_cell(chosen.model)


def _lexicons(
    workspace: Workspace,
    bitexts: Sequence[Bitext],
    student: Encoder,
    ref: Ref,
    folds: Sequence[Sequence[Sequence[int]]] = (),
) -> list[Lexicon]:
    """Return the lexicon of the training pairs; then, if there are folds, of all but each."""
    chosen = workspace.settings.student
    return induce_lexicons(
        [each.train for each in bitexts],
        student.tokenizer,
        neighbours=chosen.neighbours,
        folds=folds,
        min_count=chosen.min_count,
        units=chosen.vocabulary,
        subwords=chosen.subwords,
        count=row_count(workspace, ref, bitexts[0], student),
    )


def _with_rows(workspace: Workspace, student: Encoder, lexicon: Lexicon) -> Encoder:
    tokenizer = extend_vocabulary(student.tokenizer, student.model, lexicon)
    workspace.talk.say(
        f"vocabulary: {len(lexicon.words):,} words and subwords of the bitext become tokens"
    )
    return replace(student, tokenizer=tokenizer)


def _adapted(workspace: Workspace, student: Encoder, words: Sequence[str]) -> Encoder:
    rank = workspace.settings.training.lora_rank
    if not rank:
        return student
    rows = student.tokenizer.convert_tokens_to_ids(list(words)) if words else []
    return adapters.with_adapters(student, rank, cast(list[int], rows))
