"""The front door: commands and their options, nothing else.

Heavy imports stand inside the commands, so that ``--help`` answers at once.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from clir_cli.errors import UserError
from clir_cli.options import (
    Common,
    Lang,
    Methods,
    OneCollection,
    OneMethod,
    Seed,
    Variant,
    takes_common,
)

if TYPE_CHECKING:
    from clir_cli.artifacts import Plan
    from clir_cli.corpus.records import Pair
    from clir_cli.stages.workspace import Cell, Workspace

app = typer.Typer(
    name="clir",
    help="Cross-lingual retrieval experiments: distil, index, search, evaluate.",
    epilog="Start with: clir download --lang sw-en, then distill, index, search, evaluate.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# What typer raises for a wrong option or argument; it has no public name of its own.
USAGE_ERROR: Any = typer.BadParameter.__base__


@app.command()
@takes_common
def download(
    common: Common,
    lang: Lang,
    mirror: Annotated[
        str,
        typer.Option(help="Folder or http(s) address with each file under HOST/PATH of its URL."),
    ] = "",
    collection: OneCollection = "",
) -> None:
    """Fetch data and models, checked by sha256. A second call does nothing.

    Example: clir download --suite open --lang sw-en --mirror ../mirror
    Example: clir download --lang sw-en --collection belebele --dry-run
    """
    from clir_cli import display
    from clir_cli.stages import download as stages

    workspace = common.workspace(collection)
    pairs = _pairs(workspace, lang)
    wanted = stages.download(workspace, pairs, mirror)
    rows = [need.told() for need in wanted]
    if common.as_json:
        display.print_json(rows)
    elif common.dry_run:
        display.show_needs(rows, stages.model_names(workspace))
    elif all(row["there"] for row in rows):
        workspace.talk.say(f"all {len(rows)} data files are there")


@app.command()
@takes_common
def distill(
    common: Common,
    lang: Lang,
    method: OneMethod = "ot",
    seed: Seed = 0,
    variant: Variant = "",
) -> None:
    """Train the student query encoder of a pair on bitext, under an English teacher.

    Example: clir distill --lang sw-en
    Example: clir distill --lang sw-en --variant plain --set student.vocabulary=initial
    """
    from clir_cli.stages import distill as stages

    workspace = common.workspace()
    cells = _cells(workspace, method, seed, variant)
    wanted = [(workspace, pair, cell) for pair in _pairs(workspace, lang) for cell in cells]
    plans = [stages.plan_student(*each) for each in wanted]
    _make_all(common, stages.distill, wanted)
    _tell_plans(common, plans)


@app.command()
@takes_common
def index(common: Common, collection: OneCollection = "") -> None:
    """Encode the documents with the teacher: one index for all pairs and methods.

    Example: clir index --suite open
    """
    from clir_cli.stages import index as stages
    from clir_cli.stages.inputs import read_collection

    workspace = common.workspace(collection)
    read = read_collection(workspace, "en")
    plan = stages.plan_index(workspace, read)
    if not common.dry_run:
        stages.index(workspace, read)
    _tell_plans(common, [plan])


@app.command()
@takes_common
def search(
    common: Common,
    lang: Lang,
    method: Methods = "",
    seed: Seed = 0,
    variant: Variant = "",
    collection: OneCollection = "",
    top_k: Annotated[
        int | None, typer.Option(help="Documents a query (default 100).", min=1)
    ] = None,
    query: Annotated[
        str | None, typer.Option(help="Show the best documents for this text instead.")
    ] = None,
) -> None:
    """Rank the documents for every query and write a TREC run; or answer one query.

    Example: clir search --lang sw-en --method ot
    Example: clir search --lang sw-en --query "bei ya mahindi sokoni"
    """
    from clir_cli import display
    from clir_cli.stages import search as stages
    from clir_cli.stages.answers import search_text
    from clir_cli.stages.inputs import read_collection
    from clir_cli.stages.queries import answerable

    if top_k is None and query is not None:
        top_k = 5
    if top_k is not None:
        common = _with_setting(common, f"search.top_k={top_k}")
    workspace = common.workspace(collection)
    pairs = _pairs(workspace, lang)
    if query is not None:
        cell = _cells(workspace, method or "ot", seed, variant)[0]
        found = {pair: search_text(workspace, pair, cell, query) for pair in pairs}
        if common.as_json:
            display.print_json(display.hit_rows(found))
        else:
            display.show_hits(cell.label, found)
        return
    plans = []
    for pair in pairs:
        read = read_collection(workspace, pair.query)
        cells = _cells(workspace, method, seed, variant)
        if not method:
            cells = answerable(workspace, read, pair, cells)
        if common.dry_run:
            plans += [stages.plan_run(workspace, read, pair, cell) for cell in cells]
        else:
            plans += stages.search(workspace, read, pair, cells)
    _tell_plans(common, plans)


@app.command()
@takes_common
def dictionary(
    common: Common,
    lang: Lang,
    method: OneMethod = "ot",
    seed: Seed = 0,
    variant: Variant = "",
) -> None:
    """Induce a bilingual dictionary from a student's transport plans over the bitext.

    Example: clir dictionary --lang sw-en
    """
    from clir_cli.stages import dictionary as stages

    workspace = common.workspace()
    cells = _cells(workspace, method, seed, variant)
    wanted = [(workspace, pair, cell) for pair in _pairs(workspace, lang) for cell in cells]
    plans = [stages.plan_dictionary(*each) for each in wanted]
    _make_all(common, stages.dictionary, wanted)
    _tell_plans(common, plans)


@app.command()
@takes_common
def evaluate(
    common: Common,
    metric: Annotated[
        str, typer.Option(help="map, mrr, ndcg@10, recall@100, p@10; several with commas.")
    ],
    lang: Lang = "all",
    method: Methods = "",
    seed: Seed = 0,
    variant: Variant = "",
    collection: OneCollection = "",
    results: Annotated[
        Path, typer.Option(help="Folder for score tables.", envvar="CLIR_RESULTS")
    ] = Path("results"),
) -> None:
    """Score the runs, with a bootstrap interval over queries; writes CSV tables.

    Example: clir evaluate --lang sw-en --metric map,mrr,ndcg@10
    """
    from clir_cli import display
    from clir_cli.evaluation.measures import parse_measures
    from clir_cli.stages import evaluate as stages

    names = parse_measures(metric)
    workspace = common.workspace(collection)
    pairs = _pairs(workspace, lang)
    cells = _cells(workspace, method, seed, variant)
    if common.dry_run:
        _tell_plans(common, stages.plans(workspace, pairs, cells))
        return
    scored = stages.evaluate(workspace, pairs, cells, names, results, all_needed=bool(method))
    for line in scored.missing:
        workspace.talk.say(f"left out: {line}")
    if common.as_json:
        display.print_json(scored.rows)
    else:
        display.show_scores(scored.rows, names, workspace.settings.evaluation.confidence)
    workspace.talk.say(f"tables: {results / workspace.suite}/scores.csv and per_query.csv")


@app.command()
@takes_common
def align(
    common: Common,
    text: Annotated[str, typer.Argument(help="A sentence in the query language.")],
    english: Annotated[str, typer.Argument(help="Its English translation.")],
    lang: Lang,
    method: OneMethod = "ot",
    seed: Seed = 0,
    variant: Variant = "",
    draw: Annotated[
        Path | None, typer.Option(help="Draw it to this file too: .png, .svg or .pdf.")
    ] = None,
) -> None:
    """Show the transport plan of a sentence pair: which token stands for which.

    Example: clir align --lang sw-en "watoto wanakunywa maji" "children drink water"
    """
    from clir_cli import display
    from clir_cli.stages import align as stages

    workspace = common.workspace()
    (cell,) = _cells(workspace, method, seed, variant)[:1]
    (pair,) = _pairs(workspace, lang)[:1]
    found = stages.align(workspace, pair, cell, text, english)
    if draw is not None:
        complete = stages.draw(found, draw, f"{pair} {cell.label}")
        hint = "" if complete else " (some letters have no font here; an .svg shows them)"
        workspace.talk.say(f"drawn: {draw}{hint}")
    if common.as_json:
        display.print_json(display.alignment_json(found))
    else:
        display.show_alignment(found)


@app.command(name="ls")
def list_things(
    what: Annotated[
        str,
        typer.Argument(
            help="methods, languages, bitext, dictionaries, collections, models or suites."
        ),
    ] = "methods",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List what there is to choose from.

    Example: clir ls methods
    """
    from clir_cli import display
    from clir_cli.stages import listing

    rows = listing.rows(what)
    if as_json:
        display.print_json(rows)
    else:
        display.show_rows(what, rows)


# ------------------------------------------------------------------ from words to things


def _pairs(workspace: "Workspace", text: str) -> "list[Pair]":
    from clir_cli.corpus.catalogue import languages
    from clir_cli.corpus.records import parse_pair

    words = [word for word in text.split(",") if word.strip()]
    if text.strip().lower() == "all":
        words = list(workspace.settings.pairs)
    return list(dict.fromkeys(parse_pair(word, languages()) for word in words)) or _no_pair()


def _no_pair() -> NoReturn:
    raise UserError("--lang is empty; give a pair such as sw-en, or all")


def _cells(workspace: "Workspace", methods: str, seed: int, variant: str) -> "list[Cell]":
    from clir_cli.stages.methods import parse_methods
    from clir_cli.stages.workspace import Cell

    if variant and not variant.replace("-", "").replace("_", "").isalnum():
        raise UserError(f"--variant {variant!r}: use letters, digits, - and _")
    chosen = parse_methods(methods, workspace.settings.methods)
    # Seed and variant belong to training; there is one zero-shot and one ceiling.
    return [
        Cell(method.name, variant, seed) if method.has_seeds else Cell(method.name)
        for method in chosen
    ]


def _with_setting(common: Common, assignment: str) -> Common:
    from dataclasses import replace

    return replace(common, assign=[*common.assign, assignment])


def _make_all(
    common: Common, make: Callable[..., Path], wanted: "Sequence[tuple[Workspace, Pair, Cell]]"
) -> None:
    if not common.dry_run:
        for each in wanted:
            make(*each)


def _tell_plans(common: Common, plans: "Sequence[Plan]") -> None:
    from clir_cli import display

    rows = display.plan_rows(plans)
    if common.as_json:
        display.print_json(rows)
    elif common.dry_run:
        display.show_rows("what would be made", rows)


# ------------------------------------------------------------------ the end of a command


def main() -> NoReturn:
    """Run the command line; see ``run`` for the exit codes."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code.

    0 done; 1 a bug (with a traceback); 2 the user's input or environment is at fault, told in one
    line; 130 interrupted.
    """
    from clir_cli.files import explain_os_error

    command = typer.main.get_command(app)
    try:
        # Not app(): it has its own ideas of exit codes and of what is said.
        with command.make_context("clir", list(arguments) or ["--help"]) as context:
            command.invoke(context)
        sys.stdout.flush()
    except typer.Exit as done:  # --help
        return done.exit_code
    except USAGE_ERROR as error:
        where = error.ctx.command_path if error.ctx else "clir"
        return _fail(f"{error.format_message().rstrip('.')}; see {where} --help")
    except UserError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where this one stopped", file=sys.stderr)
        return 130
    except (BrokenPipeError, SystemExit):  # the reader has seen enough; rich says it by an exit
        _drop_output()
    except Exception as error:
        message = explain_os_error(error)
        if message is None:
            raise
        _drop_output()
        return _fail(message)
    return 0


def _drop_output() -> None:
    """Keep the interpreter from failing once more as it closes a standard output that is full."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str) -> int:
    print(f"clir: {' '.join(message.split())}", file=sys.stderr)
    return 2
