"""Two processes that train one student, started as a user starts them: with torchrun."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tiny_encoders import tiny_bert

from clir_cli.corpus import parse_cache
from clir_cli.errors import UserError
from clir_cli.stages.support.checkpointing import made_together
from clir_cli.stages.support.workspace import Workspace
from clir_cli.suites import load_settings
from clir_cli.training import process_group
from clir_cli.training.process_group import ProcessGroup

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
SCRIPT = Path(__file__).parents[1] / "trained_together.py"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
# Nine to a batch and one to the last: shares of different size, and a process without any.
SMALL = (
    "--lang", "sw-en", "--set", "bitext.max_pairs=80", "--set", "training.batch_size=9",
    "--set", "training.precision=float32", "--set", "training.checkpoint_steps=1",
)  # fmt: skip
# What is trained, where it lies, and how: each sentence pair for itself, the pairs of a batch
# against each other, weights in shares, in-batch negatives.
WAYS = {
    "sw-en/ot": ("distill", *SMALL),
    "teachers/centred/sw-en/kd-score": (
        "distill", *SMALL, "--method", "kd-score", "--set", "teacher.centre=true",
    ),
    "de+sw-en/ot": (
        "distill", "--lang", "sw-en,de-en", *SMALL[2:], "--joint", "--set", "training.shard=true",
    ),
    "sw-en/code-switch": ("train", *SMALL, "--recipe", "code-switch"),
}  # fmt: skip


@pytest.fixture(scope="module")
def words(models, tmp_path_factory) -> tuple[str, ...]:
    """The words of a small distillation under a tiny teacher, nothing of it random."""
    folder = tiny_bert(tmp_path_factory.mktemp("teacher") / "tiny", models)
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return ("--set", f"teacher.model={folder}")


def log(student: Path) -> list[dict[str, str]]:
    with (student / "training.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def losses(student: Path) -> list[float]:
    return [float(row["loss"]) for row in log(student)]


def held_out(student: Path) -> list[tuple[float, float]]:
    rows = [row for row in log(student) if row["held_out_loss"]]
    return [(float(row["held_out_loss"]), float(row["held_out_mrr"])) for row in rows]


@pytest.mark.slow
@pytest.mark.processes
def test_two_processes_take_the_steps_of_one(clir, words, models, tmp_path):
    homes = [tmp_path / "one", tmp_path / "two"]
    for home in homes:
        home.mkdir()
        (home / "models").symlink_to(models)
    jobs: list[str] = []
    for own in WAYS.values():
        jobs += ["--", *own, *words, "--set", "training.epochs=1"]
    done = subprocess.run(
        [*TORCHRUN, str(SCRIPT), str(homes[1]), *jobs[1:]],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("held-out MRR") == len(WAYS)  # only one of them talks
    for way, own in WAYS.items():
        outcome = clir(*own, *words, "--set", "training.epochs=1", "--home", homes[0])
        assert outcome.code == 0, outcome.err
        one, two = (home / "sample" / way / "student" for home in homes)
        assert losses(two) == pytest.approx(losses(one), abs=2e-5), way
        for alone, together in zip(held_out(one), held_out(two), strict=True):
            assert together == pytest.approx(alone, rel=1e-2), way
        weights = [load_file(student / "model.safetensors") for student in (one, two)]
        shapes = [{name: each.shape for name, each in found.items()} for found in weights]
        assert shapes[0] == shapes[1]
        manifests = [json.loads((each / "manifest.json").read_text()) for each in (one, two)]
        assert manifests[0]["fingerprint"] == manifests[1]["fingerprint"]
        assert manifests[1]["notes"]["processes"] == 2
        assert "processes" not in manifests[0]["notes"]
        assert sorted(manifests[0]["files"]) == sorted(manifests[1]["files"])
    hidden = {path.name for path in homes[1].rglob(".*")}
    assert hidden <= {parse_cache.FOLDER}  # no lock and no draft is left


def children(process: subprocess.Popen) -> dict[str, int]:
    """Return the processes that torchrun started, by rank."""
    found = {}
    for number in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        told = Path(f"/proc/{number}/environ").read_bytes().split(b"\0")
        rank = [each.removeprefix(b"RANK=").decode() for each in told if each.startswith(b"RANK=")]
        found |= {each: int(number) for each in rank}
    return found


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc")
def test_a_process_that_is_killed_ends_the_run_and_one_goes_on_from_its_checkpoint(
    clir, words, models, tmp_path
):
    homes = [tmp_path / "whole", tmp_path / "cut"]
    for home in homes:
        home.mkdir()
        (home / "models").symlink_to(models)
    command = ("distill", *SMALL, *words, "--set", "training.epochs=3")
    started = subprocess.Popen(
        [*TORCHRUN, "-m", "clir_cli", *command, "--home", str(homes[1])],
        env=ENVIRONMENT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    student = homes[1] / "sample" / "sw-en" / "ot" / "student"
    draft = student.with_name(".student.part")
    while not (draft / "checkpoint.safetensors").exists():
        assert started.poll() is None, started.stderr.read()
        time.sleep(0.02)
    os.kill(children(started)["1"], signal.SIGKILL)
    started.communicate(timeout=120)  # nobody waits for the dead
    assert started.returncode != 0
    assert (draft / "checkpoint.safetensors").exists()
    assert not student.exists()
    outcome = clir(*command, "--home", homes[1])
    assert outcome.code == 0, outcome.err
    assert "continuing from step" in outcome.err
    assert clir(*command, "--home", homes[0]).code == 0
    whole = homes[0] / "sample" / "sw-en" / "ot" / "student"
    assert losses(student) == pytest.approx(losses(whole), abs=5e-5)
    assert [row["step"] for row in log(student)] == [row["step"] for row in log(whole)]


@pytest.mark.slow
@pytest.mark.processes
def test_processes_that_do_not_see_one_folder_are_told(words, models, tmp_path):
    for rank in "01":
        (tmp_path / rank / "artifacts").mkdir(parents=True)
        (tmp_path / rank / "artifacts" / "models").symlink_to(models)
    told = " ".join(f"'{word}'" for word in (*SMALL, *words))
    call = f"cd {tmp_path}/$RANK && {sys.executable} -m clir_cli distill {told}"
    done = subprocess.run(
        [*TORCHRUN, "--no-python", "bash", "-c", call],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode != 0
    assert "does not see" in done.stderr
    assert "--home on a folder that all machines share" in " ".join(done.stderr.split())
    assert not list(tmp_path.rglob("checkpoint.safetensors"))


# ------------------------------------------------------------------ in this process


def test_more_processes_than_a_batch_has_pairs(tmp_path):
    settings = load_settings("sample", None, ["training.batch_size=3"])
    workspace = Workspace(settings, tmp_path, group=ProcessGroup(rank=0, size=4))
    with (
        pytest.raises(UserError, match="--nproc-per-node 3"),
        made_together(workspace, artifact=None),
    ):
        pass


def test_torchrun_is_for_training(monkeypatch, capsys):
    told = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert process_group.launched()
    assert process_group.run_as_one(["index"], lambda _: pytest.fail("it ran")) == 2
    assert "torchrun is for clir distill and clir train" in capsys.readouterr().err
    monkeypatch.setenv("RANK", "1")
    assert process_group.run_as_one(["index"], lambda _: pytest.fail("it ran")) == 2
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert not process_group.launched()


@pytest.mark.parametrize(
    ("name", "value"), [("WORLD_SIZE", "x"), ("RANK", "-1"), ("RANK", "2"), ("MASTER_PORT", "")]
)
def test_an_environment_that_torchrun_did_not_make_is_told(monkeypatch, capsys, name, value):
    told = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    for variable, text in {**told, name: value}.items():
        monkeypatch.setenv(variable, text)
    assert process_group.launched()
    assert process_group.run_as_one(["distill"], lambda _: pytest.fail("it ran")) == 2
    error = capsys.readouterr().err
    assert f"{name}={value}" in error
    assert "not what torchrun sets; unset them" in error
