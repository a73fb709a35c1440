"""Inspection: dictionaries and transport plans of a student, and lists of what is available."""

from pathlib import Path
from typing import Annotated

import typer

from clir_cli.commands.words import cells_of, group_of, make_all, pairs_of, print_artifacts
from clir_cli.options import Common, Joint, Lang, OneMethod, Seed, Variant, takes_common


@takes_common
def dictionary(
    common: Common,
    lang: Lang,
    method: OneMethod = "ot",
    seed: Seed = 0,
    variant: Variant = "",
    joint: Joint = False,
) -> None:
    """Induce a bilingual dictionary from a student's transport plans over the bitext.

    Example: clir dictionary --lang sw-en
    """
    workspace = common.workspace()
    pairs = pairs_of(workspace, lang)
    cells = cells_of(workspace, method, seed, variant, group_of(pairs, joint))
    refs = [workspace.ref("dictionary", (pair,), cell) for pair in pairs for cell in cells]
    print_artifacts(common, make_all(common, workspace, refs))


@takes_common
def align(
    common: Common,
    text: Annotated[str, typer.Argument(help="A sentence in the query language.")],
    english: Annotated[str, typer.Argument(help="Its English translation.")],
    lang: Lang,
    method: OneMethod = "ot",
    seed: Seed = 0,
    variant: Variant = "",
    joint: Joint = False,
    draw: Annotated[
        Path | None, typer.Option(help="Also draw the plan to this file: .png, .svg or .pdf.")
    ] = None,
) -> None:
    """Show the transport plan of a sentence pair: which token is aligned with which.

    Example: clir align --lang sw-en "watoto wanakunywa maji" "children drink water"
    """
    from clir_cli import display
    from clir_cli.stages import align as stages

    workspace = common.workspace()
    pairs = pairs_of(workspace, lang)
    (cell,) = cells_of(workspace, method, seed, variant, group_of(pairs, joint))[:1]
    pair = pairs[0]
    found = stages.align(workspace, pair, cell, text, english)
    if draw is not None:
        complete = stages.draw(found, draw, f"{pair} {cell.label}")
        hint = "" if complete else " (some letters have no font here; an .svg shows them)"
        workspace.talk.say(f"drawn: {draw}{hint}")
    if common.as_json:
        display.print_json(display.alignment_json(found))
    else:
        display.show_alignment(found)


def list_things(
    what: Annotated[
        str,
        typer.Argument(
            help="methods, recipes, languages, bitext, dictionaries, collections, models, suites "
            "or indexes."
        ),
    ] = "methods",
    home: Annotated[
        Path, typer.Option(help="Folder of artifacts; only indexes use it.", envvar="CLIR_HOME")
    ] = Path("artifacts"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List methods, languages, sources, models and suites, or the indexes made and their size.

    Example: clir ls methods
    """
    from clir_cli import display
    from clir_cli.stages import listing

    rows = listing.rows(what, home)
    if as_json:
        display.print_json(rows)
    else:
        display.show_rows(what, rows)
