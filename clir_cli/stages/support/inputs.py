"""Inputs that several stages read; each says which command makes it when it is missing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clir_cli.corpus import bitext
from clir_cli.corpus.collections import load_collection
from clir_cli.corpus.records import Collection, Pair
from clir_cli.errors import MissingInput
from clir_cli.retrieval import models
from clir_cli.stages.support.recipes import trained_model
from clir_cli.stages.support.workspace import Workspace
from clir_cli.suites import load_settings


@contextmanager
def made_by(command: str) -> Iterator[None]:
    """Add the command that mends it to the message of a missing input."""
    try:
        yield
    except MissingInput as error:
        raise MissingInput(f"{error}; make it with: {command}") from None


def teacher_folder(workspace: Workspace) -> Path:
    """Return the teacher's folder, or say which command fetches or trains it."""
    name = workspace.settings.teacher.model
    return trained_model(workspace, name, None, "teacher") or fetched_model(workspace, name)


def initial_folder(workspace: Workspace, pair: Pair | None = None) -> Path:
    """Return the initial student's folder, or say which command fetches or trains it.

    A trained one is of one ``pair``; others are the same for all.
    """
    name = workspace.settings.student.model
    if name == "teacher":
        return teacher_folder(workspace)
    return trained_model(workspace, name, pair, "initial") or fetched_model(workspace, name)


def fetched_model(workspace: Workspace, name: str) -> Path:
    """Return the folder of a model, or say which command fetches it."""
    folder = models.model_folder(name, workspace.home, workspace.settings.models.allow_pickle)
    with made_by(download_command(workspace)):
        if not (folder / "config.json").is_file():
            raise MissingInput(f"model {folder} is missing")
    return folder


def download_command(workspace: Workspace, language: str = "") -> str:
    """Return what a person types to fetch what a language needs; without one, all."""
    words = [f"--lang {language}-en" if language else "--lang all", *collection_words(workspace)]
    return workspace.command("download", *words)


def bitext_inputs(workspace: Workspace, pair: Pair) -> dict[str, str]:
    """Return the sha256 of the files of a pair's bitext, or say which command fetches them."""
    with made_by(download_command(workspace, pair.query)):
        return bitext.inputs(workspace.settings.bitext, pair, workspace.downloads)


def read_collection(workspace: Workspace, language: str) -> Collection:
    """Read the workspace's collection, or say which command fetches it."""
    with made_by(download_command(workspace, "" if language == "en" else language)):
        return load_collection(workspace.settings.collection, language, workspace.downloads)


def collection_words(workspace: Workspace) -> list[str]:
    """Return the option that names the collection, when it is not the suite's own."""
    chosen = workspace.settings.collection
    return [] if chosen == load_settings(workspace.suite).collection else [f"--collection {chosen}"]
