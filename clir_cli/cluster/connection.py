"""Which engine does the work, the connection to Ray, and what a worker occupies there."""

import logging
import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clir_cli.errors import UserError, nearest
from clir_cli.settings import ClusterSettings

NAMES = ("local", "ray")
CONNECT_SECONDS = 10.0  # until an address must answer
STARTS = 3  # attempts to start Ray on a machine that may be busy
OBJECT_STORE = 256 << 20  # bytes for what travels between processes of a machine: texts, results


@dataclass(frozen=True)
class EngineOptions:
    """The options ``--engine``, ``--address`` and ``--jobs``.

    Attributes:
        name: ``local``, this process and its threads, or ``ray``.
        address: Of a Ray cluster, ``auto`` for the one that this machine belongs to; empty starts
            Ray on this machine until the command ends.
        jobs: Maximum number of workers; 0 for as many as there is room for.
    """

    name: str = "local"
    address: str = ""
    jobs: int = 0

    def check(self) -> None:
        """Refuse options that do not go together.

        Raises:
            UserError: The engine is unknown, or an address is given for another than Ray.
        """
        if self.name not in NAMES:
            raise UserError(f"unknown engine {self.name!r}: {nearest(self.name, NAMES)}")
        if self.address and self.name != "ray":
            raise UserError(f"--address {self.address} names a Ray cluster; add --engine ray")


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


def connect(engine: EngineOptions) -> Any:
    """Return the module ``ray``, connected; a second call uses the connection of the first.

    Ray that is started on this machine ends with the process.

    Raises:
        UserError: Ray is not installed, or there is no cluster at the address.
    """
    # Standard output is for the command's data. Ray would print the deaths of workers there (it
    # reads this variable when it is imported); RayCluster reports them on standard error.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Workers that are started here do the work of this process: the same priority.
    os.environ.setdefault("RAY_worker_niceness", "0")
    try:
        import ray
    except ModuleNotFoundError:
        raise UserError(
            "--engine ray needs Ray, which is not installed; pip install 'clir-cli[ray]'"
        ) from None
    if ray.is_initialized():
        return ray
    _check_address(engine)
    options: dict[str, Any] = {"address": engine.address or "local"}
    if not engine.address:
        options |= {
            "num_cpus": max(engine.jobs, _processors()),
            "object_store_memory": OBJECT_STORE,
            "include_dashboard": False,
        }
    for attempt in range(1 if engine.address else STARTS):
        try:
            ray.init(**options, log_to_driver=False, logging_level=logging.ERROR)
            break
        except Exception as error:  # Ray raises its base class too, after 30 seconds of waiting
            if engine.address or attempt + 1 == STARTS:
                raise UserError(_no_cluster(engine, error)) from error
            ray.shutdown()
    return ray


def _check_address(engine: EngineOptions) -> None:
    """Refuse an address that does not answer; Ray itself would try for minutes."""
    address = engine.address
    if address == "auto":  # the address that Ray uses then; its cluster may have ended
        file = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster"
        with suppress(OSError):
            address = os.environ.get("RAY_ADDRESS") or file.read_text(encoding="utf-8").strip()
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or "://" in address:
        return  # Ray resolves it
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UserError(_no_cluster(engine, error)) from None


def _no_cluster(engine: EngineOptions, error: Exception) -> str:
    reason = " ".join(str(error).split())[:200]
    if engine.address:
        remedy = "start one with `ray start --head`, or omit --address for one on this machine"
        return f"--address {engine.address}: no Ray cluster there ({reason}); {remedy}"
    return f"--engine ray: Ray does not start here ({reason}); is its memory full, or is it busy?"


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def capacity(ray: Any, resources: Resources) -> int:
    """Return how many workers the machines of the cluster have room for when nothing else runs."""
    named = {"CPU": resources.cpus, "GPU": resources.gpus, "memory": resources.memory}
    amounts = {name: amount for name, amount in named.items() if amount}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(
        int(min(node.get(name, 0) // amount for name, amount in amounts.items())) for node in nodes
    )


def device_for(ray: Any, device: str) -> str:
    """Return the device of the workers: ``auto`` means GPUs if the cluster has any.

    Raises:
        UserError: A certain card is named; Ray assigns them.
    """
    if ":" in device:
        raise UserError(f"--device {device}: Ray assigns the cards; write --device cuda")
    if device != "auto":
        return device
    return "cuda" if capacity(ray, Resources(cpus=0, gpus=1)) else "cpu"


def worker_resources(
    engine: EngineOptions, settings: ClusterSettings, device: str, memory: int
) -> Resources:
    """Return what a worker occupies.

    Args:
        engine: With its jobs, a worker gets its share of this machine; one CPU of a cluster.
        settings: What the user sets; it overrides the rest.
        device: ``cuda`` or another.
        memory: Estimated bytes.
    """
    share = 1 if engine.address else max(1, _processors() // (engine.jobs or _processors()))
    return Resources(
        cpus=settings.cpus or share,
        gpus=settings.gpus if device == "cuda" else 0,
        memory=int(settings.memory_gb * 1e9) or memory,
    )
