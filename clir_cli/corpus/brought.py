"""What the user brings for a collection that cannot be downloaded: links to it, and what lacks."""

from pathlib import Path

from clir_cli.corpus.formats.collection_toml import SETTINGS
from clir_cli.corpus.formats.reading import ReadRequest
from clir_cli.corpus.formats.trec_layout import Parts
from clir_cli.errors import UserError, counted


def is_supplied(folder: Path) -> bool:
    """Return True if the user has put anything into the folder of a user-supplied collection."""
    return folder.is_dir() and any(folder.iterdir())


def bring(folder: Path, given: Path, *, replace: bool = False) -> Path:
    """Put a link to a file or folder into the folder of a collection; return the link.

    A folder with a ``collection.toml`` is linked in place of the whole folder. ``replace`` takes
    the place of a link of that name.

    Raises:
        UserError: There is nothing to link to, or something else is there under its name.
    """
    if not given.exists():
        raise UserError(f"--brought {given}: no such file or folder")
    given = given.resolve()
    is_whole = (given / SETTINGS).is_file() and not is_supplied(folder)
    link = folder if is_whole else folder / given.name
    if folder.is_symlink() and not is_whole:
        raise UserError(
            f"{folder} is a link to {folder.resolve()}, which is not written to; remove the link, "
            f"and give both: --brought {folder.resolve()} --brought {given}"
        )
    if link.is_symlink() and (replace or link.resolve() == given):
        link.unlink()
    if link.is_symlink() or link.exists():
        what = f"a link to {link.resolve()}" if link.is_symlink() else "no link"
        raise UserError(f"{link} is there already, {what}; remove it, or rename {given}")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(given, target_is_directory=given.is_dir())
    return link


def lacking(what: str, kind: str, request: ReadRequest) -> list[str]:
    """Return what the user must still supply of ``what``, in words: nothing if all is there."""
    if not is_supplied(request.folder):
        return [what]
    return Parts.of(request).lacking(request.language) if kind == "trec" else []


def described(request: ReadRequest) -> str:
    """Return which layout a user-supplied collection has, and how much of each part is there."""
    parts = Parts.of(request)
    layout = "of the disk E0008" if parts.disk is not None else f"of {SETTINGS} or by default"
    counts = {
        "documents": len(parts.documents),
        f"topics in {request.language}": len(parts.topics(request.language)),
        "qrels": len(parts.qrels),
    }
    files = ", ".join(f"{what} in {counted(count, 'file')}" for what, count in counts.items())
    return f"layout {layout}; {files}"
