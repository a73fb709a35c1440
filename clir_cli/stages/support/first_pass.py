"""The first student whose plans make the token embeddings of a second one (student.rows=plans)."""

from clir_cli.artifacts import graph
from clir_cli.artifacts.spec import Ref
from clir_cli.corpus.bitext import Bitext
from clir_cli.retrieval.encoder import Encoder
from clir_cli.stages.support.fitting import open_encoder_at
from clir_cli.stages.support.models import first_pass, teacher_folder
from clir_cli.stages.support.teacher_embeddings import teacher_embeddings
from clir_cli.stages.support.workspace import Workspace
from clir_cli.vocabulary.counts import COUNT_FUNCTIONS, CountFunction
from clir_cli.vocabulary.from_plans import plan_counts, word_plans


def row_count(workspace: Workspace, ref: Ref, bitext: Bitext, student: Encoder) -> CountFunction:
    """Return how the English tokens of new token embeddings are found, as student.rows says."""
    first = first_pass(ref)
    if first is None:
        return COUNT_FUNCTIONS[workspace.settings.student.rows]
    device = student.device
    folder = graph.path_of(workspace, first)
    earlier = open_encoder_at(workspace, folder, device, student.precision)
    teacher = open_encoder_at(workspace, teacher_folder(workspace), device)
    embeddings, _ = teacher_embeddings(workspace, ref.pair, bitext, device)
    with workspace.talk.progress(unit="pairs") as progress:
        bar = progress.add_task(f"first pass aligns {ref.pair}", total=len(bitext.train), note="")
        plans = word_plans(
            earlier,
            teacher,
            bitext.train,
            embeddings,
            workspace.settings.transport,
            max_tokens=workspace.settings.teacher.query_tokens,
            advance=lambda count: progress.advance(bar, count),
        )
    return plan_counts(plans)
