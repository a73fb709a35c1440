"""A cache of what is parsed: bitext, and of collections all but the documents.

Most stages need a collection's digests and queries, and no document. Files are identified by
``files.file_state``; what this version of the readers made of them is kept in ``downloads/.read``.
Documents are read when one is needed.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from clir_cli.corpus.records import Document
from clir_cli.files import digest, file_digest, file_state, write_text

FOLDER = ".read"


class LazyDocuments(Sequence[Document]):
    """``count`` documents that ``read`` returns; it is called when the first is needed."""

    def __init__(self, count: int, read: Callable[[], Sequence[Document]]) -> None:
        self._count, self._read = count, read

    @cached_property
    def _documents(self) -> Sequence[Document]:
        return self._read()

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        return self._documents[index]

    def __iter__(self) -> Iterator[Document]:
        return iter(self._documents)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)


def cache_key(files: Sequence[Path], *facts: object) -> str:
    """Return the key of what is parsed from files; empty if they may still be changing.

    ``facts`` are JSON values that the result depends on too, such as the language.
    """
    try:
        states = [file_state(path) for path in files]
    except OSError:
        return ""
    if None in states:
        return ""
    return digest([_code_digest(), facts, states]) if states else ""


def load(path: Path, key: str) -> dict[str, Any] | None:
    """Return what was saved under a key; None if that is nothing, damaged or out of date."""
    try:
        head, _, text = path.read_text(encoding="utf-8").partition("\n")
        return json.loads(text) if key and head == f"{key} {digest(text)}" else None
    except (OSError, ValueError):
        return None


def save(path: Path, key: str, content: dict[str, Any]) -> None:
    """Save JSON under a key, if it has one and the folder is in a home (which has models).

    A mirror has the layout of downloads too, and is not written to.
    """
    if key and (path.absolute().parents[2] / "models").exists():
        text = json.dumps(content, ensure_ascii=False)
        with suppress(OSError, UnicodeError):  # of half a letter there is no UTF-8
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, f"{key} {digest(text)}\n{text}")


@cache
def _code_digest() -> str:
    """Return the digest of the readers' code: another version may parse differently."""
    return digest([file_digest(path) for path in sorted(Path(__file__).parent.rglob("*.py"))])
