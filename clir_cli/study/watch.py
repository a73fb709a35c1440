"""Progress over cells: a line as each piece of work ends, and the time that the rest will take."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from clir_cli.console import Talk
from clir_cli.study.tasks import Task
from clir_cli.study.work import Done

SHOWN = {"made": "made", "there": "there", "failed": "FAILED", "skipped": "skipped"}


@dataclass(frozen=True)
class Inside(Talk):
    """The talk of a stage that works within a study: its bars stand under the study's."""

    bars: Progress | None = None

    def say(self, message: str) -> None:
        """Say nothing: the study tells what became of the stage."""

    @contextmanager
    def progress(self, *, unit: str = "", total_bytes: bool = False) -> Iterator[Progress]:  # noqa: ARG002
        """Lend the study's own bars, and take away what was added to them."""
        if self.bars is None:
            with Progress(disable=True) as hidden:
                yield hidden
            return
        before = set(self.bars.task_ids)
        try:
            yield self.bars
        finally:
            for added in set(self.bars.task_ids) - before:
                self.bars.remove_task(added)


@dataclass
class Watch:
    """Tells people how the work goes on. ``goals`` are the tasks that end the cells."""

    bars: Progress
    bar: TaskID
    goals: Mapping[str, int]
    total: int
    quiet: bool = False
    ended_tasks: int = 0
    _running: dict[str, Task] = field(default_factory=dict)

    def started(self, task: Task) -> None:
        """Show what is being done."""
        self._running[task.key] = task
        self._note("")

    def ended(self, task: Task, done: Done, seconds_left: float | None) -> None:
        """Print a line, and move the bar when that was the last of a cell."""
        self._running.pop(task.key, None)
        self.ended_tasks += 1
        self.bars.advance(self.bar, self.goals.get(task.key, 0))
        left = "" if seconds_left is None else f"; about {spell(seconds_left)} left"
        if done.outcome in ("failed", "skipped"):
            what = f"{title(task)}: {done.error}"
        else:
            what = f"{title(task)}, {spell(done.seconds)}{left}"
        self._note(left.removeprefix("; "))
        width = len(str(self.total))
        self._say(f"[{self.ended_tasks:{width}}/{self.total}] {SHOWN[done.outcome]} {what}")
        if done.trace:
            self._say(done.trace)

    def _note(self, left: str) -> None:
        now = ", ".join(map(title, self._running.values()))
        if left or now:
            note = "  ".join(part for part in (left, now) if part)
            self.bars.update(self.bar, note=note)

    def _say(self, line: str) -> None:
        if not self.quiet:
            self.bars.console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def watching(
    goals: Mapping[str, int], tasks: Sequence[Task], *, quiet: bool
) -> Iterator[tuple[Watch, Talk]]:
    """Yield who is told of the work, and what its stages talk through.

    Args:
        goals: How many cells end with a task that is to be done, by its key.
        tasks: The tasks that are to be done.
        quiet: Whether nothing is to be said.
    """
    console = Console(stderr=True)
    hidden = quiet or not console.is_terminal
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, disable=hidden, transient=True) as bars:
        bar = bars.add_task("cells", total=sum(goals.values()), note="")
        yield Watch(bars, bar, goals, len(tasks), quiet), Inside(quiet, None if hidden else bars)


def title(task: Task) -> str:
    """Return a task in few words."""
    ref = task.ref
    if task.verb == "index":
        return f"index {task.settings.collection}"
    what = [ref.kind] if task.verb == "download" else []
    cell = [ref.cell.label] if ref.cell.method else []
    return " ".join([task.verb, *what, *map(str, ref.pairs), ref.name, *cell]).replace("  ", " ")


def spell(seconds: float) -> str:
    """Return a duration for people.

    >>> spell(4.2), spell(100), spell(4000)
    ('4 s', '2 min', '1 h 7 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
