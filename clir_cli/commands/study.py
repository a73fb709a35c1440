"""Experiments: reproduce what the files in ``experiments/`` describe."""

import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clir_cli.console import put
from clir_cli.errors import UserError, nearest
from clir_cli.options import (
    RESULTS,
    Address,
    Common,
    Engine,
    Mirror,
    OneCollection,
    Results,
    with_options,
)

if TYPE_CHECKING:
    from clir_cli.study.preflight import Preflight


@with_options
def reproduce(
    common: Common,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Experiments by name, or TOML files (default: list them).", metavar="NAMES"
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All experiments that are listed.")] = False,
    mirror: Mirror = "",
    results: Results = RESULTS,
    jobs: Annotated[int, typer.Option(help="Tasks to run at a time.", min=1, max=10_000)] = 1,
    engine: Engine = "local",
    address: Address = "",
    cells: Annotated[
        str,
        typer.Option(help="Run one share of the cells, as 2/8; draw no tables.", metavar="I/N"),
    ] = "",
    from_results: Annotated[
        bool,
        typer.Option(
            "--from-results", help="Make no cell whose scores RESULTS/SUITE/per_query.csv(.gz) has."
        ),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask before work that takes hours.")
    ] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Take a few steps of training to estimate the time.")
    ] = False,
    style: Annotated[
        str, typer.Option("--format", help="Table format: text (default), markdown or latex.")
    ] = "",
    latex: Annotated[bool, typer.Option("--latex", help="The same as --format latex.")] = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="The same as --format markdown.")
    ] = False,
) -> None:
    """Run the missing or stale steps of experiments, and draw their tables. Idempotent.

    Example: clir reproduce optical --dry-run
    Example: clir reproduce --all --jobs 2
    """
    from clir_cli import display
    from clir_cli.cluster.connection import EngineOptions
    from clir_cli.study import experiment as files

    if every and names:
        raise UserError("--all and names of experiments: give one of them")
    wanted = dict.fromkeys(names or (files.names() if every else ()))
    experiments = [files.load(name) for name in wanted]
    if not experiments:
        rows = [
            {"experiment": known.name, "what it is": known.title, "question": known.question}
            for known in map(files.load, files.names())
        ]
        display.show_rows("experiments: clir reproduce NAME", rows, common.as_json)
        return
    share = _share(cells)
    from clir_cli.study import reproduce as study
    from clir_cli.study import tables
    from clir_cli.study.grid import Base

    styles = {name for name, given in (("latex", latex), ("markdown", as_markdown)) if given}
    styles |= {style} if style else set()
    if len(styles) > 1:
        raise UserError(f"{' and '.join(sorted(styles))}: a table has one format; choose one")
    style = styles.pop() if styles else "text"
    if style not in tables.FORMATS:
        raise UserError(f"--format {style!r}: {nearest(style, tables.FORMATS)}")
    workspace = common.workspace(engine=EngineOptions(engine, address, jobs), mirror=mirror)
    workspace.engine.check()
    base = Base(common.suite, common.config, tuple(common.assign or ()))
    prepared = study.prepare(experiments, base, workspace, results, from_results=from_results)
    if common.dry_run:
        work = study.look(prepared, share)
        lines = study.commands(prepared, work, share)
        if common.as_json:
            display.print_json(lines)
        else:
            for line in lines:
                put(f"{line['state']:<8} {line['command']}")
        for text in study.ahead(prepared, work, measure=measure).lines:
            workspace.talk.say(text)
        return
    agreed = partial(_agreed, is_asked=not (yes or common.quiet))
    outcome = study.reproduce(prepared, share, measure=measure, agrees=agreed)
    if common.as_json:
        display.print_json([row for rows in outcome.rows.values() for row in rows])
    else:
        evaluation = workspace.settings.evaluation
        for experiment in experiments:
            rows = outcome.rows.get(experiment.name, [])
            for metric in experiment.metrics if rows else ():
                table = tables.draw(experiment.title, rows, experiment.table, metric, evaluation)
                tables.FORMATS[style](table)
    if outcome.code:
        raise typer.Exit(outcome.code)


@with_options
def report(
    common: Common,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The file to write.", dir_okay=False)
    ] = Path("report.html"),
    results: Annotated[
        Path, typer.Option(help="Folder of score tables.", envvar="CLIR_RESULTS")
    ] = Path("results"),
    metric: Annotated[
        str, typer.Option(help="Metric of the figures (default: the one with most scores).")
    ] = "",
    method: Annotated[str, typer.Option(help="Method analysed per query (default: ot).")] = "",
    baseline: Annotated[
        str, typer.Option(help="Baseline to compare it with (default: the best other method).")
    ] = "",
    collection: OneCollection = "",
) -> None:
    """Write the existing results as one HTML file that opens in a browser without a network.

    Example: clir report --suite sample --output report.html
    """
    from clir_cli import display, files
    from clir_cli.study.report.page import report as draw

    common.refuse_computing("clir report", makes=False)
    workspace = common.workspace()
    if not output.parent.is_dir():
        raise UserError(f"--output {output}: there is no folder {output.parent}; make it first")
    page = draw(
        workspace, results, collection=collection, metric=metric, method=method, baseline=baseline
    )
    if not common.dry_run:
        files.write_output(output, page.html.encode(errors="replace"))
    if common.as_json:
        summary = {"report": str(output), "sections": page.sections, "missing": page.missing}
        display.print_json([{**summary, "verdicts": page.verdicts, "failed": page.failed}])
    for line in page.missing:
        workspace.talk.say(f"not in the report: {line}")
    verb = "would be written" if common.dry_run else "written"
    workspace.talk.say(f"{output} {verb}: {', '.join(page.sections)}")


def _agreed(ahead: "Preflight", is_asked: bool) -> bool:
    """Return True unless a person at a terminal is asked before long work, and declines."""
    if not (is_asked and ahead.is_long and sys.stdin.isatty() and sys.stderr.isatty()):
        return True
    return typer.confirm("continue? (--yes does not ask)", err=True)


def _share(text: str) -> tuple[int, int]:
    if not text:
        return 1, 1
    match = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", text.strip())
    if not match or int(match[1]) > int(match[2]):
        raise UserError(f"--cells {text!r}: write it as i/n with i from 1 to n, as 2/8")
    return int(match[1]), int(match[2])
