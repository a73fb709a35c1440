"""Tasks of experiments on the machines of a Ray cluster, or on the processors of this one."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial

from clir_cli.cluster import engine as clusters
from clir_cli.cluster.engine import Engine, Needs
from clir_cli.cluster.workers import Tasks, pool
from clir_cli.console import Talk
from clir_cli.errors import UserError
from clir_cli.retrieval import memory
from clir_cli.retrieval.memory import Load
from clir_cli.stages.inputs import initial_folder, teacher_folder
from clir_cli.stages.methods import METHODS
from clir_cli.study.tasks import Site, Task
from clir_cli.study.work import Done, do

PROCESS = 700_000_000  # bytes of an interpreter with torch and a collection, before any model
TRAINS = {"distill", "train"}


@dataclass
class OnRay:
    """An engine of ``clir_cli.study.engines``: Ray finds a place for what each task declares."""

    site: Site
    tasks: Tasks
    device: str
    _refused: list[Done] = field(default_factory=list)

    @property
    def free(self) -> int:
        """Return how many more tasks may be given to Ray; it lets them wait for what they need."""
        return max(0, self.tasks.pool.room(Needs()) - len(self.tasks) - len(self._refused))

    def start(self, task: Task) -> None:
        """Give a task to Ray."""
        device = self.device if _computes(task) else "cpu"
        site = replace(self.site, device=device)
        engine, chosen = self.tasks.pool.engine, task.settings.cluster
        needs = clusters.needs(engine, chosen, device, _memory(task, site))
        try:
            self.tasks.start(task.key, needs, partial(_do, site), task)
        except UserError as error:  # there is no machine that is large enough
            self._refused.append(Done(task.key, "failed", error=str(error)))

    def wait(self) -> Done:
        """Return what became of a task. One whose worker died is done by another."""
        if self._refused:
            return self._refused.pop()
        key, result = self.tasks.wait()
        return Done(key, "failed", error=str(result)) if isinstance(result, UserError) else result


def _do(site: Site, task: Task) -> Done:
    return do(task, site)


def _computes(task: Task) -> bool:
    """Tell whether a task has use for a GPU."""
    if task.verb == "search" and task.cell is not None:
        return METHODS[task.cell.method].scorer == "maxsim"
    return task.verb != "download"


def _memory(task: Task, site: Site) -> int:
    """Return about how many bytes a task needs beside those of a GPU."""
    settings = task.settings
    workspace = site.workspace(settings)
    on_gpu = site.device == "cuda"
    with suppress(UserError, OSError):  # a model that is not there yet: whoever reads it says so
        if task.verb in TRAINS:
            shape = memory.shape_of(initial_folder(workspace, task.pair))
            load = Load(settings.training.batch_size, settings.teacher.query_tokens, False)
            needed = memory.training(shape, load)
        elif _computes(task):
            shape = memory.shape_of(teacher_folder(workspace))
            needed = memory.encoding(shape, Load(1, settings.index.batch_tokens or 16_384, False))
        else:
            return PROCESS
        return PROCESS + (needed.weights if on_gpu else needed.total)
    return PROCESS


@contextmanager
def on_ray(site: Site, jobs: int, talk: Talk) -> Iterator[OnRay]:
    """Yield the engine; a cluster that it started ends with the command.

    Args:
        site: Where the work is done; its folder must be seen by all machines of the cluster.
        jobs: Tasks at a time; 0 for as many as there are processors.
        talk: Where to tell what is waited for.
    """
    engine = Engine("ray", site.address, jobs)
    with pool(engine, site.home, talk.say) as workers:
        device = clusters.device_for(workers.ray, site.device)
        tasks = Tasks(workers)
        try:
            yield OnRay(replace(site, home=site.home.resolve()), tasks, device)
        finally:
            tasks.stop()
