"""Which engine does the work, and the connection to Ray."""

import logging
import os
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clir_cli.errors import UserError, nearest
from clir_cli.runtime import processors

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
            "num_cpus": max(engine.jobs, processors()),
            "object_store_memory": OBJECT_STORE,
            "include_dashboard": False,
        }
    on_sigterm = signal.getsignal(signal.SIGTERM)
    for attempt in range(1 if engine.address else STARTS):
        try:
            ray.init(**options, log_to_driver=False, logging_level=logging.ERROR)
            signal.signal(signal.SIGTERM, on_sigterm)  # Ray's own would end with exit code 0
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
