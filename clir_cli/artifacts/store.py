"""Artifacts: what a stage leaves on disk, and when it may be trusted.

An artifact is a directory. It is written under a temporary name and renamed when it is whole;
``manifest.json`` is written last, so its existence means that the stage finished. The manifest
holds a fingerprint of the configuration and the inputs: a stage is skipped only when the
fingerprint is the same, whatever the directory is called.

While an artifact ``name`` is made three files stand beside it: ``.name.lock``, the draft
``.name.part``, and for an instant ``.name.old``, the one before. Whichever moment a machine stops
at, one of ``name``, ``.name.part`` and ``.name.old`` is whole, and is found again.
"""

import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from clir_cli.errors import MissingInput, UserError
from clir_cli.files import alone, digest, file_digest, write_text
from clir_cli.runtime import versions

MANIFEST = "manifest.json"
NEEDED = {"fingerprint", "config", "inputs", "files"}  # without these a manifest is damaged
MARKER = "draft.json"  # in a draft: the fingerprint that it was begun for
State = Literal["missing", "cut", "current", "stale"]


@dataclass(frozen=True)
class Artifact:
    """What an artifact will be: where it lies and everything that decides its content.

    ``config`` is the resolved configuration, ``inputs`` maps the name of each input to its
    fingerprint or sha256. ``command`` makes it, and ``mend`` repairs damage where that is less
    work. ``unreached`` are settings that older manifests list although they decide nothing.
    """

    path: Path
    kind: str
    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    command: str = ""
    mend: str = ""
    unreached: Sequence[str] = ()

    @property
    def fingerprint(self) -> str:
        """Return the sha256 of kind, configuration and inputs."""
        return digest({"kind": self.kind, "config": self.config, "inputs": self.inputs})

    @property
    def draft(self) -> Path:
        """Return the temporary directory in which the artifact is made."""
        return _draft(self.path)

    def state(self) -> State:
        """Return whether the artifact is there, cut short, current, or made from other things."""
        if (self.path / MANIFEST).exists():
            return "current" if self._is_of(self.path) else "stale"
        return "cut" if self.draft.exists() else "missing"

    def is_settled(self) -> bool:
        """Return True if the artifact is current and no interrupted replacement is left."""
        return self.state() == "current" and not _old(self.path).exists()

    def _is_of(self, path: Path) -> bool:
        """Return True if a manifest, of this version or an older one, is that of this artifact."""
        if not self.unreached or _fingerprint(path) in ("", self.fingerprint):
            return _fingerprint(path) == self.fingerprint
        manifest = read_manifest(path)
        made = (
            manifest.get("kind"),
            manifest["inputs"],
            _known(manifest["config"], self.unreached),
        )
        return made == (self.kind, self.inputs, _known(self.config, ()))


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of an artifact.

    Raises:
        UserError: The manifest is missing or is not readable.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: not an artifact, {MANIFEST} is missing") from None
    except ValueError:  # neither JSON nor UTF-8
        manifest = None
    if not isinstance(manifest, dict) or not manifest.keys() >= NEEDED:
        raise UserError(f"{path / MANIFEST}: damaged; make the artifact again with --force")
    return manifest


def is_readable(path: Path) -> bool:
    """Return True if a folder has a manifest that is not damaged."""
    return bool(_fingerprint(path))


def _fingerprint(path: Path) -> str:
    """Return the fingerprint of an artifact, empty when its manifest is missing or damaged."""
    try:
        return read_manifest(path)["fingerprint"]
    except UserError:
        return ""


def verify(path: Path, *, deep: bool = True) -> dict[str, Any]:
    """Check every file of an artifact against its manifest and return the manifest.

    Args:
        path: The artifact.
        deep: Whether to read the files for their sha256, or to look at their sizes alone.

    Raises:
        UserError: A file is missing, cut or changed; the file is named.
    """
    manifest = read_manifest(path)
    again = f"make it again: {manifest.get('command') or 'the same command'} --force"
    remedy = f"repair it: {manifest['mend']}" if manifest.get("mend") else again
    for name, entry in manifest["files"].items():
        file = path / name
        if not file.exists():
            raise UserError(f"{file}: missing; {remedy}")
        if file.stat().st_size != entry["bytes"]:
            raise UserError(
                f"{file}: {file.stat().st_size} bytes, {entry['bytes']} expected; {remedy}"
            )
        if deep and file_digest(file) != entry["sha256"]:
            raise UserError(f"{file}: sha256 differs from the manifest's; {remedy}")
    return manifest


def require(path: Path, command: str, *, deep: bool = True) -> dict[str, Any]:
    """Return the manifest of an input artifact, or say which command makes it.

    Who only wants to know what the artifact is, and will not read it, need not look ``deep``.
    """
    if not (path / MANIFEST).exists() and any(
        (aside / MANIFEST).exists() for aside in (_draft(path), _old(path))
    ):
        with alone(path):
            _recover(path)
    if not (path / MANIFEST).exists():
        raise MissingInput(f"{path} is missing; make it with: {command}", has_remedy=True)
    return verify(path, deep=deep)


def require_current(artifact: Artifact) -> None:
    """Check that an input artifact is there, whole, and made from what it would be made from now.

    Raises:
        MissingInput: It is missing; the command that makes it is told.
        UserError: It is damaged, or was made from something that has changed since.
    """
    require(artifact.path, artifact.command)
    if artifact.state() != "current":
        raise UserError(f"{stale(artifact)}; make it again: {artifact.command} --force")


@contextmanager
def make(
    artifact: Artifact, *, force: bool = False, resume: bool = False, wait: bool = False
) -> Iterator[Path | None]:
    """Yield the directory in which to write the artifact, or None when it is already current.

    On leaving without an exception the manifest is written and the directory takes its final
    name; whatever stood there before (``force``) goes only then. After an exception the draft
    is kept when ``resume`` is set and it holds anything, and dropped otherwise. A draft begun for
    another fingerprint is never continued. Where another process is making it, ``wait`` waits for
    that to end, as caches want it that several stages share.

    Raises:
        UserError: The artifact was made from other settings or inputs, or something else lies in
            its place, and ``force`` is not set.
        Busy: Another process is making it, and ``wait`` is not set.
    """
    if not force:
        if artifact.is_settled():
            yield None
            return
        _refuse_other(artifact)
    with alone(artifact.path, wait=wait):
        if _fingerprint(artifact.draft) == artifact.fingerprint and is_whole(artifact.draft):
            _install(artifact.path)  # a run that was cut before its last rename
            yield None
            return
        _recover(artifact.path)
        if not force:  # another process may have made it meanwhile
            if artifact.state() == "current":
                yield None
                return
            _refuse_other(artifact)
        _begin(artifact, fresh=not resume)
        started = time.time()
        try:
            yield artifact.draft
            _seal(artifact, started)
        except BaseException:
            if not resume or not _holds_work(artifact.draft):
                shutil.rmtree(artifact.draft, ignore_errors=True)
            raise
        _install(artifact.path)


def _refuse_other(artifact: Artifact) -> None:
    """Refuse to replace what was made from something else, or what clir did not make at all."""
    if artifact.state() == "stale":
        raise UserError(f"{stale(artifact)}; --force replaces it")
    path = artifact.path
    if path.exists() and not (path / MANIFEST).exists() and not _is_empty(path):
        raise UserError(
            f"{path} is there without a {MANIFEST}, so clir did not make it; move it away, "
            "or --force replaces it"
        )


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _draft(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _old(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


def _begin(artifact: Artifact, *, fresh: bool) -> None:
    marker = artifact.draft / MARKER
    try:
        begun = json.loads(marker.read_text(encoding="utf-8"))["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError):
        begun = None
    if fresh or begun != artifact.fingerprint or (artifact.draft / MANIFEST).exists():
        _remove(artifact.draft)
        artifact.draft.mkdir()
        write_text(marker, json.dumps({"fingerprint": artifact.fingerprint}))
    for left in artifact.draft.rglob(
        ".*"
    ):  # temporary names, ours and of libraries, cut in writing
        if left.is_file():
            left.unlink()


def _holds_work(draft: Path) -> bool:
    return any(file.name != MARKER for file in draft.glob("*"))


def _seal(artifact: Artifact, started: float) -> None:
    """Write the manifest of a draft; from here on it is whole."""
    marker = artifact.draft / MARKER
    files = sorted(file for file in artifact.draft.rglob("*") if file.is_file() and file != marker)
    for file in files:  # some libraries write for the owner alone; folders here are shared
        file.chmod(0o644)
    manifest = {
        "kind": artifact.kind,
        "fingerprint": artifact.fingerprint,
        "command": artifact.command,
        "config": artifact.config,
        "inputs": artifact.inputs,
        "files": {
            file.relative_to(artifact.draft).as_posix(): {
                "bytes": file.stat().st_size,
                "sha256": file_digest(file),
            }
            for file in files
        },
        "versions": versions(),
        "seconds": round(time.time() - started, 3),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    if artifact.mend:
        manifest["mend"] = artifact.mend
    notes = artifact.draft / "notes.json"
    if notes.exists():  # what a stage wants to tell beside the files: counts, best epoch, device
        manifest["notes"] = json.loads(notes.read_text(encoding="utf-8"))
    write_text(artifact.draft / MANIFEST, json.dumps(manifest, indent=1, default=str) + "\n")


def _install(path: Path) -> None:
    """Give a whole draft its final name; what had it goes only when that is done."""
    draft, old = _draft(path), _old(path)
    (draft / MARKER).unlink(missing_ok=True)
    _remove(old)
    if path.exists():
        path.rename(old)
    draft.rename(path)
    with suppress(OSError):
        _remove(old)


def _recover(path: Path) -> None:
    """Bring back what a crash in the midst of ``_install`` left: the new, or the one before."""
    if path.exists():
        if (path / MANIFEST).exists():
            _remove(_old(path))
    elif is_whole(_draft(path)):
        _install(path)
    elif is_whole(_old(path)):
        _old(path).rename(path)


def is_whole(path: Path, *, deep: bool = True) -> bool:
    """Return True if every file of an artifact is as its manifest says; see ``verify``."""
    try:
        verify(path, deep=deep)
    except UserError:
        return False
    return True


def _remove(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def stale(artifact: Artifact) -> str:
    """Say in one line what an artifact was made from that has changed."""
    before = read_manifest(artifact.path)
    was, now = _known(before["config"], artifact.unreached), _known(artifact.config, ())
    changed = [
        f"{key}: {_brief(was.get(key))} -> {_brief(now.get(key))}"
        for key in {**now, **was}
        if was.get(key) != now.get(key)
    ]
    inputs = {**before["inputs"], **artifact.inputs}
    changed += [name for name in inputs if before["inputs"].get(name) != artifact.inputs.get(name)]
    what = "; ".join(changed[:3]) or "another version of clir"
    return f"{artifact.path} was made from something else ({what})"


def _known(config: Mapping[str, Any], unreached: Sequence[str]) -> dict[str, Any]:
    """Return a configuration by dotted name, as JSON holds it, without what reaches nothing."""
    values = _flat(json.loads(json.dumps(config, default=str)))
    return {key: value for key, value in values.items() if key not in unreached}


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested configuration under dotted names, as people set them."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return flat


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
