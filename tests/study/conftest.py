"""A study that is quick: a tiny encoder, a little bitext, a small collection."""

from collections.abc import Callable
from pathlib import Path

import pytest
from study_helpers import GRID
from tiny_encoders import tiny_bert


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


@pytest.fixture
def experiment(tmp_path: Path) -> Callable[..., Path]:
    """Write an experiment: ``experiment("tiny", GRID)``."""

    def write(name: str = "tiny", text: str = GRID) -> Path:
        path = tmp_path / f"{name}.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def reproduce(clir, quick, home, tmp_path):
    """Call ``clir reproduce`` with the quick settings."""

    def call(*words: object):
        where = ("--home", home, "--results", tmp_path / "results")
        return clir("reproduce", *quick, *words, *where)

    return call
