"""train: the recipes of contrastive training, from data to a teacher or a student."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import cast

import torch

from clir_cli import runtime
from clir_cli.artifacts import graph
from clir_cli.artifacts.cell import Cell, group_name
from clir_cli.artifacts.spec import Ref
from clir_cli.corpus.bitext import Bitext
from clir_cli.corpus.codeswitch import CodeSwitcher
from clir_cli.corpus.records import Collection, Pair, SentencePair
from clir_cli.errors import UserError
from clir_cli.optical.joint import quotas
from clir_cli.retrieval import memory, projection
from clir_cli.retrieval.checkpoints import TextKind
from clir_cli.retrieval.encoder import Encoder
from clir_cli.settings import Settings, TrainingSettings
from clir_cli.stages.support.augmentation import augmenting
from clir_cli.stages.support.checkpointing import first_device, leave, made_together, run_training
from clir_cli.stages.support.fitting import longest, open_encoder_at, require_training
from clir_cli.stages.support.lexicons import english_lexicon, switching_pairs
from clir_cli.stages.support.models import initial_folder, teacher_folder
from clir_cli.stages.support.recipes import RECIPES, Recipe
from clir_cli.stages.support.sources import load_bitext, training_collection
from clir_cli.stages.support.starting_points import initial_student
from clir_cli.stages.support.teacher_embeddings import document_embeddings
from clir_cli.stages.support.training_data import (
    Change,
    Questions,
    Split,
    bitext_questions,
    cloze_questions,
    collection_questions,
    passage_questions,
    rest_questions,
)
from clir_cli.stages.support.workspace import Workspace
from clir_cli.training.contrastive import Contrastive, QuerySource, shares
from clir_cli.training.loop import Task, Training

Notes = dict[str, object]


@dataclass(frozen=True)
class Job:
    """One model to train: the recipe, the pairs whose bitext it reads, variant and seed."""

    workspace: Workspace
    ref: Ref

    @property
    def settings(self) -> Settings:
        """Return the settings."""
        return self.ref.settings

    @property
    def cell(self) -> Cell:
        """Return the recipe as a cell, with variant and seed."""
        return self.ref.cell

    @property
    def recipe(self) -> Recipe:
        """Return the recipe."""
        return RECIPES[self.ref.cell.method]

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Return the pairs whose bitext is read; none where a teacher reads a collection."""
        return self.ref.pairs

    @property
    def name(self) -> str:
        """Return what the training is called: the pairs and the column."""
        group = "en" if self.recipe.leaves == "teacher" else group_name(self.pairs)
        return f"{group} {self.cell.own_label}"

    @property
    def loop(self) -> TrainingSettings:
        """Return the training loop's settings, with those that the recipe has of its own."""
        own = getattr(self.settings, self.recipe.name, None)
        if own is None:
            return self.settings.training
        changes = {"epochs": own.epochs, "learning_rate": own.learning_rate}
        return self.settings.training.model_copy(update=changes)

    @property
    def folder(self) -> Path:
        """Return the folder of the encoder to train, as it is before."""
        if self.recipe.leaves == "teacher":
            return teacher_folder(self.workspace)
        return initial_folder(self.workspace, self.cell.only(self.ref.pair))

    @cached_property
    def bitexts(self) -> dict[Pair, Bitext]:
        """Return the bitexts of the pairs; read once."""
        return {pair: load_bitext(self.workspace, pair) for pair in self.pairs}

    @cached_property
    def english(self) -> Collection | None:
        """Return the collection to train on with its English queries, if one is named."""
        return training_collection(self.workspace, "en")


def train(workspace: Workspace, ref: Ref) -> Path:
    """Train a teacher, a student or an initial student by a recipe; return its folder.

    The folder is an ordinary transformers model and tokenizer, with ``training.csv`` beside it.
    An interrupted run resumes from its last checkpoint and ends in the same model.

    Raises:
        UserError: A missing input, a fault in the data, or a model that was made from something
            else.
    """
    job, artifact = Job(workspace, ref), graph.resolve(workspace, ref)
    if job.recipe.name == "augment" and workspace.group.several and job.loop.shard:
        raise UserError(
            "recipe augment needs the whole embedding table; start it without training.shard"
        )
    with made_together(workspace, artifact) as draft:
        if draft is None:
            workspace.talk.say(f"{artifact.path} is current")
            return artifact.path
        device = workspace.group.device(workspace.device)
        runtime.hush_libraries()
        precision = runtime.choose_precision(job.loop.precision, device)
        needed = _require_memory(job, device, precision)
        runtime.seed_everything(job.cell.seed)
        encoder, task, notes = TASKS[job.recipe.name](job, device, precision)
        encoder = replace(encoder, device=device)
        training = Training(encoder, task, job.loop, job.cell.seed, workspace.group)
        best = run_training(workspace, training, draft, f"train {job.name}")
        adapted = bool(job.loop.lora_rank) and job.recipe.leaves != "teacher"
        notes |= {
            "device": str(device),
            "precision": str(encoder.precision).removeprefix("torch."),
            "memory_estimate": memory.size(needed.total),
            **best,
        }
        leave(training, draft, notes, adapted=adapted)
    workspace.talk.say(
        f"{artifact.path}: held-out MRR {best['held_out_mrr']:.3f}, epoch {best['epoch']}"
    )
    return artifact.path


def _require_memory(job: Job, device: torch.device, precision: torch.dtype) -> memory.Estimate:
    """Return what training needs, or refuse; the longest sentences stand for all texts."""
    rows = [row for bitext in job.bitexts.values() for row in bitext.train]
    limit = job.settings.teacher.query_tokens
    if job.recipe.leaves == "teacher":  # it reads queries and documents
        texts = [row.english for row in rows]
        texts += [document.full_text for document in job.english.documents] if job.english else []
        rows = [SentencePair(text, text) for text in texts]
        limit += job.settings.teacher.document_tokens
    lengths = longest(job.folder, rows, limit)
    return require_training(job.workspace, job.folder, lengths, device, precision)


# ------------------------------------------------------------------ monolingual: a teacher


def _teacher(job: Job, device: torch.device, precision: torch.dtype) -> tuple[Encoder, Task, Notes]:
    place = first_device(job.workspace, device)
    encoder = open_encoder_at(job.workspace, job.folder, place, precision)
    wanted = job.settings.monolingual.dimensions
    if wanted and wanted != encoder.dimensions:
        head = projection.orthogonal(encoder.hidden_size, wanted, job.cell.seed)
        encoder = replace(encoder, projection=head.to(place))
    splits = _asked(job, "en")
    splits += _passages(job, splits) if job.settings.monolingual.passages else []
    if not splits:
        most = job.settings.contrastive.sentences
        splits = [rest_questions(list(job.bitexts.values()), most, job.cell.seed)]
    sources = [[part.source(job.cell.seed, None, None) for part in split] for split in splits]
    task = _contrastive(job, sources, query="query")
    return encoder, task, {**_told(sources), "dimensions": encoder.dimensions}


def _english(job: Job) -> list[Split]:
    """Return what there is of English queries: questions of a collection, spans of sentences."""
    chosen = job.settings.contrastive
    splits = [cloze_questions(list(job.bitexts.values()), chosen.sentences)]
    return [*_asked(job, "en"), *splits]


def _passages(job: Job, asked: Sequence[Split]) -> list[Split]:
    """Return sentences of the training collection's documents, where there are several in one."""
    most = job.settings.contrastive.sentences
    splits = [passage_questions("passages", split, most) for split in asked]
    return [split for split in splits if all(len(part) for part in split)]


def _asked(job: Job, language: str) -> list[Split]:
    chosen = job.settings.contrastive
    found = job.english if language == "en" else training_collection(job.workspace, language)
    if found is None:
        return []
    return [collection_questions(found, language, chosen.queries, job.settings.bitext.held_out)]


# ------------------------------------------------------------------ students


def _code_switched(
    job: Job, device: torch.device, precision: torch.dtype
) -> tuple[Encoder, Task, Notes]:
    chosen, workspace = job.settings.contrastive, job.workspace
    named = switching_pairs(job.settings, job.pairs)
    lexicons = [english_lexicon(workspace, pair, job.bitexts.get(pair)) for pair in named]
    switch = CodeSwitcher(lexicons, chosen.share, job.cell.seed)
    splits = _english(job)
    _refuse_batch(job, [split[0] for split in splits])
    encoder, rows = _student(job, device, precision)
    sources = [_sides(job, split, device, switch) for split in splits]
    known = switch.coverage(text for split in splits for text in split[0].texts)
    workspace.talk.say(
        f"{job.name}: {known:.0%} of the English words have a translation, and {chosen.share:.0%} "
        "of those are switched"
    )
    notes = {
        **_told(sources),
        "new_rows": rows,
        "coverage": round(known, 4),
        "share": chosen.share,
        "languages": [pair.query for pair in named],
        "english_words": [len(each) for each in lexicons],
    }
    return encoder, _contrastive(job, sources), notes


def _hybrid(job: Job, device: torch.device, precision: torch.dtype) -> tuple[Encoder, Task, Notes]:
    alpha = job.settings.contrastive.alpha
    splits, across = _english(job), [_crossing(job, pair) for pair in job.pairs]
    _refuse_batch(job, [split[0] for split in splits] if alpha > 0 else [])
    _refuse_batch(job, [split[0] for of in across for split in of] if alpha < 1 else [])
    encoder, rows = _student(job, device, precision)
    english = [_sides(job, split, device) for split in splits]
    crossing = [[_sides(job, split, device) for split in of_pair] for of_pair in across]
    sizes = [sum(len(sides[0]) for sides in of_pair) for of_pair in crossing]
    # The rule by which joint distillation shares out its pairs.
    drawn = quotas(sizes, job.settings.joint.temperature) if len(sizes) > 1 else sizes
    weights = shares([len(sides[0]) for sides in english], alpha)
    for of_pair, share in zip(crossing, shares(drawn, 1 - alpha), strict=True):
        weights += shares([len(sides[0]) for sides in of_pair], share)
    sources = [*english, *(sides for of_pair in crossing for sides in of_pair)]
    steps = -(-sum(sizes) // job.loop.batch_size)
    task = _contrastive(job, sources, weights=weights, steps=steps)
    probability = {
        sides[0].name: round(weight, 4) for sides, weight in zip(sources, weights, strict=True)
    }
    return encoder, task, {**_told(sources), "new_rows": rows, "probability": probability}


def _crossing(job: Job, pair: Pair) -> list[Split]:
    """Return queries of a pair's language: the bitext's sentences, a collection's questions."""
    return [bitext_questions(f"bitext {pair}", job.bitexts[pair]), *_asked(job, pair.query)]


def _student(job: Job, device: torch.device, precision: torch.dtype) -> tuple[Encoder, int]:
    """Return the student that distillation would start from, and its number of word rows."""
    bitexts, where = list(job.bitexts.values()), first_device(job.workspace, device)
    return initial_student(job.workspace, bitexts, where, precision, job.ref)


def _sides(
    job: Job, split: Split, device: torch.device, change: Change | None = None
) -> list[QuerySource]:
    """Return a split as sources whose documents the fixed teacher has read."""
    name = f"{group_name(job.pairs)} {split[0].name}"
    documents = split[0].documents, split[1].documents
    reads = partial(document_embeddings, job.workspace, name.replace(" ", "."), documents, device)
    packed = job.workspace.group.main_first(reads)
    seed = job.cell.seed
    return [part.source(seed, change, own) for part, own in zip(split, packed, strict=True)]


# ------------------------------------------------------------------ all of them


def _contrastive(
    job: Job,
    sources: Sequence[Sequence[QuerySource]],
    *,
    query: TextKind = "sentence",
    weights: Sequence[float] = (),
    steps: int = 0,
) -> Contrastive:
    """Return the task over sources (to train on, held out).

    Raises:
        UserError: A batch is larger than a source.
    """
    chosen, teacher = job.settings.contrastive, job.settings.teacher
    kept = [place for place in range(len(sources)) if not weights or weights[place] > 0]
    _refuse_batch(job, [sources[place][0] for place in kept])
    return Contrastive(
        train=[sources[place][0] for place in kept],
        held_out=[sources[place][1] for place in kept],
        query_kind=query,
        query_tokens=teacher.query_tokens,
        document_tokens=teacher.document_tokens,
        batch_size=job.loop.batch_size,
        temperature=chosen.temperature,
        negatives=chosen.negatives,
        seed=job.cell.seed,
        weights=[weights[place] for place in kept] if weights else (),
        steps=steps,
    )


def _refuse_batch(job: Job, kinds: Sequence[Questions | QuerySource]) -> None:
    """Refuse a batch that is larger than what it is drawn from, before the teacher reads that."""
    size = job.loop.batch_size
    if size < 2:
        raise UserError("training.batch_size is 1; contrastive training needs 2 or more")
    for rows in kinds:
        if size > len(rows):
            raise UserError(
                f"training.batch_size is {size} and {rows.name} has {len(rows)} queries; choose a "
                "smaller batch"
            )


def _told(sources: Sequence[Sequence[QuerySource]]) -> Notes:
    return {
        "train_queries": {sides[0].name: len(sides[0]) for sides in sources},
        "held_out_queries": {sides[1].name: len(sides[1]) for sides in sources},
    }


Making = Callable[[Job, torch.device, torch.dtype], tuple[Encoder, Task, Notes]]


def _augmented(
    job: Job, device: torch.device, precision: torch.dtype
) -> tuple[Encoder, Task, Notes]:
    encoder, rows = _student(job, device, precision)
    encoder, task, notes = augmenting(
        job.settings, encoder, rows, job.bitexts[job.pairs[0]], job.cell.seed
    )
    return encoder, cast(Task, task), notes  # it trains this encoder alone, the one with a head


TASKS: dict[str, Making] = {
    "monolingual": _teacher,
    "code-switch": _code_switched,
    "hybrid": _hybrid,
    "augment": _augmented,
}
