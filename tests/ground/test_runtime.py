"""The machine and the talk: devices, number formats, seeds, versions, where words go."""

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from clir_cli import runtime
from clir_cli.console import Talk
from clir_cli.errors import UserError

HAS_CUDA = torch.cuda.is_available()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cud", "unknown device 'cud': did you mean cuda?"),
        ("", "unknown device '': known: auto, cpu, cuda, mps"),
        ("cpu:0", "unknown device 'cpu:0': did you mean cpu?"),
        ("cuda:", "unknown device 'cuda:': did you mean cuda?"),
        ("cuda:x", "unknown device"),
        ("CPU", "unknown device"),
        ("auto:1", "unknown device"),
        ("cuda:99", "--device cuda:99: this machine has none that torch can use; try auto"),
        pytest.param(
            "cuda",
            "--device cuda: this machine has none",
            marks=pytest.mark.skipif(HAS_CUDA, reason="this machine has one"),
        ),
    ],
)
def test_a_device_that_is_not_there_is_told(name: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        runtime.choose_device(name)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["cpu", "auto"])
def test_a_device_that_is_there_computes(name: str) -> None:
    device = runtime.choose_device(name)
    assert torch.ones(2, device=device).sum().item() == 2


@pytest.mark.gpu
def test_a_gpu_is_chosen_by_itself_and_by_number() -> None:
    assert runtime.choose_device("auto").type == "cuda"
    assert runtime.choose_device("cuda:0") == torch.device("cuda:0")
    assert runtime.choose_precision("auto", torch.device("cuda")) in (torch.bfloat16, torch.float32)


def test_the_precision_is_what_was_asked_for_or_what_the_machine_computes_in() -> None:
    cpu = torch.device("cpu")
    assert runtime.choose_precision("float32", cpu) == torch.float32
    assert runtime.choose_precision("bfloat16", cpu) == torch.bfloat16
    assert runtime.choose_precision("auto", cpu) in (torch.float32, torch.bfloat16)
    assert runtime.choose_precision("auto", torch.device("mps")) == torch.float32


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_a_seed_repeats_every_source_of_chance(seed: int) -> None:
    def drawn() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    runtime.seed_everything(seed)
    first = drawn()
    assert drawn() != first
    runtime.seed_everything(seed)
    assert drawn() == first


def test_versions_name_what_a_result_depends_on() -> None:
    found = runtime.versions()
    assert found["torch"] == torch.__version__
    assert found["numpy"] == np.__version__
    assert {"python", "machine", "transformers", "tokenizers", "geomloss"} <= found.keys()
    assert json.loads(json.dumps(found)) == found


def test_the_commit_of_a_checkout_says_whether_files_differ(tmp_path: Path) -> None:
    def git(folder: Path, *words: str) -> str:
        who = ("-c", "user.name=n", "-c", "user.email=n@example.org")
        command = ["git", "-C", str(folder), *who, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    whole, changed = tmp_path / "whole", tmp_path / "changed"
    assert runtime.commit(tmp_path / "none") == ""
    for folder in (whole, changed):
        folder.mkdir()
        (folder / "file").write_text("one")
        git(folder, "init")
        git(folder, "add", "file")
        git(folder, "commit", "-m", "one")
    (changed / "file").write_text("two")
    assert git(whole, "rev-parse", "HEAD").startswith(runtime.commit(whole))
    assert runtime.commit(changed) == git(changed, "rev-parse", "--short", "HEAD") + "-dirty"


def test_talk_goes_to_standard_error_as_it_is_and_quiet_keeps_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    long = "artifacts/[sample]/sw-en " + "x" * 300
    Talk().say(long)
    Talk(quiet=True).say(long)
    assert capsys.readouterr() == ("", long + "\n")


@pytest.mark.parametrize("quiet", [False, True])
def test_no_bar_is_drawn_where_nobody_watches(
    capsys: pytest.CaptureFixture[str], quiet: bool
) -> None:
    with Talk(quiet=quiet).progress(unit="steps") as progress:
        task = progress.add_task("distill", total=2, note="")
        progress.advance(task, 2)
        assert progress.finished
    assert capsys.readouterr() == ("", "")


def test_the_ground_is_reached_without_torch() -> None:
    script = (
        "import sys, clir_cli.artifacts, clir_cli.suites, clir_cli.console, clir_cli.runtime\n"
        "clir_cli.runtime.versions(); clir_cli.suites.load_settings('sample')\n"
        "print(sorted({'torch', 'transformers', 'pandas', 'numpy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
