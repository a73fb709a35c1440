"""Commands in a process of their own, forked from one that has loaded the libraries already."""

import ctypes
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

HUNG = -1000


@dataclass(frozen=True)
class Ending:
    """How a process ended: exit code, or minus the number of a signal, and what it printed.

    ``operations`` counts its file operations below the folder that it was armed for.
    """

    code: int
    out: str
    err: str
    operations: int = 0

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL

    @property
    def refused(self) -> bool:
        """Return True if the command refused as a user may expect: one line and exit code 2."""
        lines = [line for line in self.err.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("clir: ")]
        return self.code == 2 and len(errors) == 1 and "Traceback" not in self.err


def has_shim() -> bool:
    return hasattr(ctypes.CDLL(None), "fault_arm")


def arm(folder: Path, operation: int = -1, error: int = 0) -> None:
    """Let the n-th file operation below a folder fail with an errno; 0 is SIGKILL, -1 counts."""
    library = ctypes.CDLL(None)
    library.fault_arm(os.fsencode(folder), ctypes.c_long(operation), error)


def operations() -> int:
    library = ctypes.CDLL(None)
    if not has_shim():
        return 0
    library.fault_calls.restype = ctypes.c_long
    return library.fault_calls()


def in_child(call: Callable[[], int], seconds: float = 120) -> Ending:
    """Return how ``call`` ends in a fork of this process; one that hangs is killed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        child = os.fork()
        if not child:
            os._exit(_play(call, folder))
        code = _wait(child, seconds)
        out, err, count = (_read(folder / part) for part in ("out", "err", "count"))
    return Ending(code, out, err, int(count or 0))


def commands(lines: Sequence[Sequence[object]]) -> Callable[[], int]:
    """Return a call of command lines in turn, up to the first that fails."""

    def call() -> int:
        from clir_cli.cli import run

        for words in lines:
            code = run([str(word) for word in words])
            if code:
                return code
        return 0

    return call


def _play(call: Callable[[], int], folder: Path) -> int:
    os.setsid()
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT, 0o600), number)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1)
    try:
        code = call()
    except BaseException:
        traceback.print_exc()
        code = 1
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            code = code or 1
    (folder / "count").write_text(str(operations()))
    return code


def _wait(child: int, seconds: float) -> int:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return HUNG


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
