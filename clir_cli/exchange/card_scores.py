"""The scores of a student for its model card: those that its present runs have, and no others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from clir_cli.artifacts import graph
from clir_cli.artifacts.command import Command
from clir_cli.artifacts.spec import Ref
from clir_cli.corpus import catalogue
from clir_cli.corpus.collections import collection_label
from clir_cli.errors import UserError
from clir_cli.evaluation import measures, scoring
from clir_cli.evaluation.scores import COLUMNS, read_rows
from clir_cli.exchange.model_card import CardScore
from clir_cli.retrieval.models import model_digest
from clir_cli.stages.support.paths import column_variant
from clir_cli.stages.support.sources import collection_options, read_collection
from clir_cli.stages.support.workspace import Workspace

NUMBERS = ("value", "queries", "ci_low", "ci_high")
SAME = 1e-9  # of two values of one measure


@dataclass(frozen=True)
class Scored:
    """Scores, the commands that made them, and which scores were left out, and why."""

    scores: Sequence[CardScore] = ()
    commands: Sequence[str] = ()
    left_out: Sequence[str] = ()


def card_scores(workspace: Workspace, ref: Ref, student: Path, results: Path) -> Scored:
    """Return the scores of a student that the score tables have.

    A score counts if its run is there, was made by this student, and has this value: a table may
    be older than the student.
    """
    scores: list[CardScore] = []
    metrics: dict[Ref, dict[str, None]] = {}
    left_out: dict[str, None] = {}
    for row in _rows(workspace, ref, results):
        try:
            run = _run_of(workspace, ref, row)
            _require_same(workspace, run, row, student)
        except UserError:
            left_out[f"{row.collection}, {row.pair}: no run of this student, or another value"] = (
                None
            )
            continue
        scores.append(row)
        metrics.setdefault(run, {})[row.metric] = None
    commands = (line for run, names in metrics.items() for line in _commands(run, list(names)))
    return Scored(scores, list(dict.fromkeys(commands)), list(left_out))


def _rows(workspace: Workspace, ref: Ref, results: Path) -> Iterator[CardScore]:
    path = results / workspace.suite / "scores.csv"
    if not path.exists():
        return
    _, table = read_rows(path, COLUMNS, NUMBERS)
    cell, variant = ref.cell, column_variant(workspace.settings, ref.cell)
    wanted = {str(pair) for pair in cell.joint or ref.pairs}
    own = (workspace.suite, cell.method, variant, cell.seed)
    for row in table:
        of = (row["suite"], row["method"], row["variant"], row["seed"])
        if of == own and row["pair"] in wanted:
            score = row["metric"], row["value"], row["ci_low"], row["ci_high"], int(row["queries"])
            yield CardScore(row["collection"], row["pair"], *score)


def _run_of(workspace: Workspace, ref: Ref, row: CardScore) -> Ref:
    """Return the run of a score; UserError if the name of its collection does not say which."""
    name = workspace.settings.collection
    if collection_label(name) != row.collection:
        name = row.collection
        if name not in catalogue.sources("collections"):
            raise UserError(f"{name}: a collection of the user's that is not named")
    settings = workspace.settings.model_copy(update={"collection": name})
    (pair,) = (pair for pair in ref.cell.joint or ref.pairs if str(pair) == row.pair)
    return ref.other("run", settings=settings, pairs=(pair,))


def _require_same(workspace: Workspace, run: Ref, row: CardScore, student: Path) -> None:
    artifact = graph.require_current(workspace, run)
    if artifact.inputs["encoder"] != model_digest(student):
        raise UserError("of another student")
    collection = read_collection(workspace.using(run.settings), run.pair.query)
    found = scoring.load_run(artifact.path, collection)
    (score,) = measures.score(collection.qrels, found, [row.metric])
    if abs(score.value - row.value) > SAME:
        raise UserError("of another run")


def _commands(run: Ref, metrics: Sequence[str]) -> list[str]:
    suite, on = ("--suite", run.suite), collection_options(run.settings)
    options = (*run.cell.options(run.pair), *on)
    index, search = Command("index", (*on, suite)), Command("search", (*options, suite))
    evaluate = Command("evaluate", (*options, ("--metric", ",".join(metrics)), suite))
    return [str(index), str(search), str(evaluate)]
