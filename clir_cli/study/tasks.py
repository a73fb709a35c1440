"""A study: experiments in one suite, and the tasks that their cells share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from clir_cli.artifacts import graph
from clir_cli.artifacts.command import Command, assignment
from clir_cli.artifacts.spec import Ref
from clir_cli.errors import UserError
from clir_cli.evaluation.measures import Score
from clir_cli.settings import Settings
from clir_cli.stages.support.sources import collection_options
from clir_cli.stages.support.workspace import Workspace
from clir_cli.study.experiment import Experiment
from clir_cli.study.grid import Point
from clir_cli.suites import value_of

RESULTS = Path("results")  # where tables go unless --results says otherwise


@dataclass(frozen=True)
class Task:
    """One artifact to make. It can be pickled and sent to another process or machine.

    ``key`` is where the artifact lies below the folder for artifacts, and the command for a
    download; ``verb`` is the command without options. ``needs`` are the keys of the tasks whose
    artifacts it reads, ``after`` those of tasks that it waits for and does not need; ``experiment``
    asked for it first.
    """

    key: str
    verb: str
    ref: Ref
    command: str
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    experiment: str = ""

    @property
    def settings(self) -> Settings:
        """Return the settings, all of them resolved."""
        return self.ref.settings


@dataclass
class Study:
    """Experiments in one suite, with the tasks of all their cells.

    Artifacts lie in ``workspace``, whose settings are the suite's, score tables in ``results``.
    Each of the ``tasks`` follows those that it needs; ``goals`` has the key of the one that makes
    the run of a cell. Cells with ``known`` scores need no tasks.
    """

    workspace: Workspace
    results: Path = RESULTS
    experiments: list[tuple[Experiment, list[Point]]] = field(default_factory=list)
    tasks: dict[str, Task] = field(default_factory=dict)
    goals: dict[Point, str] = field(default_factory=dict)
    known: dict[Point, list[Score]] = field(default_factory=dict)
    _keys: dict[Ref, str] = field(default_factory=dict)

    def add(
        self,
        experiment: Experiment,
        points: list[Point],
        goal: Callable[[Point], Ref] = lambda point: point.run,
    ) -> None:
        """Add an experiment; ``goal`` is what is to be made for a cell.

        Raises:
            UserError: Another cell has the same artifact with other settings.
        """
        self.experiments.append((experiment, points))
        for point in points:
            self.goals[point] = self._add_task(goal(point), experiment.name)

    def cells(self, share: tuple[int, int] = (1, 1)) -> list[Point]:
        """Return a share of the cells to make; a cell of several experiments is once."""
        by_goal = {goal: point for point, goal in self.goals.items() if point not in self.known}
        return share_of(list(by_goal.values()), share)

    def tasks_of(self, points: Sequence[Point]) -> list[Task]:
        """Return the tasks that cells need, each behind those that it needs."""
        needed = {self.goals[point] for point in points}
        for key, task in reversed(self.tasks.items()):
            if key in needed:
                needed.update(task.needs)
        tasks = [task for key, task in self.tasks.items() if key in needed]
        # Documents come with the queries of any pair: an index waits for all of these downloads.
        downloads = [task for task in tasks if task.ref.kind == "collection"]
        for number, task in enumerate(tasks):
            if task.ref.kind == "index":
                collection = task.settings.collection
                same = [other.key for other in downloads if other.settings.collection == collection]
                tasks[number] = replace(task, after=tuple(same))
        return tasks

    def scoring_command(
        self, points: Sequence[Point], metrics: Sequence[str], results: Path = RESULTS
    ) -> str:
        """Return the command that scores cells of one method and several pairs.

        It includes the settings of their variant. If the student is missing, the command then asks
        for a student with these settings.
        """
        first = points[0]
        options = first.cell.options(*(point.pair for point in points))
        options += [("--metric", ",".join(metrics)), *collection_options(first.settings)]
        options += [("--results", str(results))] if results != RESULTS else []
        command = Command("evaluate", tuple(options))
        return str(
            graph.with_settings(self.workspace, command, first.run, neutral=False, past_names=True)
        )

    def _add_task(self, ref: Ref, experiment: str) -> str:
        """Add the task of an artifact, behind those that it needs; return its key."""
        if ref in self._keys:
            return self._keys[ref]
        command = graph.command(self.workspace, ref)
        path = graph.spec_of(ref).path(ref)
        key = path.as_posix() if path else f"{command} ({ref.kind})".removeprefix("clir ")
        needs = [
            self._add_task(need, experiment)
            for need in graph.needs(ref)
            # Documents without queries come with the download of any pair.
            if need.kind != "collection" or need.pairs
        ]
        if key in self.tasks:
            self._refuse_conflict(self.tasks[key], ref, experiment)
        else:
            needs = list(dict.fromkeys(needs))
            self.tasks[key] = Task(
                key, command.verb, ref, str(command), tuple(needs), experiment=experiment
            )
        self._keys[ref] = key
        return key

    def _refuse_conflict(self, task: Task, ref: Ref, experiment: str) -> None:
        for name in sorted(graph.reach(ref)):
            new, old = value_of(ref.settings, name), value_of(task.settings, name)
            if new != old:
                raise UserError(
                    f"experiment {experiment}: {self.workspace.home / task.key} would be made with "
                    f"{assignment(name, new)}, and in {task.experiment} with "
                    f"{assignment(name, old)}; name the variants apart, or run one of them "
                    "with a --home of its own"
                )


def share_of(points: Sequence[Point], share: tuple[int, int]) -> list[Point]:
    """Return the i-th of n shares of the cells, counted from 1; all shares make the whole."""
    number, count = share
    return list(points[number - 1 :: count])
