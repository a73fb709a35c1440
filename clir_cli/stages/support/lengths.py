"""How long texts may be: limits that reach what they name, and how many texts they cut."""

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from clir_cli.corpus.bitext import Bitext
from clir_cli.errors import UserError
from clir_cli.ragged import Ragged
from clir_cli.retrieval.checkpoints import TextKind, read_checkpoint
from clir_cli.retrieval.encoder import Encoder, Packed
from clir_cli.retrieval.loading import load_tokenizer
from clir_cli.settings import TeacherSettings
from clir_cli.stages.support.used_models import teacher_folder
from clir_cli.stages.support.workspace import Workspace


def limit_of(workspace: Workspace, encoder: Encoder, name: str, kind: TextKind) -> int:
    """Return a limit of the settings of the teacher, in tokens.

    ``name`` is ``document_tokens``, ``query_tokens`` or ``bitext_tokens``. By default a limit may
    be more than the encoder takes; one that was set so would change nothing.

    Raises:
        UserError: It was set to more than the encoder takes.
    """
    teacher = workspace.settings.teacher
    wanted: int = getattr(teacher, name)
    if name == "bitext_tokens":
        name = "sentence_tokens" if teacher.sentence_tokens else "query_tokens"
    takes, own = encoder.limit(wanted, kind), encoder.text_format.length(kind)
    if takes < wanted and wanted != TeacherSettings.model_fields[name].default:
        lift = (
            ", or lift its own limit with --set teacher.own_lengths=false" if own == takes else ""
        )
        raise UserError(
            f"teacher.{name}={wanted}: {encoder.model.name_or_path} takes {takes} tokens of a "
            f"{kind}; give no more{lift}"
        )
    return wanted


def cut_sentences(
    workspace: Workspace,
    bitext: Bitext,
    student: tuple[Encoder, Ragged],
    teacher: Packed,
) -> dict[str, int]:
    """Return how many sentences to train on are cut, by side (``query``, ``english``), if any.

    ``student`` is the encoder, and the tokens of its sentences; ``teacher`` has the embeddings of
    their translations, of which some may have none.
    """
    encoder, ids = student
    checkpoint = read_checkpoint(teacher_folder(workspace))
    sides = {
        "query": _count_cut(
            encoder.tokenizer,
            encoder.text_format.prefix("sentence"),
            [row.query for row in bitext.train],
            ids.lengths,
        ),
        "english": _count_cut(
            load_tokenizer(checkpoint.body),
            checkpoint.text_format.prefix("sentence"),
            [row.english for row in bitext.train],
            teacher.offsets.diff().numpy(),
        ),
    }
    return {side: count for side, count in sides.items() if count}


def _count_cut(
    tokenizer: PreTrainedTokenizerBase, prefix: str, texts: Sequence[str], lengths: np.ndarray
) -> int:
    """Return how many texts have more tokens than the longest that were encoded (lengths (N,))."""
    most = int(lengths.max(initial=0))
    full = [prefix + texts[row] for row in np.flatnonzero(lengths == most).tolist()]
    whole = tokenizer(full, truncation=False)["input_ids"] if most else []
    return sum(len(tokens) > most for tokens in whole)
