"""The work that the cells of several experiments share: each artifact is made by one task."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from clir_cli.artifacts import graph
from clir_cli.artifacts.command import Command, Option, assignment
from clir_cli.artifacts.spec import Ref
from clir_cli.errors import UserError
from clir_cli.settings import Settings
from clir_cli.stages.support.sources import collection_options
from clir_cli.stages.support.workspace import Workspace
from clir_cli.study.grid import Point
from clir_cli.suites import value_of

RESULTS = Path("results")  # where tables go unless --results says otherwise
CACHE: dict[Any, Any] = {}  # what this process has read and open, for the next task


@dataclass(frozen=True)
class Task:
    """One artifact to make. It can be pickled and sent to another process or machine.

    Attributes:
        key: Where the artifact lies, from the home of the artifacts; its own for a download.
        verb: The command that makes it.
        ref: The artifact.
        command: That command, as text.
        needs: Keys of the tasks whose artifacts it reads.
        after: Keys of tasks that it waits for, but can do without.
    """

    key: str
    verb: str
    ref: Ref
    command: str
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    @property
    def settings(self) -> Settings:
        """Return the settings, all of them resolved."""
        return self.ref.settings


@dataclass(frozen=True)
class Site:
    """Where the work is done, and how.

    ``config`` is the file of ``--config``, ``shown`` are the options that every command must
    repeat, ``address`` is that of a Ray cluster.
    """

    home: Path
    device: str = "auto"
    mirror: str = ""
    force: bool = False
    threads: int = 0
    config: Path | None = None
    shown: tuple[Option, ...] = ()
    address: str = ""

    def workspace(self, settings: Settings, **behaviour: Any) -> Workspace:
        """Return what a stage works with."""
        return Workspace(
            settings,
            self.home,
            self.device,
            mirror=self.mirror,
            config=self.config,
            shown=self.shown,
            cache=CACHE,
            **behaviour,
        )


@dataclass
class Shared:
    """The tasks of all points, each once, in an order in which they can be done.

    ``goals`` maps each point to the task that makes its run.
    """

    site: Site
    tasks: dict[str, Task] = field(default_factory=dict)
    goals: dict[Point, str] = field(default_factory=dict)
    _keys: dict[Ref, str] = field(default_factory=dict)
    _made_for: dict[str, str] = field(default_factory=dict)  # key -> experiment

    def add(self, point: Point) -> None:
        """Add what a point needs.

        Raises:
            UserError: Another point has the same artifact with other settings.
        """
        self.goals[point] = self._put(point.run, point.experiment)

    def upstream(self, keys: Sequence[str]) -> list[Task]:
        """Return these tasks and all that they need, in order."""
        wanted: set[str] = set()
        left = list(keys)
        while left:
            key = left.pop()
            if key not in wanted:
                wanted.add(key)
                left += [*self.tasks[key].needs, *self.tasks[key].after]
        return [task for key, task in self.tasks.items() if key in wanted]

    def evaluate(
        self, points: Sequence[Point], metrics: Sequence[str], results: Path = RESULTS
    ) -> str:
        """Return the command that scores points of one method and several pairs."""
        point = points[0]
        options = point.cell.options(*(each.pair for each in points))
        options += [("--metric", ",".join(metrics)), *collection_options(point.settings)]
        options += [("--results", str(results))] if results != RESULTS else []
        command = Command("evaluate", tuple(options))
        return str(graph.with_settings(self._context, command, point.run, neutral=False))

    @cached_property
    def _context(self) -> Workspace:
        return self.site.workspace(next(iter(self.goals)).settings)

    def _put(self, ref: Ref, experiment: str) -> str:
        """Add the task of an artifact, after those that it needs; return its key."""
        if ref in self._keys:
            return self._keys[ref]
        context = self.site.workspace(ref.settings)
        command = graph.command(context, ref)
        path = graph.spec_of(ref).path(ref)
        key = path.as_posix() if path else f"{command} ({ref.kind})".removeprefix("clir ")
        needs = [self._put(need, experiment) for need in graph.needs(ref) if not _is_bare(need)]
        if key in self.tasks:
            self._refuse_conflict(key, ref, experiment)
        else:
            after = self._downloads(ref) if ref.kind == "index" else ()
            text = str(command)
            self.tasks[key] = Task(key, command.verb, ref, text, tuple(dict.fromkeys(needs)), after)
            self._made_for[key] = experiment
            if ref.kind == "collection":  # it may bring the documents that others could not
                self._follow(key, ref)
        self._keys[ref] = key
        return key

    def _downloads(self, index: Ref) -> tuple[str, ...]:
        """Return the downloads that bring the documents of an index; any of them is enough."""
        return tuple(
            key
            for key, task in self.tasks.items()
            if task.ref.kind == "collection"
            and task.settings.collection == index.settings.collection
        )

    def _follow(self, download: str, ref: Ref) -> None:
        for key, task in self.tasks.items():
            same = task.settings.collection == ref.settings.collection
            if task.ref.kind == "index" and same:
                self.tasks[key] = replace(task, after=(*task.after, download))

    def _refuse_conflict(self, key: str, ref: Ref, experiment: str) -> None:
        first = self.tasks[key].settings
        for name in sorted(graph.reach(ref)):
            ours, theirs = value_of(ref.settings, name), value_of(first, name)
            if ours != theirs:
                raise UserError(
                    f"experiment {experiment}: {self.site.home / key} would be made with "
                    f"{assignment(name, ours)}, and in {self._made_for[key]} with "
                    f"{assignment(name, theirs)}; name the variants apart, or run one of them "
                    "with a --home of its own"
                )


def _is_bare(ref: Ref) -> bool:
    """Return True for documents without queries: they come with the download of any pair."""
    return ref.kind == "collection" and not ref.pairs


def share_of(points: Sequence[Point], share: tuple[int, int]) -> list[Point]:
    """Return the i-th of n shares of the points, counted from 1; all shares make the whole."""
    number, count = share
    return list(points[number - 1 :: count])
