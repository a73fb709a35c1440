"""What is read is what was written: digests of files, and files that no manifest lists."""

import json
import os
import time
from pathlib import Path

import pytest
from small_artifacts import made, planned

from clir_cli.artifacts.store import MANIFEST, make_cache, read_manifest, verify
from clir_cli.errors import UserError
from clir_cli.files import file_digest, write_text

LONG_AGO = time.time_ns() - 10**12 + 1


def edit(path: Path) -> None:
    """Change a byte, and set the time of the change back, as ``touch -r`` does."""
    before = path.stat()
    content = path.read_bytes()
    with path.open("r+b") as stream:
        stream.write(bytes([content[0] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_an_edit_that_keeps_size_and_time_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("first")
    os.utime(path, ns=(LONG_AGO, LONG_AGO))
    before = file_digest(path)
    assert file_digest(path) == before
    edit(path)
    after = file_digest(path)
    assert after != before
    edit(path)
    assert file_digest(path) == before


def test_a_file_that_does_not_change_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("first")
    os.utime(path, ns=(LONG_AGO, LONG_AGO))
    before = file_digest(path)
    opened = Path.open

    def refuse(self: Path, *how: str) -> object:
        assert self != path, "read again"
        return opened(self, *how)

    monkeypatch.setattr(Path, "open", refuse)
    assert file_digest(path) == before


@pytest.mark.parametrize(
    "name", ["projection.safetensors", "special_tokens_map.json", "shards/1.bin", "1_Dense/x.json"]
)
def test_a_file_that_the_manifest_does_not_list_is_refused(tmp_path: Path, name: str) -> None:
    plan = planned(tmp_path)
    made(plan)
    file = plan.path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("{}")
    with pytest.raises(UserError) as caught:
        verify(plan.path)
    assert f"{file}: not listed in the manifest; remove it, or make it again" in str(caught.value)
    file.unlink()
    verify(plan.path)


@pytest.mark.parametrize("name", [".DS_Store", ".weights.bin.1.tmp", ".cache/notes.json"])
def test_hidden_files_are_nobodys_input(tmp_path: Path, name: str) -> None:
    plan = planned(tmp_path)
    made(plan)
    (plan.path / name).parent.mkdir(exist_ok=True)
    (plan.path / name).write_text("of the system")
    verify(plan.path)


FAULTS = {
    "another key": lambda manifest: manifest["files"]["weights.bin"].pop("bytes"),
    "another type": lambda manifest: manifest["files"].update({"weights.bin": 7}),
    "text for a number": lambda manifest: manifest["files"]["weights.bin"].update(bytes="5"),
    "no digest": lambda manifest: manifest["inputs"].update(bitext=None),
    "a list": lambda manifest: manifest.update(config=[]),
    "a number": lambda manifest: manifest.update(fingerprint=1),
    "notes": lambda manifest: manifest.update(notes="none"),
}


@pytest.mark.parametrize("fault", [*FAULTS, "depth", "folder"])
def test_a_manifest_of_other_types_is_damaged(tmp_path: Path, fault: str) -> None:
    plan = planned(tmp_path)
    made(plan)
    path = plan.path / MANIFEST
    if fault in FAULTS:
        manifest = read_manifest(plan.path)
        FAULTS[fault](manifest)
        path.write_text(json.dumps(manifest))
    elif fault == "depth":
        path.write_text("[" * 100_000)
    else:
        path.unlink()
        path.mkdir()
    for call in (lambda: verify(plan.path), lambda: made(plan)):
        with pytest.raises(UserError, match=r"damaged|missing"):
            call()
    assert made(plan, force=True)
    verify(plan.path)


@pytest.mark.parametrize("fault", ["lost", "cut", "flipped", "unlisted", "none"])
def test_a_damaged_cache_is_made_again(tmp_path: Path, fault: str) -> None:
    plan, said = planned(tmp_path), []
    made(plan)
    file = plan.path / "weights.bin"
    {
        "lost": file.unlink,
        "cut": lambda: file.write_text("fir"),
        "flipped": lambda: edit(file),
        "unlisted": lambda: (plan.path / "more.bin").write_text(""),
        "none": lambda: None,
    }[fault]()
    with make_cache(plan, said.append) as draft:
        assert (draft is None) == (fault == "none")
        if draft is not None:
            write_text(draft / "weights.bin", "second")
    verify(plan.path)
    assert len(said) == (fault != "none")
    assert all(line.endswith("; making it again") for line in said)
