"""Which queries a method reads: in the pair's language, in English, or translated."""

from collections.abc import Sequence

from clir_cli.corpus.records import Collection, Pair
from clir_cli.errors import MissingInput
from clir_cli.stages.support.methods import METHODS
from clir_cli.stages.support.workspace import Cell, Workspace


def query_language(pair: Pair, cell: Cell) -> str:
    """Return the language that a method's queries are in before anything is done to them."""
    return "en" if METHODS[cell.method].queries == "english" else pair.query


def queries_of(collection: Collection, pair: Pair, cell: Cell) -> dict[str, str]:
    """Return the queries that a method reads, by id.

    Raises:
        MissingInput: The collection has none in that language.
    """
    language = query_language(pair, cell)
    if language not in collection.queries:
        raise MissingInput(
            f"collection {collection.name} has no queries in {language!r} for method "
            f"{cell.method}; add queries.{language}.jsonl or omit the method"
        )
    return dict(collection.queries[language])


def answerable(
    workspace: Workspace, collection: Collection, pair: Pair, cells: Sequence[Cell]
) -> list[Cell]:
    """Return the cells whose queries the collection has; tell which are left out."""
    kept = []
    for cell in cells:
        language = query_language(pair, cell)
        if language in collection.queries:
            kept.append(cell)
        else:
            workspace.talk.say(f"{cell.label} skipped: no queries in {language!r}")
    return kept
