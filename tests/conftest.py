"""What tests share: a command line to call, real weights, and small real pieces of the sample."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from collection_files import small_sample
from tiny_encoders import tiny_bert

from clir_cli.cli import run

torch.set_num_threads(1)  # the tests run side by side


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out the tests that need a GPU where there is none."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a neutral name. pytest's own has the name of the test, and messages name folders:
    an assertion on a word of a message would hold in a test that is called after the word."""
    return tmp_path_factory.mktemp("folder")


@dataclass(frozen=True)
class Outcome:
    """What a command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> list[dict]:
        return json.loads(self.out)


@pytest.fixture
def clir(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Call the command line in this process: ``clir("ls", "methods")``."""

    def call(*words: object) -> Outcome:
        capsys.readouterr()
        code = run([str(word) for word in words])
        told = capsys.readouterr()
        return Outcome(code, told.out, told.err)

    return call


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the official MiniLM weights, unpacked once a session."""
    home = tmp_path_factory.mktemp("home")
    assert run(["download", "--lang", "sw-en", "--home", str(home), "--quiet"]) == 0
    return home / "models"


@pytest.fixture
def home(models: Path, tmp_path: Path) -> Iterator[Path]:
    """An artifacts' folder that has the models and nothing else."""
    folder = tmp_path / "artifacts"
    folder.mkdir()
    (folder / "models").symlink_to(models)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in, with nothing in the environment that names another."""
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("CLIR_HOME", "CLIR_RESULTS"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def small_collection(tmp_path: Path) -> Path:
    """The first 24 documents of the sample, with their queries in English and Swahili."""
    return small_sample(tmp_path / "small")


@pytest.fixture
def quick(models: Path, tmp_path: Path, small_collection: Path) -> list[str]:
    """Settings with which a student takes a second, as options of every command."""
    tiny = tiny_bert(tmp_path / "tiny", models)
    chosen = {
        "teacher.model": tiny,
        "bitext.max_pairs": 40,
        "bitext.held_out": 4,
        "training.epochs": 1,
        "training.batch_size": 16,
        "training.precision": "float32",
        "student.min_count": 5,
        "collection": small_collection,
    }
    return [word for key, value in chosen.items() for word in ("--set", f"{key}={value}")]
