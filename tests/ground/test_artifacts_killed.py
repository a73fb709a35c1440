"""Artifacts whose making is killed, or that several processes make side by side."""

import errno
import json
import os
import signal
import stat
import subprocess
from pathlib import Path

import pytest
from small_artifacts import made, planned, python, tree

from clir_cli import files
from clir_cli.artifacts.store import Artifact, make
from clir_cli.errors import UserError
from clir_cli.files import alone

KILLED = """
def child(number, force, resume):
    # Every time the program opens, renames, removes or locks something, it may be killed.
    count = 0
    def hook(event, told):
        nonlocal count
        if event == "fcntl.flock" or str(home) in str(told[:1]):
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    with make(planned(2), force=force, resume=resume) as draft:
        if draft is not None:
            write(draft, "new")

def found():
    folder = require(planned(2).path, "") and planned(2).path
    texts = {(folder / name).read_text() for name in ("one.bin", "two.bin")}
    assert len(texts) == 1, texts
    state = planned(2).state()
    assert (state, texts) in (("current", {"new"}), ("stale", {"old"})), (state, texts)
    return state

states, number = [], 0
force, resume = sys.argv[2] == "force", sys.argv[3] == "resume"
before = home = Path(sys.argv[1]) / "before"
with make(planned(1)) as draft:
    write(draft, "old")
while True:
    number += 1
    home = Path(sys.argv[1]) / str(number)
    home.mkdir()
    if force:
        shutil.copytree(before / "sample", home / "sample")
    process = os.fork()
    if not process:
        child(number, force, resume)
        os._exit(0)
    _, code = os.waitpid(process, 0)
    if force:  # what was there, or what was made, is still there for a reader
        states.append(found())
    elif (planned(2).path / "manifest.json").exists():
        states.append(found())
    else:
        states.append("missing")
    again = force and planned(2).state() != "current"
    with make(planned(2), force=again, resume=resume) as draft:
        if draft is not None:
            write(draft, "new")
    assert found() == "current"
    left = {each.name for each in (home / "sample").iterdir()}
    assert left - {".student.lock"} == {"student"}, left
    if code == 0:
        break
print(json.dumps(states))
"""


@pytest.mark.parametrize(
    ("force", "resume"), [("force", "resume"), ("force", "anew"), ("fresh", "resume")]
)
def test_killed_at_any_step_nothing_is_lost_and_the_next_run_ends_it(
    tmp_path: Path, force: str, resume: str
) -> None:
    done = subprocess.run(python(KILLED, tmp_path, force, resume), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    states = json.loads(done.stdout)
    assert len(states) > 25
    before = "stale" if force == "force" else "missing"
    # A manifest is the last thing to appear: whole from one step to the next, and it stays.
    switched = states.index("current")
    assert states == [before] * switched + ["current"] * (len(states) - switched)
    assert switched > 10


HOLD = """
with make(planned(1), resume=True) as draft:
    write(draft, "half")
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_another_process_is_refused_while_one_works_and_goes_on_when_that_is_killed(
    tmp_path: Path,
) -> None:
    plan = Artifact(tmp_path / "sample" / "student", "student", {"epochs": 1}, {"a": "b"})
    with subprocess.Popen(
        python(HOLD, tmp_path), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "ready\n"
        for force in (False, True):
            with pytest.raises(UserError, match=r"another process is making .*student; wait"):
                made(plan, resume=True, force=force)
        assert tree(plan.draft) == ["draft.json", "one.bin", "two.bin"]
        holder.send_signal(signal.SIGKILL)
    assert not plan.path.exists()
    assert plan.state() == "cut"
    with make(plan, resume=True) as draft:
        assert draft is not None
        assert (draft / "two.bin").read_text() == "half"
    assert tree(tmp_path / "sample") == [
        "student", "student/manifest.json", "student/one.bin", "student/two.bin"
    ]  # fmt: skip


COUNT = """
target = home / "sub" / "count.txt"
for _ in range(60):
    while True:
        try:
            with alone(target, wait=sys.argv[2] == "wait"):
                inside = os.open(home / "inside", os.O_CREAT | os.O_EXCL)  # fails if two are in
                done = (home / "count").read_text()
                os.close(inside)
                os.unlink(home / "inside")
                (home / "count").write_text(str(int(done) + 1))
            break
        except store.UserError:
            continue
"""


@pytest.mark.parametrize("wait", ["wait", "refuse"])
def test_only_one_process_at_a_time_is_alone(tmp_path: Path, wait: str) -> None:
    (tmp_path / "count").write_text("0")
    workers = [subprocess.Popen(python(COUNT, tmp_path, wait)) for _ in range(4)]
    assert [worker.wait() for worker in workers] == [0] * 4
    assert (tmp_path / "count").read_text() == "240"
    assert not list(tmp_path.rglob("*.lock"))


def test_a_lock_goes_after_a_failure_and_takes_only_empty_folders_that_it_made(
    tmp_path: Path,
) -> None:
    (tmp_path / "there").mkdir()
    for name in ("there/file", "new/deeper/file"):
        with pytest.raises(RuntimeError), alone(tmp_path / name):
            raise RuntimeError
    assert tree(tmp_path) == ["there"]
    with alone(tmp_path / "new" / "deeper" / "file"):
        (tmp_path / "new" / "kept").write_text("")
    assert tree(tmp_path) == ["new", "new/kept", "there"]


@pytest.mark.parametrize("way", ["file", "link to nowhere"])
def test_a_folder_that_cannot_be_made_is_an_error_and_no_endless_wait(
    tmp_path: Path, way: str
) -> None:
    home = tmp_path / "home"
    home.write_text("") if way == "file" else home.symlink_to(tmp_path / "nowhere")
    with pytest.raises(OSError) as caught:
        made(planned(home))
    assert "a file is where a folder is needed" in str(files.explain_os_error(caught.value))
    assert tree(tmp_path) == ["home"]


@pytest.mark.parametrize("there", [True, False])
def test_a_lock_never_goes_through_a_link(tmp_path: Path, there: bool) -> None:
    target = tmp_path / "precious"
    if there:
        target.write_text("years of work")
    (tmp_path / ".table.lock").symlink_to(target)
    with pytest.raises(OSError) as caught, alone(tmp_path / "table", wait=True):
        pass
    assert "a link is where a file is needed" in str(files.explain_os_error(caught.value))
    assert target.read_text() == "years of work" if there else not target.exists()


def test_a_lock_file_that_is_left_over_is_taken_and_not_emptied_before(tmp_path: Path) -> None:
    file = tmp_path / ".table.lock"
    file.write_text("left by a process that was killed")
    with alone(tmp_path / "table"):
        assert file.read_text() == "left by a process that was killed"
    assert tree(tmp_path) == []


def test_a_lock_that_another_user_left_is_taken(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        with alone(tmp_path / "table"):
            mode = (tmp_path / ".table.lock").stat().st_mode
    finally:
        os.umask(old)
    assert stat.S_IMODE(mode) == 0o666  # whatever the umask of who is killed now


def test_what_a_killed_writer_left_goes_with_the_next(tmp_path: Path) -> None:
    for name in (".a.csv.17.tmp", ".a.csv.b.18.tmp", ".ba.csv.19.tmp", "a.csv.20.tmp"):
        (tmp_path / name).write_text("half")
    with alone(tmp_path / "a.csv"):
        files.write_text(tmp_path / "a.csv", "whole")
    assert tree(tmp_path) == [".a.csv.b.18.tmp", ".ba.csv.19.tmp", "a.csv", "a.csv.20.tmp"]


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS])
@pytest.mark.parametrize("wait", [True, False])
def test_a_disk_without_locks_is_told_in_one_line_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, wait: bool
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(OSError) as caught, alone(tmp_path / "table", wait=wait):
        (tmp_path / "table").write_text("")
    assert "the disk gives no file locks" in str(files.explain_os_error(caught.value))
    assert not (tmp_path / "table").exists()
