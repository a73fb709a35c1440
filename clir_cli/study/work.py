"""One task done: plan, look, make. The same in this process, in a worker, or on another machine."""

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

from clir_cli import artifacts
from clir_cli.artifacts import MANIFEST, Plan
from clir_cli.console import Talk
from clir_cli.corpus.records import Collection
from clir_cli.errors import Busy, UserError
from clir_cli.files import explain_os_error
from clir_cli.retrieval import models
from clir_cli.settings import Settings
from clir_cli.stages import dictionary, distill, download, index, search, train
from clir_cli.stages.index import Index
from clir_cli.stages.support import jobs
from clir_cli.stages.support.inputs import read_collection
from clir_cli.stages.support.recipes import RECIPES
from clir_cli.stages.support.workspace import Workspace
from clir_cli.study.tasks import Site, Task
from clir_cli.suites import load_settings

State = Literal["there", "stale", "missing"]


@dataclass(frozen=True)
class Done:
    """What became of a task.

    ``made`` and ``there`` are well; ``busy`` means that another process is at it. Of a ``failed``
    one ``error`` is a line for people; ``is_bug`` tells whose fault it is, ``trace`` where. One is
    ``skipped`` when something that it needs failed, in the end the task ``cause``.
    """

    key: str
    outcome: Literal["made", "there", "busy", "failed", "skipped"]
    seconds: float = 0.0
    error: str = ""
    is_bug: bool = False
    trace: str = ""
    cause: str = ""


@dataclass(frozen=True)
class Stage:
    """How the artifact of a verb is planned, and how it is made."""

    plan: Callable[[Workspace, Task], Plan]
    make: Callable[[Workspace, Task], object]


# ------------------------------------------------------------------ the stages


@lru_cache(maxsize=4)
def _collection(name: str, language: str, home: Path, suite: str) -> Collection:
    settings = load_settings(suite).model_copy(update={"collection": name})
    return read_collection(Workspace(settings, home), language)


def collection_of(settings: Settings, language: str, site: Site) -> Collection:
    """Return the collection with the queries of a language; the last few are kept."""
    return _collection(settings.collection, language, site.home, settings.suite)


def _read(workspace: Workspace, language: str) -> Collection:
    settings = workspace.settings
    return _collection(settings.collection, language, workspace.home, settings.suite)


_OPEN: dict[str, Index] = {}  # the last index that was searched, under its fingerprint


def _index(workspace: Workspace, collection: Collection) -> Index:
    fingerprint = index.plan_index(workspace, collection).fingerprint
    if fingerprint not in _OPEN:
        _OPEN.clear()
        _OPEN[fingerprint] = index.open_index(workspace, collection)
    return _OPEN[fingerprint]


def forget() -> None:
    """Drop what is kept for the next task; files may have changed since."""
    _collection.cache_clear()
    _OPEN.clear()


def _search(workspace: Workspace, task: Task) -> None:
    collection = _read(workspace, task.pair.query)
    opened = partial(_index, workspace, collection)
    search.search(workspace, collection, task.pair, [task.cell], opened)


def _job(workspace: Workspace, task: Task) -> jobs.Job:
    (job,) = jobs.jobs(workspace, RECIPES[task.cell.method], task.pairs, task.cell)
    return job


STAGES = {
    "distill": Stage(
        lambda workspace, task: distill.plan_student(workspace, task.pair, task.cell),
        lambda workspace, task: distill.distill(workspace, task.pair, task.cell),
    ),
    "train": Stage(
        lambda workspace, task: _job(workspace, task).plan(),
        lambda workspace, task: train.train(_job(workspace, task)),
    ),
    "index": Stage(
        lambda workspace, _: index.plan_index(workspace, _read(workspace, "en")),
        lambda workspace, _: index.index(workspace, _read(workspace, "en")),
    ),
    "dictionary": Stage(
        lambda workspace, task: dictionary.plan_dictionary(workspace, task.pair, task.cell),
        lambda workspace, task: dictionary.dictionary(workspace, task.pair, task.cell),
    ),
    "search": Stage(
        lambda workspace, task: search.plan_run(
            workspace, _read(workspace, task.pair.query), task.pair, task.cell
        ),
        _search,
    ),
}


def plan(task: Task, site: Site) -> Plan:
    """Return what the artifact of a task will be made from; raises as the stage does."""
    return STAGES[task.verb].plan(site.workspace(task.settings), task)


def state(task: Task, site: Site) -> State:
    """Return whether the artifact is there, made from other things, or not at all.

    Raises:
        UserError: An input is missing or at fault.
    """
    if task.verb == "download":
        return "there" if _downloaded(task, site) else "missing"
    planned = plan(task, site)
    found = planned.state()
    if found == "current":
        return "there" if _is_whole(planned.path) else "stale"
    return "stale" if found == "stale" else "missing"


def _downloaded(task: Task, site: Site) -> bool:
    workspace = site.workspace(task.settings)
    if not all(need.there for need in download.needs(workspace, task.pairs)):
        return False
    folders = [
        models.model_folder(name, site.home, task.settings.models.allow_pickle)
        for name in download.model_names(workspace)
    ]
    return all((folder / MANIFEST).exists() and _is_whole(folder) for folder in folders)


def _is_whole(path: Path) -> bool:
    """Tell whether no file was cut or lost; whoever reads them looks at their sha256."""
    try:
        artifacts.verify(path, deep=False)
    except UserError:
        return False
    return True


def do(task: Task, site: Site, talk: Talk | None = None) -> Done:
    """Do a task, if it is still to be done, and tell what became of it; raises nothing.

    What was made from other things is replaced: that is what `reproduce` is for.
    """
    started = time.perf_counter()
    talk = talk or Talk(quiet=True)
    try:
        found = state(task, site)
        if found == "there" and not site.force:
            return Done(task.key, "there", time.perf_counter() - started)
        workspace = site.workspace(task.settings, force=site.force or found == "stale", talk=talk)
        if task.verb == "download":
            download.download(workspace, task.pairs, site.mirror)
        else:
            STAGES[task.verb].make(workspace, task)
    except Busy as error:
        return Done(task.key, "busy", error=str(error))
    except Exception as error:
        told = str(error) if isinstance(error, UserError) else explain_os_error(error)
        line = told or f"{type(error).__name__}: {error}"
        return Done(
            task.key,
            "failed",
            time.perf_counter() - started,
            error=" ".join(line.split()),
            is_bug=told is None,
            trace="" if told else traceback.format_exc(),
        )
    return Done(task.key, "made", time.perf_counter() - started)
