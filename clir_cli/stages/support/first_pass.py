"""The first student whose plans make the rows of a second one (``student.rows = plans``)."""

from dataclasses import replace

from clir_cli import artifacts
from clir_cli.corpus.bitext import Bitext
from clir_cli.corpus.records import Pair
from clir_cli.errors import UserError
from clir_cli.retrieval import models
from clir_cli.retrieval.encoder import Encoder
from clir_cli.stages.support.fitting import open_encoder_at
from clir_cli.stages.support.inputs import teacher_folder
from clir_cli.stages.support.teacher_embeddings import teacher_embeddings
from clir_cli.stages.support.workspace import Cell, Workspace
from clir_cli.vocabulary.counts import COUNT_FUNCTIONS, CountFunction
from clir_cli.vocabulary.from_plans import plan_counts, word_plans

METHOD = "ot"


def first_pass_inputs(workspace: Workspace, pair: Pair, cell: Cell) -> dict[str, str]:
    """Return the fingerprint of the first student, where the settings ask for its plans.

    Raises:
        MissingInput: It has not been distilled; the command that does it is told.
        UserError: The second student would lie where the first one does, or is of several pairs.
    """
    if workspace.settings.student.rows != "plans":
        return {}
    if cell.joint:
        raise UserError("student.rows=plans works for one pair; a joint student needs ibm1")
    first = Cell(METHOD, seed=cell.seed)
    if cell == first:
        raise UserError(
            f"student.rows=plans uses the plans of the student {METHOD}, so it cannot make that "
            "one; give it a name of its own with --variant"
        )
    folder = workspace.student(pair, first)
    others = tuple(each for each in workspace.typed if not each.startswith("--set student.rows"))
    other = replace(workspace, typed=(*others, "--set student.rows=ibm1"))
    artifacts.require(folder, other.command("distill", *first.words_for(pair)))
    return {"first pass": models.model_digest(folder)}


def row_count(
    workspace: Workspace, pair: Pair | None, bitext: Bitext, student: Encoder, seed: int
) -> CountFunction:
    """Return how the English tokens of new rows are found, as ``student.rows`` says."""
    chosen = workspace.settings.student.rows
    if chosen != "plans":
        return COUNT_FUNCTIONS[chosen]
    if pair is None:
        raise UserError("student.rows=plans works for one pair; a joint student needs ibm1")
    device = student.device
    first = open_encoder_at(
        workspace, workspace.student(pair, Cell(METHOD, seed=seed)), device, student.precision
    )
    teacher = open_encoder_at(workspace, teacher_folder(workspace), device)
    embeddings, _ = teacher_embeddings(workspace, pair, bitext, device)
    with workspace.talk.progress(unit="pairs") as progress:
        bar = progress.add_task(f"first pass aligns {pair}", total=len(bitext.train), note="")
        plans = word_plans(
            first,
            teacher,
            bitext.train,
            embeddings,
            workspace.settings.transport,
            max_tokens=workspace.settings.teacher.query_tokens,
            advance=lambda count: progress.advance(bar, count),
        )
    return plan_counts(plans)
