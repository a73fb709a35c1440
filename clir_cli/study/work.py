"""One task done: in this process, in a worker, or on another machine."""

import time
import traceback
from dataclasses import dataclass, replace
from typing import Any, Literal

from clir_cli.artifacts import graph
from clir_cli.artifacts.manifest import is_whole
from clir_cli.artifacts.store import refuse_another
from clir_cli.console import one_line
from clir_cli.errors import Busy, UserError
from clir_cli.files import explain_os_error
from clir_cli.stages.support.workspace import Workspace
from clir_cli.study.tasks import Task

State = Literal["there", "stale", "missing"]


@dataclass(frozen=True)
class Done:
    """What became of a task.

    The outcome ``busy`` means that another process makes it, ``skipped`` that a task which it needs
    has failed: ``cause``. ``error`` is the reason in one line; if clir is at fault, and not the
    user's input, it ``is_bug``, with a ``trace``.
    """

    key: str
    outcome: Literal["made", "there", "busy", "failed", "skipped"]
    seconds: float = 0.0
    error: str = ""
    is_bug: bool = False
    trace: str = ""
    cause: str = ""

    @property
    def is_well(self) -> bool:
        """Return True if the artifact is there."""
        return self.outcome in ("made", "there")


def state(task: Task, workspace: Workspace) -> State:
    """Return whether the artifact is there, made from other things, or missing.

    Raises:
        UserError: An input is missing or damaged.
    """
    workspace = workspace.using(task.settings)
    if task.verb == "download":
        from clir_cli.stages.download import is_there

        return "there" if is_there(workspace, task.ref) else "missing"
    artifact = graph.resolve(workspace, task.ref)
    match artifact.state():
        case "current":
            return "there" if is_whole(artifact.path, deep=False) else "stale"
        case "stale":
            refuse_another(artifact)
            return "stale"
    return "missing"


def do(task: Task, workspace: Workspace) -> Done:
    """Make an artifact unless it is there, and return what became of it; raises nothing.

    An artifact that was made from other things is replaced.
    """
    started = time.perf_counter()

    def done(outcome: Any, **why: Any) -> Done:
        return Done(task.key, outcome, time.perf_counter() - started, **why)

    try:
        before = state(task, workspace)
        if before == "there" and not workspace.force:
            return done("there")
        graph.make(replace(workspace, force=workspace.force or before == "stale"), task.ref)
    except Busy as error:
        return done("busy", error=str(error))
    except Exception as error:
        reason = str(error) if isinstance(error, UserError) else explain_os_error(error)
        line = one_line(reason or f"{type(error).__name__}: {error}")
        trace = "" if reason else traceback.format_exc()
        return done("failed", error=line, is_bug=reason is None, trace=trace)
    return done("made")
