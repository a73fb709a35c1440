"""Check that workers see the shared folder and have the same versions of the libraries."""

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
LIBRARIES = ("clir-cli", "torch", "transformers", "tokenizers")  # results depend on their versions


@dataclass(frozen=True)
class Probe:
    """A file that the driver writes, by which workers recognise the shared folder."""

    folder: Path
    token: str
    versions: dict[str, str]
    directory: Path  # the driver's working directory, so that relative paths mean the same
    patience: float = SETTLING  # seconds

    @property
    def file(self) -> Path:
        """Return the path of the file."""
        return self.folder / f".probe-{self.token}"

    def check(self) -> None:
        """Check folder and versions where a worker runs, and enter the driver's directory.

        Raises:
            UserError: The file is not there, or a library has another version.
        """
        host, end = socket.gethostname(), time.monotonic() + self.patience
        while self._content() != self.token:
            if time.monotonic() > end:
                raise UserError(
                    f"the worker on {host} does not see {self.folder}; give --home a folder that "
                    "all machines share under the same path"
                )
            time.sleep(0.2)
        for name, version in _versions().items():
            if version != self.versions[name]:
                raise UserError(
                    f"the worker on {host} has {name} {version}, and this machine "
                    f"{self.versions[name]}; install the same on all, since results depend on it"
                )
        with suppress(OSError):
            os.chdir(self.directory)

    def _content(self) -> str:
        with suppress(OSError):
            return self.file.read_text(encoding="utf-8")
        return ""


@contextmanager
def probed(folder: Path) -> Iterator[Probe]:
    """Leave a probe in a folder while workers may look for it."""
    folder = folder.resolve()
    probe = Probe(folder, uuid.uuid4().hex, _versions(), Path.cwd())
    folder.mkdir(parents=True, exist_ok=True)
    for abandoned in folder.glob(".probe-*"):  # by a driver that was killed
        with suppress(OSError):
            if time.time() - abandoned.stat().st_mtime > DAY:
                abandoned.unlink()
    probe.file.write_text(probe.token, encoding="utf-8")
    try:
        yield probe
    finally:
        probe.file.unlink(missing_ok=True)


def _versions() -> dict[str, str]:
    versions = runtime.versions()
    return {name: versions[name] for name in LIBRARIES}


def await_file(path: Path) -> None:
    """Wait until a file that a worker has written is visible here.

    Raises:
        UserError: It does not appear.
    """
    end = time.monotonic() + 6 * SETTLING  # network file systems cache that it was not there
    while not path.exists():
        if time.monotonic() > end:
            raise UserError(f"{path}: a worker wrote it, and it is not seen here; is it shared?")
        time.sleep(0.05)
