"""Centring (`teacher.centre`): the mean token of each side, estimated and given to the encoders.

The teacher's come from one English text, the package's sample, so that one index serves all pairs
and collections. The student's comes from its bitext.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from clir_cli.artifacts import graph, store
from clir_cli.corpus.bitext import Bitext
from clir_cli.corpus.collections import load_collection
from clir_cli.corpus.sampling import sampled
from clir_cli.files import digest
from clir_cli.retrieval.centres import load_centres, save_centres
from clir_cli.retrieval.checkpoints import TextKind
from clir_cli.retrieval.encoder import Encoder
from clir_cli.stages.support.workspace import Workspace
from clir_cli.suites import bundled

TEXTS = 500  # of a side
LONGEST = 256  # tokens of a text
BATCH_TOKENS = 4096


def centred_teacher(workspace: Workspace, teacher: Encoder) -> Encoder:
    """Return a teacher with the mean tokens of English; with its own if its checkpoint has them.

    They are stored in the folder for artifacts.
    """
    if not workspace.settings.teacher.centre or teacher.centres:
        return teacher
    texts = english_texts(workspace)
    ref = workspace.ref("teacher centres")
    artifact = graph.resolve(workspace, ref, {"texts": digest(texts)})
    with store.make_cache(artifact, workspace.talk.say) as draft:
        if draft is not None:
            save_centres(draft, mean_tokens(teacher, texts))
    centres = load_centres(artifact.path, teacher.dimensions, teacher.device)
    return replace(teacher, centres=centres)


def centred_initial_teacher(workspace: Workspace, teacher: Encoder) -> Encoder:
    """Return a teacher that ``clir train`` starts from, with the mean tokens that it will keep."""
    if not workspace.settings.teacher.centre or teacher.centres:
        return teacher
    return _shared(workspace, teacher, english_texts(workspace))


def centred_student(workspace: Workspace, student: Encoder, bitexts: Sequence[Bitext]) -> Encoder:
    """Return a student with the mean token of the sentences of bitexts to train on, pooled."""
    if not workspace.settings.teacher.centre:
        return student
    sides = ([row.query for row in bitext.train] for bitext in bitexts)
    texts = [text for side in sides for text in sampled(side, TEXTS, "centre")]
    return _shared(workspace, student, {"query": texts})


def english_texts(workspace: Workspace) -> dict[str, list[str]]:
    """Return the English text whose mean tokens are a teacher's: sentences and documents."""
    sentences = bundled("data") / "sample" / "bitext" / "sample.en.txt"
    documents = load_collection("sample", "en", workspace.downloads).documents
    return {
        "query": sentences.read_text(encoding="utf-8").splitlines()[:TEXTS],
        "document": [document.full_text for document in documents][:TEXTS],
    }


def mean_tokens(encoder: Encoder, texts: Mapping[str, Sequence[str]]) -> dict[str, Tensor]:
    """Return the mean unit token (d,) of the texts of each side, as it is before centring."""
    plain = replace(encoder, precision=torch.float32, centres={})

    def mean(kind: TextKind, side: Sequence[str]) -> Tensor:
        packed = plain.encode(side, LONGEST, kind=kind, batch_tokens=BATCH_TOKENS)
        return packed.vectors.mean(dim=0)

    # A sentence is a query without expansion.
    return {
        name: mean("sentence" if name == "query" else "document", side)
        for name, side in texts.items()
    }


def _shared(workspace: Workspace, encoder: Encoder, texts: Mapping[str, Sequence[str]]) -> Encoder:
    """Return an encoder with the mean tokens of texts, in each process those of the main one."""
    centres = workspace.group.broadcast(mean_tokens(encoder, texts))
    return replace(
        encoder, centres={side: each.to(encoder.device) for side, each in centres.items()}
    )
