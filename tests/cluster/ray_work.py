"""What workers do in the tests of Ray, found by name where they run; and the script that asks them.

Ray starts processes and threads that outlive a test, so it runs in an interpreter of its own.
"""

import json
import os
import signal
import sys
import time
import warnings
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from clir_cli.cluster import workers
from clir_cli.cluster.connection import EngineOptions
from clir_cli.cluster.workers import Resources, TaskPool
from clir_cli.errors import UserError


def prepare() -> list[str]:
    return []


def work(done: list[str], item: str) -> tuple[int, int, str]:
    """Return the process, how much it has done since it was prepared, and the item.

    ``kill:FILE`` kills the process the first time.
    """
    print("what a worker prints")
    warnings.warn("what a worker warns of", stacklevel=1)
    word, _, rest = item.partition(":")
    if word == "kill":
        with suppress(FileExistsError):  # two processes may be asked at once, and one is to die
            Path(rest).touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)
    if word == "wrong":
        raise UserError("the input is at fault")
    if word == "bug":
        raise ZeroDivisionError(rest)
    if word == "place":
        item = str(Path.cwd())
    time.sleep(0.05)
    done.append(item)
    return os.getpid(), len(done), item


def alone(item: str) -> tuple[str, str]:
    return item, work([], item)[2]


def main(folder: Path) -> None:
    said: list[str] = []
    told: dict[str, object] = {}
    one = Resources()
    with workers.ray_cluster(
        EngineOptions("ray", jobs=2), folder / "shared", said.append
    ) as cluster:
        told["room"] = cluster.room(one), cluster.room(Resources(cpus=0.5))
        told["device"] = cluster.device("auto")
        words = ["a", "b", f"kill:{folder / 'once'}", "c", "place:"]
        told["spread"] = [
            (words.index(word), result)
            for word, result in cluster.map_unordered(prepare, work, words, one)
        ]
        told["said after a death"] = list(said)
        actors = [cluster.start(prepare, workers.call, one) for _ in range(2)]
        words = ["a", "b", f"kill:{folder / 'twice'}", "c", "d", "e"]
        told["asked"] = [cluster.ask_all(actors, partial(work, item=word)) for word in words]
        for actor in actors:
            cluster.end(actor)
        told["said after another"] = len(said)
        told["error"] = _error(lambda: _spread(cluster, "wrong:"))
        told["bug"] = _error(lambda: _spread(cluster, "bug:here"))
        told["too large"] = _error(lambda: cluster.room(Resources(gpus=512, memory=10**9)))
        tasks = TaskPool(cluster, alone, lambda _: one, lambda word, error: (word, str(error)))
        for word in ("a", f"kill:{folder / 'thrice'}", "wrong:"):
            tasks.start(word)
        told["tasks"] = dict(
            sorted((word[:4], end) for word, end in (tasks.wait() for _ in range(3)))
        )
        cluster.probe.file.unlink()  # a machine that does not share the folder
        apart = replace(cluster, probe=replace(cluster.probe, patience=0.0))
        told["unseen"] = _error(lambda: _spread(apart))
    print(json.dumps(told))


def _spread(cluster: workers.RayCluster, *words: str) -> list:
    return list(cluster.map_unordered(prepare, work, ["a", *words], Resources()))


def _error(call) -> str:
    try:
        return f"no error: {call()}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
