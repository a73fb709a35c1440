"""One task done: resolve, look, make. The same in this process, in a worker, on another machine."""

import time
import traceback
from dataclasses import dataclass
from typing import Literal

from clir_cli.artifacts import graph
from clir_cli.artifacts.store import is_whole
from clir_cli.console import Talk
from clir_cli.corpus.records import Collection
from clir_cli.errors import Busy, UserError
from clir_cli.files import explain_os_error
from clir_cli.settings import Settings
from clir_cli.stages.support.sources import read_collection
from clir_cli.study.tasks import CACHE, Site, Task

State = Literal["there", "stale", "missing"]


@dataclass(frozen=True)
class Done:
    """What became of a task.

    ``made`` and ``there`` are well; ``busy`` means that another process makes it. Of a ``failed``
    one ``error`` is a line for people, ``is_bug`` says that it is our fault, ``trace`` where. One
    is ``skipped`` when something that it needs failed, in the end the task ``cause``.
    """

    key: str
    outcome: Literal["made", "there", "busy", "failed", "skipped"]
    seconds: float = 0.0
    error: str = ""
    is_bug: bool = False
    trace: str = ""
    cause: str = ""


def collection_of(settings: Settings, language: str, site: Site) -> Collection:
    """Return the collection with the queries of a language; the last few are kept."""
    return read_collection(site.workspace(settings), language)


def forget() -> None:
    """Drop what is kept for the next task; files may have changed since."""
    CACHE.clear()


def state(task: Task, site: Site) -> State:
    """Return whether the artifact is there, made from other things, or not at all.

    Raises:
        UserError: An input is missing or at fault.
    """
    workspace = site.workspace(task.settings)
    if task.verb == "download":
        from clir_cli.stages.download import is_there

        return "there" if is_there(workspace, task.ref) else "missing"
    artifact = graph.resolve(workspace, task.ref)
    found = artifact.state()
    if found == "current":
        return "there" if is_whole(artifact.path, deep=False) else "stale"
    return "stale" if found == "stale" else "missing"


def do(task: Task, site: Site, talk: Talk | None = None) -> Done:
    """Do a task if it is still to be done, and return what became of it; raises nothing.

    What was made from other things is replaced: that is what `reproduce` is for.
    """
    started = time.perf_counter()
    talk = talk or Talk(quiet=True)
    try:
        found = state(task, site)
        if found == "there" and not site.force:
            return Done(task.key, "there", time.perf_counter() - started)
        force = site.force or found == "stale"
        graph.make(site.workspace(task.settings, force=force, talk=talk), task.ref)
    except Busy as error:
        return Done(task.key, "busy", error=str(error))
    except Exception as error:
        reason = str(error) if isinstance(error, UserError) else explain_os_error(error)
        line = reason or f"{type(error).__name__}: {error}"
        return Done(
            task.key,
            "failed",
            time.perf_counter() - started,
            error=" ".join(line.split()),
            is_bug=reason is None,
            trace="" if reason else traceback.format_exc(),
        )
    return Done(task.key, "made", time.perf_counter() - started)
