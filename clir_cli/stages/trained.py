"""Training with checkpoints and a log, the same for every stage that trains."""

import csv
import math
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from clir_cli.optical.training import Step, Training
from clir_cli.retrieval import adapters
from clir_cli.retrieval.checkpoints import write_recipe
from clir_cli.retrieval.encoder import Encoder
from clir_cli.retrieval.projection import save_projection
from clir_cli.retrieval.tensors import read_tensors
from clir_cli.stages.workspace import Workspace

CHECKPOINT = "checkpoint.safetensors"
BEST = "best.safetensors"
LOG = "training.csv"
COLUMNS = (
    "step", "epoch", "loss", "plan_entropy", "learning_rate", "pairs_per_second",
    "held_out_loss", "held_out_mrr",
)  # fmt: skip


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
        Number, held-out loss and held-out MRR of the best epoch.
    """
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
            told = "".join(f"  {name.replace('_', ' ')} {v:.2f}" for name, v in step.told.items())
            note = f"{speed:.0f} pairs/s  loss {step.loss:.3f}{told}"
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


def save_encoder(draft: Path, student: Encoder, *, adapted: bool) -> None:
    """Write an encoder in the formats of transformers; its checkpoints go only then."""
    student = adapters.merged(student) if adapted else student
    student.model.save_pretrained(draft, safe_serialization=True)
    student.tokenizer.save_pretrained(draft)
    write_recipe(draft, student.recipe)
    if student.projection is not None:
        save_projection(draft, student.projection)
    for name in (CHECKPOINT, BEST):  # only now: until here a full disk costs nothing
        (draft / name).unlink(missing_ok=True)
