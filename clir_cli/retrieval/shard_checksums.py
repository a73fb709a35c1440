"""Checksum files: what each shard of an index was made from, and the sha256 of its files.

``shard-00000.receipt.json`` is written after the shard's files. A shard without one was
interrupted, one whose files differ from it is damaged; neither is ever used.
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
    """Return (texts, DIGEST) uint8: the BLAKE2b of each text, by which rows are identified."""
    digests = b"".join(
        hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST).digest()
        for text in texts
    )
    return np.frombuffer(digests, np.uint8).reshape(len(texts), DIGEST)


def checksum_path(folder: Path, number: int) -> Path:
    """Return the path of a shard's checksum file."""
    return folder / f"{_stem(number)}.receipt.json"


def shard_files(folder: Path, number: int) -> list[Path]:
    """Return the files of a shard without the checksum file."""
    paths = sorted(folder.glob(f"{_stem(number)}.*"))
    return [path for path in paths if path != checksum_path(folder, number)]


def _stem(number: int) -> str:
    return f"shard-{number:05d}"


def write_checksums(
    folder: Path, number: int, fingerprint: str, digests: np.ndarray, cut: Sequence[int] = ()
) -> None:
    """Record what a shard was made from, and its files as they are now.

    ``fingerprint`` is the digest of all that the shard's bytes depend on beside the texts,
    ``digests`` (rows, DIGEST) are those of the texts, ``cut`` the rows whose text was too long.
    """
    files = {
        path.name.removeprefix(_stem(number)): {
            "bytes": path.stat().st_size,
            "sha256": file_digest(path),
        }
        for path in shard_files(folder, number)
    }
    texts = _digest_of(digests)
    record = {"recipe": fingerprint, "texts": texts, "rows": len(digests), "files": files}
    record |= {"cut": list(cut)} if cut else {}
    write_text(checksum_path(folder, number), json.dumps(record, indent=1) + "\n")


def cut_rows(folder: Path, number: int) -> list[int]:
    """Return the rows of a shard whose text was too long; none if it is not recorded."""
    record = json.loads(checksum_path(folder, number).read_text(encoding="utf-8"))
    return list(record.get("cut", ()))


def fault(folder: Path, number: int, fingerprint: str, digests: np.ndarray) -> str:
    """Return what is wrong with a shard, with the name of the file; empty if it is valid.

    A shard that was made from other texts or in another way is as invalid as a damaged one.
    """
    path = checksum_path(folder, number)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        files = {name: (entry["bytes"], entry["sha256"]) for name, entry in record["files"].items()}
        made_from = (record["recipe"], record["texts"])
    except FileNotFoundError:
        return f"{path}: missing"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{path}: damaged"
    if made_from != (fingerprint, _digest_of(digests)):
        return f"{path}: made from something else"
    for suffix, (size, sha256) in files.items():
        file = folder / (_stem(number) + suffix)
        if not file.is_file():
            return f"{file}: missing"
        if file.stat().st_size != size:
            return f"{file}: {file.stat().st_size} bytes, {size} expected"
        if file_digest(file) != sha256:
            return f"{file}: sha256 differs from the one in {path.name}"
    return "" if files else f"{path}: damaged"


def link_shard(source: Path, number: int, folder: Path, new_number: int) -> None:
    """Link a shard of one index into another, without copying its bytes.

    The checksum file comes last, so that an interrupted link is an interrupted shard.
    """
    for path in shard_files(folder, new_number):
        path.unlink()
    for path in (*shard_files(source, number), checksum_path(source, number)):
        link(path, folder / (_stem(new_number) + path.name.removeprefix(_stem(number))))


def link(path: Path, target: Path) -> None:
    """Hard-link a file, or copy it where the disk has no links."""
    target.unlink(missing_ok=True)
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)


def _digest_of(digests: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(digests).tobytes()).hexdigest()
