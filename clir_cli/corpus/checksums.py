"""Whether a fetched file is the right one: size and sha256 from the catalogue, or from its record.

Some publishers have neither commits nor checksums. Then the sha256 of what was fetched first is
recorded beside the file, in the format of ``sha256sum``, and later copies are compared with it.
"""

from collections.abc import Iterable
from pathlib import Path

from clir_cli.corpus.catalogue import CatalogueEntry, CatalogueFile, LocalFile
from clir_cli.errors import MissingInput
from clir_cli.files import file_digest, write_text


def is_whole(path: Path, declared: CatalogueFile) -> bool:
    """Return True if a file exists with the size and sha256 that are declared or recorded."""
    if not path.is_file() or (declared.bytes and path.stat().st_size != declared.bytes):
        return False
    known = known_digest(path, declared)
    return not known or file_digest(path) == known


def known_digest(path: Path, declared: CatalogueFile) -> str:
    """Return the sha256 that the file must have: the catalogue's, the record's, or ''."""
    if declared.sha256:
        return declared.sha256
    try:
        return record_of(path).read_text(encoding="utf-8").split()[0]
    except (OSError, IndexError, UnicodeDecodeError):
        return ""


def record_of(path: Path) -> Path:
    """Return the path of the record of an unpinned file's sha256."""
    return path.with_name(path.name + ".sha256")


def write_record(path: Path, declared: CatalogueFile) -> None:
    """Record the sha256 of a fetched file, unless the catalogue pins it."""
    if not declared.sha256:
        write_text(record_of(path), f"{file_digest(path)}  {path.name}\n")


def checked_digest(file: LocalFile) -> str:
    """Return the sha256 of a source's file.

    Raises:
        MissingInput: It has not been fetched or is not in the user's folder, or its sha256 is not
            the declared or recorded one.
    """
    if not file.path.is_file():
        if file.declared.folder is not None:
            raise MissingInput(f"{file.path}: no such file (catalogue)", has_remedy=True)
        raise MissingInput(f"{file.path} is missing")
    actual = file_digest(file.path)
    if actual != (known_digest(*file) or actual):
        pin = "catalogue's" if file.declared.sha256 else f"record's ({record_of(file.path).name})"
        raise MissingInput(f"{file.path}: the checksum does not match the {pin}")
    return actual


def source_digests(
    sources: Iterable[CatalogueEntry], language: str, downloads: Path
) -> dict[str, str]:
    """Return the ``checked_digest`` of the files of some sources for a language, by source/path."""
    return {
        f"{source.name}/{file.declared.path}": checked_digest(file)
        for source in sources
        for file in source.local_files(language, downloads)
    }
