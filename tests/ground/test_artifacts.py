"""Artifacts: made whole or not at all, skipped only when current, and never lost."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_artifacts import made, planned, tree

from clir_cli import files
from clir_cli.artifacts import store
from clir_cli.artifacts.store import MANIFEST, Artifact, make, read_manifest, require, verify
from clir_cli.errors import MissingInput, UserError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
CONFIG = st.dictionaries(st.text("abc", min_size=1, max_size=2), JSON, max_size=3)


def text_of(plan: Artifact) -> str:
    return (plan.path / "weights.bin").read_text()


# ------------------------------------------------------------------------------- fingerprints


@given(CONFIG, CONFIG)
@settings(derandomize=True, deadline=None)
def test_fingerprints_are_equal_exactly_when_configurations_are(one: dict, two: dict) -> None:
    def fingerprint(config: dict, place: str = "a") -> str:
        return Artifact(Path(place), "kind", config, {}).fingerprint

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
        Artifact(plan.path, "index", plan.config, plan.inputs).fingerprint,
    }
    assert len(others | {plan.fingerprint}) == 4
    elsewhere = Artifact(tmp_path / "x", plan.kind, plan.config, plan.inputs, "another command")
    assert elsewhere.fingerprint == plan.fingerprint


# ------------------------------------------------------------------------- made, skipped, refused


def test_a_lock_that_could_not_be_removed_is_no_part_of_the_artifact(tmp_path: Path) -> None:
    with make(planned(tmp_path)) as draft:
        assert draft is not None
        (draft / "weights.bin").write_bytes(b"123")
        (draft / ".weights.bin.lock").touch()
        (draft / "deeper").mkdir()
        (draft / "deeper" / ".left.tmp").write_text("half")
    assert list(verify(planned(tmp_path).path)["files"]) == ["weights.bin"]
    assert not [path for path in tree(tmp_path) if "/." in path]


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
    changed = Artifact(plan.path, plan.kind, {"pair": "sw-en", "teacher": {"x": 1}}, plan.inputs)
    said = store.stale(changed)
    assert "teacher.x: null -> 1" in said
    assert "training.epochs: 1 -> null" in said
    another = Artifact(plan.path, "another kind", plan.config, plan.inputs)
    assert "another version of clir" in store.stale(another)


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


def cut_short(plan: Artifact, text: str = "half", **how: bool) -> None:
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


@pytest.mark.parametrize("name", ["draft.json", "half.bin"])
def test_what_is_no_regular_file_in_a_draft_is_removed(tmp_path: Path, name: str) -> None:
    plan = planned(tmp_path)
    plan.draft.mkdir(parents=True)
    os.mkfifo(plan.draft / name)
    (plan.draft / "link.bin").symlink_to("link.bin")
    assert made(plan, resume=True)
    assert tree(plan.path) == ["manifest.json", "shards", "shards/0.bin", "weights.bin"]


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
