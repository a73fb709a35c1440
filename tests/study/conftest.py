"""A study that is quick: experiments with the settings of ``quick``."""

from collections.abc import Callable
from pathlib import Path

import pytest
from study_helpers import GRID


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
