"""The order of the work: what is missing or out of date, each when its inputs are there.

A task that fails takes along those that need it, and no others. Nothing is kept in memory for the
next call: what is there is seen from the artifacts alone.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from statistics import mean

from clir_cli.artifacts.manifest import MANIFEST, read_manifest
from clir_cli.errors import UserError
from clir_cli.stages.support.workspace import Workspace
from clir_cli.study.executors import Executor
from clir_cli.study.tasks import Task
from clir_cli.study.watch import Watch
from clir_cli.study.work import Done, State, state

RETRY = 2.0  # seconds until a task is tried again that another process is doing


def look(tasks: Sequence[Task], workspace: Workspace) -> dict[str, State]:
    """Return which artifacts are there, made from other things, or missing. Nothing is changed."""
    states: dict[str, State] = {}
    for task in tasks:
        exists = (workspace.home / task.key / MANIFEST).exists()
        states[task.key] = "stale" if exists else "missing"
        if all(states[need] == "there" for need in task.needs):
            try:
                states[task.key] = state(task, workspace)
            except UserError:  # the task itself reports it
                continue
    return states


@dataclass
class Pace:
    """How long each stage takes, learned from those that ran."""

    jobs: int = 1
    _seconds: dict[str, list[float]] = field(default_factory=dict)

    def learn(self, verb: str, seconds: float) -> None:
        """Add the duration of one that ran."""
        self._seconds.setdefault(verb, []).append(seconds)

    def learn_from_manifests(self, tasks: Sequence[Task], workspace: Workspace) -> None:
        """Add the durations of artifacts that are there."""
        for task in tasks:
            try:
                self.learn(task.verb, float(read_manifest(workspace.home / task.key)["seconds"]))
            except (UserError, KeyError, TypeError, ValueError):
                continue

    def knows(self, verbs: Iterable[str]) -> bool:
        """Return True if the duration of one of some stages is known."""
        return any(verb in self._seconds for verb in verbs)

    def left(self, tasks: Iterable[Task]) -> float | None:
        """Return the seconds that tasks will take together; None before anything is known.

        A stage that never ran is taken to be as long as the others on average.
        """
        known = {verb: mean(seconds) for verb, seconds in self._seconds.items()}
        if not known:
            return None
        usual = mean(known.values())
        return sum(known.get(task.verb, usual) for task in tasks) / self.jobs


def run(
    tasks: Sequence[Task],
    states: Mapping[str, State],
    executor: Executor,
    watch: Watch,
    *,
    pace: Pace | None = None,
    force: bool = False,
) -> dict[str, Done]:
    """Do what is not there, and return what became of every task.

    Each task is behind those that it needs; ``states`` is what ``look`` returned; ``pace`` says how
    long they took before; with ``force`` what is there is made again.
    """
    pace = pace or Pace()
    done = {
        task.key: Done(task.key, "there")
        for task in tasks
        if states[task.key] == "there" and not force
    }
    left = {task.key: task for task in tasks if task.key not in done}
    sorter = TopologicalSorter(
        {
            task.key: [key for key in (*task.needs, *task.after) if key in left]
            for task in left.values()
        }
    )
    sorter.prepare()
    ready: dict[str, float] = {}  # when a task may be started; later if another process does it
    running: set[str] = set()

    def end(ended: Done) -> None:
        done[ended.key] = ended
        sorter.done(ended.key)
        watch.ended(left.pop(ended.key), ended, pace.left(left.values()))

    while sorter.is_active():
        ready |= dict.fromkeys(sorter.get_ready(), 0.0)
        free = executor.free
        for key in [key for key in left if key in ready]:
            if failed := [done[need] for need in left[key].needs if not done[need].is_well]:
                del ready[key]
                end(_skipped(key, failed[0]))
            elif free > 0 and ready[key] <= time.monotonic():
                free -= 1
                del ready[key]
                running.add(key)
                watch.started(left[key])
                executor.start(left[key])
        if running:
            ended = executor.wait()
            running.remove(ended.key)
            if ended.outcome == "busy":
                ready[ended.key] = time.monotonic() + RETRY
                continue
            if ended.outcome == "made":
                pace.learn(left[ended.key].verb, ended.seconds)
            end(ended)
        elif ready:  # another process is doing all of them
            time.sleep(max(0.01, min(ready.values()) - time.monotonic()))
    return done


def _skipped(key: str, cause: Done) -> Done:
    if cause.outcome == "failed":
        error = f"{cause.key}: {cause.error}"
        return Done(key, "skipped", error=error, is_bug=cause.is_bug, cause=cause.key)
    return Done(key, "skipped", error=cause.error, is_bug=cause.is_bug, cause=cause.cause)
