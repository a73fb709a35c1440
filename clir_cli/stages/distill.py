"""distill: bitext and teacher to a student query encoder."""

import json
from dataclasses import replace
from pathlib import Path

import torch

from clir_cli import artifacts, files, runtime
from clir_cli.artifacts import Plan
from clir_cli.corpus import bitext as corpus
from clir_cli.corpus.bitext import Bitext
from clir_cli.corpus.records import Pair
from clir_cli.errors import UserError
from clir_cli.optical.distillation import Distillation, Parallel
from clir_cli.optical.objectives import OBJECTIVES
from clir_cli.optical.training import Training
from clir_cli.optical.vocabulary import extend_vocabulary, induce_lexicon
from clir_cli.retrieval import adapters, memory, models
from clir_cli.retrieval.encoder import Encoder, Packed
from clir_cli.stages.fitting import longest, require_training
from clir_cli.stages.inputs import bitext_inputs, initial_folder, teacher_folder
from clir_cli.stages.methods import METHODS
from clir_cli.stages.students import initial_encoder
from clir_cli.stages.teacher import teacher_embeddings
from clir_cli.stages.trained import run_training, save_encoder
from clir_cli.stages.workspace import Cell, Workspace


def plan_student(workspace: Workspace, pair: Pair, cell: Cell) -> Plan:
    """Return what the student of a pair will be made from.

    Raises:
        UserError: An input has not been downloaded, or the method trains no student.
    """
    if not METHODS[cell.method].is_trained:
        trained = [name for name, each in METHODS.items() if each.is_trained]
        raise UserError(
            f"method {cell.method} trains no student; methods that do: {', '.join(trained)}"
        )
    settings = workspace.settings
    words = [f"--lang {pair}", *cell.words]
    config = {
        "pair": str(pair),
        "method": cell.method,
        "seed": cell.seed,
        **{
            name: getattr(settings, name).model_dump(mode="json")
            for name in ("teacher", "student", "bitext", "transport", "objective", "training")
        },
    }
    # How often one saves, and what one computes twice, changes nothing that is saved.
    del config["training"]["checkpoint_steps"], config["training"]["gradient_checkpointing"]
    if not config["training"]["lora_rank"]:  # a student without it is as those before there was any
        del config["training"]["lora_rank"]
    config["student"]["model"] = Path(settings.student.model).name  # by content, not by place
    config["teacher"]["model"] = Path(settings.teacher.model).name
    return Plan(
        path=workspace.student(pair, cell),
        kind="student",
        config=config,
        inputs={
            **bitext_inputs(workspace, pair),
            "teacher": models.model_digest(teacher_folder(workspace)),
            "initial student": models.model_digest(initial_folder(workspace)),
        },
        command=workspace.command("distill", *words),
    )


def distill(workspace: Workspace, pair: Pair, cell: Cell) -> Path:
    """Train the student of a pair and leave it as an artifact; return its folder.

    The folder is an ordinary transformers model and tokenizer, with ``training.csv`` beside it.
    A run that was cut goes on from its last checkpoint and ends in the same student.

    Raises:
        UserError: A missing input, a fault in the bitext, or a student that was made from
            something else.
    """
    plan = plan_student(workspace, pair, cell)
    with artifacts.make(plan, force=workspace.force, resume=True) as draft:
        if draft is None:
            workspace.talk.say(f"{plan.path} is current")
            return plan.path
        device = runtime.choose_device(workspace.device)
        runtime.hush_libraries()
        bitext = corpus.load_bitext(workspace.settings.bitext, pair, workspace.downloads)
        _tell_bitext(workspace, pair, bitext)
        _refuse_batch(workspace.settings.training.batch_size, len(bitext.train))
        precision = runtime.choose_precision(workspace.settings.training.precision, device)
        folder = initial_folder(workspace)
        lengths = longest(folder, bitext.train, workspace.settings.teacher.query_tokens)
        needed = require_training(workspace, folder, lengths, device, precision)
        teacher = teacher_embeddings(workspace, pair, bitext, device)
        runtime.seed_everything(cell.seed)
        student, new_rows = _initial_student(workspace, bitext, device, precision, cell.seed)
        training = _training(workspace, student, bitext, teacher, cell)
        best = run_training(workspace, training, draft, f"distill {pair} {cell.label}")
        save_encoder(draft, student, adapted=bool(workspace.settings.training.lora_rank))
        notes = {
            "train_pairs": len(bitext.train),
            "held_out_pairs": len(bitext.held_out),
            "sources": bitext.counts,
            "skipped_lines": bitext.skipped,
            "realigned_pairs": bitext.moved,
            "new_rows": new_rows,
            "device": str(device),
            "precision": str(student.precision).removeprefix("torch."),
            "memory_estimate": memory.size(needed.total),
            **best,
        }
        files.write_text(draft / "notes.json", json.dumps(notes, indent=1) + "\n")
    workspace.talk.say(
        f"{plan.path}: held-out MRR {best['held_out_mrr']:.3f}, epoch {best['epoch']}"
    )
    return plan.path


def _tell_bitext(workspace: Workspace, pair: Pair, bitext: Bitext) -> None:
    counts = ", ".join(f"{name} {count:,}" for name, count in bitext.counts.items())
    held = f"{len(bitext.train):,} to train on, {len(bitext.held_out):,} held out"
    workspace.talk.say(f"{pair}: {held} ({counts})")
    for name, count in bitext.moved.items():
        workspace.talk.say(f"{pair}: {name} had slipped; {count:,} pairs were put right")
    if bitext.skipped:
        faults = ", ".join(f"{what}: {count:,}" for what, count in bitext.skipped.items())
        workspace.talk.say(f"{pair}: bad lines left out: {faults}")


def _refuse_batch(size: int, pairs: int) -> None:
    if size > pairs:
        raise UserError(
            f"training.batch_size is {size} and the bitext has {pairs} pairs; choose a smaller "
            "batch"
        )


def _initial_student(
    workspace: Workspace,
    bitext: Bitext,
    device: torch.device,
    precision: torch.dtype,
    seed: int,
) -> tuple[Encoder, int]:
    settings = workspace.settings
    student = initial_encoder(workspace, device, precision, seed)
    words: list[str] = []
    if settings.student.vocabulary == "extended":
        lexicon = induce_lexicon(
            bitext.train,
            student.tokenizer,
            min_count=settings.student.min_count,
            neighbours=settings.student.neighbours,
        )
        tokenizer = extend_vocabulary(student.tokenizer, student.model, lexicon)
        student, words = replace(student, tokenizer=tokenizer), lexicon.words
        workspace.talk.say(f"vocabulary: {len(words):,} words of the bitext get a row")
    if settings.training.lora_rank:
        rows = student.tokenizer.convert_tokens_to_ids(words) if words else []
        student = adapters.with_adapters(student, settings.training.lora_rank, rows)
    return student, len(words)


def _training(
    workspace: Workspace,
    student: Encoder,
    bitext: Bitext,
    teacher: tuple[Packed, Packed],
    cell: Cell,
) -> Training:
    settings = workspace.settings
    parts = []
    for rows, embeddings in zip((bitext.train, bitext.held_out), teacher, strict=True):
        ids = student.tokenize([row.query for row in rows], settings.teacher.query_tokens)
        parts.append(Parallel(ids, embeddings))
    task = Distillation(*parts, OBJECTIVES[cell.method], settings, cell.seed)
    return Training(student, task, settings.training, cell.seed)
