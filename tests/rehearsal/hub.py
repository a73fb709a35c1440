"""A mirror of the hub: where the files of a repository lie, and those that clir never reads."""

from pathlib import Path

from clir_cli.retrieval.models import model_entry

UNREAD = (".gitattributes", "README.md", "tf_model.h5", "flax_model.msgpack", "onnx/model.onnx")


def repository(mirror: Path, name: str) -> Path:
    """Return the folder of a model's files on a mirror, under the revision that clir asks for."""
    entry = model_entry(name)
    folder = mirror / "huggingface.co" / entry.repository / "resolve" / entry.revision
    folder.mkdir(parents=True)
    for other in UNREAD:
        path = folder / other
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"of another framework\n")
    return folder


def only(folder: Path, *names: str) -> Path:
    """Remove the files of a repository that the published one does not have; return its folder."""
    for path in folder.glob("*"):
        if path.is_file() and path.name not in (*names, *UNREAD):
            path.unlink()
    if lacking := [name for name in names if not (folder / name).is_file()]:
        raise FileNotFoundError(f"{folder}: {', '.join(lacking)}")
    return folder
