"""reproduce: exactly the work that is needed, whatever happened before."""

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import time

import pytest
from study_helpers import GRID, made, seals

from clir_cli.study.results import FIGURES, KEY

ALL = {"distill": 2, "search": 4, "index": 1, "evaluate": 1}
MORE = GRID.replace('"sw-en"', '"sw-en", "de-en"')
AXIS = '"transport.eps" = [0.05, 0.2]\n'


def table(tmp_path, name="tiny"):
    with (tmp_path / "results" / "sample" / f"{name}.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_once_and_then_only_what_is_needed(reproduce, experiment, home, tmp_path):
    path = experiment()
    planned = reproduce(path, "--dry-run").out
    assert not (home / "sample").exists()
    first = reproduce(path)
    assert first.code == 0, first.err
    assert made(first.err) == ALL
    assert planned.count("clir search") == made(first.err)["search"]

    rows = table(tmp_path)
    assert list(rows[0]) == [*KEY, "transport.eps", *FIGURES]
    assert {(row["method"], row["variant"], row["transport.eps"]) for row in rows} == {
        ("zero-shot", "", ""), ("bm25", "", ""), ("ot", "", "0.05"), ("ot", "eps0.2", "0.2"),
    }  # fmt: skip
    assert [row["metric"] for row in rows] == ["map"] * 4 + ["mrr"] * 4
    assert all(0 <= float(row["p_value"]) <= 1 for row in rows if row["method"] != "zero-shot")
    varied = [row["command"] for row in rows if row["variant"]]
    assert all("--variant eps0.2" in text and "transport.eps=0.2" in text for text in varied)
    for name, count in (("scores", 8), ("per_query", 8 * int(rows[0]["queries"]))):
        with (tmp_path / "results" / "sample" / f"{name}.csv").open(newline="") as stream:
            assert len(list(csv.DictReader(stream))) == count
    apart = table(tmp_path, "differences/tiny")
    assert sorted(row["method"] for row in apart) == sorted(["bm25", "ot", "ot.eps0.2"] * 2)
    scores = {row["method"]: float(row["value"]) for row in rows if row["metric"] == "mrr"}
    mrr = {row["method"]: row for row in apart if row["metric"] == "mrr"}
    assert float(mrr["bm25"]["difference"]) == pytest.approx(scores["bm25"] - scores["zero-shot"])

    before = seals(home)
    again = reproduce(path)
    assert again.code == 0
    assert made(again.err) == {}
    assert seals(home) == before
    assert again.out == first.out
    assert {line.split()[0] for line in reproduce(path, "--dry-run").out.splitlines()} == {"there"}

    # A setting of one student, one of all runs, and one that changes nothing that is left.
    changed = reproduce(path, "--set", "transport.eps=0.2")
    assert made(changed.err) == {"distill": 2, "search": 2, "evaluate": 1}
    assert {"ot.eps0.05", "ot"} <= {place.name for place in (home / "sample/sw-en").iterdir()}
    assert made(reproduce(path).err) == {"distill": 1, "search": 1, "evaluate": 1}
    changed = reproduce(path, "--set", "search.top_k=5")
    assert made(changed.err) == {"search": 4, "evaluate": 1}
    changed = reproduce(path, "--set", "search.top_k=5", "--set", "index.batch_tokens=512")
    assert made(changed.err) == {}

    # A lost result, a lost run, a cut file.
    (tmp_path / "results" / "sample" / "tiny.csv").unlink()
    words = ("--set", "search.top_k=5")
    assert made(reproduce(path, *words).err) == {}
    assert len(table(tmp_path)) == 8
    run = home / "sample/sw-en/ot/runs/small/run.trec"
    run.write_text("")
    assert made(reproduce(path, *words).err) == {"search": 1}
    student = home / "sample/sw-en/ot.eps0.2/student/model.safetensors"
    student.write_bytes(student.read_bytes()[:100])
    mended = reproduce(path, *words)
    assert made(mended.err) == {"distill": 1}  # the same student, so its run stays


def test_the_commands_that_are_told_make_the_same(clir, reproduce, experiment, home, quick):
    path = experiment()
    for line in reproduce(path, "--dry-run").out.splitlines():
        _, _, command = line.partition("clir ")
        outcome = clir(*shlex.split(command), "--quiet")
        assert outcome.code == 0, (command, outcome.err)
    assert made(reproduce(path).err) == {"evaluate": 1}


def test_a_failing_cell_takes_no_other_along(reproduce, experiment, home, tmp_path, monkeypatch):
    """German bitext cannot be read: German students fail, all the rest is made."""
    from clir_cli.corpus import bitext

    path = experiment(text=MORE)
    reading = bitext.load_bitext

    def load(settings, pair, *more, **named):
        if pair.query == "de":
            raise ValueError("a bug in reading German")
        return reading(settings, pair, *more, **named)

    monkeypatch.setattr(bitext, "load_bitext", load)
    words = ("--set", "collection=sample")
    outcome = reproduce(path, *words)
    assert outcome.code == 1  # a bug
    assert "Traceback" in outcome.err
    assert made(outcome.err) == {"distill": 2, "search": 6, "index": 1, "evaluate": 1}
    rows = {(row["pair"], row["method"], row["variant"]): row for row in table(tmp_path)}
    assert len(rows) == 8
    for variant in ("", "eps0.2"):
        row = rows["de-en", "ot", variant]
        assert "a bug in reading German" in row["error"]
        assert row["value"] == ""
        assert rows["sw-en", "ot", variant]["error"] == ""
    assert "failed" in outcome.out

    monkeypatch.undo()
    mended = reproduce(path, *words)
    assert mended.code == 0, mended.err
    assert made(mended.err) == {"distill": 2, "search": 2, "evaluate": 1}
    assert not any(row["error"] for row in table(tmp_path))


def test_a_model_that_cannot_be_had_fails_what_needs_it_alone(
    reproduce, experiment, tmp_path, monkeypatch
):
    monkeypatch.setenv("CLIR_OFFLINE", "1")
    methods = '["zero-shot", "nmt", "nmt-bm25", "bm25"]'
    text = GRID.replace('["zero-shot", "ot", "bm25"]', methods).replace(AXIS, "")
    path = experiment(text=text)
    words = (path, "--set", "nmt.model=nobody/no-such-model", "--mirror", tmp_path)
    outcome = reproduce(*words)
    assert outcome.code == 2, outcome.err
    assert "Traceback" not in outcome.err
    assert made(outcome.err) == {"search": 2, "index": 1, "evaluate": 1}
    (failed,) = (line for line in outcome.err.splitlines() if line.startswith("failed: "))
    assert failed.startswith("failed: download model nobody/no-such-model: ")
    skipped = [line for line in outcome.err.splitlines() if " skipped " in line]
    assert skipped
    assert all(line.endswith("models/nobody--no-such-model failed") for line in skipped)
    rows = table(tmp_path)
    assert {row["method"] for row in rows if row["error"]} == {"nmt", "nmt-bm25"}
    assert all(row["value"] for row in rows if not row["error"])
    planned = [line.split(maxsplit=1) for line in reproduce(*words, "--dry-run").out.splitlines()]
    commands = [command for _, command in planned]
    assert len(commands) == len(set(commands))
    downloads = [state for state, command in planned if command.startswith("clir download")]
    assert "missing" in downloads


def test_a_fault_of_the_user_ends_with_2(reproduce, experiment):
    text = GRID.replace('["zero-shot", "ot", "bm25"]', '["zero-shot", "ot"]')
    outcome = reproduce(experiment(text=text), "--set", "training.batch_size=4000")
    assert outcome.code == 2
    assert "choose a smaller batch" in outcome.err
    assert "Traceback" not in outcome.err


def test_an_expectation_that_fails_ends_with_1(reproduce, experiment, tmp_path):
    told = (
        '[[expected]]\nsuite = "sample"\npair = "sw-en"\nmethod = "bm25"\nmetric = "map"\n'
        "value = {}\ntolerance = {}\n"
    )
    words = ("--set", "collection=sample")
    text = GRID.replace('["zero-shot", "ot", "bm25"]', '["zero-shot", "bm25"]').replace(AXIS, "")
    path = experiment(text=text + told.format(0.5, 0.5))
    assert reproduce(path, *words).code == 0
    value = next(float(row["value"]) for row in table(tmp_path) if row["method"] == "bm25")
    for off, verdict, code in ((0.015, "about OK", 0), (0.03, "FAIL", 1), (0.01, "OK", 0)):
        experiment(text=text + told.format(value + off, 0.01))
        outcome = reproduce(path, *words)
        assert outcome.code == code
        assert made(outcome.err) == {"evaluate": 1}
        assert verdict in {row["verdict"] for row in table(tmp_path)}


def test_two_cells_that_want_one_path_are_refused_before_work(reproduce, experiment, home):
    text = GRID.replace('"transport.eps" = [0.05, 0.2]', '"teacher.document_tokens" = [64, 128]')
    text = text.replace('baseline = "zero-shot"', "")
    outcome = reproduce(experiment(text=text))
    assert outcome.code == 2
    assert "sample/index/small would be made with teacher.document_tokens=128" in outcome.err
    assert not (home / "sample").exists()


def test_shares_make_the_whole_that_experiments_share(reproduce, experiment):
    path = experiment()
    counts = [made(reproduce(path, "--cells", f"{number}/2").err) for number in (1, 2)]
    for verb in ("distill", "search", "index"):
        assert sum(each[verb] for each in counts) == ALL[verb]
    other = experiment("other", GRID.replace('["zero-shot", "ot", "bm25"]', '["zero-shot", "ot"]'))
    assert made(reproduce(path, other).err) == {"evaluate": 2}


@pytest.mark.slow  # tests/stages/test_killed.py kills a stage
@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_and_called_again(reproduce, experiment, home, tmp_path, quick, jobs):
    """Killed while a student is trained: what was whole stays, the student goes on."""
    path = experiment()
    words = [
        "reproduce", path, *quick, "--set", "training.checkpoint_steps=1", "--jobs", jobs,
        "--set", "training.epochs=20",
        "--home", home, "--results", tmp_path / "results",
    ]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "clir_cli", *map(str, words)],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    draft = home / "sample/sw-en/ot.eps0.2/.student.part"
    while not any(draft.glob("checkpoint*")):
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = seals(home)
    assert "sample/sw-en/ot.eps0.2/student" not in kept
    assert "sample/sw-en/ot.eps0.2/runs/small" not in kept
    outcome = reproduce(path, "--set", "training.epochs=20")
    assert outcome.code == 0, outcome.err
    now = seals(home)
    assert {place: now[place] for place in kept} == kept
    verbs = {"student": "distill", "runs": "search", "index": "index", "experiments": "evaluate"}
    new = [place for place in now if place not in kept and "teacher" not in place]
    told = [next(verb for part, verb in verbs.items() if part in place.split("/")) for place in new]
    assert made(outcome.err) == {verb: told.count(verb) for verb in told}


@pytest.mark.slow  # three processes that read torch from the disk
def test_a_worker_that_dies_is_replaced(reproduce, experiment, tmp_path, monkeypatch):
    """The first worker to distil kills itself, as the system does when memory runs out."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import os, signal, sys, pathlib\n"
        "mark = pathlib.Path(__file__).with_name('died')\n"
        "def hook(event, _):\n"
        "    if event == 'open' and 'bm25s' in str(_[0]) and not mark.exists():\n"
        "        mark.touch(); os.kill(os.getpid(), signal.SIGKILL)\n"
        "if 'multiprocessing.spawn' in ' '.join(sys.orig_argv): sys.addaudithook(hook)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(site))
    outcome = reproduce(experiment(), "--jobs", 2, "--json")
    assert outcome.code == 0, outcome.err
    assert (site / "died").exists()
    assert made(outcome.err) == ALL
    assert len(json.loads(outcome.out)) == 8
