"""Who does the tasks: this process, or several of them on this machine.

An engine takes tasks that are ready, as many as it has ``free`` places for, and gives back what
became of each as it ends. Another one is an entry in ``ENGINES``: tasks
and sites can be pickled, and ``clir_cli.study.work.do`` does one anywhere that sees the same
files.
"""

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Protocol

from clir_cli.cluster.connection import EngineOptions
from clir_cli.cluster.workers import RayCluster, Resources, TaskPool, ray_cluster
from clir_cli.console import Talk
from clir_cli.errors import UserError
from clir_cli.retrieval import memory
from clir_cli.retrieval.memory import PROCESS, Load
from clir_cli.runtime import processors
from clir_cli.stages.support.methods import METHODS
from clir_cli.stages.support.models import initial_folder, teacher_folder
from clir_cli.study.tasks import Site, Task
from clir_cli.study.work import Done, do

ATTEMPTS = 2  # a worker that dies takes its task with it; it is given to another one this often


class Engine(Protocol):
    """What the schedule asks of who does the work."""

    @property
    def free(self) -> int:
        """Return how many more tasks can be started."""

    def start(self, task: Task) -> None:
        """Begin a task that is ready."""

    def wait(self) -> Done:
        """Return what became of a task that was started, when one has ended."""


@dataclass
class InProcess:
    """One task at a time, here: what was loaded for one is at hand for the next."""

    site: Site
    talk: Talk
    _waiting: list[Task] = field(default_factory=list)

    @property
    def free(self) -> int:
        """Return 1 when nothing is waiting."""
        return 1 - len(self._waiting)

    def start(self, task: Task) -> None:
        """Put the task aside for ``wait``."""
        self._waiting.append(task)

    def wait(self) -> Done:
        """Do it."""
        return do(self._waiting.pop(), self.site, self.talk)


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    task: Task | None = None


@dataclass
class Processes:
    """Several processes of their own on this machine; they share its processors."""

    site: Site
    jobs: int
    _workers: list[_Worker] = field(default_factory=list)
    _attempts: dict[str, int] = field(default_factory=dict)

    @property
    def free(self) -> int:
        """Return how many workers have nothing to do."""
        return self.jobs - sum(worker.task is not None for worker in self._workers)

    def start(self, task: Task) -> None:
        """Give the task to an idle worker; they are started when they are needed."""
        idle = next((worker for worker in self._workers if worker.task is None), None)
        if idle is None:
            idle = self._begin()
        idle.task = task
        self._attempts[task.key] = self._attempts.get(task.key, 0) + 1
        idle.pipe.send(task)

    def wait(self) -> Done:
        """Return the next task that ends. One whose worker died is given to another."""
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

    def _begin(self) -> _Worker:
        spawning = multiprocessing.get_context("spawn")
        here, there = spawning.Pipe()
        # Not daemons: a stage may have children of its own (the network's, a library's).
        process = spawning.Process(target=_work, args=(there, self.site), name="clir")
        process.start()
        there.close()
        self._workers.append(_Worker(process, here))
        return self._workers[-1]

    def stop(self) -> None:
        """End the workers; what they were at goes on from where it stands the next time."""
        for worker in self._workers:
            worker.pipe.close()
            if worker.task is not None:
                worker.process.terminate()
        for worker in self._workers:
            worker.process.join(timeout=10)
            if worker.process.is_alive():
                worker.process.kill()


def _death(process: BaseProcess, task: Task) -> str:
    code = process.exitcode or 0
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    return (
        f"the process that did it was {how}, {ATTEMPTS} times (out of memory?); try fewer --jobs, "
        f"or: {task.command}"
    )


def _work(pipe: Connection, site: Site) -> None:
    """Do tasks until there are no more: the whole life of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told, and ends its workers
    signal.signal(signal.SIGTERM, _leave)
    if site.threads:
        import torch

        torch.set_num_threads(site.threads)
    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            pipe.send(do(pipe.recv(), site))


def _leave(*_: object) -> None:
    raise KeyboardInterrupt  # so that drafts are left as after Ctrl-C


@contextmanager
def local(site: Site, jobs: int, talk: Talk) -> Iterator[Engine]:
    """Yield this process for one job, or so many of its children."""
    if jobs == 1:
        yield InProcess(site, talk)
        return
    with _threads_in_children(site.threads):
        engine = Processes(site, jobs)
        try:
            yield engine
        finally:
            engine.stop()


@contextmanager
def _threads_in_children(threads: int) -> Iterator[None]:
    """Tell the libraries of processes that are started here how many threads are theirs."""
    before = dict(os.environ)
    if threads:
        os.environ |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before


# ------------------------------------------------------------------ Ray


@contextmanager
def on_ray(site: Site, jobs: int, talk: Talk) -> Iterator[Engine]:
    """Yield workers of Ray; Ray that is started on this machine ends with the command.

    Args:
        site: Where the work is done; all machines of the cluster must see its folder.
        jobs: Tasks at a time; 0 for as many as there are processors.
        talk: Reports what is waited for.
    """
    with ray_cluster(EngineOptions("ray", site.address, jobs), site.home, talk.say) as cluster:
        site = replace(site, home=site.home.resolve(), device=cluster.device(site.device))
        pool = TaskPool(
            cluster,
            partial(_do_on_ray, site),
            partial(_resources, cluster, site),
            lambda task, error: Done(task.key, "failed", error=str(error)),
        )
        with closing(pool):
            yield pool


def _do_on_ray(site: Site, task: Task) -> Done:
    return do(task, _site_of(site, task))


def _site_of(site: Site, task: Task) -> Site:
    return site if _uses_gpu(task) else replace(site, device="cpu")


def _uses_gpu(task: Task) -> bool:
    if task.verb == "search":
        return METHODS[task.ref.cell.method].scorer == "maxsim"
    return task.verb != "download"


def _resources(cluster: RayCluster, site: Site, task: Task) -> Resources:
    """Return what a task occupies; its memory is estimated."""
    settings, device = task.settings, _site_of(site, task).device
    workspace, needed = site.workspace(settings), PROCESS
    with suppress(UserError, OSError):  # a model that is not there yet: the task itself reports it
        if task.verb in ("distill", "train"):
            model = memory.size_of(initial_folder(workspace, task.ref.pair))
            load = Load(settings.training.batch_size, settings.teacher.query_tokens)
            needed += memory.training(model, load).on_host(device)
        elif _uses_gpu(task):
            model = memory.size_of(teacher_folder(workspace))
            load = Load(1, settings.index.batch_tokens or 16_384)
            needed += memory.encoding(model, load).on_host(device)
    return cluster.resources(settings.cluster, device, needed)


ENGINES: dict[str, Callable[[Site, int, Talk], AbstractContextManager[Engine]]] = {
    "local": local,
    "ray": on_ray,
}


def threads_for(jobs: int) -> int:
    """Return the threads of each of several jobs; 0 leaves the one of a single job alone."""
    if jobs == 1:
        return 0
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() else max(1, processors() // jobs)
