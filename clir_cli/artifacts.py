"""Artifacts: what a stage leaves on disk, and when it may be trusted.

An artifact is a directory. It is written under a temporary name and renamed when it is whole;
``manifest.json`` is written last, so its existence means that the stage finished. The manifest
holds a fingerprint of the configuration and the inputs: a stage is skipped only when the
fingerprint is the same, whatever the directory is called.
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from clir_cli.errors import MissingInput, UserError
from clir_cli.runtime import versions

MANIFEST = "manifest.json"
State = Literal["missing", "cut", "current", "stale"]


@dataclass(frozen=True)
class Plan:
    """What an artifact will be: where it lies and everything that decides its content.

    ``config`` is the resolved configuration, ``inputs`` maps the name of each input to its
    fingerprint or sha256. ``command`` is what a person types to make it.
    """

    path: Path
    kind: str
    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    command: str = ""

    @property
    def fingerprint(self) -> str:
        """Return the sha256 of kind, configuration and inputs."""
        return digest({"kind": self.kind, "config": self.config, "inputs": self.inputs})

    @property
    def draft(self) -> Path:
        """Return the temporary directory in which the artifact is made."""
        return self.path.with_name(f".{self.path.name}.part")

    def state(self) -> State:
        """Return whether the artifact is there, cut short, current, or made from other things."""
        if (self.path / MANIFEST).exists():
            same = read_manifest(self.path)["fingerprint"] == self.fingerprint
            return "current" if same else "stale"
        return "cut" if self.draft.exists() else "missing"


def digest(value: Any) -> str:
    """Return the sha256 of a JSON value, keys in order."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of an artifact.

    Raises:
        UserError: The manifest is missing or is not readable.
    """
    try:
        return json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: not an artifact, {MANIFEST} is missing") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise UserError(
            f"{path / MANIFEST}: damaged; make the artifact again with --force"
        ) from None


def verify(path: Path) -> dict[str, Any]:
    """Check every file of an artifact against its manifest and return the manifest.

    Raises:
        UserError: A file is missing, cut or changed; the file is named.
    """
    manifest = read_manifest(path)
    remedy = f"make it again: {manifest.get('command') or 'the same command'} --force"
    for name, entry in manifest["files"].items():
        file = path / name
        if not file.exists():
            raise UserError(f"{file}: missing; {remedy}")
        if file.stat().st_size != entry["bytes"]:
            raise UserError(
                f"{file}: {file.stat().st_size} bytes, {entry['bytes']} expected; {remedy}"
            )
        if file_digest(file) != entry["sha256"]:
            raise UserError(f"{file}: sha256 differs from the manifest's; {remedy}")
    return manifest


def require(path: Path, command: str) -> dict[str, Any]:
    """Return the manifest of an input artifact, or say which command makes it."""
    if not (path / MANIFEST).exists():
        raise MissingInput(f"{path} is missing; make it with: {command}")
    return verify(path)


@contextmanager
def make(plan: Plan, *, force: bool = False, resume: bool = False) -> Iterator[Path | None]:
    """Yield the directory in which to write the artifact, or None when it is already current.

    On leaving without an exception the manifest is written and the directory takes its final
    name; whatever stood there before (``force``) goes only then. After an exception the draft
    is kept when ``resume`` is set and dropped otherwise. A draft begun for another fingerprint
    is never continued.

    Raises:
        UserError: The artifact was made from other settings or inputs and ``force`` is not set,
            or another process is making it.
    """
    state = plan.state()
    if state == "current" and not force:
        yield None
        return
    if state == "stale" and not force:
        raise UserError(f"{stale(plan)}; --force replaces it")
    plan.path.parent.mkdir(parents=True, exist_ok=True)
    with _lock(plan.path):
        if plan.state() == "current" and not force:  # made by another process meanwhile
            yield None
            return
        _begin(plan, fresh=not resume or (force and state in ("current", "stale")))
        started = time.time()
        try:
            yield plan.draft
            _finish(plan, started)
        except BaseException:
            if not resume:
                shutil.rmtree(plan.draft, ignore_errors=True)
            raise


def _begin(plan: Plan, *, fresh: bool) -> None:
    marker = plan.draft / "draft.json"
    try:
        begun = json.loads(marker.read_text())["fingerprint"]
    except (OSError, ValueError, KeyError):
        begun = None
    if fresh or begun != plan.fingerprint:
        shutil.rmtree(plan.draft, ignore_errors=True)
        plan.draft.mkdir(parents=True)
        write_text(marker, json.dumps({"fingerprint": plan.fingerprint}))


def _finish(plan: Plan, started: float) -> None:
    (plan.draft / "draft.json").unlink()
    files = sorted(file for file in plan.draft.rglob("*") if file.is_file())
    manifest = {
        "kind": plan.kind,
        "fingerprint": plan.fingerprint,
        "command": plan.command,
        "config": plan.config,
        "inputs": plan.inputs,
        "files": {
            file.relative_to(plan.draft).as_posix(): {
                "bytes": file.stat().st_size,
                "sha256": file_digest(file),
            }
            for file in files
        },
        "versions": versions(),
        "seconds": round(time.time() - started, 3),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    notes = plan.draft / "notes.json"
    if notes.exists():  # what a stage wants to tell beside the files: counts, best epoch, device
        manifest["notes"] = json.loads(notes.read_text(encoding="utf-8"))
    write_text(plan.draft / MANIFEST, json.dumps(manifest, indent=1, default=str) + "\n")
    old = plan.path.with_name(f".{plan.path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if plan.path.exists():
        plan.path.rename(old)
    plan.draft.rename(plan.path)
    shutil.rmtree(old, ignore_errors=True)


def stale(plan: Plan) -> str:
    """Say in one line what an artifact was made from that has changed."""
    before = read_manifest(plan.path)
    changed = [
        f"{key}: {_brief(before['config'].get(key))} -> {_brief(value)}"
        for key, value in _plain(plan.config).items()
        if before["config"].get(key) != value
    ]
    inputs = {**before["inputs"], **plan.inputs}
    changed += [name for name in inputs if before["inputs"].get(name) != plan.inputs.get(name)]
    what = "; ".join(changed[:3]) or "another version of clir"
    return f"{plan.path} was made from something else ({what})"


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(config, default=str))


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    file = path.with_name(f".{path.name}.lock")
    with file.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another process is making {path}; wait for it to end") from None
        yield
    file.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file so that it is either whole or not there: temporary name, then rename."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that it is either whole or not there: temporary name, then rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def explain_os_error(error: OSError) -> str | None:
    """Return one line for the failures of disks and rights that a user can mend, else None."""
    where = f"{error.filename}: " if error.filename else ""
    remedies = {
        errno.ENOSPC: "no space left on the disk; free some and run the same command again",
        errno.EDQUOT: "the disk quota is used up; free some and run the same command again",
        errno.EACCES: "no permission; change the rights, or choose another folder with --home",
        errno.EPERM: "not permitted; change the rights, or choose another folder with --home",
        errno.EROFS: "the disk is read-only; choose another folder with --home",
        errno.ENOTDIR: "a file stands where a folder is needed; choose another folder with --home",
    }
    return where + remedies[error.errno] if error.errno in remedies else None
