"""Folders that are written for other tools: artifacts, in a place that the user names."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clir_cli.artifacts import store
from clir_cli.artifacts.store import Artifact
from clir_cli.errors import UserError
from clir_cli.stages.support.workspace import Workspace


@contextmanager
def exporting(workspace: Workspace, artifact: Artifact) -> Iterator[Path | None]:
    """Yield the folder in which to write an export, or None if it is current, which is reported.

    It is whole or not there; ``--force`` replaces an earlier export, and nothing else.

    Raises:
        UserError: An export of something else is there, or a folder that clir did not write.
    """
    folder = artifact.path
    if store.is_foreign(folder):
        raise UserError(f"{folder} is there and is no export of clir; name another folder")
    with store.make(artifact, force=workspace.force) as draft:
        if draft is None:
            workspace.talk.say(f"{folder} is current")
        yield draft
