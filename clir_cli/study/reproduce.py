"""reproduce: experiments from their files to their tables, doing only the work that is missing."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from clir_cli.errors import UserError, counted
from clir_cli.stages.support.workspace import Workspace
from clir_cli.study import results, schedule, time_spent
from clir_cli.study.cell_scores import Cells
from clir_cli.study.executors import executor_of
from clir_cli.study.experiment import Experiment
from clir_cli.study.grid import Base, expand
from clir_cli.study.known_scores import known_scores
from clir_cli.study.preflight import MANY, Preflight, look_ahead, trained
from clir_cli.study.results import Row
from clir_cli.study.schedule import Pace
from clir_cli.study.tasks import Study, Task
from clir_cli.study.watch import title, watching
from clir_cli.study.work import Done, State

Share = tuple[int, int]  # i and n: one of n parts of the cells, counted from 1
WHOLE = (1, 1)


@dataclass(frozen=True)
class Outcome:
    """What a study came to: the rows of each experiment, and what became of every task."""

    rows: dict[str, list[Row]]
    done: dict[str, Done]

    @property
    def code(self) -> int:
        """Return the exit code: 1 for a bug, 2 for what a user can mend, 1 for a FAIL."""
        failed = [done for done in self.done.values() if done.outcome == "failed"]
        if failed:
            return 1 if any(done.is_bug for done in failed) else 2
        rows = [row for rows in self.rows.values() for row in rows]
        if any(row["error"] for row in rows):
            return 2
        return 1 if any(row["verdict"] == "FAIL" for row in rows) else 0


def prepare(
    experiments: Sequence[Experiment],
    base: Base,
    workspace: Workspace,
    results_folder: Path,
    *,
    from_results: bool = False,
) -> Study:
    """Expand the experiments and check all of them, before any work.

    With ``from_results`` the scores that the results folder has are taken as they are.

    Raises:
        UserError: A file is at fault, two cells want the same artifact with other settings, or
            there are no results to take scores from.
    """
    names = [experiment.name for experiment in experiments]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"{twice[0]}: two experiments of one name would have one table; rename one")
    study = Study(workspace, results_folder)
    for experiment in experiments:
        study.add(experiment, expand(experiment, base))
    if from_results:
        study.known |= known_scores(results_folder / workspace.suite, study.experiments)
        workspace.talk.say(f"{len(study.known)} of {len(study.goals)} cells have scores in results")
    return study


@dataclass(frozen=True)
class Work:
    """The tasks of a share of a study, which of their artifacts are there, and how long they take.

    ``to_do`` are the tasks to run, by their keys.
    """

    tasks: Sequence[Task]
    states: dict[str, State]
    to_do: dict[str, Task]
    pace: Pace


def look(study: Study, share: Share = WHOLE) -> Work:
    """Return the work of a share of a study; nothing is made."""
    workspace = study.workspace
    tasks = study.tasks_of(study.cells(share))
    states = schedule.look(tasks, workspace)
    to_do = {task.key: task for task in tasks if states[task.key] != "there" or workspace.force}
    pace = Pace(workspace.engine.jobs)
    pace.learn_from_manifests(tasks, workspace)
    return Work(tasks, states, to_do, pace)


def ahead(study: Study, work: Work, *, measure: bool = False) -> Preflight:
    """Return what lies ahead; nothing is made."""
    to_do = list(work.to_do.values())
    if not to_do:
        return Preflight([], None)
    return look_ahead(study, work.tasks, to_do, work.pace, measure=measure)


def commands(study: Study, work: Work, share: Share = WHOLE) -> list[dict[str, str]]:
    """Return every command that would run, once and in order, and whether what it makes is there.

    A command that makes several things, as a download, is there if all of them are.
    """
    tasks, states = work.tasks, work.states
    by_command: dict[str, list[State]] = {}
    for task in tasks:
        by_command.setdefault(task.command, []).append(states[task.key])
    for experiment, points in study.experiments if share == WHOLE else ():
        cells = Cells(study, experiment, points, {key: Done(key, "there") for key in states})
        table = _table_state(cells, states)
        for group in cells.methods():
            command = study.scoring_command(group, experiment.metrics, study.results)
            by_command.setdefault(command, [table])
    worst = ("missing", "stale", "there").index
    return [{"state": min(parts, key=worst), "command": text} for text, parts in by_command.items()]


def _table_state(cells: Cells, states: dict[str, State]) -> State:
    try:
        made = [point for point in cells.points if point not in cells.study.known]
        there = all(states[cells.study.goals[point]] == "there" for point in made)
        if there and results.plan(cells).state() == "current":
            return "there"
    except UserError:
        pass
    return "stale" if cells.folder.exists() else "missing"


def reproduce(
    study: Study,
    share: Share = WHOLE,
    *,
    measure: bool = False,
    agrees: Callable[[Preflight], bool] = lambda _: True,
) -> Outcome:
    """Do what is missing or out of date, and draw the tables.

    What lies ahead is reported first, and ``agrees`` decides; ``measure`` takes a few steps of
    training to estimate the time, as is done before many models are trained.

    One share of several makes artifacts and draws no table: that is for a call without a share,
    when all of them have ended.

    Raises:
        UserError: ``agrees`` returns False.
    """
    workspace, talk = study.workspace, study.workspace.talk
    points, work = study.cells(share), look(study, share)
    tasks, states, to_do, pace = work.tasks, work.states, work.to_do, work.pace
    counts = ", ".join(f"{count} {state}" for state, count in Counter(states.values()).items())
    talk.say(f"{counted(len(points), 'cell')}, {counted(len(tasks), 'task')}: {counts}")
    many = len(trained(list(to_do.values()))) >= MANY
    preflight = ahead(study, work, measure=measure or many)
    for line in preflight.lines:
        talk.say(line)
    if not agrees(preflight):
        raise UserError("nothing was begun")
    goals = Counter(study.goals[point] for point in points if study.goals[point] in to_do)
    with (
        watching(goals, list(to_do.values()), quiet=talk.quiet) as (watch, inside),
        executor_of(workspace.engine, workspace, inside) as executor,
    ):
        done = schedule.run(tasks, states, executor, watch, pace=pace, force=workspace.force)
    made = Counter(task.verb for task in tasks if done[task.key].outcome == "made")
    rows = {}
    for experiment, points in study.experiments if share == WHOLE else ():
        cells = Cells(study, experiment, points, done)
        rows[experiment.name], is_new = results.tabulate(cells, force=workspace.force)
        made["evaluate"] += is_new
        time_spent.publish(study, experiment, points)
    counts = ", ".join(f"{verb} {count}" for verb, count in made.items() if count)
    talk.say(f"made: {counts}" if counts else "everything was there; nothing was made")
    for task in tasks:
        if done[task.key].outcome == "failed":
            talk.say(f"failed: {title(task)}: {done[task.key].error}")
    if skipped := sum(ended.outcome == "skipped" for ended in done.values()):
        talk.say(f"{skipped} dependent tasks were skipped")
    return Outcome(rows, done)
