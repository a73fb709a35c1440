"""Files, disks and rights: what cannot be written is told in one line and loses nothing."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from io import UnsupportedOperation
from pathlib import Path

import pytest
from small_artifacts import made, planned, python, tree
from small_disks import mounted

from clir_cli import files
from clir_cli.artifacts.store import make, verify


def test_a_text_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    files.write_text(file, "a,b\nä,ü\n")
    assert file.read_bytes() == "a,b\nä,ü\n".encode()
    with pytest.raises(UnicodeEncodeError):
        files.write_text(file, "half \ud800")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        files.write_text(tmp_path / "folder", "text")
    assert file.read_text(encoding="utf-8") == "a,b\nä,ü\n"
    assert tree(tmp_path) == ["folder", "table.csv"]


def test_a_file_that_a_user_named_stays_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    files.write_output(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"
    os.mkfifo(tmp_path / "pipe")
    command = ["dd", f"if={tmp_path / 'pipe'}", "status=none"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as reader:
        files.write_output(tmp_path / "pipe", b"through")
        assert reader.communicate()[0] == b"through"
    assert (tmp_path / "pipe").is_fifo()
    with pytest.raises(IsADirectoryError):
        files.write_output(tmp_path, b"")
    assert tree(tmp_path) == ["link", "pipe", "real"]


LIMITED = """
import resource
with make(planned(1)) as draft:
    write(draft, "old")
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    with make(planned(2), force=True) as draft:
        if sys.argv[2] == "numpy":
            import numpy
            numpy.save(draft / "big.npy", numpy.zeros(10000))
        else:
            files.write_bytes(draft / "big.bin", bytes(10000))
except OSError as error:
    print(files.explain_os_error(error))
print(planned(1).state(), [each.name for each in planned(1).path.parent.iterdir()])
"""


@pytest.mark.parametrize(
    ("way", "said"), [("plain", "the file grew longer than the system allows"), ("numpy", "space")]
)
def test_a_limit_on_files_is_told_in_one_line_and_loses_nothing(
    tmp_path: Path, way: str, said: str
) -> None:
    done = subprocess.run(python(LIMITED, tmp_path, way), capture_output=True, text=True)
    told, state = done.stdout.splitlines()
    assert said in told, done.stderr
    assert state == "current ['student']"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "no space left on the disk; free some"),
        (OSError(28, "No space", "/a/b"), "/a/b: no space left on the disk; free some"),
        (PermissionError(13, "Permission denied", "/a"), "/a: no permission; change the rights"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "no space left"),
        (OSError("10000 requested and 616 written"), "no space left"),
        (OSError("something else\nand more"), "something else"),
        (FileNotFoundError(2, "No such file", "/a"), "/a: No such file"),
        (OSError(24, "Too many open files", "/a"), "/a: too many open files; raise the limit"),
        (OSError(116, "Stale file handle", "/a"), "/a: the server has replaced the file"),
        (OSError(16, "Device or resource busy", "/a"), "/a: another program uses it"),
        (OSError(95, "Operation not supported", "/a"), "/a: the disk gives no file locks"),
        (OSError(6, "No such device or address", "/a"), "/a: No such device or address"),
        (BlockingIOError(11, "Resource temporarily unavailable"), "(ulimit -u)"),
        (RuntimeError("can't start new thread"), "(ulimit -u)"),
        (OSError(12, "Cannot allocate memory"), "out of memory; free some"),
        (MemoryError("Unable to allocate 3.64 TiB"), "out of memory; free some"),
        (RuntimeError("[enforce fail] can't allocate memory: you tried"), "out of memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate"), "out of memory"),
        (ImportError("libtorch.so: failed to map segment from shared object"), "out of memory"),
        (RuntimeError("shapes differ"), None),
        (UnsupportedOperation("not readable"), None),
        (ValueError("no such thing (os error 2)"), "No such file or directory"),
        (ValueError('I/O error: x (os error 12) at path "/a/b"'), "/a/b: out of memory; free some"),
    ],
)
def test_what_a_disk_says_is_told_in_one_line(error: Exception, said: str | None) -> None:
    told = files.explain_os_error(error)
    assert told is None if said is None else said in str(told)
    assert "\n" not in str(told)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", "64k") as folder:
        yield folder


def test_a_full_disk_is_told_and_the_artifact_before_stays(small_disk: Path) -> None:
    made(planned(small_disk))
    plan = planned(small_disk, epochs=2)
    with pytest.raises(OSError) as caught, make(plan, force=True) as draft:
        assert draft is not None
        files.write_bytes(draft / "big.bin", bytes(1 << 20))
    assert "no space left on the disk" in str(files.explain_os_error(caught.value))
    assert tree(small_disk / "sample")[0] == "student"
    verify(plan.path)
    assert made(plan, "second", force=True)


def test_a_disk_that_is_full_at_the_manifest_costs_no_work(small_disk: Path) -> None:
    plan = planned(small_disk)
    with pytest.raises(OSError), make(plan, resume=True) as draft:
        assert draft is not None
        (draft / "weights.bin").write_text("hours of work")
        ballast = small_disk / "ballast"
        with pytest.raises(OSError):
            ballast.write_bytes(bytes(1 << 20))
    assert not plan.path.exists()
    ballast.unlink()
    with make(plan, resume=True) as draft:
        assert draft is not None
        assert (draft / "weights.bin").read_text() == "hours of work"
    assert verify(plan.path)["files"].keys() == {"weights.bin"}


def test_no_permission_is_told_with_the_place() -> None:
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as outer:  # pytest's own folders let nobody else in
        home = Path(outer) / "home"
        home.mkdir(mode=0o555)
        Path(outer).chmod(0o755)
        try:
            if user == 0:  # rights do not bind root
                os.seteuid(65534)
            with pytest.raises(PermissionError) as caught, make(planned(home)):
                pass
        finally:
            os.seteuid(user)
        told = str(files.explain_os_error(caught.value))
        assert re.fullmatch(rf"{home}\S*: no permission; change the rights, or .* --home", told)
        assert tree(home) == []


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_the_limit_of_open_files_is_raised_as_far_as_the_system_allows(tmp_path):
    """A command opens more files than the soft limit allows; the hard one is told in one line."""
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "soft, hard = map(int, sys.argv[1:])\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))\n"
        "from clir_cli.files import explain_os_error, raise_open_files\n"
        "raise_open_files()\n"
        "held = []\n"
        "try:\n"
        "    held += [Path('/dev/null').open() for _ in range(300)]\n"
        "except OSError as error:\n"
        "    held.clear()\n"
        "    print(explain_os_error(error))\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])\n"
    )

    def run(soft: int, hard: int) -> list[str]:
        words = [sys.executable, "-W", "ignore", "-c", script, str(soft), str(hard)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    assert run(128, 512) == ["512"]
    told, limit = run(128, 256)
    assert "too many open files" in told
    assert "ulimit -n" in told
    assert limit == "256"
