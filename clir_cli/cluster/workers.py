"""Workers: processes of Ray that get ready once, and those who give them work."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clir_cli.cluster.connection import EngineOptions, Resources, connect, places
from clir_cli.cluster.probe import Probe, probed
from clir_cli.errors import UserError

RESTARTS = 4  # of one worker, before its work is given up
PATIENCE = 30.0  # seconds without news, after which it is told what is waited for


@dataclass(frozen=True)
class Trade:
    """What workers do: get ready once, and then do something with each item.

    Both must be found by name where the workers run: functions of a module, or partials of them.
    """

    prepare: Callable[[], Any]
    work: Callable[[Any, Any], Any]


class _Worker:
    """A process of its own; what it has prepared is kept until it ends."""

    def __init__(self, trade: Trade, probe: Probe) -> None:
        self._trade, self._probe = trade, probe
        self._ready: list[Any] = []

    def do(self, item: Any) -> tuple[bool, Any]:
        """Return the result, and whether this is the first since another worker died."""
        # Not in __init__: an error there would reach the driver as the death of a worker.
        first = not self._ready
        if first:
            self._probe.look()
            self._ready.append(self._trade.prepare())
        return first and _is_another(), self._trade.work(self._ready[0], item)


def _is_another() -> bool:
    import ray

    return ray.get_runtime_context().was_current_actor_reconstructed


@dataclass(frozen=True)
class Pool:
    """Where workers come from, and whom to tell what is waited for."""

    ray: Any
    engine: EngineOptions
    probe: Probe
    say: Callable[[str], None]

    def room(self, needs: Resources) -> int:
        """Return how many workers there may be at once.

        Raises:
            UserError: No machine of the cluster has what one of them needs.
        """
        found = places(self.ray, needs)
        if not found:
            raise UserError(
                f"--engine ray: no machine of the cluster has what a worker needs ({needs.told()});"
                " see `ray status`, and lower cluster.cpus, cluster.gpus or cluster.memory_gb"
            )
        return min(found, self.engine.jobs or found)

    def spread(
        self, trade: Trade, items: Sequence[Any], needs: Resources
    ) -> Iterator[tuple[int, Any]]:
        """Give each item to a worker that is free; yield its number and result as it ends.

        Raises:
            UserError: The work says so, or a worker died too often.
        """
        left = deque(enumerate(items))
        idle = [self.start(trade, needs) for _ in range(min(self.room(needs), len(left)))]
        busy: dict[Any, tuple[int, Any]] = {}
        try:
            while left or busy:
                while left and idle:
                    number, item = left.popleft()
                    worker = idle.pop()
                    busy[worker.do.remote(item)] = number, worker
                done = self.await_some(list(busy), 1)[0]
                number, worker = busy.pop(done)
                yield number, self.result(done)
                if left:
                    idle.append(worker)
                else:  # its place may be what one waits for whose machine has gone
                    self.ray.kill(worker)
        finally:
            for _, worker in busy.values():
                self.ray.kill(worker)

    def start(self, trade: Trade, needs: Resources) -> Any:
        """Return a worker that is being started."""
        kind = self.ray.remote(_Worker)
        again = {"max_restarts": RESTARTS, "max_task_retries": RESTARTS}
        return kind.options(**again, **needs.options).remote(trade, self.probe)

    def await_some(self, references: list[Any], count: int) -> list[Any]:
        """Return so many references whose results are there; tell when that takes long."""
        done, _ = self.ray.wait(references, num_returns=count, timeout=PATIENCE)
        if len(done) < count:
            if self.ray.available_resources().get("CPU", 0) < 1:
                self.say("no news from the workers; `ray status` tells whether one waits for room")
            done, _ = self.ray.wait(references, num_returns=count)
        return done

    def result(self, reference: Any) -> Any:
        """Return what a worker returned, or raise what it raised.

        Raises:
            UserError: It died too often, or says so itself.
        """
        errors = self.ray.exceptions
        try:
            another, result = self.ray.get(reference)
        except errors.RayTaskError as error:
            if isinstance(error.cause, Exception):
                raise error.cause from error
            raise
        except errors.RayError as error:
            raise UserError(death(error)) from None
        if another:
            self.say("a worker died; another took its place and does its work again")
        return result


@contextmanager
def pool(engine: EngineOptions, home: Path, say: Callable[[str], None]) -> Iterator[Pool]:
    """Yield a pool whose workers see a folder.

    Args:
        engine: Where the cluster is, and how many workers there may be.
        home: A folder that all machines share.
        say: Tells people what is waited for.

    Raises:
        UserError: There is no such cluster.
    """
    ray = connect(engine)
    with probed(home) as probe:
        yield Pool(ray, engine, probe, say)


@dataclass
class Holders:
    """Workers of whom each holds a part of something large; every item goes to all of them."""

    pool: Pool
    trades: Sequence[Trade]
    needs: Resources
    _workers: list[Any] = field(default_factory=list)

    def ask(self, items: Iterable[Any], ahead: int = 4) -> Iterator[list[Any]]:
        """Yield for each item, in order, what every holder says, in the order of the trades.

        Args:
            items: Taken one by one, a few ahead of the answers.
            ahead: How many are under way at once.

        Raises:
            UserError: The work says so, or a holder died too often.
        """
        if not self._workers:
            self._workers = [self.pool.start(trade, self.needs) for trade in self.trades]
        asked: deque[list[Any]] = deque()
        for item in items:
            shared = self.pool.ray.put(item)
            asked.append([worker.do.remote(shared) for worker in self._workers])
            if len(asked) >= ahead:
                yield self._answers(asked.popleft())
        while asked:
            yield self._answers(asked.popleft())

    def _answers(self, references: list[Any]) -> list[Any]:
        self.pool.await_some(references, len(references))
        return [self.pool.result(each) for each in references]

    def close(self) -> None:
        """End the workers."""
        while self._workers:
            worker = self._workers.pop()
            if self.pool.ray.is_initialized():  # else they have ended, and this would start Ray
                self.pool.ray.kill(worker)


@dataclass
class Tasks:
    """Single pieces of work, each with needs of its own, wherever there is room."""

    pool: Pool
    _running: dict[Any, str] = field(default_factory=dict)
    _refused: list[tuple[str, UserError]] = field(default_factory=list)

    @property
    def free(self) -> int:
        """Return how many more may be started; Ray lets them wait for what they need."""
        return max(0, self.pool.room(Resources()) - len(self._running) - len(self._refused))

    def start(self, key: str, needs: Resources, work: Callable[[Any], Any], item: Any) -> None:
        """Begin ``work(item)``; it is begun again on another worker when one dies."""
        try:
            self.pool.room(needs)
        except UserError as error:  # there is no machine that is large enough
            self._refused.append((key, error))
            return
        function = self.pool.ray.remote(_do_once).options(max_retries=RESTARTS, **needs.options)
        self._running[function.remote(self.pool.probe, work, item)] = key

    def wait(self) -> tuple[str, Any]:
        """Return the key and the result of one that has ended; a UserError where it could not."""
        if self._refused:
            return self._refused.pop()
        done = self.pool.await_some(list(self._running), 1)[0]
        key = self._running.pop(done)
        try:
            return key, self.pool.result(done)
        except UserError as error:
            return key, error

    def stop(self) -> None:
        """End what is still running."""
        for reference in self._running:
            self.pool.ray.cancel(reference, force=True)
        self._running.clear()


def _do_once(probe: Probe, work: Callable[[Any], Any], item: Any) -> tuple[bool, Any]:
    probe.look()
    return False, work(item)


def death(error: Exception) -> str:
    """Return one line about a worker that Ray has given up."""
    told = " ".join(str(error).split())
    if "No module named 'clir_cli'" in told:
        return "a machine of the cluster has no clir-cli; install it on all, in the same version"
    return (
        f"a worker died {RESTARTS + 1} times over the same work (out of memory?): {told[:300]}; "
        "try fewer --jobs, or machines with more memory"
    )
