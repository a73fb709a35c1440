"""What ``reproduce`` says before hours of work, and whom it asks."""

import io
import subprocess
import sys

import pytest

from clir_cli.study import preflight
from clir_cli.study.preflight import Preflight


def lines(text: str) -> dict[str, str]:
    """Return the lines of a preflight by their first word or words."""
    joined = " ".join(text.split())
    starts = ("to make: ", "time: ", "disk: ", "memory: ", "to download: ", "to bring: ")
    found = {}
    for start in starts:
        _, is_there, rest = joined.partition(start)
        if is_there:
            ends = [rest.find(other) for other in (*starts, "will fail: ") if other in rest]
            found[start.rstrip(": ")] = rest[: min(ends, default=len(rest))].strip()
    return found


def test_a_dry_run_of_the_paper_tells_what_it_takes_and_loads_no_torch(tmp_path):
    script = (
        "import sys\n"
        "from clir_cli.cli import run\n"
        "code = run(sys.argv[1:])\n"
        "print('torch' in sys.modules, code)\n"
    )
    words = ("reproduce", "optical", "--suite", "paper", "--dry-run", "--home", str(tmp_path / "h"))
    done = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "False 0"
    told = lines(done.stderr)
    assert told["to make"].startswith("84 students, 1 index, 133 runs")
    assert "84 students 59.6 GB" in told["disk"]
    assert "facebook/nllb-200-distilled-600M 2.5 GB (CC-BY-NC-4.0)" in told["to download"]
    assert "ELRA-E0008" in told["to bring"]
    said = " ".join(done.stderr.split())
    assert "will fail: clef-2000-2003: it is not there (133 of 133 cells need it)" in said
    assert not (tmp_path / "h").exists()


def test_without_the_choice_a_pickled_model_is_said_to_fail_where_it_is_used(clir, tmp_path):
    words = ("reproduce", "optical", "--suite", "paper", "--dry-run", "--home", tmp_path / "h")
    said = " ".join(clir(*words, "--set", "models.allow_pickle=").err.split())
    reason = "its weights are pickled; if you trust it: --set models.allow_pickle=pytorch_model.bin"
    assert f"will fail: facebook/nllb-200-distilled-600M: {reason} (7 of 133 cells need it)" in said


def test_offline_what_is_not_here_is_said_to_fail(clir, monkeypatch, tmp_path):
    monkeypatch.setenv("CLIR_OFFLINE", "1")
    monkeypatch.delenv("CLIR_CACHE", raising=False)
    words = ("reproduce", "optical", "--suite", "open", "--dry-run", "--home", tmp_path / "h")
    assert "the network is switched off" in " ".join(clir(*words).err.split())


def test_the_time_is_measured_or_that_of_students_made_before(reproduce, experiment):
    path = experiment()
    told = lines(reproduce(path, "--dry-run").err)
    assert "not known before a student is made" in told["time"]
    told = lines(reproduce(path, "--dry-run", "--measure").err)
    assert "6 steps" in told["time"]  # two students of one epoch: 40 pairs in batches of 16
    assert "a step, measured here" in told["time"]
    assert reproduce(path).code == 0
    told = lines(reproduce(path, "--dry-run", "--set", "transport.eps=0.3").err)
    assert "as what is here took" in told["time"]
    again = reproduce(path, "--dry-run")
    assert "to make" not in lines(again.err)
    assert "to make" not in again.out


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("answer", "words", "code"),
    [
        ("n", (), 2),
        pytest.param("y", (), 0, marks=pytest.mark.slow),
        ("n", ("--yes",), 0),
    ],
)
def test_a_person_is_asked_before_long_work(
    reproduce, experiment, home, monkeypatch, answer, words, code
):
    monkeypatch.setattr(preflight, "LONG", -1.0)
    monkeypatch.setattr(sys, "stdin", Terminal(f"{answer}\n"))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    outcome = reproduce(experiment(), "--measure", *words)
    assert outcome.code == code, outcome.err
    assert (home / "sample" / "sw-en").exists() is (code == 0)
    assert ("nothing was begun" in outcome.err) is (code == 2)


@pytest.mark.slow
def test_in_a_script_nobody_is_asked(reproduce, experiment, monkeypatch):
    monkeypatch.setattr(preflight, "LONG", -1.0)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert reproduce(experiment(), "--measure").code == 0


def test_what_takes_longer_than_an_hour_is_long():
    assert not Preflight([], None).is_long
    assert not Preflight([], 60.0).is_long
    assert Preflight([], 4000.0).is_long
