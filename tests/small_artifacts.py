"""What the tests of artifacts share: a small one, what lies in a folder, and other processes."""

import sys
from pathlib import Path

from clir_cli import files
from clir_cli.artifacts.store import Artifact, make

PRELUDE = """
import json, os, shutil, signal, sys
from pathlib import Path
from clir_cli import files
from clir_cli.artifacts import store
from clir_cli.artifacts.store import Artifact, make, require
from clir_cli.files import alone
home = Path(sys.argv[1])
def planned(config):
    return Artifact(home / "sample" / "student", "student", {"epochs": config}, {"a": "b"})
def write(draft, text):
    for name in ("one.bin", "two.bin"):
        files.write_text(draft / name, text)
"""


def planned(home: Path, *, epochs: int = 1, words: str = "aa") -> Artifact:
    return Artifact(
        path=home / "sample" / "student",
        kind="student",
        config={"pair": "sw-en", "training": {"epochs": epochs, "clip": 1.0}},
        inputs={"bitext": words, "teacher": "bb"},
        command="clir distill --lang sw-en",
    )


def made(plan: Artifact, text: str = "first", **how: bool) -> bool:
    """Make a small artifact; return whether there was anything to do."""
    with make(plan, **how) as draft:
        if draft is None:
            return False
        (draft / "shards").mkdir(exist_ok=True)
        files.write_text(draft / "weights.bin", text)
        files.write_text(draft / "shards" / "0.bin", text * 2)
    return True


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def python(script: str, *words: object) -> list[str]:
    return [sys.executable, "-c", PRELUDE + script, *map(str, words)]
