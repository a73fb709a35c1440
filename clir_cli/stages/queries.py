"""Which queries a method reads: in the pair's language, in English, or translated."""

from collections.abc import Sequence
from dataclasses import replace

from clir_cli import artifacts
from clir_cli.corpus import dictionaries
from clir_cli.corpus.dictionaries import Dictionary
from clir_cli.corpus.records import Collection, Pair
from clir_cli.errors import MissingInput, UserError
from clir_cli.files import digest
from clir_cli.retrieval.translation import coverage, translate
from clir_cli.stages.dictionary import merged, plan_dictionary, read_induced
from clir_cli.stages.inputs import download_command, made_by
from clir_cli.stages.methods import METHODS
from clir_cli.stages.workspace import Cell, Workspace


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
            f"collection {collection.name} has no queries in {language!r}, which method "
            f"{cell.method} reads; add queries.{language}.jsonl or leave the method out"
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
            workspace.talk.say(f"{cell.label} left out: no queries in {language!r}")
    return kept


def read_dictionary(workspace: Workspace, pair: Pair, cell: Cell) -> Dictionary:
    """Return the dictionary of a pair: what is given, then what the plans of ``ot`` induced.

    Raises:
        MissingInput: The induced one has not been made, or a given one not fetched.
        UserError: The settings name no dictionary at all.
    """
    settings = workspace.settings.dictionary
    given: Dictionary = {}
    if settings.sources or settings.files:
        with made_by(download_command(workspace, pair.query)):
            given = dictionaries.load_dictionary(settings, pair, workspace.downloads)
    if not settings.induced:
        if not given:
            raise UserError(f"no dictionary for {pair}; name one with dictionary.sources or .files")
        return given
    plan = plan_dictionary(workspace, pair, replace(cell, method="ot"))
    artifacts.require(plan.path, plan.command)
    if plan.state() != "current":
        raise UserError(f"{artifacts.stale(plan)}; make it again: {plan.command} --force")
    return merged(given, read_induced(plan.path, settings.least_score))


def translated(
    workspace: Workspace, pair: Pair, cell: Cell, queries: dict[str, str]
) -> dict[str, str]:
    """Return queries in the words of the dictionary.

    One translation a word where the teacher reads them; several where BM25 does, which minds
    neither order nor grammar.
    """
    dictionary = read_dictionary(workspace, pair, cell)
    settings = workspace.settings.dictionary
    choices = settings.translations if METHODS[cell.method].scorer == "bm25" else 1
    share = coverage(list(queries.values()), dictionary)
    workspace.talk.say(f"{pair} {cell.label}: the dictionary knows {share:.0%} of the query words")
    return {key: translate(text, dictionary, choices) for key, text in queries.items()}


def dictionary_digest(workspace: Workspace, pair: Pair, cell: Cell) -> str:
    """Return the sha256 of the dictionary that a method reads."""
    return digest(sorted(read_dictionary(workspace, pair, cell).items()))
