"""Artifacts: made whole or not at all, skipped only when current, and never lost."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clir_cli import artifacts, files
from clir_cli.artifacts import MANIFEST, Plan, make, read_manifest, require, verify
from clir_cli.errors import MissingInput, UserError
from clir_cli.files import alone

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
CONFIG = st.dictionaries(st.text("abc", min_size=1, max_size=2), JSON, max_size=3)


def planned(home: Path, *, epochs: int = 1, words: str = "aa") -> Plan:
    return Plan(
        path=home / "sample" / "student",
        kind="student",
        config={"pair": "sw-en", "training": {"epochs": epochs, "clip": 1.0}},
        inputs={"bitext": words, "teacher": "bb"},
        command="clir distill --lang sw-en",
    )


def made(plan: Plan, text: str = "first", **how: bool) -> bool:
    """Make a small artifact; return whether there was anything to do."""
    with make(plan, **how) as draft:
        if draft is None:
            return False
        (draft / "shards").mkdir(exist_ok=True)
        files.write_text(draft / "weights.bin", text)
        files.write_text(draft / "shards" / "0.bin", text * 2)
    return True


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def text_of(plan: Plan) -> str:
    return (plan.path / "weights.bin").read_text()


# ------------------------------------------------------------------------------- fingerprints


@given(CONFIG, CONFIG)
@settings(derandomize=True, deadline=None)
def test_fingerprints_are_equal_exactly_when_configurations_are(one: dict, two: dict) -> None:
    def fingerprint(config: dict, place: str = "a") -> str:
        return Plan(Path(place), "kind", config, {}).fingerprint

    same = json.dumps(one, sort_keys=True) == json.dumps(two, sort_keys=True)
    assert (fingerprint(one) == fingerprint(two)) == same
    assert fingerprint(dict(reversed(one.items())), "elsewhere") == fingerprint(one)


def test_the_fingerprint_holds_kind_configuration_and_inputs_and_nothing_else(
    tmp_path: Path,
) -> None:
    plan = planned(tmp_path)
    others = {
        planned(tmp_path, epochs=2).fingerprint,
        planned(tmp_path, words="ab").fingerprint,
        Plan(plan.path, "index", plan.config, plan.inputs).fingerprint,
    }
    assert len(others | {plan.fingerprint}) == 4
    elsewhere = Plan(tmp_path / "x", plan.kind, plan.config, plan.inputs, "another command")
    assert elsewhere.fingerprint == plan.fingerprint


# ------------------------------------------------------------------------- made, skipped, refused


def test_an_artifact_has_its_manifest_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    assert plan.state() == "missing"
    with make(plan) as draft:
        assert plan.state() == "cut"
        assert not plan.path.exists()
        assert draft is not None
        (draft / "weights.bin").write_bytes(b"123")
        (draft / "weights.bin").chmod(0o600)
        files.write_text(draft / "notes.json", '{"device": "cpu"}')
    assert plan.state() == "current"
    assert tree(tmp_path / "sample") == [
        "student", "student/manifest.json", "student/notes.json", "student/weights.bin"
    ]  # fmt: skip
    manifest = verify(plan.path)
    assert manifest["files"]["weights.bin"]["bytes"] == 3
    assert manifest["files"].keys() == {"weights.bin", "notes.json"}
    assert manifest["config"] == dict(plan.config)
    assert manifest["inputs"] == dict(plan.inputs)
    assert manifest["notes"] == {"device": "cpu"}
    assert {"torch", "python", "clir-cli"} <= manifest["versions"].keys()
    assert manifest["seconds"] >= 0
    assert (plan.path / "weights.bin").stat().st_mode & 0o777 == 0o644


def test_a_current_artifact_is_skipped_and_stays_as_it_is(tmp_path: Path) -> None:
    assert made(planned(tmp_path))
    before = (planned(tmp_path).path / MANIFEST).stat()
    assert not made(planned(tmp_path), "second")
    after = (planned(tmp_path).path / MANIFEST).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"epochs": 4}, "(training.epochs: 1 -> 4); --force replaces it"),
        ({"words": "cc"}, "(bitext); --force replaces it"),
    ],
)
def test_a_stale_artifact_is_refused_with_what_changed_and_replaced_by_force(
    tmp_path: Path, changed: dict, said: str
) -> None:
    made(planned(tmp_path))
    new = planned(tmp_path, **changed)
    assert new.state() == "stale"
    before = tree(tmp_path)
    with pytest.raises(UserError) as caught:
        made(new, "second")
    assert said in str(caught.value)
    assert "clip" not in str(caught.value)
    assert (tree(tmp_path), text_of(new)) == (before, "first")
    assert made(new, "second", force=True)
    assert (tree(tmp_path), text_of(new), new.state()) == (before, "second", "current")


def test_settings_that_came_or_went_are_told(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    made(plan)
    changed = Plan(plan.path, plan.kind, {"pair": "sw-en", "teacher": {"x": 1}}, plan.inputs)
    said = artifacts.stale(changed)
    assert "teacher.x: null -> 1" in said
    assert "training.epochs: 1 -> null" in said
    another = Plan(plan.path, "another kind", plan.config, plan.inputs)
    assert "another version of clir" in artifacts.stale(another)


def test_force_makes_a_current_artifact_again(tmp_path: Path) -> None:
    made(planned(tmp_path))
    assert made(planned(tmp_path), "second", force=True)
    assert text_of(planned(tmp_path)) == "second"


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("epochs", [1, 2])
def test_a_forced_making_that_fails_loses_nothing(
    tmp_path: Path, epochs: int, resume: bool
) -> None:
    made(planned(tmp_path))
    manifest = read_manifest(planned(tmp_path).path)
    plan = planned(tmp_path, epochs=epochs)
    with pytest.raises(KeyboardInterrupt), make(plan, force=True, resume=resume) as draft:
        assert draft is not None
        (draft / "weights.bin").write_text("half")
        raise KeyboardInterrupt
    assert verify(plan.path) == manifest
    assert text_of(plan) == "first"
    assert plan.draft.exists() == resume
    assert made(plan, "second", force=True, resume=resume)
    assert text_of(plan) == "second"
    assert not plan.draft.exists()


def test_what_clir_did_not_make_is_not_replaced_without_force(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    plan.path.mkdir(parents=True)
    assert made(plan)  # an empty folder is in nobody's way
    (plan.path / MANIFEST).unlink()
    (plan.path / "mine.txt").write_text("precious")
    with pytest.raises(UserError, match="clir did not make it; move it away, or --force"):
        made(plan)
    assert (plan.path / "mine.txt").read_text() == "precious"
    assert made(plan, force=True)
    assert not (plan.path / "mine.txt").exists()


def test_an_artifact_that_is_a_link_to_another_disk_can_be_replaced(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    made(plan)
    plan.path.rename(tmp_path / "disk")
    plan.path.symlink_to(tmp_path / "disk")
    assert not made(plan)
    for text in ("second", "third"):
        assert made(plan, text, force=True)
        assert text_of(plan) == text
    assert tree(tmp_path / "sample")[0] == "student"


# ----------------------------------------------------------------------------- drafts


def cut_short(plan: Plan, text: str = "half", **how: bool) -> None:
    with pytest.raises(RuntimeError), make(plan, resume=True, **how) as draft:
        assert draft is not None
        (draft / "weights.bin").write_text(text)
        raise RuntimeError


def test_a_draft_of_the_same_fingerprint_is_continued(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    cut_short(plan)
    for name in (".weights.bin.123.tmp", ".tmpA1b2C3"):  # of ours, and of safetensors
        (plan.draft / name).write_text("killed in the midst of writing")
    assert plan.state() == "cut"
    with make(plan, resume=True) as draft:
        assert draft is not None
        assert (draft / "weights.bin").read_text() == "half"
    assert verify(plan.path)["files"].keys() == {"weights.bin"}


@pytest.mark.parametrize("marker", ["another", "[]", "{}", "{", None])
def test_a_draft_of_anything_else_is_not_continued(tmp_path: Path, marker: str | None) -> None:
    plan = planned(tmp_path)
    cut_short(planned(tmp_path, epochs=7) if marker == "another" else plan)
    if marker is None:
        (plan.draft / "draft.json").unlink()
    elif marker != "another":
        (plan.draft / "draft.json").write_text(marker)
    with make(plan, resume=True) as draft:
        assert draft is not None
        assert tree(draft) == ["draft.json"]


def test_a_draft_is_not_continued_by_a_stage_that_cannot(tmp_path: Path) -> None:
    cut_short(planned(tmp_path))
    with make(planned(tmp_path)) as draft:
        assert draft is not None
        assert tree(draft) == ["draft.json"]


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_forced_making_that_was_cut_is_continued_by_the_same_command(
    tmp_path: Path, epochs: int
) -> None:
    made(planned(tmp_path))
    plan = planned(tmp_path, epochs=epochs)
    cut_short(plan, force=True)
    with make(plan, force=True, resume=True) as draft:
        assert draft is not None
        assert (draft / "weights.bin").read_text() == "half"


@pytest.mark.parametrize("resume", [False, True])
def test_a_failure_before_any_work_leaves_not_even_a_folder(tmp_path: Path, resume: bool) -> None:
    with pytest.raises(UserError), make(planned(tmp_path), resume=resume):
        raise UserError("the input is at fault")
    assert tree(tmp_path) == []


# ------------------------------------------------------------------------- trust


def test_a_whole_artifact_is_verified_and_required(tmp_path: Path) -> None:
    made(planned(tmp_path))
    assert require(planned(tmp_path).path, "clir distill") == verify(planned(tmp_path).path)


@pytest.mark.parametrize("name", ["weights.bin", "shards/0.bin"])
@pytest.mark.parametrize("fault", ["missing", "cut", "longer", "flipped"])
def test_a_damaged_file_is_named_with_the_command_that_mends_it(
    tmp_path: Path, name: str, fault: str
) -> None:
    plan = planned(tmp_path)
    made(plan)
    file = plan.path / name
    content = file.read_bytes()
    if fault == "missing":
        file.unlink()
    else:
        file.write_bytes(
            {
                "cut": content[:-1],
                "longer": content + b"x",
                "flipped": bytes([content[0] ^ 1]) + content[1:],
            }[fault]
        )
    with pytest.raises(UserError) as caught:
        verify(plan.path)
    assert str(file) in str(caught.value)
    assert "make it again: clir distill --lang sw-en --force" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b"{}", b"\xff", b'{"files": {}}'])
def test_a_damaged_manifest_is_told_and_mended_by_force(tmp_path: Path, content: bytes) -> None:
    plan = planned(tmp_path)
    made(plan)
    (plan.path / MANIFEST).write_bytes(content)
    assert plan.state() == "stale"
    for call in (lambda: made(plan), lambda: require(plan.path, "x"), lambda: verify(plan.path)):
        with pytest.raises(UserError, match="damaged; make the artifact again with --force"):
            call()
    assert made(plan, "second", force=True)
    assert plan.state() == "current"


def test_a_missing_input_tells_its_command(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="student is missing; make it with: clir distill"):
        require(tmp_path / "student", "clir distill")
    with pytest.raises(UserError, match="not an artifact"):
        read_manifest(tmp_path)


# ------------------------------------------------------------------------- killed, side by side

PRELUDE = """
import json, os, shutil, signal, sys
from pathlib import Path
from clir_cli import artifacts, files
from clir_cli.artifacts import Plan, make, require
from clir_cli.files import alone
home = Path(sys.argv[1])
def planned(config):
    return Plan(home / "sample" / "student", "student", {"epochs": config}, {"a": "b"})
def write(draft, text):
    for name in ("one.bin", "two.bin"):
        files.write_text(draft / name, text)
"""


def python(script: str, *words: object) -> list[str]:
    return [sys.executable, "-c", PRELUDE + script, *map(str, words)]


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
    plan = Plan(tmp_path / "sample" / "student", "student", {"epochs": 1}, {"a": "b"})
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
        except artifacts.UserError:
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
    assert "a file stands where a folder is needed" in str(files.explain_os_error(caught.value))
    assert tree(tmp_path) == ["home"]


# --------------------------------------------------------------------------- files, disks, rights


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
        (OSError("something else"), None),
        (FileNotFoundError(2, "No such file", "/a"), None),
        (ValueError("no such thing (os error 2)"), None),
    ],
)
def test_what_a_disk_says_is_told_in_one_line(error: Exception, said: str | None) -> None:
    told = files.explain_os_error(error)
    assert told is None if said is None else said in str(told)
    assert "\n" not in str(told)


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """A real file system of 64 KiB; mounting needs rights that few test machines give."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small file system is not permitted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


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
