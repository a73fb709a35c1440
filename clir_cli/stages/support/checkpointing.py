"""Training with checkpoints and a log, the same for every stage that trains.

Where several processes train together the main one alone writes: lock, draft, log and checkpoints.
"""

import csv
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from clir_cli import files
from clir_cli.artifacts import store
from clir_cli.artifacts.store import Artifact
from clir_cli.errors import UserError
from clir_cli.retrieval import adapters
from clir_cli.retrieval.checkpoints import write_text_format
from clir_cli.retrieval.encoder import Encoder
from clir_cli.retrieval.projection import save_projection
from clir_cli.retrieval.tensor_files import read_tensors
from clir_cli.stages.support.workspace import Workspace
from clir_cli.training.fsdp import whole
from clir_cli.training.loop import Step, Training

CHECKPOINT = "checkpoint.safetensors"
BEST = "best.safetensors"
LOG = "training.csv"
COLUMNS = (
    "step", "epoch", "loss", "plan_entropy", "learning_rate", "pairs_per_second",
    "held_out_loss", "held_out_mrr",
)  # fmt: skip


@contextmanager
def made_together(workspace: Workspace, artifact: Artifact) -> Iterator[Path | None]:
    """Yield an artifact's draft as ``store.make`` does, which the main process alone enters.

    The others see the same folder, and leave when the artifact is made.

    Raises:
        UserError: As ``store.make``; or there are more processes than a batch has examples, or
            they do not see one folder, or would make different things.
    """
    group = workspace.group
    batch = workspace.settings.training.batch_size
    if group.size > batch:
        raise UserError(
            f"{group.size} processes share each batch and training.batch_size is {batch}; start "
            f"fewer (--nproc-per-node {batch}) or choose a larger batch"
        )
    if not group.is_main:
        wanted = group.broadcast("")
        if wanted:
            group.require_shared(artifact.draft)
            group.gather(artifact.fingerprint)
        yield artifact.draft if wanted else None
        group.broadcast("made")
        return
    with store.make(artifact, force=workspace.force, resume=True) as draft:
        group.broadcast("wanted" if draft else "")
        if draft is not None:
            group.require_shared(draft)
            for rank, found in enumerate(group.gather(artifact.fingerprint)):
                if found != artifact.fingerprint:
                    raise UserError(
                        f"process {rank} would make something else than process 0; all need the "
                        "same settings and the same downloads"
                    )
        yield draft
    group.broadcast("made")


def first_device(workspace: Workspace, device: torch.device) -> torch.device:
    """Return where a model is loaded: on the CPU, where no GPU is to hold the whole of it."""
    sharded = workspace.settings.training.shard and workspace.group.several
    return torch.device("cpu") if sharded else device


def run_training(
    workspace: Workspace, training: Training, draft: Path, title: str
) -> dict[str, float]:
    """Train to the end, from a checkpoint if there is one; leave the best epoch's weights.

    Args:
        workspace: How often to save, and how to tell of progress.
        training: The encoder in training; it ends with the weights of its best epoch.
        draft: Where checkpoints and the log (``training.csv``) are kept.
        title: What the progress is called.

    Returns:
        Number, held-out loss and held-out MRR of the best epoch; of number 0 where nothing is to be
        learnt.
    """
    if not training.total_steps:
        loss, mrr = training.validate()
        return {"epoch": 0, "held_out_loss": loss, "held_out_mrr": mrr}
    _restore(workspace, training, draft / CHECKPOINT)
    if training.group.is_main:
        _train(workspace, training, draft, title)
    else:
        for step in training.run():
            _keep(workspace, training, step, draft)
    training.group.broadcast("trained")
    training.load_weights(read_tensors(draft / BEST)[0])
    best = _best_epoch(draft / LOG)
    training.group.gather("read")  # the main process clears the draft next
    return best


def _train(workspace: Workspace, training: Training, draft: Path, title: str) -> None:
    """Train to the end, with a log and with progress."""
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
            told = "".join(
                f"  {name.replace('_', ' ')} {v:.2f}" for name, v in step.metrics.items()
            )
            note = f"{speed:.0f} pairs/s  loss {step.loss:.3f}{told}"
            progress.update(bar, completed=step.number, note=note)
            log.flush()
            _keep(workspace, training, step, draft)


def _keep(workspace: Workspace, training: Training, step: Step, draft: Path) -> None:
    """Save the best weights and a checkpoint where the step wants it.

    Sharded weights are brought together by all processes; the main one writes them.
    """
    due = step.number % workspace.settings.training.checkpoint_steps == 0 or step.improved
    if not due or not (training.sharded or training.group.is_main):
        return
    best = whole(training.weights()) if step.improved else {}
    state = training.state()
    if training.group.is_main:
        if best:
            _save_tensors(best, path=draft / BEST)
        _save_tensors(*state, path=draft / CHECKPOINT)


def _restore(workspace: Workspace, training: Training, path: Path) -> None:
    """Continue from a checkpoint, if there is one and the main process can read it."""
    group = training.group
    if not group.broadcast(group.is_main and _readable(workspace, path)):
        return
    training.restore(*read_tensors(path))
    workspace.talk.say(f"continuing from step {training.step} of {training.total_steps}")


def _readable(workspace: Workspace, path: Path) -> bool:
    if not path.exists():
        return False
    try:
        read_tensors(path)
    except (SafetensorError, OSError) as error:
        workspace.talk.say(f"{path}: damaged ({error}); beginning again")
        path.unlink()
        return False
    return True


def _row(step: Step) -> dict[str, object]:
    return {
        "step": step.number,
        "epoch": step.epoch + 1,
        "loss": f"{step.loss:.6f}",
        "plan_entropy": f"{step.metrics.get('plan_entropy', math.nan):.4f}",
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


def leave(
    training: Training, draft: Path, notes: Mapping[str, Any], *, adapted: bool, rows: int = 0
) -> None:
    """Write the trained encoder and what the manifest is to tell; the main process does.

    Args:
        training: It has come to its end.
        draft: The folder of the artifact.
        notes: What to tell; how many processes there were is added where there were several.
        adapted: Whether the encoder has low-rank adapters.
        rows: What is kept of its embedding table, the first so many rows; 0 keeps all.
    """
    group = training.group
    encoder = training.finished()
    if not group.is_main:
        return
    save_encoder(draft, encoder, adapted=adapted, rows=rows)
    told = {**notes, **({"processes": group.size} if group.several else {})}
    files.write_text(draft / "notes.json", json.dumps(told, indent=1) + "\n")


def save_encoder(draft: Path, student: Encoder, *, adapted: bool, rows: int = 0) -> None:
    """Write an encoder in the formats of transformers; its checkpoints go only then."""
    student = adapters.merged(student) if adapted else student
    if rows:
        student.model.resize_token_embeddings(rows)
    student.model.save_pretrained(draft, safe_serialization=True)
    student.tokenizer.save_pretrained(draft)
    write_text_format(draft, student.text_format)
    if student.projection is not None:
        save_projection(draft, student.projection)
    for name in (CHECKPOINT, BEST):  # only now: until here a full disk costs nothing
        (draft / name).unlink(missing_ok=True)
