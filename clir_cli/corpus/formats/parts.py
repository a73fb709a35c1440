"""What a collection reader is asked, and what it gives back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clir_cli.corpus.formats.shared import Located
from clir_cli.corpus.records import Document


@dataclass(frozen=True)
class Asked:
    """What is to be read of a collection.

    ``language`` is the query language (``en`` for the documents and English queries alone),
    ``codes`` the source's own names of its languages, ``options`` its entry's further keys, and
    ``folder`` the directory of a collection that the user brings, or where clir keeps its notes
    of one that ir_datasets fetches.
    """

    language: str = "en"
    options: Mapping[str, Any] = field(default_factory=dict)
    codes: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path()


@dataclass(frozen=True)
class Parts:
    """What a collection reader found: documents, queries by language, qrels."""

    documents: list[Document]
    queries: dict[str, dict[str, str]]
    qrels: dict[str, dict[str, int]]


CollectionReader = Callable[[Sequence[Located], Asked], Parts]


def judged_for(
    qrels: Mapping[str, Mapping[str, int]], queries: Mapping[str, object]
) -> dict[str, dict[str, int]]:
    """Return the judgments of the queries that a language has, in their order.

    Sources of which not every query is in every language are scored over those that are.
    """
    return {key: dict(qrels[key]) for key in queries if key in qrels}
