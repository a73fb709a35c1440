"""The page: sections and style in one HTML file that needs nothing from elsewhere."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from markupsafe import Markup, escape

from clir_cli.evaluation import gaps
from clir_cli.stages.support.workspace import Workspace
from clir_cli.study.report import charts
from clir_cli.study.report.data import read
from clir_cli.study.report.environment import environment
from clir_cli.study.report.experiment_sections import VERDICTS, experiment, failures, verdicts
from clir_cli.study.report.focus import focus_on
from clir_cli.study.report.made import neutral
from clir_cli.study.report.score_sections import gap, queries, scores
from clir_cli.study.report.student_sections import learning, plans

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Report:
    """A finished page, with what it contains and what is missing."""

    html: str
    sections: tuple[str, ...]
    missing: tuple[str, ...]
    verdicts: Mapping[str, int]
    failed: int


def report(workspace: Workspace, folder: Path, *, collection: str = "", **names: str) -> Report:
    """Draw the report of a suite from the results and artifacts that exist.

    The same results give the same bytes.

    ``folder`` has the results of all suites; ``collection`` the user's own, if one was
    evaluated; ``names`` are ``metric``, ``method`` and ``baseline`` to look at (``focus_on``).

    Raises:
        UserError: There is nothing to report, a table is damaged, or a name has no scores.
    """
    named = [names.get(key, "") for key in ("method", "baseline")]
    results = replace(read(workspace, folder, collection), named=named)
    settings = workspace.settings.evaluation
    focus = focus_on(results, settings.confidence, settings.test, **names)
    sections = scores(results, focus)
    if results.collections:
        sections.append(gap(results, focus))
    if focus.baseline:
        sections.append(queries(results, focus))
    sections += [experiment(results, table, settings) for table in results.experiments]
    sections += [learning(results), plans(workspace, results, focus.method), environment(results)]
    missing = [*results.missing]
    missing += [f"{section.title}: {section.empty}" for section in sections if not section.blocks]
    sections = [section for section in sections if section.blocks]
    counts = verdicts(results)
    shown = [scores for scores in results.collections if collection and scores.option]
    html = render(
        title=workspace.settings.title,
        results=results,
        pairs={key.pair for key in results.keys} - {gaps.ALL_PAIRS},
        metric=gaps.written(focus.metric),
        command=results.command("report", on=shown[0] if shown else None),
        sections=sections,
        missing=[neutral(line) for line in missing],
        verdicts=counts,
        finished=max((s.manifest.get("finished", "") for s in results.made.students), default=""),
    )
    return Report(
        html=html,
        sections=tuple(section.title for section in sections),
        missing=tuple(missing),
        verdicts=counts,
        failed=sum(len(failures(table)) for table in results.experiments),
    )


def render(template: str = "page.html.j2", **context: object) -> str:
    """Fill a template of this folder."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(FOLDER)
    page = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    page.filters["unbroken"] = unbroken
    return page.get_template(template).render(
        **context,
        style=Markup((FOLDER / "page.css").read_text(encoding="utf-8")),
        script=Markup((FOLDER / "page.js").read_text(encoding="utf-8")),
        width=charts.WIDTH,
        letter=charts.LETTER,
        sign=charts.sign,
        kinds=VERDICTS,
    )


def unbroken(text: str) -> Markup:
    """Return a text whose options (``--lang sw-en``) are not split from one line to the next.

    What is copied from the page is the text as it was.
    """
    words = re.split(r"((?<!\S)--\S+(?: (?!--)\S+)?)", text)
    spans = (
        Markup("<span class=whole>{}</span>").format(word) if number % 2 else escape(word)
        for number, word in enumerate(words)
    )
    return Markup("").join(spans)
