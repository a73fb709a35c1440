"""What makes a fetched file the right one: the catalogue's size and sha256, or the record.

A publisher without commits or checksums pins nothing. Then the sha256 of what was fetched first is
put on record beside the file, as ``sha256sum`` writes it, and decides ever after.
"""

from pathlib import Path

from clir_cli.corpus.catalogue import SourceFile
from clir_cli.files import file_digest


def is_whole(path: Path, entry: SourceFile) -> bool:
    """Tell whether a file is there with the size and sha256 of its catalogue entry or record."""
    if not path.is_file():
        return False
    if entry.bytes and path.stat().st_size != entry.bytes:
        return False
    known = known_digest(path, entry)
    return not known or file_digest(path) == known


def known_digest(path: Path, entry: SourceFile) -> str:
    """Return the sha256 that the file must have: the catalogue's, the record's, or nothing."""
    if entry.sha256:
        return entry.sha256
    try:
        return record_of(path).read_text(encoding="utf-8").split()[0]
    except (OSError, IndexError, UnicodeDecodeError):
        return ""


def record_of(path: Path) -> Path:
    """Return where the sha256 of a file that nobody pins is on record."""
    return path.with_name(path.name + ".sha256")


def write_record(path: Path, entry: SourceFile) -> None:
    """Put the sha256 of a fetched file on record, unless the catalogue pins it."""
    if entry.sha256:
        return
    draft = path.with_name(path.name + ".sha256.part")
    draft.write_text(f"{file_digest(path)}  {path.name}\n", encoding="utf-8")
    draft.replace(record_of(path))
