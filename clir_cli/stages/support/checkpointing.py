"""Training with checkpoints and a log, the same for every stage that trains.

Only the main one of several processes writes: lock, draft, log and checkpoints.
"""

import csv
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from clir_cli import files, runtime
from clir_cli.artifacts import store
from clir_cli.artifacts.store import Artifact
from clir_cli.errors import UserError
from clir_cli.foreign import reported
from clir_cli.optical.transport import missed_line
from clir_cli.retrieval import adapters, memory
from clir_cli.retrieval.centres import save_centres
from clir_cli.retrieval.checkpoints import write_text_format
from clir_cli.retrieval.encoder import Encoder
from clir_cli.retrieval.memory import Estimate
from clir_cli.retrieval.projection import save_projection
from clir_cli.retrieval.tensor_files import read_verified, save_verified
from clir_cli.settings import TrainingSettings
from clir_cli.stages.support.stopping import between_steps
from clir_cli.stages.support.workspace import Workspace
from clir_cli.training.fsdp import whole
from clir_cli.training.loop import MISSED, Step, Task, Training

CHECKPOINT = "checkpoint.safetensors"
BEST = "best.safetensors"
LOG = "training.csv"
SMALL_SHARE = 0.01  # of plans that did not converge, above which a student is worth a warning
COLUMNS = (  # and the held-out score
    "step", "epoch", "loss", "plan_entropy", "missed_plans", "learning_rate",
    "pairs_per_second", "held_out_loss",
)  # fmt: skip


@contextmanager
def made_together(workspace: Workspace, artifact: Artifact) -> Iterator[Path | None]:
    """Yield an artifact's draft in each process; only the main one enters ``store.make``.

    Raises:
        UserError: As ``store.make``; or there are more processes than examples in a batch, or they
            do not see one folder, or would make different artifacts.
    """
    group = workspace.group
    batch = workspace.settings.training.batch_size
    if group.size > batch:
        raise UserError(
            f"{group.size} processes share each batch and training.batch_size is {batch}; start "
            f"fewer (--nproc-per-node {batch}) or choose a larger batch"
        )
    if not group.is_main:
        is_made = group.broadcast("")
        if is_made:
            group.require_shared(artifact.draft)
            group.gather(artifact.fingerprint)
        yield artifact.draft if is_made else None
        group.broadcast("made")
        return
    with store.make(artifact, force=workspace.force, resume=True) as draft:
        group.broadcast("make" if draft else "")
        if draft is not None:
            group.require_shared(draft)
            for rank, fingerprint in enumerate(group.gather(artifact.fingerprint)):
                if fingerprint != artifact.fingerprint:
                    raise UserError(
                        f"process {rank} would make something else than process 0; all need the "
                        "same settings and the same downloads"
                    )
        yield draft
    group.broadcast("made")


def first_device(workspace: Workspace, device: torch.device) -> torch.device:
    """Return where a model is loaded: on the CPU if its weights are sharded over GPUs."""
    sharded = workspace.settings.training.shard and workspace.group.several
    return torch.device("cpu") if sharded else device


@dataclass(frozen=True)
class Prepared:
    """What a stage trains: an encoder, its task, and the memory that training needs.

    ``notes`` returns the stage's notes for the manifest once training has ended. ``adapted`` is
    True if the encoder has low-rank adapters. The first ``rows`` of its embedding table are saved;
    0 saves all.
    """

    encoder: Encoder
    task: Task
    notes: Callable[[], Mapping[str, Any]]
    memory: Estimate
    adapted: bool
    rows: int = 0


def make_trained(
    workspace: Workspace,
    artifact: Artifact,
    prepare: Callable[[torch.device, torch.dtype], Prepared],
    *,
    loop: TrainingSettings,
    seed: int,
    title: str,
) -> Path:
    """Train what ``prepare`` returns for a device and precision; return the artifact's folder.

    Nothing is trained if the artifact is current. The progress bar shows ``title``.

    Raises:
        UserError: As ``made_together`` and ``prepare``.
    """
    group = workspace.group
    with made_together(workspace, artifact) as draft:
        if draft is None:
            report = f"{artifact.path} is current"
        else:
            device = group.device(workspace.device)
            runtime.hush_libraries()
            prepared = prepare(device, runtime.choose_precision(loop.precision, device))
            encoder = prepared.encoder
            training = Training(encoder, prepared.task, loop, seed, group)
            training.parts = prepared.memory.parts
            with _out_of_memory(title, loop, device):
                best = _run(workspace, training, draft, title)
            plans, missed = training.plans, training.missed
            notes = {
                **prepared.notes(),
                "device": str(device),
                "precision": str(encoder.precision).removeprefix("torch."),
                "memory_estimate": memory.size(prepared.memory.total),
                **best,
                **({"plans": plans, "missed_plans": missed} if plans else {}),
                **({"processes": group.size} if group.several else {}),
                **({"parts_of_a_batch": training.parts} if training.parts > 1 else {}),
            }
            finished = training.finished()
            if group.is_main:
                _save_encoder(draft, finished, prepared)
                files.write_text(draft / "notes.json", json.dumps(notes, indent=1) + "\n")
            score = best[_column(training)]
            result = f"held-out {training.score} {score:.3f}, epoch {best['epoch']}"
            report = f"{artifact.path}: {result}"
            if plans:
                report += f"; {missed:,} of {plans:,} transport plans did not converge"
            if missed > SMALL_SHARE * plans:
                line = missed_line(missed, plans, workspace.settings.transport)
                report += f"\nwarning: {line}"
    workspace.talk.say(report)
    return artifact.path


def _run(workspace: Workspace, training: Training, draft: Path, title: str) -> dict[str, float]:
    """Train to the end, from a checkpoint if there is one; load the best epoch's weights.

    Returns:
        Number, held-out loss and score of the best epoch; number 0 without training.
    """
    if not training.total_steps:
        loss, score = training.validate()
        return {"epoch": 0, "held_out_loss": loss, _column(training): score}
    _restore(workspace, training, draft)
    if training.group.is_main:
        _train(workspace, training, draft, title)
    else:
        for step in training.run():
            _checkpoint(workspace, training, step, draft)
    training.group.broadcast("trained")
    weights, best = _read(draft / BEST)
    training.load_weights(weights)
    training.group.gather("read")  # the main process clears the draft next
    return {name: (int if name == "epoch" else float)(best[name]) for name in _noted(training)}


@contextmanager
def _out_of_memory(title: str, loop: TrainingSettings, device: torch.device) -> Iterator[None]:
    """Report that memory is used up in one line, with the setting to change."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not files.is_out_of_memory(error):
            raise
        remedy = "--set training.batch_size=auto computes each batch in parts, for the same student"
        if loop.halve:
            remedy = "try --set training.gradient_checkpointing=true, or training.lora_rank=16"
        raise UserError(f"{title}: out of memory on {device}; {remedy}") from None


def _column(training: Training) -> str:
    """Return the name of the held-out score in log and notes."""
    return f"held_out_{training.score.lower()}"


def _noted(training: Training) -> tuple[str, ...]:
    """Return what is noted of the best epoch."""
    return ("epoch", "held_out_loss", _column(training))


def _train(workspace: Workspace, training: Training, draft: Path, title: str) -> None:
    columns = (*COLUMNS, _column(training))
    rows = _logged(draft / LOG, training.step, columns) if (draft / LOG).is_file() else []
    files.remove(draft / LOG)
    speed = 0.0
    with (
        between_steps() as is_stopped,
        (draft / LOG).open("w", newline="", encoding="utf-8") as log,
        workspace.talk.progress(unit="steps") as progress,
    ):
        writer = csv.DictWriter(log, columns)
        writer.writeheader()
        writer.writerows(rows)
        bar = progress.add_task(title, total=training.total_steps, completed=training.step, note="")
        parts = 1
        for step in training.run():
            if training.parts > parts:
                parts = training.parts
                workspace.talk.say(
                    f"{title}: each batch is computed in {parts} parts, as memory allows; the "
                    "result's batch stays"
                )
            rate = step.pairs / step.seconds
            speed = rate if not speed else 0.95 * speed + 0.05 * rate
            writer.writerow(_row(training, step))
            metrics = "".join(
                f"  {name.replace('_', ' ')} {value:.2f}" for name, value in step.metrics.items()
            )
            note = f"epoch {step.epoch + 1}  loss {step.loss:.3f}{metrics}  {speed:.0f} pairs/s"
            progress.update(bar, completed=step.number, note=note)
            log.flush()
            _checkpoint(workspace, training, step, draft)
            if is_stopped():
                # Several processes may be asked after different steps: they save when it is due.
                if not training.group.several:
                    _save(training, step, draft)
                break


def _checkpoint(workspace: Workspace, training: Training, step: Step, draft: Path) -> None:
    """Save the best weights and a checkpoint if due; all processes gather sharded weights."""
    due = step.number % workspace.settings.training.checkpoint_steps == 0 or step.improved
    if due and (training.sharded or training.group.is_main):
        _save(training, step, draft)


def _save(training: Training, step: Step, draft: Path) -> None:
    best = whole(training.weights()) if step.improved else {}
    state = training.state()
    if training.group.is_main:
        if best:
            row = _row(training, step)
            notes = {name: str(row[name]) for name in _noted(training)}
            save_verified(draft / BEST, best, notes, _of(draft / BEST))
        save_verified(draft / CHECKPOINT, *state, _of(draft / CHECKPOINT))


def _restore(workspace: Workspace, training: Training, draft: Path) -> None:
    """Continue from a checkpoint, if there is one and it is whole, with the best weights."""
    group, say = training.group, workspace.talk.say
    is_whole = group.is_main and os.path.lexists(draft / CHECKPOINT)
    if is_whole:
        try:
            _, metadata = _read(draft / CHECKPOINT)
            if math.isfinite(float(metadata["best"])):
                _read(draft / BEST)
        except UserError as error:
            say(f"{error}; beginning again")
            for name in (CHECKPOINT, BEST):
                files.remove(draft / name)
            is_whole = False
    if group.broadcast(is_whole):
        try:
            training.restore(*_read(draft / CHECKPOINT))
        except ValueError as error:  # of a version that trained other tensors
            say(f"{draft / CHECKPOINT}: {error}; beginning again")
            return
        say(f"continuing from step {training.step} of {training.total_steps}")


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    return read_verified(path, _of(path))


def _of(path: Path) -> str:
    """Return what a file of a draft belongs to: its name, and the fingerprint of the draft."""
    return path.name + path.with_name(store.MARKER).read_text(encoding="utf-8")


def _row(training: Training, step: Step) -> dict[str, object]:
    return {
        "step": step.number,
        "epoch": step.epoch + 1,
        "loss": f"{step.loss:.6f}",
        "plan_entropy": f"{step.metrics.get('plan_entropy', math.nan):.4f}",
        "missed_plans": round(step.metrics[MISSED] * step.pairs) if MISSED in step.metrics else "",
        "learning_rate": f"{step.learning_rate:.3e}",
        "pairs_per_second": f"{step.pairs / step.seconds:.1f}",
        "held_out_loss": "" if step.held_out_loss is None else f"{step.held_out_loss:.6f}",
        _column(training): "" if step.held_out_score is None else f"{step.held_out_score:.6f}",
    }


def _logged(path: Path, upto: int, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of an interrupted log up to the step that training resumes from."""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = [row for row in csv.DictReader(stream) if (row["step"] or "").isdecimal()]
    except (OSError, ValueError, KeyError, csv.Error):  # missing or damaged: it is no input
        return []
    known = [row for row in rows if row.keys() <= set(columns) and None not in row.values()]
    return [row for row in known if int(row["step"]) <= upto]


def _save_encoder(draft: Path, encoder: Encoder, prepared: Prepared) -> None:
    """Write an encoder in the formats of transformers, then delete its checkpoints."""
    for path in draft.iterdir():  # of a run that was interrupted here, or of somebody else
        if path.name not in (store.MARKER, CHECKPOINT, BEST, LOG):
            files.remove(path)
    with reported(f"{draft}: the model cannot be written", "take another architecture"):
        encoder = adapters.merged(encoder) if prepared.adapted else encoder
        if prepared.rows:
            encoder.model.resize_token_embeddings(prepared.rows)
        encoder.model.save_pretrained(draft, safe_serialization=True)
        encoder.tokenizer.save_pretrained(draft)
    write_text_format(draft, encoder.text_format)
    if encoder.projection is not None:
        save_projection(draft, encoder.projection)
    if encoder.centres:
        save_centres(draft, encoder.centres)
    for name in (CHECKPOINT, BEST):  # only now: until here a full disk costs nothing
        (draft / name).unlink(missing_ok=True)
