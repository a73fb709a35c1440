"""What was read of a collection once: queries, qrels and digests, kept until a file changes.

Most stages ask a collection who it is and what its queries are, and never look at a document.
Files are known by path, size, time of change and inode, as git knows them; what this version of
the readers made of them is kept in ``downloads/.read``. Documents are read when one is wanted.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from clir_cli.corpus.records import Document
from clir_cli.files import digest, write_text

FOLDER = ".read"
COARSE, FINE = 2_000_000_000, 50_000_000  # nanoseconds that a time of change may be off by


@dataclass(frozen=True)
class Read:
    """What was read: how many documents, and all but these."""

    documents: int
    queries: Mapping[str, Mapping[str, str]]
    qrels: Mapping[str, Mapping[str, int]]
    digests: Mapping[str, str]


class Documents(Sequence[Document]):
    """Documents that are read from their files when the first is wanted.

    Args:
        count: How many there are.
        read: Reads them.
    """

    def __init__(self, count: int, read: Callable[[], Sequence[Document]]) -> None:
        self._count, self._read = count, read
        self._found: Sequence[Document] | None = None

    @property
    def _all(self) -> Sequence[Document]:
        if self._found is None:
            self._found = self._read()
        return self._found

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: Any) -> Any:
        return self._all[place]

    def __iter__(self) -> Iterator[Document]:
        return iter(self._all)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and list(self) == list(other)


@dataclass(frozen=True)
class Memory:
    """Where what was read of one collection in one language is kept, and under which key.

    Without a key it is not kept: its files are not known, or one was changed a moment ago.
    """

    path: Path
    key: str

    def recall(self) -> Read | None:
        """Return what was read before, if no file has changed since."""
        if not self.key:
            return None
        try:
            head, _, text = self.path.read_text(encoding="utf-8").partition("\n")
            if head != f"{self.key} {_sha256(text)}":
                return None
            return Read(**json.loads(text))
        except (OSError, ValueError, TypeError):
            return None

    def keep(self, found: Read) -> None:
        """Keep what was read, where there is a home with models, and it can be written.

        A mirror is laid out as downloads are, and stays as it is.
        """
        home = self.path.parents[2]
        if not self.key or not (home / "models").exists():
            return
        text = json.dumps(vars(found), ensure_ascii=False)
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.path, f"{self.key} {_sha256(text)}\n{text}")


def memory(
    downloads: Path, name: str, language: str, files: Sequence[Path], facts: Sequence[str]
) -> Memory:
    """Return where a collection is remembered.

    Args:
        downloads: Of the home.
        name: Of the collection, as it was asked for.
        language: Of the queries.
        files: All that it is read from; none if that is not known.
        facts: What else decides what is read, such as checksums that files must have.
    """
    where = digest([name, language, str(Path(name).resolve())])[:16]
    known = _known(files)
    key = digest([_readers(), name, language, list(facts), known]) if known else ""
    return Memory(downloads / FOLDER / f"{where}.json", key)


def files_under(folder: Path) -> list[Path]:
    """Return all files of a folder, those behind links to folders too."""
    found = [
        Path(top) / name for top, _, names in os.walk(folder, followlinks=True) for name in names
    ]
    return sorted(path for path in found if FOLDER not in path.parts)


def _known(files: Sequence[Path]) -> list[list[object]]:
    """Return by what the files are known; nothing if one is gone or may still be changing."""
    known: list[list[object]] = []
    now = time.time_ns()
    try:
        for path in files:
            told = path.stat()
            grain = COARSE if told.st_mtime_ns % 1_000_000_000 == 0 else FINE
            if told.st_mtime_ns + grain > now:
                return []
            whole = str(path.resolve())
            known.append([whole, told.st_size, told.st_mtime_ns, told.st_ino])
    except OSError:
        return []
    return known


@cache
def _readers() -> str:
    """Return the sha256 of the code that reads collections: another version may read otherwise."""
    running = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        running.update(path.read_bytes())
    return running.hexdigest()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
