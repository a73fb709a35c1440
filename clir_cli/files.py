"""Files: written whole or not at all, by one process at a time, and known by their sha256."""

import errno
import glob
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import UnsupportedOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clir_cli.errors import Busy, first_line

if TYPE_CHECKING:
    from filelock import BaseFileLock


def digest(value: Any) -> str:
    """Return the sha256 of a JSON value, keys in order."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    # A path may hold bytes that are no UTF-8, as halves of letters.
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


# The resolution of file times in nanoseconds: where they are whole seconds, and elsewhere.
COARSE, FINE = 2_000_000_000, 50_000_000
OPEN_FILES = 1 << 16  # enough; more would slow the starting of processes
_digests: dict[tuple[object, ...], str] = {}  # of files of this process, by state


def file_state(path: Path) -> tuple[object, ...] | None:
    """Return what differs after any change of a file; None if the file may still be changing.

    As in git: path, inode, size, and the times of the last change of content and of inode. The
    time of the inode cannot be set back.
    """
    stat = path.stat()
    changed = stat.st_mtime_ns
    if changed + (FINE if changed % 1_000_000_000 else COARSE) > time.time_ns():
        return None
    return str(path.resolve()), stat.st_ino, stat.st_size, changed, stat.st_ctime_ns


def file_digest(path: Path) -> str:
    """Return the sha256 of a file's bytes; a file that has not changed is read once a process."""
    state = file_state(path)
    if state in _digests:
        return _digests[state]
    with path.open("rb") as stream:
        value = hashlib.file_digest(stream, "sha256").hexdigest()
    if state is not None and file_state(path) == state:
        _digests[state] = value
    return value


@contextmanager
def alone(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Let one process at a time write ``path``; its folder is made, and goes again if left empty.

    The lock is the operating system's on ``.NAME.lock`` beside it, so it ends with the process.

    With ``wait`` another process is waited for, rather than refused.

    Raises:
        Busy: Another process holds it, and ``wait`` is not set.
        OSError: The lock file cannot be made (a link is never followed), or the disk has no locks.
    """
    file = path.with_name(f".{path.name}.lock")
    made = [folder for folder in file.parents if not folder.exists()]
    lock = _locked(file, path, wait)
    try:
        for left in file.parent.glob(f".{glob.escape(path.name)}.*.tmp"):  # by a killed process
            if _temporary(path, left.suffixes[-2][1:]) == left:
                left.unlink(missing_ok=True)
        yield
    finally:
        # Removed before it is released, so that no other process can have locked it. Windows does
        # not remove open files; there the release does.
        with suppress(PermissionError):
            file.unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):  # not empty: then those above are not either
            for folder in made:
                folder.rmdir()


def _locked(file: Path, path: Path, wait: bool) -> "BaseFileLock":
    """Return the lock, held. A process that leaves may remove the folder under one that comes."""
    from filelock import FileLock, Timeout

    # A soft lock would outlive a killed process. Anybody may take the lock that one of another user
    # has left: it is an empty file.
    lock = FileLock(file, mode=0o666, fallback_to_soft=False)
    missed = 0
    while True:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(blocking=wait)
            return lock
        except Timeout:
            raise Busy(f"another process is making {path}; wait for it to end") from None
        except (FileNotFoundError, FileExistsError):
            missed += 1
            if missed > 100:  # then it is something else
                raise


def write_text(path: Path, text: str) -> None:
    """Write a text file so that it is either whole or not there: temporary name, then rename."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that it is either whole or not there: temporary name, then rename."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name; what is written there is on the disk when it gets the name."""
    temporary = _temporary(path, str(os.getpid()))
    try:
        yield temporary
        with temporary.open("r+b") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_output(path: Path, content: bytes) -> None:
    """Write a file that a user has named: a device or pipe as it is, all else whole or not at all.

    A link stays, and what it leads to is written.
    """
    if path.exists() and not path.is_file():  # a folder is an error here
        with path.open("wb") as stream:
            stream.write(content)
        return
    path = path.resolve()
    with alone(path, wait=True):
        write_bytes(path, content)


def raise_open_files() -> None:
    """Let this process open as many files as the system allows it, if it may open few."""
    with suppress(ImportError, OSError, ValueError):  # Windows; a limit that cannot be raised
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
        if soft != resource.RLIM_INFINITY and soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def remove(path: Path) -> None:
    """Remove a file, a link or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


# How libraries say that memory is used up.
NO_MEMORY = re.compile(
    "out of memory|n't allocate memory|Cannot allocate memory|bad_alloc|failed to map segment"
)


def _temporary(path: Path, process: str) -> Path:
    return path.with_name(f".{path.name}.{process}.tmp")


def is_out_of_memory(error: Exception) -> bool:
    """Return True if memory is used up: of the machine, or of a GPU."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError | OSError | ImportError)
        and bool(NO_MEMORY.search(str(error)))
    )


def explain_os_error(error: Exception) -> str | None:
    """Return one line for what the machine refuses: a file, memory, a thread; else None."""
    folder = "change the rights, or choose another folder with --home"
    locks = "the disk gives no file locks; choose another folder with --home"
    room = "free some and run the same command again"
    memory = "out of memory; free some, or choose smaller (training.batch_size, index.memory)"
    limit = "the system has no room for one more process or thread; raise the limit (ulimit -u)"
    remedies = {
        errno.ENOSPC: f"no space left on the disk; {room}",
        errno.EDQUOT: f"the disk quota is used up; {room}",
        errno.EFBIG: "the file grew longer than the system allows; raise the limit (ulimit -f)",
        errno.EACCES: f"no permission; {folder}",
        errno.EPERM: f"not permitted; {folder}",
        errno.EROFS: "the disk is read-only; choose another folder with --home",
        errno.ENOTDIR: "a file is where a folder is needed; choose another folder with --home",
        errno.EEXIST: "a file is where a folder is needed; choose another folder with --home",
        errno.EISDIR: "a folder is where a file is needed; move it away",
        errno.ELOOP: "a link is where a file is needed, or links that lead nowhere; remove it",
        errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
        errno.ENOLCK: locks,
        errno.ENOSYS: locks,
        errno.EOPNOTSUPP: locks,
        errno.EIO: "the disk cannot be read or written; check it",
        errno.EMFILE: "too many open files; raise the limit (ulimit -n; ulimit -Hn is the most)",
        errno.ENFILE: "too many open files on this machine; end other programs",
        errno.ESTALE: "the server has replaced the file; run the same command again",
        errno.EBUSY: "another program uses it; run the same command again when that has ended",
        errno.EAGAIN: limit,
        errno.ENOMEM: memory,
    }
    if is_out_of_memory(error):
        return memory
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return limit
    code, name = _os_error(error)
    if code is not None:
        words = getattr(error, "strerror", None) or os.strerror(code)
        return (f"{name}: " if name else "") + remedies.get(code, words)
    is_ours = isinstance(error, UnsupportedOperation)
    return first_line(error) if isinstance(error, OSError) and not is_ours else None


def _os_error(error: Exception) -> tuple[int | None, str]:
    """Return the number and the file of an error, also where a library has wrapped it in words."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno, str(error.filename or "")
    if re.search(r"\d+ requested and \d+ written", str(error)):  # numpy
        return errno.ENOSPC, ""
    # As Rust has it, in safetensors and tokenizers.
    wrapped = re.search(r"\(os error (\d+)\)(?: at path \"([^\"]*)\")?", str(error))
    return (int(wrapped[1]), wrapped[2] or "") if wrapped else (None, "")
