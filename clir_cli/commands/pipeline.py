"""The five stages: download, distill, index, search, evaluate."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from clir_cli.commands.cells import (
    asked,
    baseline_of,
    cells_of,
    engine_of,
    make_all,
    pairs_of,
    print_artifacts,
)
from clir_cli.errors import NoQueries, UserError, counted
from clir_cli.options import (
    RESULTS,
    Address,
    Brought,
    CellsOfAll,
    Common,
    Engine,
    Jobs,
    Lang,
    ManyCells,
    Mirror,
    OneCell,
    OneCollection,
    Results,
    with_options,
)

SHOWN = 3  # runs that were not scored, in full

if TYPE_CHECKING:
    from clir_cli.artifacts.cell import Cell
    from clir_cli.corpus.records import Pair
    from clir_cli.stages.support.workspace import Workspace


@with_options
def download(
    common: Common,
    lang: Lang,
    mirror: Mirror = "",
    collection: OneCollection = "",
    licence: Annotated[
        str, typer.Option(help="any, or open: leave out data not licensed for commercial use.")
    ] = "any",
    brought: Brought = None,
) -> None:
    """Download data and models and check their sha256. Skips files that are there.

    Example: clir download --suite open --lang sw-en --mirror ../mirror
    Example: clir download --suite open --lang sw-en --licence open
    Example: clir download --lang sw-en --collection belebele --dry-run
    Example: clir download --lang sw-en --collection hf:mteb/scifact --mirror ../mirror
    Example: clir download --suite paper --lang fi-en --brought /media/E0008
    """
    from clir_cli import display
    from clir_cli.stages import download as stages

    common.refuse_computing("clir download")
    if licence not in ("any", "open"):
        raise UserError(f"--licence {licence!r}: any, or open")
    workspace = common.workspace(collection, mirror=mirror)
    rows = stages.download(workspace, pairs_of(workspace, lang), licence, brought or ())
    if common.as_json:
        display.print_json(rows)
    elif common.dry_run:
        display.show_needs(rows, stages.model_names(workspace))
    elif all(row["there"] for row in rows):
        workspace.talk.say(f"all data is present: {counted(len(rows), 'file')}")


@with_options
def distill(common: Common, options: OneCell) -> None:
    """Train the student query encoder of a pair on bitext, with an English teacher.

    Example: clir distill --lang sw-en
    Example: clir distill --lang sw-en --variant plain --set student.vocabulary=initial
    Example: clir distill --lang sw-en,so-en,tl-en --joint
    """
    from clir_cli.stages.support.used_models import distilled_refs

    workspace = common.workspace()
    pairs, cells = cells_of(workspace, options)
    refs = distilled_refs(workspace, pairs, cells)
    print_artifacts(common, make_all(common, workspace, refs))


@with_options
def index(
    common: Common,
    collection: OneCollection = "",
    update: Annotated[
        bool, typer.Option("--update", help="Encode only new or changed documents.")
    ] = False,
    repair: Annotated[bool, typer.Option("--repair", help="Rebuild only damaged shards.")] = False,
    engine: Engine = "local",
    address: Address = "",
    jobs: Jobs = 0,
) -> None:
    """Encode the documents with the teacher: one index for all pairs and methods.

    Example: clir index --suite open
    Example: clir index --collection ./mine --update
    Example: clir index --collection hf:mteb/MIRACLRetrieval/sw
    """
    from clir_cli.artifacts import graph

    if update + repair + common.force > 1:
        raise UserError("--update, --repair and --force exclude one another; give one of them")
    workspace = common.workspace(collection, engine_of(engine, address, jobs))
    ref = workspace.ref("index")
    if (update or repair) and not common.dry_run:
        from clir_cli.stages import index as stages

        stages.index(workspace, ref, "update" if update else "repair")
        artifacts = [graph.resolve(workspace, ref)]
    else:
        artifacts = make_all(common, workspace, [ref])
    print_artifacts(common, artifacts)


@with_options
def search(
    common: Common,
    options: ManyCells,
    collection: OneCollection = "",
    top_k: Annotated[
        int | None, typer.Option(help="Documents per query (default 100).", min=1)
    ] = None,
    query: Annotated[
        str | None,
        typer.Option(help="Show the best documents for this text; write no run."),
    ] = None,
    interactive: Annotated[
        bool,
        typer.Option("--interactive", help="Answer one query after another; write no run."),
    ] = False,
    engine: Engine = "local",
    address: Address = "",
    jobs: Jobs = 0,
) -> None:
    """Rank the documents for every query and write a TREC run, or search for one query.

    Example: clir search --lang sw-en --method ot
    Example: clir search --lang sw-en --query "bei ya mahindi sokoni"
    Example: clir search --lang sw-en --interactive
    """
    from clir_cli.stages.support.methods import METHODS
    from clir_cli.stages.support.sources import answerable

    if interactive and query is not None:
        raise UserError("--interactive asks for queries; leave out --query")
    if top_k is None and (query is not None or interactive):
        top_k = 5
    if top_k is not None:
        common = replace(common, assign=[*(common.assign or ()), f"search.top_k={top_k}"])
    workspace = common.workspace(collection, engine_of(engine, address, jobs))
    if query is not None or interactive:
        common.refuse_making(f"clir search --{'interactive' if interactive else 'query'}")
        pairs, cells = cells_of(workspace, replace(options, method=options.method or "ot"))
        _answer(common, workspace, asked(pairs, cells), query)
        return
    pairs, cells = cells_of(workspace, options)
    artifacts = []
    for pair in pairs:
        try:
            runs = cells if options.method else answerable(workspace, pair, cells)
            # Fused runs come last: they read the runs of the others.
            for fused in (False, True):
                refs = [
                    workspace.ref("run", (pair,), cell)
                    for cell in runs
                    if (METHODS[cell.method].scorer == "fusion") == fused
                ]
                artifacts += make_all(common, workspace, refs)
        except NoQueries as error:
            if pair == pairs[-1] and not artifacts:
                raise
            workspace.talk.say(f"{pair} is left out: {error}")
    print_artifacts(common, artifacts)


def _answer(
    common: Common,
    workspace: "Workspace",
    chosen: "Sequence[tuple[Pair, Cell]]",
    query: str | None,
) -> None:
    """Show the best documents for a query; without one, for each line of standard input."""
    from clir_cli import display
    from clir_cli.console import typed_lines
    from clir_cli.stages.query import Searcher

    def show(text: str) -> None:
        hits = {key: searcher.find(text) for key, searcher in searchers.items()}
        if common.as_json:
            display.print_json(display.hit_rows(hits))
        else:
            display.show_hits(hits, text)

    if query is not None and not query.strip():
        raise UserError("--query is empty; give the words to search for")
    searchers = {
        (pair, cell.label): Searcher(workspace, workspace.ref("run", (pair,), cell))
        for pair, cell in chosen
    }
    if query is not None:
        show(query)
        return
    for searcher in searchers.values():
        searcher.load()
    for text in typed_lines("query> "):
        started = time.perf_counter()
        try:
            show(text)
        except UserError as error:  # the next query may be a better one
            workspace.talk.say(str(error))
        else:
            workspace.talk.say(f"{time.perf_counter() - started:.2f} s")


@with_options
def evaluate(
    common: Common,
    metric: Annotated[
        str,
        typer.Option(
            help="map, mrr, ndcg@10, recall@100, p@10, or across pairs gap-map, rank-distance; "
            "several with commas."
        ),
    ],
    options: CellsOfAll,
    collection: OneCollection = "",
    baseline: Annotated[
        str,
        typer.Option(
            metavar="METHOD",
            help="Test the other methods against it; ot.plain.seed1 names a variant and a seed.",
        ),
    ] = "",
    results: Results = RESULTS,
    parts: Annotated[
        bool, typer.Option("--parts", help="Also score the parts of the collection: CLEF's years.")
    ] = False,
) -> None:
    """Score the runs with bootstrap intervals over queries, and write CSV tables.

    Example: clir evaluate --lang sw-en --metric map,mrr,ndcg@10
    Example: clir evaluate --metric map,gap-map,rank-distance --method zero-shot,ot --baseline ot
    """
    from clir_cli import display
    from clir_cli.evaluation.gaps import parse_metrics
    from clir_cli.stages import evaluate as stages

    common.refuse_computing("clir evaluate", makes=False)
    names = parse_metrics(metric)
    workspace = common.workspace(collection)
    pairs, cells = cells_of(workspace, options, imported=True)
    base = baseline_of(workspace, baseline, options, pairs) if baseline else None
    if common.dry_run:
        columns = dict.fromkeys([*cells, *([base] if base else [])])
        print_artifacts(common, stages.artifacts(workspace, pairs, list(columns)))
        return
    rows, missing = stages.evaluate(
        workspace,
        pairs,
        cells,
        names,
        results,
        all_needed=bool(options.method),
        baseline=base,
        parts=parts,
    )
    for line in missing[:SHOWN]:
        workspace.talk.say(f"not scored: {line}")
    if len(missing) > SHOWN:
        more = f"{len(missing) - SHOWN} more runs are missing"
        workspace.talk.say(f"not scored: {more}; --lang and --method choose what is scored")
    if common.as_json:
        display.print_json(rows)
    else:
        display.show_scores(rows, names, workspace.settings.evaluation)
    workspace.talk.say(f"tables: {results / workspace.suite}/scores.csv and per_query.csv")
