"""The page: sections and style to one HTML file that needs nothing from elsewhere."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from markupsafe import Markup

from clir_cli import runtime
from clir_cli.stages.workspace import Workspace
from clir_cli.study.report import figures
from clir_cli.study.report.blocks import Cell, Section, Table
from clir_cli.study.report.choice import Choice, choose
from clir_cli.study.report.data import Results, neutral, read
from clir_cli.study.report.experiment_sections import VERDICTS, experiments, failures, verdicts
from clir_cli.study.report.plans import plans
from clir_cli.study.report.query_sections import learning, queries
from clir_cli.study.report.score_sections import gap, scores

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Report:
    """A finished page, and what it has and lacks."""

    html: str
    sections: tuple[str, ...]
    missing: tuple[str, ...]
    verdicts: Mapping[str, int]
    failed: int


def report(workspace: Workspace, folder: Path, *, collection: str = "", **wanted: str) -> Report:
    """Draw the report of a suite from what results and artifacts there are.

    The same results give the same bytes.

    Args:
        workspace: Settings and folders; nothing is made in them.
        folder: The folder of the results of all suites.
        collection: The user's own collection, where one was evaluated.
        wanted: ``metric``, ``method`` and ``baseline`` to look at; see ``choose``.

    Raises:
        UserError: There is nothing to report, a table is damaged, or what is wanted has no scores.
    """
    results = read(workspace, folder, collection)
    settings = workspace.settings.evaluation
    choice = choose(results, settings.confidence, settings.test, **wanted)
    sections = _sections(workspace, results, choice)
    told = verdicts(results)
    missing = [*results.missing]
    missing += [f"{each.title}: {each.empty}" for each in sections if not each.blocks]
    sections = [section for section in sections if section.blocks]
    html = _render(
        suite=results.suite,
        title=f"Cross-lingual retrieval, suite {results.suite}",
        lede=_lede(workspace, results, choice),
        sections=sections,
        missing=[neutral(line) for line in missing],
        verdicts=told,
        footer=_footer(results),
    )
    return Report(
        html=html,
        sections=tuple(section.title for section in sections),
        missing=tuple(missing),
        verdicts=told,
        failed=sum(len(failures(each)) for each in results.experiments),
    )


def _sections(workspace: Workspace, results: Results, choice: Choice) -> list[Section]:
    found = []
    if results.points:
        found += [*scores(results, choice), gap(results, choice)]
        if choice.baseline:
            found.append(queries(results, choice))
    found += experiments(results)
    found += [learning(results), plans(workspace, results, choice.method)]
    return [*found, environment(results)]


def _lede(workspace: Workspace, results: Results, choice: Choice) -> str:
    pairs = {point.pair for point in results.points if point.pair != "all"}
    parts = [f"{workspace.settings.title}." if workspace.settings.title else ""]
    if results.points:
        counts = f"{_count(len(pairs), 'language pair')}, {_count(len(results.labels), 'method')}"
        parts.append(f"{counts}, measured by {choice.metric} first.")
    if results.experiments:
        parts.append(f"{_count(len(results.experiments), 'experiment')}.")
    return " ".join(filter(None, parts))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"


def _footer(results: Results) -> str:
    finished = max((student.finished for student in results.students), default="")
    when = finished.replace("T", ", ").rstrip("Z")
    made = f" The newest student is of {when} UTC." if finished else ""
    return f"Drawn by clir report --suite {results.suite}.{made}"


def environment(results: Results) -> Section:
    """Return what the results depend on beside their settings: versions and kind of machine."""
    now = {**runtime.versions(), "cores": str(os.cpu_count())}
    made: dict[str, list[str]] = {}
    for student in results.students:
        told = {
            **student.versions,
            "device": student.notes.get("device", ""),
            "training precision": student.notes.get("precision", ""),
        }
        for key, value in told.items():
            seen = made.setdefault(key, [])
            if value and str(value) not in seen:
                seen.append(str(value))
    rows = [
        [Cell(key), Cell(" | ".join(made.get(key, [])) or "-"), Cell(now.get(key, "-"))]
        for key in dict.fromkeys([*now, *made])
    ]
    head = ["", "students were made with", "this report with"]
    table = Table("Versions", head, rows)
    text = "Numbers repeat on the same machine and versions; elsewhere last digits may differ."
    return Section("environment", "Environment", text, [table])


# ------------------------------------------------------------------ rendering


def _render(**context: object) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(FOLDER)
    page = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    numbers = count(1)

    def numbered(svg: Markup) -> Markup:
        """Return a picture whose ids are its own in the page."""
        return Markup(svg.replace(figures.NUMBERED, f"c{next(numbers)}-"))

    return page.get_template("page.html.j2").render(
        **context,
        style=Markup((FOLDER / "page.css").read_text(encoding="utf-8")),
        script=Markup((FOLDER / "page.js").read_text(encoding="utf-8")),
        sign=figures.sign,
        kinds=VERDICTS,
        numbered=numbered,
    )
