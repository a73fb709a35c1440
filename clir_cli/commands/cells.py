"""From options to pairs and cells, and from artifacts to what is printed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clir_cli.errors import UserError
from clir_cli.options import Common, OneCell

if TYPE_CHECKING:
    from clir_cli.artifacts.cell import Cell
    from clir_cli.artifacts.spec import Ref
    from clir_cli.artifacts.store import Artifact
    from clir_cli.cluster.connection import EngineOptions
    from clir_cli.corpus.records import Pair
    from clir_cli.stages.support.workspace import Workspace


def pairs_of(workspace: "Workspace", text: str) -> "list[Pair]":
    """Return the pairs that ``--lang`` names: several with commas, or all of the suite."""
    from clir_cli.corpus.own_files import pair_of, require_own_files_of_each

    names = [name for name in text.split(",") if name.strip()]
    if text.strip().lower() == "all":
        names = list(workspace.settings.pairs)
    if not names:
        raise UserError("--lang is empty; give a pair such as sw-en, or all")
    made = workspace.home / workspace.suite
    pairs = [
        pair_of(name, workspace.settings, made=(made / name.strip().lower()).is_dir())
        for name in names
    ]
    pairs = list(dict.fromkeys(pairs))
    require_own_files_of_each(workspace.settings, pairs)
    return pairs


def group_of(pairs: "Sequence[Pair]", joint: bool) -> "tuple[Pair, ...]":
    """Return the pairs that ``--joint`` gives one student; without it none.

    Raises:
        UserError: There is only one pair.
    """
    if joint and len(pairs) < 2:
        raise UserError(f"--joint makes one student of several pairs; --lang has {pairs[0]} alone")
    return tuple(pairs) if joint else ()


def variant_of(text: str) -> str:
    """Return the name that ``--variant`` gives, which is a part of a folder's name."""
    from clir_cli.artifacts.cell import is_variant

    if text and not is_variant(text):
        hint = "use letters, digits, -, _ and . between them; seed1 is a seed"
        raise UserError(f"--variant {text!r}: {hint}")
    return text


def cells_of(
    workspace: "Workspace", options: OneCell, *, imported: bool = False
) -> "tuple[list[Pair], list[Cell]]":
    """Return the pairs and the cells that the options name; ``imported`` runs if they can be."""
    from clir_cli.artifacts.cell import Cell

    pairs = pairs_of(workspace, options.lang)
    group = group_of(pairs, options.joint)
    cell = Cell("", variant_of(options.variant), options.seed, group)
    return pairs, _cells(workspace, options.method, cell, imported)


def asked(pairs: "Sequence[Pair]", cells: "Sequence[Cell]") -> "list[tuple[Pair, Cell]]":
    """Return each pair and cell that a text is encoded for; a joint student does so once."""
    return [(pair, cell) for cell in cells for pair in (pairs[:1] if cell.joint else pairs)]


def _cells(workspace: "Workspace", methods: str, cell: "Cell", imported: bool) -> "list[Cell]":
    from clir_cli.stages.support.imported import names_of
    from clir_cli.stages.support.methods import parse_methods

    chosen = parse_methods(methods, workspace.settings.methods, names_of(workspace))
    for method in chosen:
        if method.scorer == "imported" and not imported:
            raise UserError(
                f"{method.name} is an imported run, which is there; evaluate, --baseline, fusion "
                "and report take it"
            )
    return [method.cell(cell) for method in chosen]


def baseline_of(
    workspace: "Workspace", text: str, options: OneCell, pairs: "Sequence[Pair]"
) -> "Cell":
    """Return the cell that ``--baseline`` names.

    A method alone has the seed, variant and group of the call; a column's name has its own:
    ``ot.plain.seed1``, ``ot.seed0`` (a student of each pair), ``ot.joint-so+sw-en``.

    Raises:
        UserError: The method is unknown, or there are several.
    """
    from clir_cli.artifacts.cell import Cell

    label = text.strip()
    cell = Cell(label, options.variant, options.seed, group_of(pairs, options.joint))
    if "." in label:
        cell = Cell.parse(label)
        if not cell.is_imported:
            variant_of(cell.variant)
    if not cell.method or "," in cell.method:
        raise UserError(f"--baseline {text!r}: name one method, or a column as ot.plain.seed1")
    (cell,) = _cells(workspace, cell.method, cell, imported=True)
    return cell


def engine_of(name: str, address: str, jobs: int) -> "EngineOptions":
    """Return the engine that ``--engine``, ``--address`` and ``--jobs`` name."""
    from clir_cli.cluster.connection import EngineOptions

    engine = EngineOptions(name, address, jobs)
    engine.check()
    if jobs and name == "local":
        raise UserError(f"--jobs {jobs} counts workers; add --engine ray")
    return engine


def make_all(common: Common, workspace: "Workspace", refs: "Sequence[Ref]") -> "list[Artifact]":
    """Make artifacts that are not current, unless it is a dry run; return all of them.

    A missing input is reported before any work is done, and nothing heavy is imported for what is
    current.
    """
    from clir_cli.artifacts import graph

    artifacts = [graph.resolve(workspace, ref) for ref in refs]
    for ref, artifact in zip(refs, artifacts, strict=True):
        if common.dry_run:
            continue
        if artifact.is_settled() and not common.force and not workspace.group.several:
            workspace.talk.say(f"{artifact.path} is current")
        else:
            graph.make(workspace, ref)
    return artifacts


def print_artifacts(common: Common, artifacts: "Sequence[Artifact]") -> None:
    """Print the artifacts that were made, or would be."""
    from clir_cli import display

    if common.as_json or common.dry_run:
        rows = display.artifact_rows(artifacts)
        display.show_rows("artifacts", rows, common.as_json)
