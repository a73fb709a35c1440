"""Artifacts: what a stage leaves on disk, and when it may be trusted.

An artifact is a directory. It is written under a temporary name and renamed when it is whole;
``manifest.json`` is written last, so its existence means that the stage finished. The manifest
holds a fingerprint of the configuration and the inputs: a stage is skipped only when the
fingerprint is the same, whatever the directory is called.

While an artifact ``name`` is made there are also ``.name.lock``, the draft ``.name.part``, and for
an instant ``.name.old``, the artifact before. At whatever moment a machine stops, one of ``name``,
``.name.part`` and ``.name.old`` is whole, and is used next time.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from clir_cli.artifacts.manifest import (
    MANIFEST,
    MARKER,
    fault,
    is_readable,
    is_whole,
    read_manifest,
    verify,
)
from clir_cli.corpus.records import REVISION
from clir_cli.errors import MissingInput, UserError
from clir_cli.files import alone, digest, file_digest, remove, write_text
from clir_cli.runtime import commit, hardware, versions
from clir_cli.suites import flat

State = Literal["missing", "cut", "current", "stale"]


@dataclass(frozen=True)
class Artifact:
    """What an artifact will be: where it lies and everything that decides its content.

    ``config`` is the resolved configuration, ``inputs`` maps the name of each input to its
    fingerprint or sha256. ``command`` makes it, and ``mend`` repairs damage if that is less work.
    ``unreached`` are settings that older manifests list although they decide nothing. ``source`` is
    the file or folder of the user's that its name stands for; others may have the same name.
    """

    path: Path
    kind: str
    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    command: str = ""
    mend: str = ""
    unreached: Sequence[str] = ()
    source: str = ""

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
            return "current" if self._is_unchanged() else "stale"
        return "cut" if self.draft.exists() else "missing"

    def is_settled(self) -> bool:
        """Return True if the artifact is current and no interrupted replacement is left."""
        return self.state() == "current" and not _old(self.path).exists()

    def _is_unchanged(self) -> bool:
        """Return True if the manifest, of this version or an older one, is this artifact's."""
        fingerprint = _fingerprint(self.path)
        if fingerprint in ("", self.fingerprint):
            return fingerprint == self.fingerprint
        is_of_kind = read_manifest(self.path).get("kind") == self.kind
        return is_of_kind and not changed_settings(self) and not changed_inputs(self)


def _fingerprint(path: Path) -> str:
    """Return the fingerprint of an artifact, empty when its manifest is missing or damaged."""
    try:
        return read_manifest(path)["fingerprint"]
    except UserError:
        return ""


def require(path: Path, command: str, *, deep: bool = True) -> dict[str, Any]:
    """Return the manifest of an input artifact; ``deep`` if its files will be read.

    Raises:
        MissingInput: It is missing; the message has the command that makes it.
        UserError: It is damaged.
    """
    if not (path / MANIFEST).exists():
        if (_draft(path) / MANIFEST).exists() or (_old(path) / MANIFEST).exists():
            with alone(path):
                _recover(path)
        if not (path / MANIFEST).exists():
            if path.is_dir() and any(path.iterdir()):
                raise UserError(f"{path}: {MANIFEST} is missing; make it again: {command} --force")
            raise MissingInput(f"{path} is missing; make it with: {command}", has_remedy=True)
    return verify(path, deep=deep)


@contextmanager
def make(
    artifact: Artifact, *, force: bool = False, resume: bool = False, wait: bool = False
) -> Iterator[Path | None]:
    """Yield the directory in which to write the artifact, or None if it is current.

    Without an exception the manifest is written at the end and the directory gets its final name;
    only then is what was there before (``force``) deleted. After an exception the draft is kept if
    ``resume`` is set and it holds anything. A draft for another fingerprint is never continued.
    ``wait`` waits until another process has made it, which is for caches that stages share.

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
            _install(artifact.path)  # a run that was interrupted before its last rename
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
            if not (resume and any(file.name != MARKER for file in artifact.draft.glob("*"))):
                shutil.rmtree(artifact.draft, ignore_errors=True)
            raise
        _install(artifact.path)


@contextmanager
def make_cache(
    artifact: Artifact, say: Callable[[str], None], *, force: bool = False
) -> Iterator[Path | None]:
    """Make what is computed again without asking if it is stale or damaged; as ``make`` else.

    ``say`` is called with what is damaged. Another process that makes it is waited for.
    """
    state = artifact.state()
    if state == "stale" and not force:
        refuse_another(artifact)
    damage = fault(artifact.path) if state == "current" else ""
    if damage:
        say(f"{damage}; making it again")
    with make(artifact, force=force or state == "stale" or bool(damage), wait=True) as draft:
        yield draft


def _refuse_other(artifact: Artifact) -> None:
    """Refuse to replace what was made from something else, or what clir did not make at all."""
    if artifact.state() == "stale":
        refuse_another(artifact)
        raise UserError(f"{stale(artifact)}; --force replaces it")
    if is_foreign(artifact.path):
        raise UserError(
            f"{artifact.path} is there without a {MANIFEST}, so clir did not make it; move it "
            "away, or --force replaces it"
        )


def is_foreign(path: Path) -> bool:
    """Return True if something is there that clir did not make; an empty folder is nothing."""
    is_empty = path.is_dir() and not any(path.iterdir())
    return path.exists() and not (path / MANIFEST).exists() and not is_empty


def refuse_another(artifact: Artifact) -> None:
    """Raise UserError if what is there was made of another source of the same name.

    No option to replace it is advised: it is not out of date, but of something else.
    """
    source = read_manifest(artifact.path).get("source") if is_readable(artifact.path) else ""
    if source and artifact.source and source != artifact.source:
        raise UserError(
            f"{artifact.path} is of {source}, and {artifact.source} has the same name; rename one "
            "of the two, or use folders of its own for it (--home, --results)"
        )


def _draft(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _old(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


def _begin(artifact: Artifact, *, fresh: bool) -> None:
    marker = artifact.draft / MARKER
    for entry in artifact.draft.rglob("*"):  # links lead elsewhere, and a fifo is read for ever
        if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
            entry.unlink()
    try:
        begun = json.loads(marker.read_text(encoding="utf-8"))["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError):
        begun = None
    if fresh or begun != artifact.fingerprint or (artifact.draft / MANIFEST).exists():
        remove(artifact.draft)
        artifact.draft.mkdir()
        write_text(marker, json.dumps({"fingerprint": artifact.fingerprint}))
    _sweep(artifact.draft)


def _sweep(draft: Path) -> None:
    """Remove hidden files: what clir or a library left when it was interrupted, or could not."""
    for temporary in draft.rglob(".*"):
        if temporary.is_file():
            temporary.unlink()


def _seal(artifact: Artifact, started: float) -> None:
    """Write the manifest of a draft; from here on it is whole."""
    draft = artifact.draft
    _sweep(draft)
    files = sorted(f for f in draft.rglob("*") if f.is_file() and f != draft / MARKER)
    for file in files:  # some libraries write for the owner alone; folders here are shared
        file.chmod(0o644)
    manifest = {
        "kind": artifact.kind,
        "fingerprint": artifact.fingerprint,
        "command": artifact.command,
        "config": artifact.config,
        "inputs": artifact.inputs,
        "files": {
            file.relative_to(draft).as_posix(): {
                "bytes": file.stat().st_size,
                "sha256": file_digest(file),
            }
            for file in files
        },
        "versions": versions(),
        "commit": commit(),
        "hardware": hardware(),
        "seconds": round(time.time() - started, 3),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    manifest |= {"mend": artifact.mend} if artifact.mend else {}
    manifest |= {"source": artifact.source} if artifact.source else {}
    notes = draft / "notes.json"
    if notes.exists():  # what a stage reports beside the files: counts, best epoch, device
        manifest["notes"] = json.loads(notes.read_text(encoding="utf-8"))
    write_text(draft / MANIFEST, json.dumps(manifest, indent=1, default=str) + "\n")


def _install(path: Path) -> None:
    """Give a whole draft its final name; what had it is deleted only when that is done."""
    draft, old = _draft(path), _old(path)
    (draft / MARKER).unlink(missing_ok=True)
    remove(old)
    if path.exists():
        path.rename(old)
    draft.rename(path)
    with suppress(OSError):
        remove(old)


def _recover(path: Path) -> None:
    """Restore what a crash during ``_install`` left: the new artifact, or the one before."""
    if path.exists():
        if (path / MANIFEST).exists():
            remove(_old(path))
    elif is_whole(_draft(path)):
        _install(path)
    elif is_whole(_old(path)):
        _old(path).rename(path)


def stale(artifact: Artifact) -> str:
    """Return in one line what an artifact was made from that has changed."""
    now = _known(artifact.config, artifact.unreached)
    changed = [
        f"{key}: {_brief(value)} -> {_brief(now.get(key))}"
        for key, value in changed_settings(artifact).items()
    ]
    changed += [_change(artifact, name) for name in changed_inputs(artifact)]
    what = "; ".join(changed[:3]) or "another version of clir"
    return f"{artifact.path} was made from something else ({what})"


def _change(artifact: Artifact, name: str) -> str:
    """Return an input's name, and of a revision what it was and is."""
    if not name.startswith(REVISION):
        return name
    was = read_manifest(artifact.path)["inputs"].get(name)
    return f"{name}: {_brief(was)} -> {_brief(artifact.inputs.get(name))}"


def changed_settings(artifact: Artifact) -> dict[str, Any]:
    """Return the values, by dotted name, with which an artifact was made, where others are meant.

    The value is None where it was made without.
    """
    manifest = read_manifest(artifact.path)
    was, now = (
        _known(manifest["config"], artifact.unreached),
        _known(artifact.config, artifact.unreached),
    )
    return {key: was.get(key) for key in {**now, **was} if was.get(key) != now.get(key)}


def changed_inputs(artifact: Artifact) -> list[str]:
    """Return the names of the inputs from which an artifact was made where others are meant."""
    before, now = read_manifest(artifact.path)["inputs"], artifact.inputs
    return [
        name
        for name in {**before, **now}
        if before.get(name) not in (now.get(name), older(now.get(name, "")))
    ]


# Digests of what older versions counted differently: as they are now -> as they were.
_older: dict[str, str] = {}


def older(value: str) -> str:
    """Return the digest that an older version recorded for the same content."""
    return _older.get(value, value)


def remember_older(value: str, before: str) -> None:
    """Let artifacts of older versions, which recorded ``before``, be current."""
    if value != before:
        _older[value] = before


def _known(config: Mapping[str, Any], unreached: Sequence[str]) -> dict[str, Any]:
    values = flat(json.loads(json.dumps(config, default=str)))
    return {key: value for key, value in values.items() if key not in unreached}


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
