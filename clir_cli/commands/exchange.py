"""export and import: models and files for other tools, and runs that other tools wrote."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clir_cli.commands.cells import cells_of, pairs_of
from clir_cli.errors import UserError
from clir_cli.options import RESULTS, Common, Lang, OneCell, OneCollection, Results, with_options

if TYPE_CHECKING:
    from clir_cli.corpus.records import Pair
    from clir_cli.stages.support.workspace import Workspace

Folder = Annotated[Path, typer.Argument(help="The folder to write.", metavar="DIR")]
File = Annotated[Path, typer.Argument(help="The file to write.", metavar="FILE")]
Format = Annotated[str, typer.Option("--format", help="beir, or trec.")]


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
    common.refuse_unused("this export", runs_model=True)
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
    common.refuse_unused("this export", runs_model=True)
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


@with_options
def export_collection(
    common: Common,
    folder: Folder,
    lang: Lang,
    collection: OneCollection = "",
    style: Format = "beir",
) -> None:
    """Write documents, queries and judgments of a collection as the files of BEIR or TREC.

    The queries are those of the pair's language, and English ones if there are any.

    Example: clir export collection ntrex-sw --lang sw-en --suite open
    Example: clir export collection sample-trec --lang sw-en --format trec
    """
    common.refuse_unused("this export")
    from clir_cli.exchange.files import export_collection as export

    workspace = common.workspace(collection)
    export(workspace, _one_pair(workspace, lang), folder, style)


@with_options
def export_queries(
    common: Common,
    file: File,
    lang: Lang,
    collection: OneCollection = "",
    style: Annotated[
        str, typer.Option("--format", help="beir, trec, or tsv (id, tab, text; for Pyserini).")
    ] = "tsv",
    english: Annotated[
        bool, typer.Option("--english", help="The English queries, where there are any.")
    ] = False,
) -> None:
    """Write the queries of a pair's language, or the English ones.

    Example: clir export queries topics.sw.tsv --lang sw-en --suite open
    Example: clir export queries topics.en.tsv --lang sw-en --suite open --english
    """
    common.refuse_unused("this export")
    from clir_cli.exchange.files import export_queries as export

    workspace = common.workspace(collection)
    export(workspace, _one_pair(workspace, lang), file, style, english=english)


@with_options
def export_qrels(
    common: Common,
    file: File,
    lang: Lang,
    collection: OneCollection = "",
    style: Format = "trec",
) -> None:
    """Write the relevance judgments of a pair's queries.

    Example: clir export qrels qrels.txt --lang sw-en --suite open
    """
    common.refuse_unused("this export")
    from clir_cli.exchange.files import export_qrels as export

    workspace = common.workspace(collection)
    export(workspace, _one_pair(workspace, lang), file, style)


@with_options
def export_run(
    common: Common,
    file: File,
    options: OneCell,
    collection: OneCollection = "",
    style: Format = "trec",
) -> None:
    """Write a run: six columns (trec), or a JSON object of scores (beir).

    Example: clir export run ot.trec --lang sw-en --method ot
    """
    common.refuse_unused("this export")
    from clir_cli.exchange.files import export_run as export

    workspace = common.workspace(collection)
    pairs, cells = cells_of(workspace, options, imported=True)
    if len(cells) * len(pairs) > 1:
        raise UserError("a file holds one run; name one pair and one method")
    export(workspace, workspace.ref("run", tuple(pairs), cells[0]), file, style)


def _one_pair(workspace: "Workspace", lang: str) -> "Pair":
    pair, *others = pairs_of(workspace, lang)
    if others:
        raise UserError(f"--lang {lang}: name one pair; queries of others are other files")
    return pair
