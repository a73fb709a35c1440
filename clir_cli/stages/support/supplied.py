"""What the user supplies of a collection: linked to, described, refused where parts are missing."""

from collections.abc import Sequence
from pathlib import Path

from clir_cli.corpus import brought
from clir_cli.corpus.collections import RequiredFile, required_files
from clir_cli.errors import UserError
from clir_cli.stages.support.sources import collection_options
from clir_cli.stages.support.workspace import Workspace


def bring(workspace: Workspace, given: Sequence[Path]) -> None:
    """Link to files and folders of the collection to search, which the user must supply.

    Raises:
        UserError: The collection is not of that kind; else as ``brought.bring``.
    """
    name = workspace.settings.collection
    files = required_files(name, "en", workspace.downloads) if given else []
    if given and not any(file.user_supplied for file in files):
        raise UserError(f"--brought {given[0]}: {name} is not supplied by its users; leave it out")
    for path in given:
        if workspace.dry_run:
            workspace.talk.say(f"{path} would be linked to from {files[0].path}")
        else:
            link = brought.bring(files[0].path, path, replace=workspace.force)
            workspace.talk.say(f"{link} is a link to {link.resolve()}")


def describe(workspace: Workspace, files: Sequence[RequiredFile]) -> None:
    """Report how each collection that the user has supplied is read."""
    for file in files:
        if file.user_supplied and file.there and file.entry.format == "trec":
            described = brought.described(file.request)
            workspace.talk.say(f"{file.entry.name} at {file.path}: {described}")


def refuse_lacking(files: Sequence[RequiredFile]) -> None:
    """Report all that the user must supply in one line, what several languages lack once.

    Raises:
        UserError: Something of it is not there.
    """
    if lacking := _lacking(files):
        raise UserError(f"everything else is there; the rest is user-supplied: {lacking}")


def report_lacking(workspace: Workspace, files: Sequence[RequiredFile]) -> None:
    """Report what the user must supply of the suite's own collection, if nothing was brought.

    Training does not need it.

    Raises:
        UserError: As ``refuse_lacking``, where a part was brought or the collection was chosen.
    """
    begun = any(brought.is_supplied(file.path) for file in files if file.user_supplied)
    if begun or collection_options(workspace.settings):
        refuse_lacking(files)
    elif lacking := _lacking(files):
        workspace.talk.say(
            f"warning: user-supplied and not there: {lacking}; distill and train do not need it, "
            "but index, search and evaluate do: clir download --brought DIR"
        )


def _lacking(files: Sequence[RequiredFile]) -> str:
    lacking: dict[tuple[str, Path], dict[str, None]] = {}
    for file in files:
        if file.user_supplied and not file.there:
            key = file.entry.name, file.path
            lacking.setdefault(key, {}).update(dict.fromkeys(file.lacking))
    return "; ".join(
        f"{name}: {'; '.join(what)} (at {path})" for (name, path), what in lacking.items()
    )
