"""export and import: models and files for other tools, and runs that other tools wrote."""

from pathlib import Path
from typing import Annotated

import typer

from clir_cli.commands.cells import cells_of, pairs_of
from clir_cli.errors import UserError
from clir_cli.options import RESULTS, Common, Lang, OneCell, OneCollection, Results, with_options

Folder = Annotated[Path, typer.Argument(help="The folder to write.", metavar="DIR")]


@with_options
def export_student(
    common: Common,
    folder: Folder,
    options: OneCell,
    collection: OneCollection = "",
    results: Results = RESULTS,
) -> None:
    """Write a student as a model for sentence-transformers 6 and PyLate, with a model card.

    It encodes queries; documents are encoded by the teacher (clir export teacher).

    Example: clir export student my-student --lang sw-en
    Example: clir export student my-student --lang so-en --method kd-cosine --suite open
    """
    common.refuse_unused("clir export")
    workspace = common.workspace(collection)
    pairs, cells = cells_of(workspace, options)
    if len(cells) > 1 or (len(pairs) > 1 and not options.joint):
        raise UserError("a folder holds one student; name one pair and one method")
    from clir_cli.exchange.models import export_student as export

    export(workspace, workspace.ref("run", tuple(pairs), cells[0]), folder, results)


@with_options
def export_teacher(common: Common, folder: Folder) -> None:
    """Write the teacher, which encodes the documents, for sentence-transformers 6 and PyLate.

    Example: clir export teacher my-teacher --suite open
    """
    common.refuse_unused("clir export")
    from clir_cli.exchange.models import export_teacher as export

    export(common.workspace(), folder)


@with_options
def import_run(
    common: Common,
    files: Annotated[
        list[Path],
        typer.Argument(help="Runs in TREC's format, also compressed.", metavar="FILE..."),
    ],
    lang: Lang,
    method: Annotated[str, typer.Option(help="A name of your own for the run.")],
    collection: OneCollection = "",
) -> None:
    """Import a run of another tool, to evaluate, compare, fuse and report it as a method.

    Several files of one pair are parts of one run; of several pairs each has one file. Tables show
    the name with "imported" behind it.

    Example: clir import run bm25.trec --method pyserini-bm25 --lang sw-en
    Example: clir import run sw.trec so.trec --method colbert-x --lang sw-en,so-en --suite open
    Example: clir evaluate --lang sw-en --metric map --method ot,pyserini-bm25 --baseline ot
    """
    common.refuse_unused("clir import")
    from clir_cli.exchange.runs import import_runs

    workspace = common.workspace(collection)
    import_runs(workspace, pairs_of(workspace, lang), method.strip(), files)
