"""train: the recipes of contrastive training, from data to a teacher or a student."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import cast

import torch

from clir_cli import runtime
from clir_cli.artifacts import graph
from clir_cli.artifacts.cell import group_name
from clir_cli.artifacts.spec import Ref
from clir_cli.corpus.bitext import Bitext
from clir_cli.corpus.codeswitch import CodeSwitcher
from clir_cli.corpus.records import Collection, Pair
from clir_cli.errors import UserError
from clir_cli.optical.joint import quotas
from clir_cli.retrieval import projection
from clir_cli.retrieval.checkpoints import TextKind, read_checkpoint
from clir_cli.retrieval.encoder import Encoder, Packed
from clir_cli.retrieval.loading import load_config
from clir_cli.retrieval.memory import Estimate
from clir_cli.settings import LateInteractionSettings, MonolingualSettings, TrainingSettings
from clir_cli.stages.support import training_data as data
from clir_cli.stages.support.augmentation import augmenting, texts_of
from clir_cli.stages.support.centring import centred_initial_teacher
from clir_cli.stages.support.checkpointing import Prepared, first_device, make_trained
from clir_cli.stages.support.fitting import longest, open_encoder_at, require_training
from clir_cli.stages.support.lexicons import english_lexicon, switching_pairs
from clir_cli.stages.support.methods import similarities
from clir_cli.stages.support.recipes import RECIPES
from clir_cli.stages.support.sources import load_bitext, training_collections
from clir_cli.stages.support.starting_points import initial_student, require_models
from clir_cli.stages.support.teacher_embeddings import document_embeddings
from clir_cli.stages.support.training_data import Split
from clir_cli.stages.support.used_models import initial_folder, teacher_folder
from clir_cli.stages.support.workspace import Workspace
from clir_cli.training.contrastive import Change, Contrastive, QuerySource, shares
from clir_cli.training.late_interaction import Counting, LateInteraction, Mining
from clir_cli.training.loop import Task

Notes = dict[str, object]
Made = tuple[Encoder, Task, Notes]
# What recipes need that weights in shards do not give them.
WHOLE = {
    "augment": "the whole embedding table",
    "late-interaction": "whole weights to encode a chunk again",
}


class TrainingJob:
    """One model to train by a recipe."""

    def __init__(self, workspace: Workspace, ref: Ref) -> None:
        self.workspace, self.ref, self.settings = workspace, ref, ref.settings
        self.recipe, self.seed = RECIPES[ref.cell.method], ref.cell.seed
        self.dropped: dict[str, int] = {}

    @property
    def loop(self) -> TrainingSettings:
        """Return the training loop's settings, with those that the recipe has of its own."""
        section = getattr(self.settings, self.recipe.section, None)
        own = ("epochs", "learning_rate", "batch_size")
        changes = {key: getattr(section, key) for key in own if hasattr(section, key)}
        return self.settings.training.model_copy(update=changes)

    @property
    def folder(self) -> Path:
        """Return the folder of the encoder to train, as it is before."""
        if self.recipe.leaves == "teacher":
            return teacher_folder(self.workspace)
        return initial_folder(self.workspace, self.ref.cell.only(self.ref.pair))

    @cached_property
    def bitexts(self) -> dict[Pair, Bitext]:
        """Return the bitexts by pair; empty if a teacher is trained on a collection."""
        return {pair: load_bitext(self.workspace, pair) for pair in self.ref.pairs}

    @cached_property
    def english(self) -> list[Collection]:
        """Return the collections to train on with their English queries."""
        return self.collections("en")

    def collections(self, language: str) -> list[Collection]:
        """Return the collections to train on with queries of a language; note what was dropped."""
        read = training_collections(self.workspace, language)
        self.dropped |= {f"{each.name} {language}": dropped for each, dropped in read if dropped}
        return [collection for collection, _ in read]


def train(workspace: Workspace, ref: Ref) -> Path:
    """Train a teacher, a student or an initial student by a recipe; return its folder.

    The folder is an ordinary transformers model and tokenizer, with ``training.csv`` beside it.
    An interrupted run resumes from its last checkpoint and ends in the same model.

    Raises:
        UserError: A missing input, a fault in the data, or a model that was made from something
            else.
    """
    job, artifact = TrainingJob(workspace, ref), graph.resolve(workspace, ref)
    if job.recipe.name in WHOLE and workspace.group.several and job.loop.shard:
        raise UserError(
            f"recipe {job.recipe.name} needs {WHOLE[job.recipe.name]}; start it without "
            "training.shard"
        )
    makes_teacher = job.recipe.leaves == "teacher"

    def prepare(device: torch.device, precision: torch.dtype) -> Prepared:
        if makes_teacher:
            load_config(read_checkpoint(job.folder).body)  # refused before data is read
        else:
            require_models(workspace, ref.cell.only(ref.pair))
        needed = _require_memory(job, device, precision)
        runtime.seed_everything(job.seed)
        encoder, task, notes = TASKS[job.recipe.name](job, device, precision)
        if job.dropped:
            notes["dropped_test_texts"] = job.dropped
            workspace.talk.say(f"left out, as in the collection that tests: {job.dropped}")
        adapted = bool(job.loop.lora_rank) and not makes_teacher
        return Prepared(replace(encoder, device=device), task, lambda: notes, needed, adapted)

    group = "en" if makes_teacher else group_name(ref.pairs)
    title = f"train {group} {ref.cell.own_label}"
    return make_trained(workspace, artifact, prepare, loop=job.loop, seed=job.seed, title=title)


def _require_memory(job: TrainingJob, device: torch.device, precision: torch.dtype) -> Estimate:
    """Return what training needs, or refuse; estimated from the longest sentences."""
    rows = [row for bitext in job.bitexts.values() for row in bitext.train]
    teacher, makes_teacher = job.settings.teacher, job.recipe.leaves == "teacher"
    english = [] if job.recipe.name == "augment" else job.english
    questions = (text for each in english for text in each.queries.get("en", {}).values())
    documents = (document.full_text for each in english for document in each.documents)
    queries = chain((row.english if makes_teacher else row.query for row in rows), questions)
    answers = chain((row.english for row in rows), documents)
    in_query = max(longest(job.folder, queries, teacher.query_tokens))
    in_answer = max(longest(teacher_folder(job.workspace), answers, teacher.document_tokens))
    # A teacher encodes both.
    lengths = [in_query + (in_answer if makes_teacher else 0)]
    section = getattr(job.settings, job.recipe.section, None)
    settings = job.settings.model_copy(update={"training": job.loop})
    return require_training(
        replace(job.workspace, settings=settings), job.folder, lengths, device, precision,
        chunk_tokens=getattr(section, "chunk_tokens", 0),
        similarities=similarities(settings, job.recipe.name, in_query, in_answer),
        predicted=job.settings.augment.share if job.recipe.name == "augment" else 0,
    )  # fmt: skip


# ------------------------------------------------------------------ data


def _questions(job: TrainingJob, language: str) -> list[Split]:
    most, held_out = job.settings.contrastive.queries, job.settings.bitext.held_out
    collections = job.english if language == "en" else job.collections(language)
    return [data.collection_questions(each, language, most, held_out) for each in collections]


def _english(job: TrainingJob) -> list[Split]:
    most = job.settings.contrastive.sentences
    return [*_questions(job, "en"), data.cloze_questions(list(job.bitexts.values()), most)]


def _with_embeddings(
    job: TrainingJob, split: Split, device: torch.device, changes: Sequence[Change] = ()
) -> Split:
    """Return a split with the teacher's embeddings of its documents, and with changed queries."""
    train, held_out = split
    name = f"{group_name(job.ref.pairs)} {train.name}".replace(" ", ".")
    documents = train.documents, held_out.documents
    embed = partial(document_embeddings, job.workspace, name, documents, device)
    embeddings = job.workspace.group.main_first(embed)

    def ready(source: QuerySource, packed: Packed) -> QuerySource:
        changed = [*source.changes, *changes]
        return replace(source, embeddings=packed, seed=job.seed, changes=changed)

    return ready(train, embeddings[0]), ready(held_out, embeddings[1])


# ------------------------------------------------------------------ the recipes


def _teacher(job: TrainingJob, device: torch.device, precision: torch.dtype) -> Made:
    section: MonolingualSettings = getattr(job.settings, job.recipe.section)
    load_device = first_device(job.workspace, device)
    encoder = open_encoder_at(job.workspace, job.folder, load_device, precision)
    dimensions = section.dimensions
    if dimensions and dimensions != encoder.dimensions:
        head = projection.orthogonal(encoder.hidden_size, dimensions, job.seed)
        encoder = replace(encoder, projection=head.to(load_device), centres={})
    encoder = centred_initial_teacher(job.workspace, encoder)
    most, splits = job.settings.contrastive.sentences, _questions(job, "en")
    if section.passages:
        names = [
            f"passages of {train.name}" if len(splits) > 1 else "passages" for train, _ in splits
        ]
        passages = [
            data.passage_questions(name, split, most)
            for name, split in zip(names, splits, strict=True)
        ]
        splits += [split for split in passages if all(len(part) for part in split)]
    if not splits:
        splits = [data.rest_questions(list(job.bitexts.values()), most, job.seed)]
    notes = {**_counts(splits), "dimensions": encoder.dimensions}
    task = _contrastive(job, splits, query_kind="query")
    if not isinstance(section, LateInteractionSettings):
        return encoder, task, notes
    given = {field.name: getattr(task, field.name) for field in fields(Contrastive)}
    mined = Mining(section.negatives, section.depth, section.bm25_epochs, section.alike)
    given["chunk_tokens"] = section.chunk_tokens
    mining = LateInteraction(
        **given, mining=mined, distillation=section.distillation, counting=_texts_counted(job)
    )
    mining.start(encoder)
    return encoder, mining, notes


def _texts_counted(job: TrainingJob) -> Counting:
    return partial(job.workspace.talk.counting, unit="texts")


def _code_switched(job: TrainingJob, device: torch.device, precision: torch.dtype) -> Made:
    share, workspace = job.settings.contrastive.share, job.workspace
    pairs = switching_pairs(job.settings, job.ref.pairs)
    lexicons = [english_lexicon(workspace, pair, job.bitexts.get(pair)) for pair in pairs]
    switch = CodeSwitcher(lexicons, share, job.seed)
    splits = _english(job)
    _refuse_batch(job, splits)
    encoder, new_rows = _student(job, device, precision)
    sources = [_with_embeddings(job, split, device, [switch]) for split in splits]
    coverage = switch.coverage(text for train, _ in splits for text in train.texts)
    workspace.talk.say(
        f"{group_name(job.ref.pairs)} {job.ref.cell.own_label}: {coverage:.0%} of the English "
        f"words have a translation, and {share:.0%} of those are switched"
    )
    notes = {
        **_counts(sources),
        "new_rows": new_rows,
        "coverage": round(coverage, 4),
        "share": share,
        "languages": [pair.query for pair in pairs],
        "english_words": [len(lexicon) for lexicon in lexicons],
    }
    return encoder, _contrastive(job, sources), notes


def _hybrid(job: TrainingJob, device: torch.device, precision: torch.dtype) -> Made:
    alpha, english = job.settings.contrastive.alpha, _english(job)
    # Queries of a pair's language: the bitext's sentences, a collection's questions.
    crossing = [
        [data.bitext_questions(f"bitext {pair}", bitext), *_questions(job, pair.query)]
        for pair, bitext in job.bitexts.items()
    ]
    _refuse_batch(job, english if alpha > 0 else [])
    _refuse_batch(job, [split for splits in crossing for split in splits] if alpha < 1 else [])
    encoder, new_rows = _student(job, device, precision)
    sources = [
        _with_embeddings(job, split, device) for splits in (english, *crossing) for split in splits
    ]
    sizes = [sum(len(train) for train, _ in splits) for splits in crossing]
    # Pairs have the shares that joint distillation gives them.
    drawn = quotas(sizes, job.settings.joint.temperature) if len(sizes) > 1 else sizes
    weights = shares([len(train) for train, _ in english], alpha)
    for splits, share in zip(crossing, shares(drawn, 1 - alpha), strict=True):
        weights += shares([len(train) for train, _ in splits], share)
    steps = -(-sum(sizes) // job.loop.batch_size)
    task = _contrastive(job, sources, weights=weights, steps=steps)
    probability = {
        train.name: round(weight, 4) for (train, _), weight in zip(sources, weights, strict=True)
    }
    return encoder, task, {**_counts(sources), "new_rows": new_rows, "probability": probability}


def _augmented(job: TrainingJob, device: torch.device, precision: torch.dtype) -> Made:
    texts = texts_of(job.settings, job.bitexts[job.ref.pair])
    encoder, new_rows = _student(job, device, precision)
    encoder, task, notes = augmenting(job.settings, encoder, new_rows, texts, job.seed)
    return encoder, cast(Task, task), notes  # the task of an encoder with a head


def _student(job: TrainingJob, device: torch.device, precision: torch.dtype) -> tuple[Encoder, int]:
    bitexts, load_device = list(job.bitexts.values()), first_device(job.workspace, device)
    return initial_student(job.workspace, bitexts, load_device, precision, job.ref)


TASKS: dict[str, Callable[[TrainingJob, torch.device, torch.dtype], Made]] = {
    "monolingual": _teacher,
    "late-interaction": _teacher,
    "code-switch": _code_switched,
    "hybrid": _hybrid,
    "augment": _augmented,
}


# ------------------------------------------------------------------ what they share


def _contrastive(
    job: TrainingJob,
    sources: Sequence[Split],
    *,
    query_kind: TextKind = "sentence",
    weights: Sequence[float] = (),
    steps: int = 0,
) -> Contrastive:
    """Return the task over sources; UserError if a batch is larger than a source."""
    settings, teacher = job.settings.contrastive, job.settings.teacher
    if weights:
        sources = [split for split, weight in zip(sources, weights, strict=True) if weight > 0]
    _refuse_batch(job, sources)
    return Contrastive(
        train=[train for train, _ in sources],
        held_out=[held_out for _, held_out in sources],
        query_kind=query_kind,
        query_tokens=teacher.query_tokens,
        document_tokens=teacher.document_tokens,
        batch_size=job.loop.batch_size,
        temperature=settings.temperature,
        negatives=settings.negatives,
        seed=job.seed,
        weights=[weight for weight in weights if weight > 0],
        steps=steps,
    )


def _refuse_batch(job: TrainingJob, splits: Sequence[Split]) -> None:
    """Refuse a batch that is larger than a source, before the teacher encodes the source."""
    size, section = job.loop.batch_size, job.recipe.section
    own = hasattr(getattr(job.settings, section, None), "batch_size")
    name = f"{section if own else 'training'}.batch_size"
    if size < 2:
        raise UserError(f"{name} is 1; contrastive training needs 2 or more")
    for train, _ in splits:
        if size > len(train):
            raise UserError(
                f"{name} is {size} and {train.name} has {len(train)} queries; choose "
                "a smaller batch"
            )


def _counts(sources: Sequence[Split]) -> Notes:
    return {
        "train_queries": {train.name: len(train) for train, _ in sources},
        "held_out_queries": {held_out.name: len(held_out) for _, held_out in sources},
    }
