"""The command line: help and lists, what goes to which stream, and exit codes."""

import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from command_words import DISTILL, refused, tree
from outcomes import well
from safetensors import safe_open

from clir_cli.artifacts import command
from clir_cli.cli import GROUPS, app

COMMANDS = sorted(typer.main.get_command(app).commands)
LISTS = ["methods", "languages", "bitext", "dictionaries", "collections", "models", "suites"]


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


def test_what_finds_everything_current_imports_no_heavy_library(clir, home, tmp_path) -> None:
    own = ("--home", home, "--lang", "sw-en")
    scores = ("--metric", "map", "--baseline", "bm25", "--results", tmp_path / "results")
    runs = (*own, "--method", "bm25,english-bm25")
    calls = [("download", *own), ("search", *runs), ("evaluate", *runs, *scores)]
    for call in calls:
        well(clir(*call))
    before = (tmp_path / "results" / "sample" / "scores.csv").read_bytes()
    script = (
        "import json, sys\nfrom clir_cli.cli import run\n"
        "codes = [run(json.loads(call)) for call in sys.argv[1:]]\n"
        "heavy = {'torch', 'transformers', 'pandas', 'scipy.stats', 'httpx'}\n"
        "print(codes, sorted(heavy & sys.modules.keys()))"
    )
    done = python(script, *(json.dumps([*map(str, call)]) for call in calls))
    assert done.stdout.splitlines()[-1] == "[0, 0, 0] []", done.stderr
    assert (tmp_path / "results" / "sample" / "scores.csv").read_bytes() == before


def test_verbs_of_two_words_are_parsed_as_they_are_declared() -> None:
    assert {*GROUPS} == command.GROUPS


def test_without_words_the_commands_are_told(clir) -> None:
    alone = clir()
    assert alone == clir("--help")
    assert (alone.code, alone.err) == (0, "")
    assert "distill" in alone.out


def test_the_version_is_that_of_the_installed_package(clir) -> None:
    outcome = clir("--version")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == f"clir {importlib.metadata.version('clir-cli')}\n"


@pytest.fixture
def in_shell(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a bash script that finds the program ``clir`` of this tree."""
    program = tmp_path / "clir"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m clir_cli "$@"\n')
    program.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"

    def call(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PATH": path, **environment}
        return subprocess.run(
            ["bash", "-c", script], env=environment, capture_output=True, text=True
        )

    return call


def test_bash_completes_commands_and_options_with_the_script_that_is_printed(in_shell) -> None:
    shown = in_shell("clir --show-completion; exit $?")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "complete -o default -F _clir_completion clir" in shown.stdout
    script = 'eval "$(clir --show-completion)"; COMP_WORDS=(clir %s); COMP_CWORD=%d\n'
    script += '_clir_completion clir; echo "${COMPREPLY[*]}"'
    assert in_shell(script % ("dist", 1)).stdout == "distill\n"
    assert in_shell(script % ("distill --meth", 2)).stdout == "--method\n"


def test_a_shell_without_completion_is_an_error_of_the_environment(in_shell) -> None:
    unknown = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    refused = in_shell("clir --show-completion csh", **unknown)
    assert refused.returncode == 2
    assert "csh" in refused.stderr


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
    assert all("no licence is stated" in line for line in outcome.err.splitlines())
    assert {row["there"] for row in outcome.json} == {False}
    nothing = ("--set", "bitext.sources=[]", "--set", "collection=./mine")
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
    assert "interrupted; run the same command again to resume" in err
    assert "Traceback" not in err
    assert not draft.with_name("student").exists()
    assert {"draft.json", "training.csv"} <= set(tree(draft))
    assert not (draft / "manifest.json").exists()
    # The steps until then are not lost, though no checkpoint was due.
    done = len((draft / "training.csv").read_text().splitlines()) - 1
    with safe_open(draft / "checkpoint.safetensors", "pt") as saved:
        assert int(saved.metadata()["step"]) == done
