"""Runs as artifacts: what they are searched in, fused of, and translated by."""

from collections.abc import Sequence

from clir_cli.artifacts.cell import Cell
from clir_cli.artifacts.spec import Ref
from clir_cli.corpus.records import Collection, Pair
from clir_cli.errors import UserError
from clir_cli.settings import Settings
from clir_cli.stages.support.methods import METHODS, parse_methods
from clir_cli.stages.support.workspace import Workspace


def index_of(settings: Settings) -> Ref:
    """Return the index of the collection to search."""
    return Ref("index", settings)


def fused_cells(ref: Ref) -> list[Cell]:
    """Return the cells whose runs a run fuses.

    Raises:
        UserError: ``fusion.runs`` names fewer than two methods, or itself.
    """
    names = ref.settings.fusion.runs
    chosen = parse_methods(",".join(names), ())
    if len(chosen) < 2 or any(method.scorer == "fusion" for method in chosen):
        raise UserError(f"fusion.runs names {list(names)}; give two methods or more to fuse")
    return [method.cell(ref.cell) for method in chosen]


def translations_of(ref: Ref) -> Ref:
    """Return the machine translations of a run's queries; all methods share them."""
    return ref.other("translations", cell=Cell("nmt"))


def answerable(
    workspace: Workspace, collection: Collection, pair: Pair, cells: Sequence[Cell]
) -> list[Cell]:
    """Return the cells whose queries the collection has; report those that are left out."""
    kept = []
    for cell in cells:
        language = METHODS[cell.method].query_language(pair)
        if language in collection.queries:
            kept.append(cell)
        else:
            workspace.talk.say(f"{cell.label} skipped: no queries in {language!r}")
    return kept
