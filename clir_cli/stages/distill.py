"""distill: bitext and teacher to a student query encoder."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from clir_cli import artifacts, files, runtime
from clir_cli.artifacts import Plan
from clir_cli.corpus import bitext as corpus
from clir_cli.corpus.bitext import Bitext
from clir_cli.corpus.records import Pair
from clir_cli.errors import UserError
from clir_cli.optical.objectives import OBJECTIVES
from clir_cli.optical.training import Parallel, Step, Training
from clir_cli.optical.vocabulary import extend_vocabulary, induce_lexicon
from clir_cli.retrieval import adapters, memory, models
from clir_cli.retrieval.checkpoints import write_recipe
from clir_cli.retrieval.encoder import Encoder, Packed
from clir_cli.retrieval.projection import save_projection
from clir_cli.retrieval.tensors import read_tensors
from clir_cli.stages.fitting import longest, require_training
from clir_cli.stages.inputs import bitext_inputs, initial_folder, teacher_folder
from clir_cli.stages.methods import METHODS
from clir_cli.stages.students import initial_encoder
from clir_cli.stages.teacher import teacher_embeddings
from clir_cli.stages.workspace import Cell, Workspace

CHECKPOINT = "checkpoint.safetensors"
BEST = "best.safetensors"
LOG = "training.csv"
COLUMNS = (
    "step", "epoch", "loss", "plan_entropy", "learning_rate", "pairs_per_second",
    "held_out_loss", "held_out_mrr",
)  # fmt: skip


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
        best = _run(workspace, training, draft, f"distill {pair} {cell.label}")
        _save(draft, student, adapted=bool(workspace.settings.training.lora_rank))
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
    return Training(
        student,
        *parts,
        OBJECTIVES[cell.method],
        settings,
        cell.seed,
    )


def _run(workspace: Workspace, training: Training, draft: Path, title: str) -> dict[str, float]:
    """Train to the end, with checkpoints, and leave the best epoch's weights in the student."""
    _restore(workspace, training, draft / CHECKPOINT)
    every = workspace.settings.training.checkpoint_steps
    rows = _logged(draft / LOG, training.step)
    speed = 0.0
    with (
        (draft / LOG).open("w", newline="", encoding="utf-8") as log,
        workspace.talk.progress(unit="steps") as progress,
    ):
        writer = csv.DictWriter(log, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
        bar = progress.add_task(title, total=training.total_steps, completed=training.step, note="")
        for step in training.run():
            rate = step.pairs / step.seconds
            speed = rate if not speed else 0.95 * speed + 0.05 * rate
            writer.writerow(_row(step))
            entropy = step.told.get("plan_entropy", math.nan)
            note = f"{speed:.0f} pairs/s  loss {step.loss:.3f}  plan entropy {entropy:.2f}"
            progress.update(bar, completed=step.number, note=note)
            if step.improved:
                _save_tensors(training.weights(), path=draft / BEST)
            if step.number % every == 0 or step.improved:
                log.flush()
                _save_tensors(*training.state(), path=draft / CHECKPOINT)
    training.load_weights(read_tensors(draft / BEST)[0])
    return _best_epoch(draft / LOG)


def _restore(workspace: Workspace, training: Training, path: Path) -> None:
    if not path.exists():
        return
    try:
        tensors, words = read_tensors(path)
    except (SafetensorError, OSError) as error:
        workspace.talk.say(f"{path}: damaged ({error}); beginning again")
        path.unlink()
        return
    training.restore(tensors, words)
    workspace.talk.say(f"continuing from step {training.step} of {training.total_steps}")


def _row(step: Step) -> dict[str, object]:
    return {
        "step": step.number,
        "epoch": step.epoch + 1,
        "loss": f"{step.loss:.6f}",
        "plan_entropy": f"{step.told.get('plan_entropy', math.nan):.4f}",
        "learning_rate": f"{step.learning_rate:.3e}",
        "pairs_per_second": f"{step.pairs / step.seconds:.1f}",
        "held_out_loss": "" if step.held_out_loss is None else f"{step.held_out_loss:.6f}",
        "held_out_mrr": "" if step.held_out_mrr is None else f"{step.held_out_mrr:.6f}",
    }


def _logged(path: Path, upto: int) -> list[dict[str, str]]:
    """Return the rows of a cut log up to the checkpoint that the run goes on from."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if (row["step"] or "").isdigit()]
    return [row for row in rows if int(row["step"]) <= upto and None not in row.values()]


def _best_epoch(path: Path) -> dict[str, float]:
    rows = [row for row in _logged(path, upto=1 << 60) if row["held_out_loss"]]
    best = min(rows, key=lambda row: float(row["held_out_loss"]))
    return {
        "epoch": int(best["epoch"]),
        "held_out_loss": float(best["held_out_loss"]),
        "held_out_mrr": float(best["held_out_mrr"]),
    }


def _save_tensors(
    tensors: dict[str, torch.Tensor], words: dict[str, str] | None = None, *, path: Path
) -> None:
    temporary = path.with_suffix(".tmp")
    save_file(tensors, temporary, metadata=words)
    temporary.replace(path)


def _save(draft: Path, student: Encoder, *, adapted: bool) -> None:
    student = adapters.merged(student) if adapted else student
    student.model.save_pretrained(draft, safe_serialization=True)
    student.tokenizer.save_pretrained(draft)
    write_recipe(draft, student.recipe)
    if student.projection is not None:
        save_projection(draft, student.projection)
    for name in (CHECKPOINT, BEST):  # only now: until here a full disk costs nothing
        (draft / name).unlink(missing_ok=True)
