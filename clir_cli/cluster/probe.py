"""Whether workers see the folder that they are to share, and run the same versions."""

import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from clir_cli import runtime
from clir_cli.errors import UserError

SETTLING = 10.0  # seconds that a shared folder may need to show what another machine wrote
DAY = 86_400.0
SAME = ("clir-cli", "torch", "transformers", "tokenizers")  # versions that results depend on


@dataclass(frozen=True)
class Probe:
    """A file that the driver writes, for the workers to see that they share its folder."""

    folder: Path
    token: str
    versions: dict[str, str]
    place: Path  # where the driver was called, so that relative paths mean the same
    patience: float = SETTLING  # seconds

    @property
    def file(self) -> Path:
        """Return where it lies."""
        return self.folder / f".probe-{self.token}"

    def look(self) -> None:
        """Look for the file, where a worker runs.

        Raises:
            UserError: It is not there, or another version of something is.
        """
        host, end = socket.gethostname(), time.monotonic() + self.patience
        while self._read() != self.token:
            if time.monotonic() > end:
                raise UserError(
                    f"the worker on {host} does not see {self.folder}; give --home a folder that "
                    "all machines share under the same path"
                )
            time.sleep(0.2)
        here = _versions()
        for name, version in self.versions.items():
            if here[name] != version:
                raise UserError(
                    f"the worker on {host} has {name} {here[name]}, and this machine {version}; "
                    "install the same on all, since results depend on it"
                )
        with suppress(OSError):
            os.chdir(self.place)

    def _read(self) -> str:
        with suppress(OSError):
            return self.file.read_text(encoding="utf-8")
        return ""


@contextmanager
def probed(folder: Path) -> Iterator[Probe]:
    """Leave a probe in a folder for as long as workers may look for it."""
    folder = folder.resolve()
    probe = Probe(folder, uuid.uuid4().hex, _versions(), Path.cwd())
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".probe-*"):  # of a driver that was killed
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > DAY:
                left.unlink()
    probe.file.write_text(probe.token, encoding="utf-8")
    try:
        yield probe
    finally:
        probe.file.unlink(missing_ok=True)


def _versions() -> dict[str, str]:
    found = runtime.versions()
    return {name: found[name] for name in SAME}


def await_file(path: Path) -> None:
    """Wait until a file that a worker has written is seen here.

    Raises:
        UserError: It does not come.
    """
    end = time.monotonic() + 6 * SETTLING  # network file systems remember that it was not there
    while not path.exists():
        if time.monotonic() > end:
            raise UserError(f"{path}: a worker wrote it, and it is not seen here; is it shared?")
        time.sleep(0.05)
