"""The five stages: download, distill, index, search, evaluate."""

from pathlib import Path
from typing import Annotated

import typer

from clir_cli.commands.words import cells_of, make_all, pairs_of, tell_plans, with_setting
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
    pairs = pairs_of(workspace, lang)
    wanted = stages.download(workspace, pairs, mirror)
    rows = [need.told() for need in wanted]
    if common.as_json:
        display.print_json(rows)
    elif common.dry_run:
        display.show_needs(rows, stages.model_names(workspace))
    elif all(row["there"] for row in rows):
        workspace.talk.say(f"all {len(rows)} data files are there")


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
    cells = cells_of(workspace, method, seed, variant)
    wanted = [(workspace, pair, cell) for pair in pairs_of(workspace, lang) for cell in cells]
    plans = [stages.plan_student(*each) for each in wanted]
    make_all(common, stages.distill, wanted)
    tell_plans(common, plans)


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
    tell_plans(common, [plan])


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
        common = with_setting(common, f"search.top_k={top_k}")
    workspace = common.workspace(collection)
    pairs = pairs_of(workspace, lang)
    if query is not None:
        cell = cells_of(workspace, method or "ot", seed, variant)[0]
        found = {pair: search_text(workspace, pair, cell, query) for pair in pairs}
        if common.as_json:
            display.print_json(display.hit_rows(found))
        else:
            display.show_hits(cell.label, found)
        return
    plans = []
    for pair in pairs:
        read = read_collection(workspace, pair.query)
        cells = cells_of(workspace, method, seed, variant)
        if not method:
            cells = answerable(workspace, read, pair, cells)
        if common.dry_run:
            plans += [stages.plan_run(workspace, read, pair, cell) for cell in cells]
        else:
            plans += stages.search(workspace, read, pair, cells)
    tell_plans(common, plans)


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
    pairs = pairs_of(workspace, lang)
    cells = cells_of(workspace, method, seed, variant)
    if common.dry_run:
        tell_plans(common, stages.plans(workspace, pairs, cells))
        return
    scored = stages.evaluate(workspace, pairs, cells, names, results, all_needed=bool(method))
    for line in scored.missing:
        workspace.talk.say(f"left out: {line}")
    if common.as_json:
        display.print_json(scored.rows)
    else:
        display.show_scores(scored.rows, names, workspace.settings.evaluation.confidence)
    workspace.talk.say(f"tables: {results / workspace.suite}/scores.csv and per_query.csv")
