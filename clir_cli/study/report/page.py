"""The page: sections and style in one HTML file that needs nothing from elsewhere."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from clir_cli import runtime
from clir_cli.corpus import catalogue
from clir_cli.evaluation import gaps
from clir_cli.stages.support.workspace import Workspace
from clir_cli.study.report import charts
from clir_cli.study.report.blocks import Section, TableBlock, TableCell
from clir_cli.study.report.data import Results, neutral, read
from clir_cli.study.report.experiment_sections import VERDICTS, experiment, failures, verdicts
from clir_cli.study.report.focus import focus_on
from clir_cli.study.report.provenance import distinct
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
    results = read(workspace, folder, collection)
    settings = workspace.settings.evaluation
    focus = focus_on(results, settings.confidence, settings.test, **names)
    sections = scores(results, focus)
    if results.collections:
        sections.append(gap(results, focus))
    if focus.baseline:
        sections.append(queries(results, focus))
    sections += [experiment(results, table) for table in results.experiments]
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
        metric=focus.metric,
        command=results.command("report", on=shown[0] if shown else None),
        sections=sections,
        missing=[neutral(line) for line in missing],
        verdicts=counts,
        finished=max((s.manifest.get("finished", "") for s in results.students), default=""),
    )
    return Report(
        html=html,
        sections=tuple(section.title for section in sections),
        missing=tuple(missing),
        verdicts=counts,
        failed=sum(len(failures(table)) for table in results.experiments),
    )


def environment(results: Results) -> Section:
    """Return what the results depend on beside their settings: versions and kind of machine."""
    now = {**runtime.versions(), "cores": str(os.cpu_count())}
    made = distinct(
        {
            **student.manifest.get("versions", {}),
            "device": student.manifest.get("notes", {}).get("device", ""),
            "training precision": student.manifest.get("notes", {}).get("precision", ""),
        }
        for student in results.students
    )
    rows = [
        [TableCell(name), TableCell(" | ".join(filter(None, made.get(name, []))) or "-"),
         TableCell(now.get(name, "-"))]
        for name in dict.fromkeys([*now, *made])
    ]  # fmt: skip
    table = TableBlock("Versions", ["", "students were made with", "this report with"], rows)
    text = "Numbers repeat on the same machine and versions; elsewhere last digits may differ."
    return Section(
        "environment",
        "Environment",
        text,
        [*([_training(results)] if results.students else []), table],
    )


def _training(results: Results) -> TableBlock:
    """Return what each student was trained on, where, and how long it took."""
    known = catalogue.sources("bitext")
    rows = []
    for student in results.students:
        notes = student.manifest.get("notes", {})
        sources = [
            f"{name} {count:,} ({known[name].licence if name in known else 'your own'})"
            for name, count in notes.get("sources", {}).items()
        ]
        pairs = f"{notes['train_pairs']:,}" if "train_pairs" in notes else "-"
        seconds = student.manifest.get("seconds")
        cells = (student.method, pairs, ", ".join(sources) or "-", notes.get("device", "-"))
        time = "-" if seconds is None else f"{seconds / 60:.1f}"
        rows.append([TableCell(student.pair), *map(TableCell, cells), TableCell(time)])
    header = ["pair", "student", "pairs", "from (licence)", "device", "minutes"]
    return TableBlock("Training", header, rows, "Minutes of the command that finished it.")


def render(template: str = "page.html.j2", **context: object) -> str:
    """Fill a template of this folder."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(FOLDER)
    page = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return page.get_template(template).render(
        **context,
        style=Markup((FOLDER / "page.css").read_text(encoding="utf-8")),
        script=Markup((FOLDER / "page.js").read_text(encoding="utf-8")),
        width=charts.WIDTH,
        letter=charts.LETTER,
        sign=charts.sign,
        kinds=VERDICTS,
    )
