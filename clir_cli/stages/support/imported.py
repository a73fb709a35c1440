"""Runs that other tools wrote: what they are made from, and which there are.

``clir import run`` writes them (``exchange/runs.py``). Their cell has the method's name and the
variant ``imported``, which marks them in folders, tables and reports.
"""

from collections.abc import Mapping, Sequence

from clir_cli.artifacts import graph
from clir_cli.artifacts.cell import IMPORTED, Cell
from clir_cli.artifacts.command import Command
from clir_cli.artifacts.spec import ArtifactSpec, Input, Ref
from clir_cli.artifacts.store import is_readable, read_manifest
from clir_cli.errors import MissingInput, UserError, nearest
from clir_cli.stages.support import paths, sources
from clir_cli.stages.support.methods import METHODS
from clir_cli.stages.support.workspace import Workspace

FILE = "file "  # begins the names of inputs that are files of the other tool


def names_of(workspace: Workspace) -> set[str]:
    """Return the names of the imported runs of a suite."""
    folder = workspace.home / paths.root(workspace.ref("run"))
    return {path.name.removesuffix(f".{IMPORTED}") for path in folder.glob(f"*/*.{IMPORTED}")}


def require_known(cells: Sequence[Cell], workspace: Workspace) -> Mapping[str, str]:
    """Refuse cells of runs that were never imported, as of a mistyped method; it is no input.

    Raises:
        UserError: There is no method and no imported run of a name.
    """
    known = names_of(workspace)
    for cell in cells:
        if cell.is_imported and cell.method not in known:
            raise UserError(
                f"unknown method {cell.method!r}: {nearest(cell.method, [*METHODS, *known])}"
            )
    return {}


def _inputs(ref: Ref) -> list[Input]:
    return [
        Input(lambda workspace: _files(workspace, ref)),
        sources.documents_input(ref.settings, (ref.pair,)),
        sources.queries_input(ref.settings, ref.pair, ref.pair.query, ref.cell.method),
    ]


def _files(workspace: Workspace, ref: Ref) -> Mapping[str, str]:
    """Return the sha256 of each file that a run was imported from, as its manifest has them."""
    folder = graph.path_of(workspace, ref)
    if not is_readable(folder):
        raise MissingInput(
            f"no run {ref.cell.method} of {ref.pair} was imported for "
            f"{paths.collection(ref)}; import it with: {graph.command(workspace, ref)}",
            has_remedy=True,
        )
    inputs = read_manifest(folder)["inputs"]
    return {name: value for name, value in inputs.items() if name.startswith(FILE)}


def command(ref: Ref, files: tuple[str, ...] = ("FILE",)) -> Command:
    """Return the command that imports a run from files."""
    cell = Cell(ref.cell.method)
    options = [*cell.options(ref.pair), *sources.collection_options(ref.settings)]
    return Command("import run", tuple(options), files)


def _make(_: Workspace, ref: Ref) -> object:
    raise UserError(f"{ref.cell.method} is an imported run; make it with: {command(ref)}")


RUN = ArtifactSpec(
    path=lambda ref: paths.cell_folder(ref) / "runs" / paths.collection(ref),
    identity=lambda ref: {
        "pair": str(ref.pair),
        "method": ref.cell.method,
        "collection": paths.collection(ref),
        IMPORTED: True,
    },
    inputs=_inputs,
    command=command,
    make=_make,
    shown=paths.shown,
    source=sources.own_folder,
)
