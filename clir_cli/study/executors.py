"""Where tasks run: in this process, in several of this machine, or on the workers of Ray.

An executor takes as many tasks as it is ``free`` for, and returns what became of each as it ends.
Tasks and workspaces can be pickled: ``work.do`` does a task on any machine that sees the files.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from clir_cli import runtime
from clir_cli.cluster.connection import EngineOptions
from clir_cli.cluster.workers import RayCluster, Resources, TaskPool, ray_cluster
from clir_cli.console import Talk
from clir_cli.errors import UserError
from clir_cli.retrieval import memory
from clir_cli.retrieval.memory import PROCESS, Load
from clir_cli.stages.support.methods import METHODS, similarities
from clir_cli.stages.support.used_models import initial_folder, teacher_folder
from clir_cli.stages.support.workspace import Workspace
from clir_cli.study.tasks import Task
from clir_cli.study.work import Done, do

GRACE = 10  # seconds from the request to end to the end by force
ATTEMPTS = 2  # how often a task is started whose worker dies


class Executor(Protocol):
    """What the schedule needs of an executor."""

    @property
    def free(self) -> int:
        """Return how many more tasks can be started."""

    def start(self, task: Task) -> None:
        """Start a task that is ready."""

    def wait(self) -> Done:
        """Return what became of a task that was started, when one has ended."""


def executor_of(
    engine: EngineOptions, workspace: Workspace, talk: Talk
) -> AbstractContextManager[Executor]:
    """Return the executor that ``--engine`` and ``--jobs`` name.

    0 jobs on Ray are as many as there are processors; all machines of a cluster must see the
    workspace's folder. Tasks of this process speak through ``talk``.
    """
    # Tasks of a study run beside each other; none of them uses an engine of its own.
    workspace = replace(workspace, engine=EngineOptions(), talk=talk)
    if engine.name == "ray":
        return on_ray(engine, workspace)
    if engine.jobs == 1:
        return nullcontext(InProcess(workspace))
    cards = runtime.cards(workspace.device)
    if cards and len(cards) < engine.jobs:
        talk.say(
            f"warning: {engine.jobs} workers share the memory of {len(cards)} GPUs; --jobs "
            f"{len(cards)} gives each its own"
        )
    return closing(Processes(_for_workers(workspace), engine.jobs, cards))


def _for_workers(workspace: Workspace) -> Workspace:
    """Return a workspace for another process, with a cache of its own."""
    return replace(workspace, talk=Talk(quiet=True), cache={})


# ------------------------------------------------------------------ this machine


@dataclass
class InProcess:
    """One task at a time, here: what was loaded for one is there for the next."""

    workspace: Workspace
    _waiting: list[Task] = field(default_factory=list)

    @property
    def free(self) -> int:
        """Return 1 when nothing is waiting."""
        return 1 - len(self._waiting)

    def start(self, task: Task) -> None:
        """Keep the task for ``wait``."""
        self._waiting.append(task)

    def wait(self) -> Done:
        """Do the task."""
        return do(self._waiting.pop(), self.workspace)


@dataclass
class _Worker:
    number: int
    process: BaseProcess
    pipe: Connection
    task: Task | None = None


@dataclass
class Processes:
    """Several processes of this machine; they share its processors, and each has one of its GPUs.

    ``cards`` are the GPUs, as ``CUDA_VISIBLE_DEVICES`` names them.
    """

    workspace: Workspace
    jobs: int
    cards: Sequence[str] = ()
    _workers: list[_Worker] = field(default_factory=list)
    _attempts: dict[str, int] = field(default_factory=dict)

    @property
    def free(self) -> int:
        """Return how many workers have nothing to do."""
        return self.jobs - sum(worker.task is not None for worker in self._workers)

    def start(self, task: Task) -> None:
        """Give the task to an idle worker; workers are started when they are needed."""
        idle = [worker for worker in self._workers if worker.task is None]
        worker = idle[0] if idle else self._start_worker()
        worker.task = task
        self._attempts[task.key] = self._attempts.get(task.key, 0) + 1
        worker.pipe.send(task)

    def wait(self) -> Done:
        """Return the next task that ends. A task whose worker died is given to another."""
        while True:
            busy = [(worker, worker.task) for worker in self._workers if worker.task is not None]
            ready = wait([worker.pipe for worker, _ in busy])
            worker, task = next(pair for pair in busy if pair[0].pipe in ready)
            try:
                done = worker.pipe.recv()
            except (EOFError, OSError):
                worker.process.join()
                self._workers.remove(worker)
                if self._attempts[task.key] < ATTEMPTS:
                    self.start(task)
                    continue
                return Done(task.key, "failed", error=_death(worker.process, task))
            worker.task = None
            return done

    def _start_worker(self) -> _Worker:
        spawning = multiprocessing.get_context("spawn")
        here, there = spawning.Pipe()
        # Not daemons: a stage may have children of its own (downloads, a library).
        process = spawning.Process(target=_work, args=(there, self.workspace), name="clir")
        given = os.environ.get("OMP_NUM_THREADS", "")
        threads = given if given.isdigit() else str(max(1, runtime.processors() // self.jobs))
        variables = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        taken = {worker.number for worker in self._workers}
        number = next(number for number in range(self.jobs) if number not in taken)
        if self.cards:
            variables[runtime.CARDS] = self.cards[number % len(self.cards)]
        with _environment(**variables):
            process.start()
        there.close()
        self._workers.append(_Worker(number, process, here))
        return self._workers[-1]

    def close(self) -> None:
        """End the workers; the next call resumes what they were doing."""
        for worker in self._workers:
            worker.pipe.close()
            if worker.task is not None:
                worker.process.terminate()
        for worker in self._workers:
            worker.process.join(timeout=GRACE)
            if worker.process.is_alive():
                worker.process.kill()


def _death(process: BaseProcess, task: Task) -> str:
    code = process.exitcode or 0
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    return (
        f"the process that did it was {how}, {ATTEMPTS} times (out of memory?); try fewer --jobs, "
        f"or: {task.command}"
    )


def _work(pipe: Connection, workspace: Workspace) -> None:
    """Do tasks until there are no more: the whole life of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            pipe.send(do(pipe.recv(), workspace))
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one ends the rest without a traceback


def _end_with_parent() -> None:
    """End this process when its parent has ended for any reason: no other process does it.

    An interrupt that is raised in a destructor or a callback is lost, so the end does not depend on
    it: drafts survive any end.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE)
        os._exit(128 + signal.SIGTERM)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt  # so that drafts are left as after Ctrl-C


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


# ------------------------------------------------------------------ Ray


@contextmanager
def on_ray(engine: EngineOptions, workspace: Workspace) -> Iterator[Executor]:
    """Yield workers of Ray; Ray that is started on this machine ends with the command."""
    with ray_cluster(engine, workspace.home, workspace.talk.say) as cluster:
        device = cluster.device(workspace.device)
        there = replace(_for_workers(workspace), home=workspace.home.resolve(), device=device)
        pool = TaskPool(
            cluster,
            partial(_do_on_ray, there),
            partial(_resources, cluster, there),
            lambda task, error: Done(task.key, "failed", error=str(error)),
        )
        with closing(pool):
            yield pool


_CACHE: dict[Any, Any] = {}  # of a worker of Ray, for its next task


def _do_on_ray(workspace: Workspace, task: Task) -> Done:
    return do(task, replace(workspace, device=_device(workspace, task), cache=_CACHE))


def _device(workspace: Workspace, task: Task) -> str:
    return workspace.device if _uses_gpu(task) else "cpu"


def _uses_gpu(task: Task) -> bool:
    if task.verb == "search":
        return METHODS[task.ref.cell.method].scorer == "maxsim"
    return task.verb != "download"


def _resources(cluster: RayCluster, workspace: Workspace, task: Task) -> Resources:
    """Return what a task occupies; its memory is estimated."""
    settings, device, needed = task.settings, _device(workspace, task), PROCESS
    workspace = workspace.using(settings)
    with suppress(UserError, OSError):  # a model that is not there yet: the task itself reports it
        if task.verb in ("distill", "train"):
            model = memory.size_of(initial_folder(workspace, task.ref.pair))
            load = Load(
                settings.training.batch_size, settings.teacher.bitext_tokens,
                similarities=similarities(settings, task.ref.cell.method),
            )  # fmt: skip
            needed += memory.training(model, load).on_host(device)
        elif _uses_gpu(task):
            model = memory.size_of(teacher_folder(workspace))
            load = Load(1, settings.index.batch_tokens or 16_384)
            needed += memory.encoding(model, load).on_host(device)
    return cluster.resources(settings.cluster, device, needed)
