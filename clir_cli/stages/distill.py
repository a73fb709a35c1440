"""distill: bitext and teacher to a student query encoder."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from clir_cli import runtime
from clir_cli.artifacts import graph
from clir_cli.artifacts.cell import group_name
from clir_cli.artifacts.spec import Ref
from clir_cli.corpus import catalogue
from clir_cli.corpus.bitext import Bitext
from clir_cli.corpus.records import Pair
from clir_cli.errors import UserError
from clir_cli.optical.anchor import English
from clir_cli.optical.distillation import Distillation, EncodedBitext
from clir_cli.optical.joint import JointDistillation
from clir_cli.optical.objectives import OBJECTIVES
from clir_cli.retrieval.encoder import Encoder, Packed
from clir_cli.stages.support.bitext_marginals import Student, masses
from clir_cli.stages.support.checkpointing import Prepared, first_device, make_trained
from clir_cli.stages.support.english_sides import english_sides
from clir_cli.stages.support.fitting import longest, require_training
from clir_cli.stages.support.lengths import cut_sentences, limit_of
from clir_cli.stages.support.methods import METHODS, similarities
from clir_cli.stages.support.sources import load_bitext
from clir_cli.stages.support.starting_points import Start, require_models, student_to_train
from clir_cli.stages.support.teacher_embeddings import teacher_embeddings
from clir_cli.stages.support.used_models import initial_folder
from clir_cli.stages.support.workspace import Workspace


def distill(workspace: Workspace, ref: Ref) -> Path:
    """Train the student of a pair, or of several, and return its folder.

    The folder is an ordinary transformers model and tokenizer, with ``training.csv`` beside it.
    An interrupted run resumes from its last checkpoint and ends in the same student.

    Raises:
        UserError: A missing input, a fault in the bitext, or a student that was made from
            something else.
    """
    settings, group, cell = workspace.settings, workspace.group, ref.cell
    trains, loop = METHODS[cell.method].learns, settings.training

    def prepare(device: torch.device, precision: torch.dtype) -> Prepared:
        require_models(workspace, cell.only(ref.pair))
        bitexts = {pair: load_bitext(workspace, pair) for pair in ref.pairs}
        rows = [row for bitext in bitexts.values() for row in bitext.train]
        if loop.batch_size > len(rows):
            raise UserError(
                f"training.batch_size is {loop.batch_size} and the bitext has {len(rows)} pairs; "
                "choose a smaller batch"
            )
        folder = initial_folder(workspace, cell.only(ref.pair))
        lengths = longest(folder, (row.query for row in rows), settings.teacher.bitext_tokens)
        needed = require_training(
            workspace, folder, lengths, device, precision,
            sides=2 if settings.objective.anchor else 1,
            similarities=similarities(settings, cell.method, max(lengths), max(lengths)),
        )  # fmt: skip
        for pair, bitext in bitexts.items():
            _report_bitext(workspace, pair, bitext)
        seed = None if cell.joint else cell.seed
        teachers = {
            pair: group.main_first(
                partial(teacher_embeddings, workspace, pair, bitext, device, seed)
            )
            for pair, bitext in bitexts.items()
        }
        runtime.seed_everything(cell.seed)
        start = student_to_train(
            workspace,
            list(bitexts.values()),
            first_device(workspace, device),
            precision,
            ref,
            folds=settings.student.folds if trains else 1,
        )
        limit_of(workspace, start.student, "bitext_tokens", "sentence")
        cut = _report_cut(workspace, start, bitexts, teachers)
        start = replace(start, student=replace(start.student, device=device))
        task = _task(workspace, ref, start, bitexts, teachers)
        return Prepared(
            encoder=start.student,
            task=task,
            notes=lambda: {
                **_pair_notes(task, start.student, bitexts, cut),
                "new_rows": start.new_rows,
            },
            memory=needed,
            adapted=bool(loop.lora_rank),
            rows=start.own_rows,
        )

    return make_trained(
        workspace,
        graph.resolve(workspace, ref),
        prepare,
        loop=loop if trains else loop.model_copy(update={"epochs": 0}),
        seed=cell.seed,
        title=f"distill {group_name(ref.pairs)} {cell.own_label}",
    )


def _machine_translated(bitext: Bitext) -> list[str]:
    """Return the sources of a bitext whose query side a machine wrote."""
    known = catalogue.sources("bitext")
    return [name for name in bitext.counts if name in known and known[name].machine_translated]


def _report_bitext(workspace: Workspace, pair: Pair, bitext: Bitext) -> None:
    counts = ", ".join(f"{name} {count:,}" for name, count in bitext.counts.items())
    held = f"{len(bitext.train):,} to train on, {len(bitext.held_out):,} held out"
    workspace.talk.say(f"{pair}: {held} ({counts})")
    for name in _machine_translated(bitext):
        workspace.talk.say(f"{pair}: {name}: machine-translated")
    for name, count in bitext.moved.items():
        workspace.talk.say(f"{pair}: {name}: {count:,} misaligned pairs were realigned")
    if bitext.skipped:
        faults = ", ".join(f"{what}: {count:,}" for what, count in bitext.skipped.items())
        workspace.talk.say(f"{pair}: lines left out: {faults}")


def _report_cut(
    workspace: Workspace,
    start: Start,
    bitexts: Mapping[Pair, Bitext],
    teachers: Mapping[Pair, tuple[Packed, Packed]],
) -> dict[str, dict[str, int]]:
    """Report how many sentences to train on are cut; return their numbers by pair and side."""
    limit, found = workspace.settings.teacher.bitext_tokens, {}
    for (pair, bitext), ids in zip(bitexts.items(), start.ids, strict=True):
        cut = cut_sentences(workspace, bitext, (start.student, ids), teachers[pair][0])
        if cut:
            found[str(pair)] = cut
            sides = {"query": f"sentences in {pair.query}", "english": "translations"}
            listed = " and ".join(f"{count:,} {sides[side]}" for side, count in cut.items())
            workspace.talk.say(
                f"{pair}: {listed} of {len(bitext.train):,} were cut at {limit} tokens "
                "(teacher.sentence_tokens)"
            )
    return found


def _task(
    workspace: Workspace,
    ref: Ref,
    start: Start,
    bitexts: Mapping[Pair, Bitext],
    teachers: Mapping[Pair, tuple[Packed, Packed]],
) -> Distillation | JointDistillation:
    settings, student, cell = workspace.settings, start.student, ref.cell
    limit = settings.teacher.bitext_tokens
    # A student that is not trained has its held-out loss under the objective of ot.
    objective = OBJECTIVES[cell.method if METHODS[cell.method].learns else "ot"]
    tasks = {}
    for (pair, bitext), train in zip(bitexts.items(), start.ids, strict=True):
        held_out = student.token_ids([row.query for row in bitext.held_out], limit)
        read = Student(student, train, start.own_rows)
        weights = masses(workspace, ref, bitext, read, teachers[pair])
        english: tuple[English | None, English | None] = (None, None)
        if METHODS[cell.method].learns:
            english = english_sides(workspace, bitext, student, teachers[pair])
        sides = map(EncodedBitext, (train, held_out), teachers[pair], weights, english)
        tasks[str(pair)] = Distillation(next(sides), next(sides), objective, settings, cell.seed)
    if not cell.joint:
        return next(iter(tasks.values()))
    return JointDistillation(tasks, settings.joint.temperature, cell.seed)


def _pair_notes(
    task: Distillation | JointDistillation,
    student: Encoder,
    bitexts: Mapping[Pair, Bitext],
    cut: Mapping[str, Mapping[str, int]],
) -> dict[str, Any]:
    counts: dict[str, dict[str, Any]] = {
        str(pair): {
            "train_pairs": len(bitext.train),
            "held_out_pairs": len(bitext.held_out),
            "sources": bitext.counts,
            "machine_translated": _machine_translated(bitext),
            "skipped_lines": bitext.skipped,
            "realigned_pairs": bitext.moved,
            **({"cut_sentences": cut[str(pair)]} if str(pair) in cut else {}),
        }
        for pair, bitext in bitexts.items()
    }
    if not isinstance(task, JointDistillation):
        return next(iter(counts.values()))
    for name, (loss, mrr) in task.validate_each(student).items():
        counts[name] |= {
            "pairs_an_epoch": task.quotas[name],
            "held_out_loss": round(loss, 6),
            "held_out_mrr": round(mrr, 6),
        }
    total = {
        name: sum(notes[name] for notes in counts.values())
        for name in ("train_pairs", "held_out_pairs")
    }
    return {**total, "pairs": counts}
