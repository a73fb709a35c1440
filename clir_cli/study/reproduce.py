"""reproduce: experiments from their files to their tables, doing only the work that is missing."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clir_cli.console import Talk
from clir_cli.errors import UserError, nearest
from clir_cli.study import results, schedule, work
from clir_cli.study.engines import ENGINES, threads_for
from clir_cli.study.experiment import Experiment
from clir_cli.study.grid import Base, Point, expand
from clir_cli.study.results import Row
from clir_cli.study.scoring import Cells
from clir_cli.study.tasks import Shared, Site, Task, share_of
from clir_cli.study.watch import spell, title, watching
from clir_cli.study.work import Done, State


@dataclass(frozen=True)
class Study:
    """Experiments in one suite, checked, with the tasks that their cells share."""

    experiments: Sequence[Experiment]
    points: dict[str, list[Point]]
    shared: Shared
    site: Site
    results: Path

    def tasks(self, points: Sequence[Point]) -> list[Task]:
        """Return the tasks that points need, in an order in which they can be done."""
        return self.shared.upstream([self.shared.goals[point] for point in points])

    @property
    def cells(self) -> list[Point]:
        """Return the points of all experiments; those that experiments share come once."""
        goals = {
            self.shared.goals[point]: point for points in self.points.values() for point in points
        }
        return list(goals.values())


@dataclass(frozen=True)
class Outcome:
    """What a study came to: the rows of each experiment, and what became of every task."""

    rows: dict[str, list[Row]]
    done: dict[str, Done]
    made: Counter[str]

    @property
    def code(self) -> int:
        """Return the exit code: 1 for a bug, 2 for what a user can mend, 1 for a FAIL."""
        failed = [each for each in self.done.values() if each.outcome == "failed"]
        if any(each.is_bug for each in failed):
            return 1
        if failed:
            return 2
        rows = [row for rows in self.rows.values() for row in rows]
        if any(row["error"] for row in rows):
            return 2
        return 1 if any(row["verdict"] == "FAIL" for row in rows) else 0


def prepare(
    experiments: Sequence[Experiment], base: Base, site: Site, results_folder: Path
) -> Study:
    """Expand the experiments and check all of them, before any work.

    Raises:
        UserError: A file is at fault, or two cells want the same artifact with other settings.
    """
    shared = Shared(site)
    points = {}
    for experiment in experiments:
        points[experiment.name] = expand(experiment, base)
        for point in points[experiment.name]:
            shared.add(point)
    return Study(experiments, points, shared, site, results_folder)


def commands(study: Study, share: tuple[int, int] = (1, 1)) -> list[dict[str, str]]:
    """Return every command that would run, in order, and whether what it makes is there."""
    work.forget()
    points = share_of(study.cells, share)
    tasks = study.tasks(points)
    states = schedule.look(tasks, study.site)
    rows = [{"state": states[task.key], "command": task.command} for task in tasks]
    if share[1] > 1:
        return rows
    scored: dict[str, str] = {}
    for experiment in study.experiments:
        state = _table_state(study, experiment, states)
        for points in _cells(study, experiment, {}).methods():
            command = study.shared.evaluate(points, experiment.metrics, study.results)
            scored.setdefault(command, state)
    return rows + [{"state": state, "command": command} for command, state in scored.items()]


def _table_state(study: Study, experiment: Experiment, states: dict[str, State]) -> State:
    cells = _cells(study, experiment, {key: Done(key, "there") for key in states})
    try:
        there = all(states[study.shared.goals[point]] == "there" for point in cells.points)
        if there and results.plan(cells).state() == "current":
            return "there"
    except UserError:
        pass
    return "stale" if cells.folder.exists() else "missing"


def reproduce(
    study: Study,
    talk: Talk,
    *,
    engine: str = "local",
    jobs: int = 1,
    share: tuple[int, int] = (1, 1),
) -> Outcome:
    """Do what is missing or out of date, and draw the tables.

    Args:
        study: What to reproduce.
        talk: Where to speak.
        engine: A name in ``clir_cli.study.engines.ENGINES``.
        jobs: Tasks at a time.
        share: The i-th of n shares of the cells. One share of several makes artifacts and draws no
            table: that is for a call without a share, when all of them have ended.

    Raises:
        UserError: There is no such engine.
    """
    if engine not in ENGINES:
        raise UserError(f"unknown engine {engine!r}: {nearest(engine, ENGINES)}")
    work.forget()
    points = share_of(study.cells, share)
    tasks = study.tasks(points)
    states = schedule.look(tasks, study.site)
    wanted = [task for task in tasks if states[task.key] != "there" or study.site.force]
    counted = Counter(states.values())
    told = ", ".join(f"{count} {state}" for state, count in counted.items())
    talk.say(f"{len(points)} cells, {len(tasks)} tasks: {told}")
    pace = schedule.learned(tasks, study.site, jobs)
    if wanted and (seconds := pace.left(wanted)) is not None:
        talk.say(f"as long as before, that takes about {spell(seconds)}")
    site = replace(study.site, threads=threads_for(jobs))
    keys = {task.key for task in wanted}
    goals = Counter(study.shared.goals[point] for point in points)
    goals = Counter({key: count for key, count in goals.items() if key in keys})
    with (
        watching(goals, wanted, quiet=talk.quiet) as (watch, inside),
        ENGINES[engine](site, jobs, inside) as doer,
    ):
        done = schedule.run(tasks, states, doer, watch, pace=pace, force=study.site.force)
    made = Counter(task.verb for task in tasks if done[task.key].outcome == "made")
    rows = {} if share[1] > 1 else _tables(study, done, made)
    _tell(talk, done, made, {task.key: task for task in tasks})
    return Outcome(rows, done, made)


def _cells(study: Study, experiment: Experiment, done: dict[str, Done]) -> Cells:
    points = study.points[experiment.name]
    return Cells(experiment, points, study.shared, done, study.site, study.results)


def _tables(study: Study, done: dict[str, Done], made: Counter[str]) -> dict[str, list[Row]]:
    found = {}
    for experiment in study.experiments:
        rows, fresh = results.tabulate(_cells(study, experiment, done), force=study.site.force)
        found[experiment.name] = rows
        made["evaluate"] += fresh
    return found


def _tell(
    talk: Talk,
    done: dict[str, Done],
    made: Counter[str],
    tasks: dict[str, Task],
) -> None:
    what = ", ".join(f"{verb} {count}" for verb, count in made.items() if count)
    talk.say(f"made: {what}" if what else "everything was there; nothing was made")
    for each in done.values():
        if each.outcome == "failed":
            talk.say(f"failed: {title(tasks[each.key])}: {each.error}")
    skipped = sum(each.outcome == "skipped" for each in done.values())
    if skipped:
        talk.say(f"{skipped} dependent tasks were skipped")
