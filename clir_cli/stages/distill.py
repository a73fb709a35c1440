"""distill: bitext and teacher to a student query encoder."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from clir_cli import runtime
from clir_cli.artifacts import Plan
from clir_cli.corpus import bitext as corpus
from clir_cli.corpus.bitext import Bitext
from clir_cli.corpus.records import Pair
from clir_cli.errors import UserError
from clir_cli.optical.distillation import Distillation, EncodedBitext
from clir_cli.optical.joint import JointDistillation
from clir_cli.optical.objectives import OBJECTIVES
from clir_cli.retrieval import memory, models
from clir_cli.retrieval.encoder import Encoder, Packed
from clir_cli.stages.support.checkpointing import first_device, leave, made_together, run_training
from clir_cli.stages.support.first_pass import first_pass_inputs
from clir_cli.stages.support.fitting import longest, require_training
from clir_cli.stages.support.inputs import bitext_inputs, initial_folder, teacher_folder
from clir_cli.stages.support.marginals import masses
from clir_cli.stages.support.methods import METHODS
from clir_cli.stages.support.recipes import student_command
from clir_cli.stages.support.starting_points import Start, student_to_train
from clir_cli.stages.support.teacher_embeddings import teacher_embeddings
from clir_cli.stages.support.workspace import Cell, Workspace, group_name
from clir_cli.training.loop import Training


def plan_student(workspace: Workspace, pair: Pair, cell: Cell) -> Plan:
    """Return what the student of a pair will be made from; of several pairs, if the cell is joint.

    Raises:
        UserError: An input has not been downloaded, or the method trains no student.
    """
    if not METHODS[cell.method].is_trained:
        if METHODS[cell.method].has_student:
            made_by = student_command(workspace, pair, cell)
            raise UserError(f"method {cell.method} is not distilled; make it with: {made_by}")
        trained = [name for name, each in METHODS.items() if each.is_trained]
        raise UserError(
            f"method {cell.method} trains no student; methods that do: {', '.join(trained)}"
        )
    settings = workspace.settings
    config = {
        "pair": group_name(pairs_of(pair, cell)),
        "method": cell.method,
        "seed": cell.seed,
        **{
            name: getattr(settings, name).model_dump(mode="json")
            for name in ("teacher", "student", "bitext", "transport", "objective", "training")
        },
    }
    if cell.joint:
        config["joint"] = settings.joint.model_dump(mode="json")
    # How often one saves, what one computes twice, and where, changes nothing that is saved.
    del config["training"]["checkpoint_steps"], config["training"]["gradient_checkpointing"]
    config["training"].pop("shard", None)
    if not config["training"]["lora_rank"]:  # a student without it is as those before there was any
        del config["training"]["lora_rank"]
    config["student"]["model"] = Path(settings.student.model).name  # by content, not by place
    config["teacher"]["model"] = Path(settings.teacher.model).name
    return Plan(
        path=workspace.student(pair, cell),
        kind="student",
        config=config,
        inputs={
            **_bitext_inputs(workspace, pair, cell),
            "teacher": models.model_digest(teacher_folder(workspace)),
            "initial student": models.model_digest(initial_folder(workspace, cell.only(pair))),
            **first_pass_inputs(workspace, pair, cell),
        },
        command=workspace.command("distill", *cell.words_for(pair)),
    )


def pairs_of(pair: Pair, cell: Cell) -> tuple[Pair, ...]:
    """Return the pairs that a student is trained on."""
    return cell.joint or (pair,)


def _bitext_inputs(workspace: Workspace, pair: Pair, cell: Cell) -> dict[str, str]:
    if not cell.joint:
        return bitext_inputs(workspace, pair)
    if workspace.settings.bitext.files:
        raise UserError("bitext.files belong to one pair; a joint student needs bitext.sources")
    return {
        f"{each} {name}": digest
        for each in cell.joint
        for name, digest in bitext_inputs(workspace, each).items()
    }


def distill(workspace: Workspace, pair: Pair, cell: Cell) -> Path:
    """Train the student of a pair and leave it as an artifact; return its folder.

    The folder is an ordinary transformers model and tokenizer, with ``training.csv`` beside it.
    A run that was cut goes on from its last checkpoint and ends in the same student.

    Raises:
        UserError: A missing input, a fault in the bitext, or a student that was made from
            something else.
    """
    plan, group = plan_student(workspace, pair, cell), workspace.group
    with made_together(workspace, plan) as draft:
        if draft is None:
            workspace.talk.say(f"{plan.path} is current")
            return plan.path
        device = group.device(workspace.device)
        runtime.hush_libraries()
        bitexts = {
            each: corpus.load_bitext(workspace.settings.bitext, each, workspace.downloads)
            for each in pairs_of(pair, cell)
        }
        rows = [row for bitext in bitexts.values() for row in bitext.train]
        _refuse_batch(workspace.settings.training.batch_size, len(rows))
        precision = runtime.choose_precision(workspace.settings.training.precision, device)
        folder = initial_folder(workspace, cell.only(pair))
        lengths = longest(folder, rows, workspace.settings.teacher.query_tokens)
        needed = require_training(workspace, folder, lengths, device, precision)
        for each, bitext in bitexts.items():
            _tell_bitext(workspace, each, bitext)
        teachers = {
            each: group.main_first(partial(teacher_embeddings, workspace, each, bitext, device))
            for each, bitext in bitexts.items()
        }
        runtime.seed_everything(cell.seed)
        place = first_device(workspace, device)
        learns, loop = METHODS[cell.method].learns, workspace.settings.training
        start = student_to_train(
            workspace,
            list(bitexts.values()),
            place,
            precision,
            cell.seed,
            cell.only(pair),
            folds=workspace.settings.student.folds if learns else 1,
        )
        student = replace(start.student, device=device)
        task = _task(workspace, replace(start, student=student), bitexts, teachers, cell)
        if not learns:
            loop = loop.model_copy(update={"epochs": 0})
        training = Training(student, task, loop, cell.seed, group)
        title = f"distill {group_name(pairs_of(pair, cell))} {cell.own_label}"
        best = run_training(workspace, training, draft, title)
        notes = {
            **_told_pairs(task, student, bitexts),
            "new_rows": start.new_rows,
            "device": str(device),
            "precision": str(student.precision).removeprefix("torch."),
            "memory_estimate": memory.size(needed.total),
            **best,
        }
        adapted = bool(workspace.settings.training.lora_rank)
        leave(training, draft, notes, adapted=adapted, rows=start.own_rows)
    workspace.talk.say(
        f"{plan.path}: held-out MRR {best['held_out_mrr']:.3f}, epoch {best['epoch']}"
    )
    return plan.path


def _tell_bitext(workspace: Workspace, pair: Pair, bitext: Bitext) -> None:
    counts = ", ".join(f"{name} {count:,}" for name, count in bitext.counts.items())
    held = f"{len(bitext.train):,} to train on, {len(bitext.held_out):,} held out"
    workspace.talk.say(f"{pair}: {held} ({counts})")
    for name, count in bitext.moved.items():
        workspace.talk.say(f"{pair}: {name}: {count:,} misaligned pairs were realigned")
    if bitext.skipped:
        faults = ", ".join(f"{what}: {count:,}" for what, count in bitext.skipped.items())
        workspace.talk.say(f"{pair}: bad lines skipped: {faults}")


def _refuse_batch(size: int, pairs: int) -> None:
    if size > pairs:
        raise UserError(
            f"training.batch_size is {size} and the bitext has {pairs} pairs; choose a smaller "
            "batch"
        )


def _task(
    workspace: Workspace,
    start: Start,
    bitexts: Mapping[Pair, Bitext],
    teachers: Mapping[Pair, tuple[Packed, Packed]],
    cell: Cell,
) -> Distillation | JointDistillation:
    settings, student = workspace.settings, start.student
    limit = settings.teacher.query_tokens
    # One that does not learn is judged as those that do.
    objective = OBJECTIVES[cell.method if METHODS[cell.method].learns else "ot"]
    found = {}
    for (pair, bitext), train in zip(bitexts.items(), start.ids, strict=True):
        held_out = student.tokenize([row.query for row in bitext.held_out], limit)
        weights = masses(workspace, bitext, train, student, start.own_rows)
        sides = list(map(EncodedBitext, (train, held_out), teachers[pair], weights))
        found[str(pair)] = Distillation(*sides, objective, settings, cell.seed)
    if not cell.joint:
        return next(iter(found.values()))
    return JointDistillation(found, settings.joint.temperature, cell.seed)


def _told_pairs(
    task: Distillation | JointDistillation, student: Encoder, bitexts: Mapping[Pair, Bitext]
) -> dict[str, Any]:
    """Return what the manifest tells of the bitexts; of each, where the student is of several."""
    each = {str(pair): _counts(bitext) for pair, bitext in bitexts.items()}
    if not isinstance(task, JointDistillation):
        return next(iter(each.values()))
    for name, (loss, mrr) in task.validate_each(student).items():
        quota = {"pairs_an_epoch": task.quotas[name]}
        each[name] |= {**quota, "held_out_loss": round(loss, 6), "held_out_mrr": round(mrr, 6)}
    total = {
        name: sum(counts[name] for counts in each.values())
        for name in ("train_pairs", "held_out_pairs")
    }
    return {**total, "pairs": each}


def _counts(bitext: Bitext) -> dict[str, Any]:
    return {
        "train_pairs": len(bitext.train),
        "held_out_pairs": len(bitext.held_out),
        "sources": bitext.counts,
        "skipped_lines": bitext.skipped,
        "realigned_pairs": bitext.moved,
    }
