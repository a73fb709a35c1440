"""Safetensors files, read whole; some hold the sha256 of what they hold."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from clir_cli.errors import UserError
from clir_cli.files import replacing

DIGEST = "sha256"


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a file by name, and the metadata of its header.

    Raises:
        SafetensorError: The file is truncated or damaged.
        OSError: It cannot be read.
    """
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, file.metadata() or {}


def save_verified(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], of: str = ""
) -> None:
    """Write tensors with a sha256 of them, of the metadata and of what they are ``of``.

    The file is on the disk before it has its name.
    """
    verified = {**metadata, DIGEST: _digest(tensors, metadata, of)}
    with replacing(path) as temporary:
        save_file(dict(tensors), temporary, metadata=verified)


def read_verified(path: Path, of: str = "") -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return tensors and metadata of ``save_verified``.

    Raises:
        UserError: The file is missing, truncated, changed, of something else, or without a sha256.
    """
    if not path.is_file():
        raise UserError(f"{path}: damaged (no such file)")
    try:
        tensors, metadata = read_tensors(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: damaged ({error})") from None
    recorded = metadata.pop(DIGEST, None)
    if _digest(tensors, metadata, of) != recorded:
        raise UserError(f"{path}: damaged (its sha256 differs from the recorded one)")
    return tensors, metadata


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], of: str) -> str:
    """Return the sha256 of names, types, shapes, values, metadata, and what they are of."""
    shapes = {name: [str(value.dtype), *value.shape] for name, value in tensors.items()}
    running = hashlib.sha256(json.dumps([shapes, dict(metadata), of], sort_keys=True).encode())
    for name in sorted(tensors):
        values = tensors[name].detach().cpu().contiguous().reshape(-1)
        running.update(values.view(torch.uint8).numpy().data)
    return running.hexdigest()
