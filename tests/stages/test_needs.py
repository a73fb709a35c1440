"""What ``reproduce`` fetches before a task: all that the task reads."""

from pathlib import Path

import pytest

from clir_cli.artifacts import graph
from clir_cli.artifacts.cell import Cell
from clir_cli.artifacts.spec import Ref
from clir_cli.corpus.records import Pair
from clir_cli.stages import kinds  # noqa: F401  declares them
from clir_cli.stages.support.workspace import Workspace
from clir_cli.study.experiment import load
from clir_cli.study.grid import Base, expand
from clir_cli.study.tasks import Study
from clir_cli.suites import load_settings


@pytest.mark.parametrize(
    ("kind", "method", "needed"),
    [
        ("student", "hybrid", "training collection"),
        ("student", "code-switch", "training collection"),
        ("student", "code-switch", "dictionary files"),
        ("dictionary", "ot", "dictionary files"),  # their precision is in its notes
        ("run", "dictionary", "dictionary files"),
    ],
)
def test_what_a_task_reads_is_fetched_before_it(kind: str, method: str, needed: str) -> None:
    settings = load_settings("paper")
    needs = graph.needs(Ref(kind, settings, (Pair("sw", "en"),), Cell(method)))
    assert needed in {need.kind for need in needs}


def test_a_collection_of_ir_datasets_to_train_on_is_one_download() -> None:
    settings = load_settings("paper")
    found = {
        need
        for pair in (Pair("sw", "en"), Pair("de", "en"))
        for need in graph.needs(Ref("student", settings, (pair,), Cell("hybrid")))
        if need.kind == "training collection"
    }
    assert found == {Ref("training collection", settings, name="en")}


def test_questions_to_train_on_in_two_languages_are_two_downloads(tmp_path: Path) -> None:
    study = Study(Workspace(load_settings("open"), tmp_path))
    study.add(load("hybrid_batch"), expand(load("hybrid_batch"), Base("open")))
    downloads = [task for task in study.tasks.values() if task.ref.kind == "training collection"]
    commands = {task.ref.name: task.command for task in downloads}
    assert commands.keys() == {"en", "de"}  # XQuAD has German, and not the other languages
    assert "--lang de-en" in commands["de"]
    assert "--lang all" in commands["en"]
