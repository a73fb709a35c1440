"""Inspection: dictionaries and transport plans of a student, and lists of what is available."""

from pathlib import Path
from typing import Annotated

import typer

from clir_cli.commands.cells import asked, cells_of, make_all, print_artifacts
from clir_cli.errors import UserError
from clir_cli.options import HOME, Catalogue, Common, OneCell, with_options

BEST = 20  # entries of a dictionary to show
PICTURES = (".png", ".svg", ".pdf")


@with_options
def dictionary(common: Common, options: OneCell) -> None:
    """Induce a bilingual dictionary from a student's transport plans over the bitext.

    It shows the translations with the highest scores; the file that it names has all of them.

    Example: clir dictionary --lang sw-en
    """
    workspace = common.workspace()
    pairs, cells = cells_of(workspace, options)
    refs = [workspace.ref("dictionary", (pair,), cell) for pair in pairs for cell in cells]
    artifacts = make_all(common, workspace, refs)
    if common.dry_run:
        print_artifacts(common, artifacts)
        return
    from clir_cli import display
    from clir_cli.corpus.dictionaries import best_entries
    from clir_cli.stages.support.lexicons import TABLE

    tables = [artifact.path / TABLE for artifact in artifacts]
    best = [best_entries(table, BEST) for table in tables]
    if common.as_json:
        rows = display.artifact_rows(artifacts)
        display.print_json(
            [
                {**row, "file": str(table), "best": [vars(entry) for entry in entries]}
                for row, table, entries in zip(rows, tables, best, strict=True)
            ]
        )
        return
    for table, entries in zip(tables, best, strict=True):
        display.show_rows(f"the best of {table}", [vars(entry) for entry in entries])


@with_options
def align(
    common: Common,
    text: Annotated[str, typer.Argument(help="A sentence in the query language.")],
    english: Annotated[str, typer.Argument(help="Its English translation.")],
    options: OneCell,
    draw: Annotated[
        Path | None, typer.Option(help="Also draw the plan to this file: .png, .svg or .pdf.")
    ] = None,
) -> None:
    """Show the transport plan of a sentence pair: which token is aligned with which.

    Example: clir align --lang sw-en "watoto wanakunywa maji" "children drink water"
    """
    common.refuse_making("clir align")
    workspace = common.workspace()
    pairs, cells = cells_of(workspace, options)
    chosen = asked(pairs, cells)
    if draw is not None and len(chosen) > 1:
        raise UserError(f"--draw {draw} is one plan; name one pair and one method")
    if draw is not None and draw.suffix not in PICTURES:
        raise UserError(f"--draw {draw}: name a file that ends in {', '.join(PICTURES)}")
    if draw is not None and not draw.parent.is_dir():
        raise UserError(f"--draw {draw}: there is no folder {draw.parent}; make it first")
    from clir_cli import display
    from clir_cli.stages import align as stages

    plans = {
        (pair, cell.label): stages.align(workspace, pair, cell, text, english)
        for pair, cell in chosen
    }
    if draw is not None:
        (((pair, label), alignment),) = plans.items()
        complete = stages.draw(alignment, draw, f"{pair} {label}")
        hint = "" if complete else " (some letters have no font here; an .svg shows them)"
        workspace.talk.say(f"drawn: {draw}{hint}")
    if common.as_json:
        rows = display.alignment_rows(plans)
        display.print_json(rows if len(rows) > 1 else rows[0])
    else:
        display.show_alignments(plans)


def init(
    folder: Annotated[Path, typer.Argument(help="The folder to write.", metavar="DIR")],
) -> None:
    """Write a folder for languages, sources, models, suites and experiments of your own.

    Its files hold examples to change. Other commands take it with --catalogue, or CLIR_CATALOGUE.

    Example: clir init mine
    """
    from clir_cli.console import Talk
    from clir_cli.suites import write_catalogue

    write_catalogue(folder)
    Talk().say(f"{folder}: written; change its files, and take them with --catalogue {folder}")


def list_things(
    context: typer.Context,
    what: Annotated[
        str,
        typer.Argument(
            help="methods, recipes, settings, languages, bitext, dictionaries, collections, "
            "models, suites or indexes."
        ),
    ] = "methods",
    word: Annotated[
        str, typer.Argument(help="Only what has this word in it.", metavar="[SEARCH]")
    ] = "",
    suite: Annotated[str, typer.Option(help="Of settings: whose values to show.")] = "sample",
    home: Annotated[
        Path, typer.Option(help="Of indexes: the folder of artifacts.", envvar="CLIR_HOME")
    ] = HOME,
    catalogue: Catalogue = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List methods, settings, languages, sources, models, suites, or the indexes made.

    Example: clir ls methods
    Example: clir ls settings eps --suite open
    """
    from clir_cli import display
    from clir_cli.stages import listing
    from clir_cli.suites import use_catalogue

    use_catalogue(catalogue)
    for option, only in (("suite", "settings"), ("home", "indexes")):
        given = context.get_parameter_source(option)
        if what != only and given is not None and given.name == "COMMANDLINE":
            raise UserError(f"--{option}: clir ls {what} does not use it; leave it out")
    rows = listing.rows(what, home, suite, word)
    if what == "settings" and not as_json:
        display.show_settings(rows, suite)
    else:
        display.show_rows(what, rows, as_json)
