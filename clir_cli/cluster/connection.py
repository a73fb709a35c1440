"""Which engine does the work, where it is, and what a worker of it occupies."""

import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clir_cli.errors import UserError, nearest
from clir_cli.settings import ClusterSettings

NAMES = ("local", "ray")
ANSWER = 10.0  # seconds until somebody at an address must answer
STARTS = 3  # tries to start Ray on a machine that may be busy
OBJECTS = 256 << 20  # bytes for what travels between processes of a machine: texts, results


@dataclass(frozen=True)
class EngineOptions:
    """Who does the work.

    Attributes:
        name: ``local``, this process and its threads, or ``ray``.
        address: Of a Ray cluster, ``auto`` for the one that this machine belongs to; empty starts
            one of this machine's processors, which ends with the command.
        jobs: How many workers at most; 0 for as many as there is room for.
    """

    name: str = "local"
    address: str = ""
    jobs: int = 0

    def check(self) -> None:
        """Refuse what cannot be meant.

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

    @property
    def resources(self) -> dict[str, float]:
        """Return them by Ray's names, without what is zero."""
        named = {"CPU": self.cpus, "GPU": self.gpus, "memory": float(self.memory)}
        return {name: value for name, value in named.items() if value}

    def told(self) -> str:
        """Return them for people."""
        parts = [f"{self.cpus:g} CPU"]
        parts += [f"{self.gpus:g} GPU"] if self.gpus else []
        parts += [f"{self.memory / 1e9:.1f} GB of memory"] if self.memory else []
        return ", ".join(parts)

    @property
    def options(self) -> dict[str, Any]:
        """Return the options of ``ray.remote``."""
        found = {"num_cpus": self.cpus, "num_gpus": self.gpus}
        return found | ({"memory": self.memory} if self.memory else {})


def connect(engine: EngineOptions) -> Any:
    """Return Ray, connected; a second call finds what the first has made.

    A cluster of this machine ends with the process.

    Raises:
        UserError: Ray is not installed, or there is no cluster at the address.
    """
    # The data of a command is what the command prints. Ray would print the deaths of workers there
    # (it reads this as it is imported); Pool tells them on standard error.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Workers of a Ray that is started here do what this process would: let them be as urgent.
    os.environ.setdefault("RAY_worker_niceness", "0")
    try:
        import ray
    except ModuleNotFoundError:
        raise UserError(
            "--engine ray needs Ray, which is not installed; pip install 'clir-cli[ray]'"
        ) from None
    if ray.is_initialized():
        return ray
    _look_for(engine)
    started = (
        {"address": engine.address}
        if engine.address
        else {
            "address": "local",
            "num_cpus": max(engine.jobs, _processors()),
            "object_store_memory": OBJECTS,
            "include_dashboard": False,
        }
    )
    for attempt in range(1 if engine.address else STARTS):
        try:
            ray.init(**started, log_to_driver=False, logging_level="ERROR")
            break
        except Exception as error:  # Ray raises its base class too, after 30 seconds of waiting
            if engine.address or attempt + 1 == STARTS:
                raise UserError(_no_cluster(engine, error)) from error
            ray.shutdown()
    return ray


def _look_for(engine: EngineOptions) -> None:
    """Refuse an address where nobody answers; Ray itself would try for minutes."""
    address = _last() if engine.address == "auto" else engine.address
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or "://" in address:
        return  # Ray knows
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER).close()
    except (OSError, OverflowError) as error:
        raise UserError(_no_cluster(engine, error)) from None


def _last() -> str:
    """Return the address that Ray takes for ``auto``; it may be of a cluster that has gone."""
    file = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster"
    with suppress(OSError):
        return os.environ.get("RAY_ADDRESS") or file.read_text(encoding="utf-8").strip()
    return ""


def _no_cluster(engine: EngineOptions, error: Exception) -> str:
    why = " ".join(str(error).split())[:200]
    if engine.address:
        remedy = "start one with `ray start --head`, or leave --address out for one of this machine"
        return f"--address {engine.address}: no Ray cluster there ({why}); {remedy}"
    return (
        f"--engine ray: Ray does not start on this machine ({why}); is it short of memory or busy?"
    )


def _processors() -> int:
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def places(ray: Any, needs: Resources) -> int:
    """Return how many workers the machines of the cluster have room for, whoever is there now."""
    return sum(
        int(min(node["Resources"].get(name, 0) // value for name, value in needs.resources.items()))
        for node in ray.nodes()
        if node["Alive"]
    )


def device_for(ray: Any, device: str) -> str:
    """Return the device of the workers: ``auto`` takes GPUs where the cluster has any.

    Raises:
        UserError: A certain card is asked for; Ray gives them out.
    """
    if ":" in device:
        raise UserError(f"--device {device}: Ray gives out the cards; write --device cuda")
    if device != "auto":
        return device
    return "cuda" if places(ray, Resources(cpus=0, gpus=1)) else "cpu"


def share(engine: EngineOptions) -> int:
    """Return the processors of a worker: its share of this machine, or one of a cluster's."""
    if engine.address:
        return 1
    return max(1, _processors() // (engine.jobs or _processors()))


def worker_resources(
    engine: EngineOptions, settings: ClusterSettings, device: str, memory: int
) -> Resources:
    """Return what a worker occupies.

    Args:
        engine: Of whom it is one.
        settings: What the user says of it.
        device: ``cuda`` or another.
        memory: Bytes that it is estimated to need; the settings may say otherwise.
    """
    return Resources(
        cpus=settings.cpus or share(engine),
        gpus=settings.gpus if device == "cuda" else 0,
        memory=int(settings.memory_gb * 1e9) or memory,
    )
