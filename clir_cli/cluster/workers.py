"""Workers: processes of Ray that prepare once, and the ways to distribute work to them.

What a worker calls must be importable where it runs: a function of a module or a partial of one.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clir_cli.cluster.connection import EngineOptions, connect
from clir_cli.cluster.probe import Probe, probed
from clir_cli.errors import UserError
from clir_cli.runtime import processors
from clir_cli.settings import ClusterSettings

RESTARTS = 4  # of one worker, before its work is given up
PATIENCE = 30.0  # seconds without a result, after which a message gives the reason

Prepare = Callable[[], Any]
Work = Callable[[Any, Any], Any]  # gets what ``Prepare`` returned, and an item


@dataclass(frozen=True)
class Resources:
    """What a worker occupies: processors, GPUs, and bytes of memory (0: not declared)."""

    cpus: float = 1
    gpus: float = 0
    memory: int = 0

    def __str__(self) -> str:
        amounts = {"CPU": self.cpus, "GPU": self.gpus, "GB of memory": round(self.memory / 1e9, 1)}
        return ", ".join(f"{amount:g} {name}" for name, amount in amounts.items() if amount)

    @property
    def options(self) -> dict[str, Any]:
        """Return the options of ``ray.remote``."""
        return {"num_cpus": self.cpus, "num_gpus": self.gpus, "memory": self.memory or None}


class _Worker:
    """A process of its own; what it has prepared is kept until it ends."""

    def __init__(self, prepare: Prepare, work: Work, probe: Probe) -> None:
        self._prepare, self._work, self._probe = prepare, work, probe
        self._prepared: list[Any] = []

    def do(self, item: Any) -> tuple[bool, Any]:
        """Return whether this is the first item since another worker died, and the result."""
        import ray

        # Not in __init__: an error there would reach the driver as the death of a worker.
        first = not self._prepared
        if first:
            self._probe.check()
            self._prepared.append(self._prepare())
        replaced = first and ray.get_runtime_context().was_current_actor_reconstructed
        return replaced, self._work(self._prepared[0], item)


def call(prepared: Any, request: Callable[[Any], Any]) -> Any:
    """Answer a request: the work of workers that hold a part (``RayCluster.ask_all``)."""
    return request(prepared)


def _do_once(probe: Probe, work: Callable[[Any], Any], item: Any) -> tuple[bool, Any]:
    probe.check()
    return False, work(item)


@dataclass(frozen=True)
class RayCluster:
    """The machines to which work is given; ``say`` reports to the user what is waited for."""

    ray: Any
    engine: EngineOptions
    probe: Probe
    say: Callable[[str], None]

    def room(self, resources: Resources) -> int:
        """Return how many workers there may be at once.

        Raises:
            UserError: No machine of the cluster has what one of them needs.
        """
        count = self._capacity(resources)
        if not count:
            raise UserError(
                f"--engine ray: no machine of the cluster has what a worker needs ({resources}); "
                "see `ray status`, and lower cluster.cpus, cluster.gpus or cluster.memory_gb"
            )
        return min(count, self.engine.jobs or count)

    def _capacity(self, resources: Resources) -> int:
        """Return how many workers all machines have room for when nothing else runs."""
        named = {"CPU": resources.cpus, "GPU": resources.gpus, "memory": resources.memory}
        amounts = {name: amount for name, amount in named.items() if amount}
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        return sum(
            int(min(node.get(name, 0) // amount for name, amount in amounts.items()))
            for node in nodes
        )

    def device(self, device: str) -> str:
        """Return the device of the workers: ``auto`` means GPUs if the cluster has any.

        Raises:
            UserError: A certain card is named; Ray assigns them.
        """
        if ":" in device:
            raise UserError(f"--device {device}: Ray assigns the cards; write --device cuda")
        if device != "auto":
            return device
        return "cuda" if self._capacity(Resources(cpus=0, gpus=1)) else "cpu"

    def resources(self, settings: ClusterSettings, device: str, memory: int) -> Resources:
        """Return what a worker occupies; ``memory`` (bytes) is an estimate, settings override."""
        jobs = self.engine.jobs or processors()
        share = 1 if self.engine.address else max(1, processors() // jobs)
        return Resources(
            cpus=settings.cpus or share,
            gpus=settings.gpus if device == "cuda" else 0,
            memory=int(settings.memory_gb * 1e9) or memory,
        )

    def map_unordered(
        self, prepare: Prepare, work: Work, items: Iterable[Any], resources: Resources
    ) -> Iterator[tuple[Any, Any]]:
        """Give each item to an idle worker; yield item and result as it ends.

        Raises:
            UserError: The work raises it, or a worker died too often.
        """
        waiting = deque(items)
        busy: dict[Any, tuple[Any, Any]] = {}
        workers = min(self.room(resources), len(waiting))
        idle = [self.start(prepare, work, resources) for _ in range(workers)]
        try:
            while waiting or busy:
                while waiting and idle:
                    item, worker = waiting.popleft(), idle.pop()
                    busy[worker.do.remote(item)] = item, worker
                done = self.await_some(list(busy), 1)[0]
                item, worker = busy.pop(done)
                yield item, self.result(done)
                if waiting:
                    idle.append(worker)
                else:  # make room for the restart of a worker whose machine is lost
                    self.end(worker)
        finally:
            for _, worker in busy.values():
                self.end(worker)

    def ask_all(self, workers: Sequence[Any], request: Callable[[Any], Any]) -> list[Any]:
        """Return what ``request`` returns for what each worker holds, in their order.

        The work of these workers is ``call``, and a request must be picklable.

        Raises:
            UserError: The request raises it, or a worker died too often.
        """
        shared = self.ray.put(request)
        references = [worker.do.remote(shared) for worker in workers]
        self.await_some(references, len(references))
        return [self.result(reference) for reference in references]

    def end(self, worker: Any) -> None:
        """End a worker."""
        if self.ray.is_initialized():  # else it has ended, and this would start Ray
            self.ray.kill(worker)

    def start(self, prepare: Prepare, work: Work, resources: Resources) -> Any:
        """Return a worker that is being started."""
        restarts = {"max_restarts": RESTARTS, "max_task_retries": RESTARTS}
        actor = self.ray.remote(_Worker).options(**restarts, **resources.options)
        return actor.remote(prepare, work, self.probe)

    def await_some(self, references: list[Any], count: int) -> list[Any]:
        """Return ``count`` references whose results are there; report when that takes long."""
        done, _ = self.ray.wait(references, num_returns=count, timeout=PATIENCE)
        if len(done) < count:
            if self.ray.available_resources().get("CPU", 0) < 1:
                self.say("no news from the workers; `ray status` shows if one is waiting")
            done, _ = self.ray.wait(references, num_returns=count)
        return done

    def result(self, reference: Any) -> Any:
        """Return what a worker returned, or raise what it raised.

        Raises:
            UserError: The worker died too often, or raises it itself.
        """
        try:
            replaced, result = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, Exception):
                raise error.cause from error
            raise
        except self.ray.exceptions.RayError as error:
            raise UserError(_death(error)) from None
        if replaced:
            self.say("a worker died; another one repeats its work")
        return result


def _death(error: Exception) -> str:
    reason = " ".join(str(error).split())
    if "No module named 'clir_cli'" in reason:
        return "a machine of the cluster has no clir-cli; install it on all, in the same version"
    return (
        f"a worker died {RESTARTS + 1} times over the same work (out of memory?): {reason[:300]}; "
        "try fewer --jobs, or machines with more memory"
    )


@contextmanager
def ray_cluster(
    engine: EngineOptions, home: Path, say: Callable[[str], None]
) -> Iterator[RayCluster]:
    """Yield the cluster, whose workers see the folder ``home``.

    Raises:
        UserError: There is no such cluster.
    """
    ray = connect(engine)
    with probed(home) as probe:
        yield RayCluster(ray, engine, probe, say)


@dataclass
class TaskPool:
    """Single tasks, each with resources of its own, on any machine that has room.

    ``work`` does a task (another worker repeats it when one dies), ``resources`` returns what it
    occupies, ``failed`` the result of one that could not be done.
    """

    cluster: RayCluster
    work: Callable[[Any], Any]
    resources: Callable[[Any], Resources]
    failed: Callable[[Any, UserError], Any]
    _running: dict[Any, Any] = field(default_factory=dict)
    _refused: list[Any] = field(default_factory=list)

    @property
    def free(self) -> int:
        """Return how many more tasks may be started; Ray queues them until there is room."""
        return max(0, self.cluster.room(Resources()) - len(self._running) - len(self._refused))

    def start(self, task: Any) -> None:
        """Start a task."""
        resources = self.resources(task)
        try:
            self.cluster.room(resources)
        except UserError as error:  # no machine is large enough
            self._refused.append(self.failed(task, error))
            return
        remote = self.cluster.ray.remote(_do_once)
        function = remote.options(max_retries=RESTARTS, **resources.options)
        self._running[function.remote(self.cluster.probe, self.work, task)] = task

    def wait(self) -> Any:
        """Return the result of a task that has ended."""
        if self._refused:
            return self._refused.pop()
        done = self.cluster.await_some(list(self._running), 1)[0]
        task = self._running.pop(done)
        try:
            return self.cluster.result(done)
        except UserError as error:
            return self.failed(task, error)

    def close(self) -> None:
        """End what is still running."""
        for reference in self._running:
            self.cluster.ray.cancel(reference, force=True)
        self._running.clear()
