"""Progress over cells: a line for each task that ends, and an estimate for the rest."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.progress import MofNCompleteColumn, Progress, TaskID, TimeRemainingColumn
from rich.progress import Task as Bar
from rich.text import Text

from clir_cli.console import Talk, bar_columns, console, tell
from clir_cli.study.tasks import Task
from clir_cli.study.work import Done


@dataclass(frozen=True)
class Inside(Talk):
    """The talk of a stage within a study: its bars are shown under the study's."""

    bars: Progress = field(default_factory=lambda: Progress(disable=True))

    def say(self, message: str) -> None:
        """Say nothing: the study reports what became of the stage."""

    @contextmanager
    def progress(self, **_: Any) -> Iterator[Progress]:
        """Lend the study's own bars, and remove what was added to them."""
        before = set(self.bars.task_ids)
        try:
            yield self.bars
        finally:
            for added in set(self.bars.task_ids) - before:
                self.bars.remove_task(added)


class TimeLeft(TimeRemainingColumn):
    """The time left of a stage; the study's own is estimated from its tasks and is in its note."""

    def render(self, task: Bar) -> Text:
        """Return nothing for the first bar, which counts cells."""
        return super().render(task).append(" left") if task.id else Text()


@dataclass
class Watch:
    """Reports progress. ``goals`` counts the cells that end with a task."""

    bars: Progress
    bar: TaskID
    goals: Mapping[str, int]
    total: int
    quiet: bool = False
    _ended: int = 0
    _running: dict[str, Task] = field(default_factory=dict)

    def started(self, task: Task) -> None:
        """Show what is being done."""
        self._running[task.key] = task
        self._note("")

    def ended(self, task: Task, done: Done, seconds_left: float | None) -> None:
        """Print a line, and move the bar by the cells that end with the task."""
        self._running.pop(task.key, None)
        self._ended += 1
        self.bars.advance(self.bar, self.goals.get(task.key, 0))
        left = "" if seconds_left is None else f"about {spell(seconds_left)} left"
        self._note(left)
        if done.is_well:
            line = f"{done.outcome} {title(task)}, {spell(done.seconds)}"
            line += f"; {left}" if left else ""
        else:
            line = f"FAILED {title(task)}: {done.error}"
            if done.cause:  # whose own line has the reason
                line = f"{done.outcome} {title(task)}: {done.cause} failed"
        self._say(f"[{self._ended:{len(str(self.total))}}/{self.total}] {line}")
        if done.trace:
            self._say(done.trace)

    def _note(self, left: str) -> None:
        running = ", ".join(map(title, self._running.values()))
        if left or running:
            note = "  ".join(part for part in (left, running) if part)
            self.bars.update(self.bar, note=note)

    def _say(self, line: str) -> None:
        if not self.quiet:
            tell(self.bars.console, line)


@contextmanager
def watching(
    goals: Mapping[str, int], tasks: Sequence[Task], *, quiet: bool
) -> Iterator[tuple[Watch, Talk]]:
    """Yield what reports the progress of tasks, and what their stages speak through."""
    screen = console(stderr=True)
    columns = bar_columns(MofNCompleteColumn(), TimeLeft())
    hidden = quiet or not screen.is_terminal
    with Progress(*columns, console=screen, disable=hidden, transient=True) as bars:
        bar = bars.add_task("cells", total=sum(goals.values()), note="")
        yield Watch(bars, bar, goals, len(tasks), quiet), Inside(quiet, bars)


def title(task: Task) -> str:
    """Return a task in few words."""
    if task.verb == "index":
        return f"index {task.settings.collection}"
    ref = task.ref
    words = [task.verb, ref.kind if task.verb == "download" else "", *map(str, ref.pairs), ref.name]
    words.append(ref.cell.label if ref.cell.method else "")
    return " ".join(word for word in words if word)


def spell(seconds: float) -> str:
    """Return a duration for people.

    >>> spell(4.2), spell(100), spell(4000)
    ('4 s', '2 min', '1 h 7 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
