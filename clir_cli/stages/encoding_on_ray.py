"""Encoding by workers of Ray: each shard by whoever is free, with the bytes of one process.

A shard is encoded in the same batches as here, and written by the worker that encoded it into the
draft that all share; the driver lays out the shards before, and seals the index behind.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from clir_cli import runtime
from clir_cli.cluster import engine as clusters
from clir_cli.cluster.engine import Needs
from clir_cli.cluster.probe import await_file
from clir_cli.cluster.workers import Trade, pool
from clir_cli.retrieval import memory, receipts, store
from clir_cli.retrieval.encoder import Encoder, encode_inputs, usual_batch
from clir_cli.retrieval.layout import Block
from clir_cli.retrieval.memory import Load
from clir_cli.settings import Settings
from clir_cli.stages.encoding import COPIES, PROCESS, Job, counter
from clir_cli.stages.fitting import open_encoder_at
from clir_cli.stages.inputs import teacher_folder
from clir_cli.stages.workspace import Workspace


@dataclass(frozen=True)
class Desk:
    """What a worker must know once: the teacher, how it reads, and where shards are written."""

    settings: Settings
    home: Path
    teacher: Path
    draft: Path
    device: str
    batch_tokens: int
    recipe: str


@dataclass(frozen=True)
class Texts:
    """The documents of one shard; ``digests`` (documents, 16) go into its receipt."""

    number: int
    texts: list[str]
    digests: np.ndarray


def encode(job: Job, left: Sequence[tuple[int, Block]], done: int) -> None:
    """Encode the blocks that are left, as ``encoding.encode`` does in this process.

    Raises:
        UserError: No Ray, no room, or a worker died too often; whole shards stay.
    """
    workspace, settings = job.workspace, job.workspace.settings
    wanted = sum(len(block.places) for _, block in left)
    with (
        counter(job, done, done - wanted) as advance,
        pool(workspace.engine, workspace.home, workspace.talk.say) as workers,
    ):
        device = clusters.device_for(workers.ray, workspace.device)
        # What suits the processors here, not a worker's share of them: other batches, other bytes.
        batch = settings.index.batch_tokens or usual_batch(torch.device(device))
        folder = teacher_folder(workspace).resolve()
        home, draft = workspace.home.resolve(), job.draft.resolve()
        desk = Desk(settings, home, folder, draft, device, batch, job.recipe)
        items = [_texts(job, number, block) for number, block in left]
        needs = _needs(job, desk, max((len(item.texts) for item in items), default=0))
        trade = Trade(partial(_prepare, desk), partial(_encode, desk))
        for place, _ in workers.spread(trade, items, needs):
            await_file(receipts.receipt_path(job.draft, items[place].number))
            advance(len(items[place].texts))
    for cut in job.draft.glob(".*.tmp"):  # of workers that died as they wrote
        cut.unlink()


def _texts(job: Job, number: int, block: Block) -> Texts:
    documents = job.collection.documents
    texts = [documents[place].full_text for place in block.places.tolist()]
    return Texts(number, texts, job.digests[block.places])


def _needs(job: Job, desk: Desk, documents: int) -> Needs:
    """Return what a worker occupies whose shards have at most so many documents."""
    settings = desk.settings
    needed = memory.encoding(memory.shape_of(desk.teacher), Load(1, desk.batch_tokens, False))
    tokens = documents * settings.teacher.document_tokens // 2  # half as long as may be
    width = torch.finfo(getattr(torch, settings.index.dtype)).bits // 8
    total = PROCESS + (needed.weights if desk.device == "cuda" else needed.total)
    total += COPIES * tokens * job.teacher.dimensions * width
    wanted = settings.index.memory_bytes or total
    return clusters.needs(job.workspace.engine, settings.cluster, desk.device, wanted)


# ------------------------------------------------------------------ where a worker runs


def _prepare(desk: Desk) -> tuple[Encoder, store.Codec]:
    runtime.hush_libraries()
    device = runtime.choose_device(desk.device)
    precision = runtime.choose_precision(desk.settings.index.precision, device)
    workspace = Workspace(desk.settings, desk.home, desk.device)
    teacher = open_encoder_at(workspace, desk.teacher, device, precision, tokens=desk.batch_tokens)
    return teacher, store.read_codec(desk.draft)


def _encode(desk: Desk, ready: tuple[Encoder, store.Codec], item: Texts) -> None:
    teacher, codec = ready
    settings = desk.settings
    packed = encode_inputs(
        teacher,
        teacher.inputs(item.texts, settings.teacher.document_tokens, "document"),
        batch_tokens=desk.batch_tokens,
        dtype=getattr(torch, settings.index.dtype),
    )
    store.write_shard(desk.draft, item.number, packed, codec)
    receipts.write_receipt(desk.draft, item.number, desk.recipe, item.digests)
