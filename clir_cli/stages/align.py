"""align: the transport plan of one sentence pair, token by token."""

import io
import warnings
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from clir_cli import files, runtime
from clir_cli.artifacts.cell import Cell
from clir_cli.console import printable
from clir_cli.corpus.records import Pair
from clir_cli.errors import UserError
from clir_cli.optical.alignment import sentence_batch
from clir_cli.optical.objectives import aligned, cosine_cost
from clir_cli.optical.transport import missed_line
from clir_cli.retrieval.encoder import Encoder, load_encoder
from clir_cli.stages.search import open_encoder
from clir_cli.stages.support.centring import centred_teacher
from clir_cli.stages.support.methods import METHODS
from clir_cli.stages.support.used_models import teacher_folder
from clir_cli.stages.support.workspace import Workspace


@dataclass(frozen=True)
class Alignment:
    """The plan (n, m) between the tokens of a sentence and those of its translation.

    Each row of ``shares`` sums to 1: where the token's mass goes; to 0 if none of it is moved.
    ``loss`` is the sum of plan times cost, ``entropy`` is relative: 0 for a hard plan, 1 for
    independent sides. ``violation`` is the share of the mass by which the marginals are off; above
    ``transport.tolerance`` the plan has not ``converged``. The plan was made with ``eps``.
    """

    query_tokens: list[str]
    english_tokens: list[str]
    shares: Tensor
    loss: float
    entropy: float
    violation: float
    converged: bool
    eps: float


def align(workspace: Workspace, pair: Pair, cell: Cell, text: str, english: str) -> Alignment:
    """Align a sentence of the query language with its English translation.

    The student of the cell encodes the sentence, the teacher its translation.

    Raises:
        UserError: An empty sentence, a method without a student, or a missing student.
    """
    if METHODS[cell.method].encoder not in ("initial", "distilled", "trained"):
        raise UserError(f"method {cell.method} has no student to align with; take ot or zero-shot")
    for name, sentence in (("the sentence", text), ("its translation", english)):
        if not sentence.strip():
            raise UserError(f"{name} is empty; give two sentences that translate each other")
    runtime.hush_libraries()
    settings = workspace.settings
    student = open_encoder(workspace, workspace.ref("run", (pair,), cell))
    teacher = centred_teacher(workspace, load_encoder(teacher_folder(workspace), student.device))
    limit = settings.teacher.bitext_tokens
    batch = sentence_batch(student, teacher, text, english, limit)
    cost = cosine_cost(batch)
    transport = aligned(batch, cost, settings.transport)
    converged = bool(transport.converged[0])
    if not converged:
        workspace.talk.say(f"warning: {missed_line(1, 1, settings.transport)}")
    return Alignment(
        query_tokens=_tokens(student, text, limit),
        english_tokens=_tokens(teacher, english, limit),
        shares=transport.plan[0] / transport.plan[0].sum(dim=1, keepdim=True).clamp(min=1e-30),
        loss=float(transport.value(cost)[0]),
        entropy=float(transport.entropy()[0]),
        violation=float(transport.violation[0]),
        converged=converged,
        eps=settings.transport.eps,
    )


def _tokens(encoder: Encoder, text: str, limit: int) -> list[str]:
    return list(encoder.tokenizer.convert_ids_to_tokens(encoder.tokenize([text], limit)[0]))


def draw(alignment: Alignment, path: Path, title: str) -> bool:
    """Draw the plan as a heat map, in the format of the path's suffix (png, svg, pdf).

    Returns:
        True if a font was found for every letter; the viewer of an SVG has its own fonts.
    """
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams |= {"svg.fonttype": "none", "text.parse_math": False}
    from matplotlib import pyplot

    rows, columns = alignment.shares.shape
    figure, axes = pyplot.subplots(
        figsize=(2 + 0.42 * columns, 1.6 + 0.36 * rows), layout="constrained"
    )
    image = axes.imshow(alignment.shares.numpy(), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    english, query = (
        list(map(printable, tokens))
        for tokens in (alignment.english_tokens, alignment.query_tokens)
    )
    axes.set_xticks(range(columns), english, rotation=60, ha="right")
    axes.set_yticks(range(rows), query)
    axes.set_xlabel("English (teacher)")
    axes.set_ylabel("query language (student)")
    loss = f"eps {alignment.eps:g}   loss {alignment.loss:.3f}"
    axes.set_title(f"{title}   {loss}", fontsize=10, loc="left")
    figure.colorbar(image, ax=axes, label="share of the token's mass", shrink=0.9)
    content = io.BytesIO()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(content, format=path.suffix[1:], dpi=160)
    pyplot.close(figure)
    files.write_output(path, content.getvalue())
    return path.suffix == ".svg" or not any("Glyph" in str(warning.message) for warning in caught)
