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
    """A file that the driver writes into the shared folder, and what workers must have alike."""

    file: Path
    versions: dict[str, str]
    directory: Path  # the driver's working directory, so that relative paths mean the same
    patience: float = SETTLING  # seconds

    def check(self) -> None:
        """Check folder and versions where a worker runs, and enter the driver's directory.

        Raises:
            UserError: The file is not there, or a library has another version.
        """
        host = socket.gethostname()
        if not runtime.soon(self.file.exists, self.patience):
            raise UserError(
                f"the worker on {host} does not see {self.file.parent}; give --home a folder that "
                "all machines share under the same path"
            )
        for name, version in _versions().items():
            if version != self.versions[name]:
                raise UserError(
                    f"the worker on {host} has {name} {version}, and this machine "
                    f"{self.versions[name]}; install the same on all, since results depend on it"
                )
        with suppress(OSError):
            os.chdir(self.directory)


@contextmanager
def probed(folder: Path) -> Iterator[Probe]:
    """Leave a probe in a folder while workers may look for it."""
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for abandoned in folder.glob(".probe-*"):  # by a driver that was killed
        with suppress(OSError):
            if time.time() - abandoned.stat().st_mtime > DAY:
                abandoned.unlink()
    file = folder / f".probe-{uuid.uuid4().hex}"
    file.touch()
    try:
        yield Probe(file, _versions(), Path.cwd())
    finally:
        file.unlink(missing_ok=True)


def _versions() -> dict[str, str]:
    versions = runtime.versions()
    return {name: versions[name] for name in LIBRARIES}


def await_file(path: Path) -> None:
    """Wait until a file that a worker has written is visible here; UserError if it never is."""
    # Network file systems cache that it was not there.
    if not runtime.soon(path.exists, 6 * SETTLING):
        raise UserError(f"{path}: a worker wrote it, and it is not seen here; is it shared?")
