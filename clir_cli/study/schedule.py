"""The order of the work: what is missing or out of date, each when its inputs are there.

A task that fails takes along those that need it, and no others. Nothing is kept in memory that the
next call needs: what is there is seen from the artifacts alone.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from clir_cli.artifacts.store import MANIFEST, read_manifest
from clir_cli.errors import UserError
from clir_cli.study.engines import Engine
from clir_cli.study.tasks import Site, Task
from clir_cli.study.work import Done, State, state

RETRY = 2.0  # seconds until a task is tried again that another process is at


class Watcher(Protocol):
    """Who is told how the work goes on."""

    def started(self, task: Task) -> None:
        """Tell that a task has begun."""

    def ended(self, task: Task, done: Done, seconds_left: float | None) -> None:
        """Tell what became of it, and how long the rest will take, as far as one can say."""


def look(tasks: Sequence[Task], site: Site) -> dict[str, State]:
    """Return which artifacts are there, made from other things, or missing. Nothing is changed.

    Args:
        tasks: In an order in which they can be done.
        site: Where they would be done.
    """
    found: dict[str, State] = {}
    for task in tasks:
        there = all(found[need] == "there" for need in task.needs)
        try:
            found[task.key] = state(task, site) if there else _left(task, site)
        except UserError:  # whoever does the task is told the same
            found[task.key] = _left(task, site)
    return found


def _left(task: Task, site: Site) -> State:
    """Return what to say of a task whose inputs are not there yet."""
    return "stale" if (site.home / task.key / MANIFEST).exists() else "missing"


@dataclass
class Pace:
    """How long each stage takes, learned from those that ran."""

    jobs: int = 1
    _seconds: dict[str, list[float]] = field(default_factory=dict)

    def learn(self, verb: str, seconds: float) -> None:
        """Take note of one that ran."""
        self._seconds.setdefault(verb, []).append(seconds)

    def left(self, tasks: Sequence[Task]) -> float | None:
        """Return the seconds that tasks will take together; None before anything is known.

        A stage that never ran is taken to be as long as the others on average.
        """
        known = {verb: sum(each) / len(each) for verb, each in self._seconds.items()}
        if not known:
            return None
        usual = sum(known.values()) / len(known)
        return sum(known.get(task.verb, usual) for task in tasks) / self.jobs


def learned(tasks: Sequence[Task], site: Site, jobs: int) -> Pace:
    """Return the pace as the manifests of artifacts tell it that are there."""
    pace = Pace(jobs)
    for task in tasks:
        try:
            pace.learn(task.verb, float(read_manifest(site.home / task.key)["seconds"]))
        except (UserError, KeyError, TypeError, ValueError):
            continue
    return pace


def run(
    tasks: Sequence[Task],
    states: Mapping[str, State],
    engine: Engine,
    watcher: Watcher,
    *,
    pace: Pace | None = None,
    force: bool = False,
) -> dict[str, Done]:
    """Do what is not there, and return what became of every task.

    Args:
        tasks: All of them, in an order in which they can be done.
        states: What ``look`` said of them.
        engine: Who does them.
        watcher: Who is told.
        pace: What is known of how long they take.
        force: Whether what is there is made again.
    """
    pace = pace or Pace()
    done = {
        task.key: Done(task.key, "there")
        for task in tasks
        if states[task.key] == "there" and not force
    }
    left = {task.key: task for task in tasks if task.key not in done}
    running: dict[str, Task] = {}
    later: dict[str, float] = {}
    while left or running:
        while spoilt := _spoilt(left, done):  # which spoils others in turn
            for task in spoilt:
                done[task.key] = _skipped(task, done)
                watcher.ended(left.pop(task.key), done[task.key], None)
        for task in list(_ready(left, done, later))[: engine.free]:
            running[task.key] = left.pop(task.key)
            watcher.started(task)
            engine.start(task)
        if not running:
            if left:  # another process is at all of them
                soonest = min((later[key] for key in left if key in later), default=_now())
                time.sleep(max(0.01, soonest - _now()))
            continue
        ended = engine.wait()
        task = running.pop(ended.key)
        if ended.outcome == "busy":
            left[task.key] = task
            later[task.key] = _now() + RETRY
            continue
        if ended.outcome == "made":
            pace.learn(task.verb, ended.seconds)
        done[task.key] = ended
        watcher.ended(task, ended, pace.left([*left.values(), *running.values()]))
    return done


def _now() -> float:
    return time.monotonic()


def _ready(
    left: Mapping[str, Task], done: Mapping[str, Done], later: Mapping[str, float]
) -> Iterator[Task]:
    for task in left.values():
        waits = later.get(task.key, 0.0) > _now()
        if not waits and all(key in done for key in (*task.needs, *task.after)):
            yield task


def _spoilt(left: Mapping[str, Task], done: Mapping[str, Done]) -> list[Task]:
    return [task for task in left.values() if any(_failed(done, key) for key in task.needs)]


def _failed(done: Mapping[str, Done], key: str) -> bool:
    return key in done and done[key].outcome in ("failed", "skipped")


def _skipped(task: Task, done: Mapping[str, Done]) -> Done:
    """Return the end of a task that can no longer be done, with the reason at the root of it."""
    cause = next(done[key] for key in task.needs if _failed(done, key))
    root = cause.key if cause.outcome == "failed" else cause.cause
    error = cause.error if cause.outcome == "skipped" else f"{cause.key}: {cause.error}"
    return Done(task.key, "skipped", error=error, is_bug=cause.is_bug, cause=root)
