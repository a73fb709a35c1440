"""Before hours of work: what a study makes, and what time, disk, memory and files that takes.

Nothing is loaded and nothing is fetched, so a dry run stays quick; ``step_time`` measures.
"""

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from clir_cli.artifacts.manifest import read_manifest
from clir_cli.console import size_text
from clir_cli.corpus.collections import IRDS
from clir_cli.errors import UserError
from clir_cli.retrieval import memory, models
from clir_cli.retrieval.memory import Load, ModelSize
from clir_cli.stages.parts import Part, parts_of
from clir_cli.stages.support.methods import similarities
from clir_cli.stages.support.workspace import Workspace
from clir_cli.study.schedule import Pace
from clir_cli.study.tasks import Study, Task
from clir_cli.study.watch import spell

LONG = 3600.0  # seconds of work above which a person is asked
MANY = 10  # models to train above which a step is measured if no duration is known
TRAINS = ("distill", "train")
KINDS = {  # of artifacts that are counted: one, and several
    "student": ("student", "students"),
    "teacher": ("teacher", "teachers"),
    "initial": ("initial student", "initial students"),
    "translator": ("translator", "translators"),
    "index": ("index", "indexes"),
    "run": ("run", "runs"),
}


@dataclass(frozen=True)
class Preflight:
    """Lines that say what lies ahead, and the estimated seconds; None if they are not known."""

    lines: list[str]
    seconds: float | None

    @property
    def is_long(self) -> bool:
        """Return True if a person should be asked before the work begins."""
        return self.seconds is not None and self.seconds > LONG


def look_ahead(
    study: Study,
    tasks: Sequence[Task],
    to_do: Sequence[Task],
    pace: Pace,
    *,
    measure: bool = False,
) -> Preflight:
    """Return what the tasks ``to_do`` of a study's ``tasks`` take, as far as it is known now.

    ``pace`` knows how long those took that are there. With ``measure`` a few steps of training are
    taken if it knows of no student; nothing else needs torch.
    """
    workspace = study.workspace
    kinds = Counter(task.ref.kind for task in to_do)
    counts = [f"{kinds[k]} {names[kinds[k] > 1]}" for k, names in KINDS.items() if kinds[k]]
    lines = [f"to make: {', '.join(counts)}"] if counts else []
    seconds, said = _time(workspace, pace, to_do, measure)
    lines += [f"time: {said}"] if said else []
    needed, what = _disk(workspace, tasks, to_do)
    free = shutil.disk_usage(_existing(workspace.home)).free
    if needed:
        lines.append(f"disk: about {size_text(needed)} ({what}); {size_text(free)} are free")
    ram, free_ram = _memory(trained(to_do)), memory.free_on_host()
    if ram:
        lines.append(
            f"memory: training takes about {memory.size(ram)}, of a GPU if there is one; this "
            f"machine has {memory.size(free_ram)} free"
        )
    fails: list[str] = []
    if needed > free:
        fails.append(f"the disk: about {size_text(needed - free)} are missing")
    lines += _downloads(study, tasks, to_do, fails)
    lines += [f"will fail: {reason}" for reason in fails]
    return Preflight(lines, seconds)


def trained(tasks: Sequence[Task]) -> list[Task]:
    """Return the tasks that train a model."""
    return [task for task in tasks if task.verb in TRAINS and task.ref.kind in KINDS]


def _time(
    workspace: Workspace, pace: Pace, to_do: Sequence[Task], measure: bool
) -> tuple[float | None, str]:
    """Return the seconds that tasks take, None if not known, and where that is from."""
    models = trained(to_do)
    if pace.knows(TRAINS) or not models:
        seconds = pace.left(to_do)
        said = "" if seconds is None else f"about {spell(seconds)}, as what is here took"
        return seconds, said
    if not measure:
        return None, "not known before a student is made; --measure takes a few steps of training"
    from clir_cli.study.step_time import TOKENS, step_seconds

    try:
        a_step = step_seconds(workspace)
    except UserError as error:
        return None, f"not known: {error}"
    measured = f"{a_step:.3g} s a step, measured here with the suite's student ({TOKENS} tokens)"
    if any(_steps(task) == 0 for task in models):
        return None, f"{measured}; the number of sentence pairs is not known yet (bitext.max_pairs)"
    steps = sum(map(_steps, models))
    seconds = a_step * steps / workspace.engine.jobs
    return seconds, f"up to about {spell(seconds)} of training: {steps:,} steps, {measured}"


def _steps(task: Task) -> int:
    """Return the most steps that the training of a task takes; 0 if it is not known."""
    loop, bitext = task.settings.training, task.settings.bitext
    pairs = loop.epoch_pairs or bitext.max_pairs
    return loop.epochs * -(-pairs // loop.batch_size)


# ------------------------------------------------------------------ disk and memory


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def _disk(workspace: Workspace, tasks: Sequence[Task], to_do: Sequence[Task]) -> tuple[int, str]:
    """Return the bytes of what is to be made, and of what they are; unknown kinds are left out.

    A kind that was made before takes the mean of those; otherwise a model takes the bytes of the
    one that it is trained from.
    """
    sizes: dict[str, list[int]] = {}
    for task in tasks:
        try:
            files = read_manifest(workspace.home / task.key)["files"]
        except (UserError, KeyError):
            continue
        sizes.setdefault(task.ref.kind, []).append(
            sum(int(file["bytes"]) for file in files.values())
        )
    total, said, unknown = 0, [], []
    for kind, (one, several) in KINDS.items():
        made = [task for task in to_do if task.ref.kind == kind]
        if not made:
            continue
        if known := sizes.get(kind):
            each = [sum(known) // len(known)] * len(made)
        else:
            each = [memory.WORD * _shape(task).parameters for task in made]
        if all(each):
            total += sum(each)
            said.append(f"{len(made)} {several if len(made) > 1 else one} {size_text(sum(each))}")
        elif kind != "run":  # small
            unknown.append(several)
    unknown += ["the teacher's embeddings"] if trained(to_do) else []
    left_out = f"; {', '.join(unknown)} not counted" if unknown else ""
    return total, ", ".join(said) + left_out


def _shape(task: Task) -> ModelSize:
    """Return the size of the model that a task trains, by the catalogue; 0 if it is not known."""
    settings, name = task.settings, task.settings.student.model
    if task.ref.kind == "teacher" or name == "teacher":
        name = settings.teacher.model
    shape: Mapping[str, int] = {}
    if task.verb in TRAINS and task.ref.kind != "translator" and not models.is_folder(name):
        try:
            shape = models.model_entry(name).shape
        except UserError:  # it is trained here: as large as what it is trained from, not looked up
            shape = {}
    return ModelSize(**shape) if shape else ModelSize(0, 1, 1, 0)


def _memory(tasks: Sequence[Task]) -> int:
    """Return the bytes that training the largest model takes; 0 if no size is known."""
    totals = [0]
    for task in tasks:
        loop, shape = task.settings.training, _shape(task)
        texts = loop.batch_size * (2 if task.settings.objective.anchor else 1)
        load = Load(texts, task.settings.teacher.bitext_tokens, loop.precision == "bfloat16")
        load = replace(load, checkpointing=loop.gradient_checkpointing, lora_rank=loop.lora_rank)
        load = replace(load, similarities=similarities(task.settings, task.ref.cell.method))
        if shape.parameters:
            totals.append(memory.training(shape, replace(load, freeze=loop.freeze)).total)
    return max(totals)


# ------------------------------------------------------------------ downloads


def _downloads(
    study: Study, tasks: Sequence[Task], to_do: Sequence[Task], fails: list[str]
) -> Iterator[str]:
    """Yield what is to be downloaded and brought; add to ``fails`` what cannot be had."""
    workspace = study.workspace
    missing: dict[str, Part] = {}
    users: dict[str, list[str]] = {}
    for task in to_do:
        if task.verb != "download":
            continue
        try:
            parts = parts_of(workspace.using(task.settings), task.ref)
        except UserError as error:
            fails.append(f"{error}{_lost(study, tasks, [task.key])}")
            continue
        for part in parts:
            if not part.there:
                missing[part.key] = part
                users.setdefault(part.key, []).append(task.key)
    by_source: dict[tuple[str, str], list[int]] = {}
    for part in missing.values():
        if not part.bring:
            by_source.setdefault((part.source, part.licence), []).append(part.bytes)
    if by_source:
        said = [
            f"{name} {_bytes(sizes)} ({licence})" for (name, licence), sizes in by_source.items()
        ]
        sizes = [size for sizes in by_source.values() for size in sizes]
        least = "" if all(sizes) else "at least "
        amount = f"{least}{size_text(sum(sizes))}: " if any(sizes) else ""
        yield f"to download: {amount}{'; '.join(said)}"
    brings = [
        f"{part.source}: {part.bring} (at {part.path})" for part in missing.values() if part.bring
    ]
    yield from (f"to bring: {line}" for line in dict.fromkeys(brings))
    reasons: dict[str, list[str]] = {}
    for key, part in missing.items():
        if part.fault:
            reasons.setdefault(f"{part.source}: {part.fault}", []).extend(users[key])
    by_irds = [key for key, part in missing.items() if part.url.startswith(IRDS)]
    if by_irds and not find_spec("ir_datasets"):
        reason = "ir_datasets is not installed: pip install 'clir-cli[irds]'"
        reasons[reason] = [user for key in by_irds for user in users[key]]
    fails += [f"{reason}{_lost(study, tasks, keys)}" for reason, keys in reasons.items()]


def _bytes(sizes: Sequence[int]) -> str:
    return size_text(sum(sizes)) if all(sizes) else "of unknown size"


def _lost(study: Study, tasks: Sequence[Task], causes: Sequence[str]) -> str:
    """Return how many cells need one of some tasks, in words."""
    lost = set(causes)
    for task in tasks:  # each is behind those that it needs
        if lost.intersection(task.needs):
            lost.add(task.key)
    cells = study.cells()
    count = sum(study.goals[point] in lost for point in cells)
    return f" ({count} of {len(cells)} cells need it)"
