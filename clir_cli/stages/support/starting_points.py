"""What training starts from: the initial student, its new token embeddings, its token ids."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import torch

from clir_cli.artifacts.spec import Ref
from clir_cli.corpus.bitext import Bitext
from clir_cli.corpus.records import Pair, SentencePair
from clir_cli.corpus.sampling import sampled
from clir_cli.ragged import Ragged
from clir_cli.retrieval import adapters
from clir_cli.retrieval.checkpoints import read_checkpoint
from clir_cli.retrieval.encoder import Encoder
from clir_cli.retrieval.loading import embedding_table, load_config, load_tokenizer
from clir_cli.retrieval.models import model_digest
from clir_cli.stages.support.centring import centred_student
from clir_cli.stages.support.fitting import open_encoder_at
from clir_cli.stages.support.initial_student import initial_encoder
from clir_cli.stages.support.recipes import trained_cell
from clir_cli.stages.support.stored_bitext import (
    stored_fold_tokens,
    stored_lexicons,
    stored_tokens,
)
from clir_cli.stages.support.teacher_embeddings import align_bitext
from clir_cli.stages.support.used_models import (
    UsedModel,
    first_pass,
    initial_folder,
    space_of,
    teacher_folder,
)
from clir_cli.stages.support.workspace import Workspace
from clir_cli.vocabulary.counts import COUNT_FUNCTIONS, CountFunction, Lexicon
from clir_cli.vocabulary.cross_fitting import cross_fit, folds_of
from clir_cli.vocabulary.extend import extend_vocabulary
from clir_cli.vocabulary.from_plans import plan_counts, word_plans
from clir_cli.vocabulary.in_space import in_space
from clir_cli.vocabulary.multilingual import induce_lexicons
from clir_cli.vocabulary.units import units_of


@dataclass(frozen=True)
class Start:
    """A student before training, and the token ids of each bitext's sentences to train on.

    ``new_rows`` embeddings came from the bitext. ``own_rows`` is the size of the tokenizer's part
    of the embedding table if the embeddings of folds follow it (vocabulary/cross_fitting.py), or 0.
    """

    student: Encoder
    ids: list[Ragged]
    new_rows: int
    own_rows: int


def require_models(workspace: Workspace, pair: Pair | None) -> None:
    """Refuse a teacher and an initial student that cannot be trained with, before data is read.

    Raises:
        UserError: One is missing or no encoder, or the student cannot have the new tokens.
    """
    folders = initial_folder(workspace, pair), teacher_folder(workspace)
    bodies = [read_checkpoint(folder).body for folder in folders]
    for body in bodies:
        load_config(body)
    if _gets_rows(workspace):
        units_of(load_tokenizer(bodies[0]), workspace.settings.student.vocabulary)


def initial_student(
    workspace: Workspace,
    bitexts: Sequence[Bitext],
    device: torch.device,
    precision: torch.dtype,
    ref: Ref,
) -> tuple[Encoder, int]:
    """Return the student that training starts from, and its number of new token embeddings."""
    student = initial_encoder(workspace, device, precision, ref.cell.seed, ref.cell.only(ref.pair))
    if not _gets_rows(workspace):
        return _ready(workspace, bitexts, student, []), 0
    (lexicon,) = _lexicons(workspace, bitexts, student, ref)
    student = _with_rows(workspace, student, lexicon)
    return _ready(workspace, bitexts, student, lexicon.words), len(lexicon.words)


def student_to_train(
    workspace: Workspace,
    bitexts: Sequence[Bitext],
    device: torch.device,
    precision: torch.dtype,
    ref: Ref,
    *,
    folds: int,
) -> Start:
    """Return what distillation starts from.

    Each of several ``folds`` has new token embeddings of its own; one fold trains the final ones.
    """
    limit, pairs = workspace.settings.teacher.bitext_tokens, [bitext.train for bitext in bitexts]
    if folds < 2 or not _gets_rows(workspace):
        student, new_rows = initial_student(workspace, bitexts, device, precision, ref)
        texts = [[row.query for row in rows] for rows in pairs]
        ids = stored_tokens(workspace, ref, texts, student, limit)
        return Start(student, ids, new_rows, own_rows=0)
    student = initial_encoder(workspace, device, precision, ref.cell.seed, ref.cell.only(ref.pair))
    table = embedding_table(student.model).weight.detach().clone()
    parts = [folds_of(rows, folds) for rows in pairs]
    lexicon, *others = _lexicons(workspace, bitexts, student, ref, parts)
    tokens = stored_fold_tokens(workspace, ref, pairs, student, parts, others, limit)
    student = _with_rows(workspace, student, lexicon)
    fitted = cross_fit(student, table, parts, others, tokens)
    student = _ready(workspace, bitexts, fitted.student, [])
    return Start(student, fitted.ids, len(lexicon.words), fitted.own_rows)


def _gets_rows(workspace: Workspace) -> bool:
    """Return True if the bitext gives it embeddings; recipe augment has done so already."""
    settings = workspace.settings.student
    return settings.vocabulary != "initial" and not trained_cell(settings.model)


def _lexicons(
    workspace: Workspace,
    bitexts: Sequence[Bitext],
    student: Encoder,
    ref: Ref,
    folds: Sequence[Sequence[Sequence[int]]] = (),
) -> list[Lexicon]:
    settings, tokenizer = workspace.settings.student, student.tokenizer
    options: dict[str, Any] = {
        "neighbours": settings.neighbours,
        "folds": folds,
        "min_count": settings.min_count,
        "units": settings.vocabulary,
        "subwords": settings.subwords,
    }
    if prompt := student.text_format.prefix("sentence"):
        options["prompt"] = prompt
    rows = settings.rows
    pairs: list[Sequence[SentencePair]] = [bitext.train for bitext in bitexts]
    if rows == "plans":  # of a student, so for one seed alone
        count = _plan_function(workspace, ref, bitexts[0], student)
        return induce_lexicons(pairs, tokenizer, count=count, **options)
    pairs, options["folds"] = _sample(pairs, folds, settings.row_pairs)
    for bitext, counted in zip(bitexts, pairs, strict=True):
        if len(counted) < len(bitext.train):
            workspace.talk.say(
                f"vocabulary: words are counted in {len(counted):,} of {len(bitext.train):,} pairs "
                "(student.row_pairs)"
            )
    space = space_of(workspace.settings)
    count = COUNT_FUNCTIONS["ibm1" if space else rows]
    induce = partial(induce_lexicons, pairs, tokenizer, count=count, **options)
    made_from = {**options, "rows": rows}
    if space is None:
        return stored_lexicons(workspace, ref, pairs, tokenizer, made_from, induce)
    folder, often = space.folder(workspace), max(settings.min_count, settings.space_count)
    made_from |= {"space": model_digest(folder), "often": often}

    def place() -> list[Lexicon]:
        encoder = open_encoder_at(workspace, folder, student.device)
        placed = in_space(induce(), encoder, tokenizer, settings.neighbours)
        if rows == "space":
            return placed
        counted = induce(min_count=often)
        return [one.joined(other) for one, other in zip(counted, placed, strict=True)]

    return stored_lexicons(workspace, ref, pairs, tokenizer, made_from, place)


def _sample(
    bitexts: Sequence[Sequence[SentencePair]],
    folds: Sequence[Sequence[Sequence[int]]],
    most: int,
) -> tuple[list[Sequence[SentencePair]], Sequence[Sequence[Sequence[int]]]]:
    """Return at most so many pairs of each bitext, and the folds of their new numbers.

    The memory that counting takes grows with the pairs: some 2 GB for 250,000.
    """
    chosen = [sampled(range(len(rows)), most, "rows") for rows in bitexts]
    numbers = [{row: number for number, row in enumerate(part)} for part in chosen]
    return (
        [[rows[row] for row in part] for rows, part in zip(bitexts, chosen, strict=True)],
        [
            [[number[row] for row in fold if row in number] for fold in own_folds]
            for own_folds, number in zip(folds, numbers, strict=False)  # none without folds
        ],
    )


def _plan_function(
    workspace: Workspace, ref: Ref, bitext: Bitext, student: Encoder
) -> CountFunction:
    """Return how a first student's plans find the English tokens of new token embeddings."""
    first = first_pass(ref)
    assert first is not None
    folder = UsedModel(first).folder(workspace)
    earlier = open_encoder_at(workspace, folder, student.device, student.precision)
    title = f"first pass aligns {ref.pair}"
    return plan_counts(align_bitext(workspace, ref.pair, bitext, earlier, word_plans, title))


def _with_rows(workspace: Workspace, student: Encoder, lexicon: Lexicon) -> Encoder:
    tokenizer = extend_vocabulary(student.tokenizer, student.model, lexicon)
    workspace.talk.say(
        f"vocabulary: {len(lexicon.words):,} words and subwords of the bitext become tokens"
    )
    return replace(student, tokenizer=tokenizer)


def _ready(
    workspace: Workspace, bitexts: Sequence[Bitext], student: Encoder, words: Sequence[str]
) -> Encoder:
    """Return a student with its mean token and adapters, if it gets them."""
    student = centred_student(workspace, student, bitexts)
    rank = workspace.settings.training.lora_rank
    if not rank:
        return student
    rows = cast(list[int], student.tokenizer.convert_tokens_to_ids(list(words))) if words else []
    return adapters.with_adapters(student, rank, rows)
