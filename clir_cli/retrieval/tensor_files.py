"""Safetensors files, read whole."""

from pathlib import Path

from safetensors import safe_open
from torch import Tensor


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a file by name, and the metadata of its header.

    Raises:
        SafetensorError: The file is truncated or damaged.
        OSError: It cannot be read.
    """
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, file.metadata() or {}
