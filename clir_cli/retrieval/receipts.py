"""Receipts: what each shard of a token store was made from, and the checksums of its files.

``shard-00000.receipt.json`` is written when the shard's files are. A shard without one was cut, and
one whose files are not as the receipt says is damaged; neither is ever used.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clir_cli.files import file_digest, write_text

DIGEST = 16  # bytes


def text_digests(texts: Sequence[str]) -> np.ndarray:
    """Return (texts, DIGEST) uint8: the BLAKE2b of each text, by which rows are known."""
    found = b"".join(
        hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST).digest()
        for text in texts
    )
    return np.frombuffer(found, np.uint8).reshape(len(texts), DIGEST)


def receipt_path(folder: Path, number: int) -> Path:
    """Return the path of a shard's receipt."""
    return folder / f"{_stem(number)}.receipt.json"


def shard_files(folder: Path, number: int) -> list[Path]:
    """Return the files of a shard, the receipt apart."""
    found = sorted(folder.glob(f"{_stem(number)}.*"))
    return [path for path in found if path != receipt_path(folder, number)]


def _stem(number: int) -> str:
    return f"shard-{number:05d}"


def write_receipt(folder: Path, number: int, recipe: str, digests: np.ndarray) -> None:
    """Write down what a shard was made from, and its files as they are now.

    Args:
        folder: Of the store.
        number: Of the shard.
        recipe: Fingerprint of all that its bytes depend on beside the texts.
        digests: (rows, DIGEST) of the texts.
    """
    files = {
        path.name.removeprefix(_stem(number)): {
            "bytes": path.stat().st_size,
            "sha256": file_digest(path),
        }
        for path in shard_files(folder, number)
    }
    told = {"recipe": recipe, "texts": _of_rows(digests), "rows": len(digests), "files": files}
    write_text(receipt_path(folder, number), json.dumps(told, indent=1) + "\n")


def fault(folder: Path, number: int, recipe: str, digests: np.ndarray) -> str:
    """Return what is wrong with a shard, with the name of the file; nothing when it is whole.

    A shard that was made from other texts or in another way is as wrong as a damaged one.
    """
    path = receipt_path(folder, number)
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        files = {name: (entry["bytes"], entry["sha256"]) for name, entry in told["files"].items()}
        made_from = (told["recipe"], told["texts"])
    except FileNotFoundError:
        return f"{path}: missing"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{path}: damaged"
    if made_from != (recipe, _of_rows(digests)):
        return f"{path}: made from something else"
    for suffix, (size, sha256) in files.items():
        file = folder / (_stem(number) + suffix)
        if not file.is_file():
            return f"{file}: missing"
        if file.stat().st_size != size:
            return f"{file}: {file.stat().st_size} bytes, {size} expected"
        if file_digest(file) != sha256:
            return f"{file}: sha256 differs from the receipt's"
    return "" if files else f"{path}: damaged"


def carry(source: Path, number: int, folder: Path, to: int) -> None:
    """Put a shard of one store into another without its bytes being written again.

    The receipt comes last, so that a carry that was cut is a shard that was cut.
    """
    for path in shard_files(folder, to):
        path.unlink()
    for path in (*shard_files(source, number), receipt_path(source, number)):
        link(path, folder / (_stem(to) + path.name.removeprefix(_stem(number))))


def link(path: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the disk has no links."""
    target.unlink(missing_ok=True)
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)


def _of_rows(digests: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(digests).tobytes()).hexdigest()
