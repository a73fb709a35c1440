"""The Python interface, which ``import clir_cli`` offers; docs/python.md has an example of each.

Every function raises ``clir_cli.errors.UserError`` for what the caller can mend: an unknown name, a
missing file. ``home`` is the folder that commands call ``--home``. torch is imported when needed.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clir_cli.errors import MissingInput
from clir_cli.evaluation.runs import read_run as read_run
from clir_cli.settings import Settings
from clir_cli.suites import load_settings as load_settings

if TYPE_CHECKING:
    from torch import Tensor

    from clir_cli.corpus.bitext import Bitext
    from clir_cli.corpus.records import Collection
    from clir_cli.evaluation.measures import Score
    from clir_cli.evaluation.significance import Comparison
    from clir_cli.retrieval.checkpoints import TextKind
    from clir_cli.retrieval.encoder import Encoder

Qrels = Mapping[str, Mapping[str, int]]  # grades by query and document
Run = Mapping[str, Mapping[str, float]]  # scores by query and document, as read_run returns them


def load_bitext(
    pair: str, settings: Settings | None = None, home: str | Path = "artifacts"
) -> "Bitext":
    """Load the sentence pairs of a language pair such as ``sw-en``, cleaned and split.

    Sources and filters are those of the settings; without, those of the suite ``sample``. ``train``
    and ``held_out`` of the result are lists of (query, english).
    """
    from clir_cli.corpus import bitext, overlap
    from clir_cli.corpus.own_files import pair_of

    chosen, downloads = settings or load_settings("sample"), Path(home) / "downloads"
    languages = pair_of(pair, chosen)
    tested = overlap.checked_collection(chosen, languages)
    texts = overlap.collection_texts(tested, languages.query, downloads) if tested else frozenset()
    return bitext.load_bitext(chosen.bitext, languages, downloads, texts)


def load_collection(
    name: str | Path, language: str = "en", home: str | Path = "artifacts"
) -> "Collection":
    """Load documents, queries of a language (and English ones, if any) and relevance judgments.

    ``name`` is one of ``clir ls collections``, ``irds:ID``, ``hf:ORG/NAME``, or a folder. The
    result has ``documents``, ``queries[language][query id]`` and ``qrels[query id][document id]``.
    """
    from clir_cli.corpus import collections

    return collections.load_collection(str(name), language, Path(home) / "downloads")


def load_encoder(
    model: str | Path, home: str | Path = "artifacts", device: str = "auto"
) -> "Encoder":
    """Load a teacher or a student: a folder, or the name of a model that was downloaded."""
    from clir_cli import runtime
    from clir_cli.retrieval import encoder, models

    folder = models.model_folder(str(model), Path(home))
    if not folder.is_dir():
        raise MissingInput(f"model {folder} is missing; run clir download, or give a folder")
    runtime.hush_libraries()
    return encoder.load_encoder(folder, runtime.choose_device(device))


def encode(
    encoder: "Encoder", texts: Sequence[str], kind: "TextKind" = "sentence", max_tokens: int = 256
) -> list["Tensor"]:
    """Encode texts to token embeddings.

    ``kind`` is ``query``, ``document`` or ``sentence``, which some models encode differently. Texts
    are truncated to ``max_tokens``.

    Returns:
        N matrices (tokens, d) in float32 on the CPU, with rows of unit length.
    """
    packed = encoder.encode(texts, max_tokens, kind=kind)
    return [packed[index] for index in range(len(packed))]


def transport_plan(student: "Tensor", teacher: "Tensor", eps: float = 0.05) -> "Tensor":
    """Return the transport plan between a sentence and its translation; see optical/transport.py.

    Args:
        student: Token embeddings (n, d) of the sentence, rows of unit length.
        teacher: Token embeddings (m, d) of its translation.
        eps: Weight of the entropy, in units of the cost 1 - cosine; smaller is sharper.

    Returns:
        (n, m) float32; its rows sum to 1 / n and its columns to 1 / m, within 1e-3 in all; a
        warning says if they do not.
    """
    from clir_cli.optical import transport

    cost = 1 - student @ teacher.mT
    rows, columns = cost.new_ones(1, len(student)).bool(), cost.new_ones(1, len(teacher)).bool()
    solved = transport.solve(cost[None], rows, columns, eps=eps)
    if not solved.converged:
        off = f"{float(solved.violation):.0%} of its mass is misplaced"
        warnings.warn(f"the plan did not converge, {off}; raise eps={eps:g}", stacklevel=2)
    return solved.plan[0]


def maxsim(query: "Tensor", documents: Sequence["Tensor"]) -> "Tensor":
    """Return MaxSim (N,) of a query (n, d) with N documents (m_i, d), all token embeddings."""
    from clir_cli.retrieval import maxsim
    from clir_cli.retrieval.encoder import Packed

    return maxsim.maxsim(query, Packed.of(documents))


def score(qrels: Qrels, run: Run, metrics: str = "map,mrr,ndcg@10") -> dict[str, "Score"]:
    """Score a run with metrics as on the command line; a judged query that it lacks counts zero.

    Returns:
        By metric: ``value``, its bootstrap interval ``low`` to ``high``, and ``per_query``.
    """
    from clir_cli.evaluation import measures

    scores = measures.score(qrels, run, measures.parse_measures(metrics))
    return {result.measure: result for result in scores}


def compare(
    qrels: Qrels, runs: Mapping[str, Run], baseline: str, metric: str = "map", test: str = "t"
) -> list["Comparison"]:
    """Compare runs with one of them by a paired test over queries, Holm-corrected.

    ``baseline`` is the run that the others are compared with; ``test`` is ``t`` or
    ``randomisation``.

    Returns:
        One entry for each other run: ``difference``, ``low``, ``high``, ``p_value``, ...
    """
    from clir_cli.evaluation import significance

    scores = {name: next(iter(score(qrels, run, metric).values())) for name, run in runs.items()}
    values = {name: result.per_query for name, result in scores.items()}
    return significance.compare(values, baseline, test=test)
