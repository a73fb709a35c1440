"""Encoding a collection's documents into shards: what is there already is never encoded again.

Texts are tokenised and shards are written while the model computes.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch

from clir_cli import runtime
from clir_cli.cluster.probe import await_file
from clir_cli.cluster.workers import ray_cluster
from clir_cli.corpus.records import Collection
from clir_cli.errors import UserError
from clir_cli.files import digest, file_digest
from clir_cli.retrieval import memory, shard_checksums, store
from clir_cli.retrieval.encoder import Encoder, Packed, TokenizedText, encode_inputs, usual_batch
from clir_cli.retrieval.memory import PROCESS, Load
from clir_cli.retrieval.shard_layout import ShardDocuments
from clir_cli.settings import IndexSettings, Settings
from clir_cli.stages.support.fitting import open_encoder_at
from clir_cli.stages.support.models import teacher_folder
from clir_cli.stages.support.workspace import Workspace

COPIES = 5  # of a shard's vectors at once: one is made while another is turned into bytes
ROUNDING = 12  # bytes a number while it is rounded
LEAST_DOCUMENTS = 32  # of a shard


@dataclass(frozen=True)
class Job:
    """The shards of one index: of what, by what, where, and where some of it may be taken from.

    ``digests`` (documents, 16) are those of the texts; ``before`` is an index that has some of
    them, and ``held`` the digests of the rows of each of its shards.
    """

    workspace: Workspace
    collection: Collection
    teacher: Encoder
    draft: Path
    codec: store.Codec
    made_by: str
    digests: np.ndarray
    before: Path | None = None
    held: Sequence[np.ndarray] = ()

    @cached_property
    def recipe(self) -> str:
        """Return the fingerprint of all that a shard's bytes depend on beside the texts."""
        path = self.draft / store.CODEC
        return digest([self.made_by, file_digest(path) if path.exists() else ""])

    def fault(self, number: int, block: ShardDocuments) -> str:
        """Return what is wrong with a shard of the draft; nothing when it is whole."""
        return shard_checksums.fault(self.draft, number, self.recipe, self.digests[block.documents])

    def take(self, number: int, block: ShardDocuments) -> str:
        """Take a shard from the index before; return why that cannot be, or nothing."""
        reused = block.reused
        if reused is None or self.before is None:
            return "new"
        wrong = shard_checksums.fault(
            self.before, reused.shard, self.recipe, self.held[reused.shard]
        )
        if wrong:
            return wrong
        if reused.whole:
            shard_checksums.link_shard(self.before, reused.shard, self.draft, number)
        else:
            shard = store.read_shard(self.before, reused.shard, self.codec)
            some = store.select_documents(shard, torch.from_numpy(reused.rows))
            store.save_shard(self.draft, number, some)
            self.sign(number, block)
        return ""

    def sign(self, number: int, block: ShardDocuments) -> None:
        """Write a shard's checksum file."""
        shard_checksums.write_checksums(
            self.draft, number, self.recipe, self.digests[block.documents]
        )

    def texts(self, block: ShardDocuments) -> list[str]:
        """Return the texts of the documents of a block."""
        documents = self.collection.documents
        return [documents[place].full_text for place in block.documents.tolist()]

    def inputs(self, block: ShardDocuments) -> list[TokenizedText]:
        """Return the documents of a block as the teacher encodes them."""
        limit = self.workspace.settings.teacher.document_tokens
        return self.teacher.inputs(self.texts(block), limit, "document")

    def write(self, number: int, block: ShardDocuments, packed: Packed) -> None:
        """Write a shard, and then its checksum file."""
        store.write_shard(self.draft, number, packed, self.codec)
        self.sign(number, block)


# Encodes the blocks that are left, each with its number; the index has so many documents then.
Encode = Callable[[Job, Sequence[tuple[int, ShardDocuments]], int], None]


def shard_size(settings: IndexSettings, teacher: Encoder, document_tokens: int) -> int:
    """Return how many documents a shard may have, so that indexing stays within the memory.

    Raises:
        UserError: The memory is too small for a shard of a few documents.
    """
    if settings.memory_bytes is None:
        return settings.shard_documents
    width = torch.finfo(getattr(torch, settings.dtype)).bits // 8
    a_number = COPIES * width + (ROUNDING if settings.format != "dense" or settings.lists else 0)
    each = a_number * document_tokens * teacher.dimensions
    weights = sum(value.numel() * value.element_size() for value in teacher.trained.parameters())
    batch = settings.batch_tokens or usual_batch(teacher.device)
    at_work = 40 * batch * teacher.hidden_size  # a layer's states and its wider ones
    fixed = PROCESS + int(1.5 * weights) + at_work
    room = (settings.memory_bytes - fixed) // each
    if room < LEAST_DOCUMENTS:
        least = memory.size(fixed + LEAST_DOCUMENTS * each)
        raise UserError(
            f"index.memory={settings.memory} is too small to encode with this teacher; it takes "
            f"{least}"
        )
    return min(settings.shard_documents, room)


def write_shards(job: Job, blocks: Sequence[ShardDocuments], encode: Encode) -> list[str]:
    """Bring the shards of a draft to what the blocks say.

    Whole ones stay; those that the index before has are taken from it; the others are encoded.

    Args:
        job: The shards of one index.
        blocks: The documents of each.
        encode: Who encodes: ``encode`` in this process, or workers of a cluster.

    Returns:
        What was wrong with shards of the index before that had to be encoded again.
    """
    for path in job.draft.glob("shard-*.receipt.json"):  # of a longer draft
        number = int(path.name.split("-")[1].split(".")[0])
        if number >= len(blocks):
            for each in (path, *shard_checksums.shard_files(job.draft, number)):
                each.unlink()
    left: list[tuple[int, ShardDocuments]] = []
    told: list[str] = []
    for number, block in enumerate(blocks):
        if job.fault(number, block):
            why = job.take(number, block)
            if why:
                left.append((number, block))
                told += [why] if block.reused else []
    encode(job, left, sum(len(block.documents) for block in blocks))
    return told


def open_teacher(workspace: Workspace, folder: Path, tokens: int) -> Encoder:
    """Load the teacher as documents are encoded with it, ``tokens`` padded tokens at once."""
    runtime.hush_libraries()
    device = runtime.choose_device(workspace.device)
    precision = runtime.choose_precision(workspace.settings.index.precision, device)
    return open_encoder_at(workspace, folder, device, precision, tokens=tokens)


def encode(job: Job, left: Sequence[tuple[int, ShardDocuments]], done: int) -> None:
    """Encode the blocks that are left in this process; with them there are ``done`` documents."""
    settings = job.workspace.settings.index
    wanted = sum(len(block.documents) for _, block in left)
    with counter(job, done, done - wanted) as advance, _overlapped() as (reads, writes):
        written: Future[None] | None = None
        coming = reads.submit(job.inputs, left[0][1]) if left else None
        for place, (number, block) in enumerate(left):
            assert coming is not None
            inputs = coming.result()
            if place + 1 < len(left):
                coming = reads.submit(job.inputs, left[place + 1][1])
            packed = encode_inputs(
                job.teacher,
                inputs,
                batch_tokens=settings.batch_tokens,
                dtype=getattr(torch, settings.dtype),
                advance=advance,
            )
            if written is not None:
                written.result()
            written = writes.submit(job.write, number, block, packed)
            del packed, inputs
        if written is not None:
            written.result()


def encode_on_ray(job: Job, left: Sequence[tuple[int, ShardDocuments]], done: int) -> None:
    """Encode the blocks that are left by workers of Ray, with the bytes of ``encode``.

    Each shard is encoded in the batches of one process and written by the worker that encoded it.

    Raises:
        UserError: No Ray, no room, or a worker died too often; complete shards stay.
    """
    workspace, settings = job.workspace, job.workspace.settings
    shards = [(number, job.texts(block), job.digests[block.documents]) for number, block in left]
    sizes = [len(texts) for _, texts, _ in shards]
    with (
        counter(job, done, done - sum(sizes)) as advance,
        ray_cluster(workspace.engine, workspace.home, workspace.talk.say) as cluster,
    ):
        device = cluster.device(workspace.device)
        # What suits the processors here, not a worker's share of them: other batches, other bytes.
        batch = settings.index.batch_tokens or usual_batch(torch.device(device))
        folder, draft = teacher_folder(workspace).resolve(), job.draft.resolve()
        there = replace(workspace, home=workspace.home.resolve(), device=device)
        needed = settings.index.memory_bytes or _worker_bytes(job, folder, device, batch, sizes)
        for (number, texts, _), _ in cluster.map_unordered(
            partial(_open_for_worker, there, folder, draft, batch),
            partial(_encode_by_worker, settings, draft, batch, job.recipe),
            shards,
            cluster.resources(settings.cluster, device, needed),
        ):
            await_file(shard_checksums.checksum_path(job.draft, number))
            advance(len(texts))
    for unfinished in job.draft.glob(".*.tmp"):  # of workers that died while writing
        unfinished.unlink()


def _open_for_worker(
    workspace: Workspace, teacher: Path, draft: Path, batch: int
) -> tuple[Encoder, store.Codec]:
    return open_teacher(workspace, teacher, batch), store.read_codec(draft)


def _encode_by_worker(
    settings: Settings,
    draft: Path,
    batch: int,
    recipe: str,
    opened: tuple[Encoder, store.Codec],
    shard: tuple[int, list[str], np.ndarray],
) -> None:
    (teacher, codec), (number, texts, digests) = opened, shard
    inputs = teacher.inputs(texts, settings.teacher.document_tokens, "document")
    dtype = getattr(torch, settings.index.dtype)
    packed = encode_inputs(teacher, inputs, batch_tokens=batch, dtype=dtype)
    store.write_shard(draft, number, packed, codec)
    shard_checksums.write_checksums(draft, number, recipe, digests)


def _worker_bytes(job: Job, teacher: Path, device: str, batch: int, sizes: Sequence[int]) -> int:
    """Return the memory of a worker that encodes shards of these numbers of documents."""
    settings = job.workspace.settings
    estimate = memory.encoding(memory.size_of(teacher), Load(1, batch))
    tokens = max(sizes, default=0) * settings.teacher.document_tokens // 2  # half the limit each
    width = torch.finfo(getattr(torch, settings.index.dtype)).bits // 8
    return PROCESS + estimate.on_host(device) + COPIES * tokens * job.teacher.dimensions * width


@contextmanager
def _overlapped() -> Iterator[tuple[ThreadPoolExecutor, ThreadPoolExecutor]]:
    """Yield a thread that reads ahead and one that writes behind; an error ends both at once."""
    with ThreadPoolExecutor(1) as reads, ThreadPoolExecutor(1) as writes:
        try:
            yield reads, writes
        finally:
            reads.shutdown(cancel_futures=True)


@contextmanager
def counter(job: Job, total: int, done: int) -> Iterator[Callable[[int], None]]:
    """Yield what is called with the number of documents that were encoded."""
    started, counted = time.monotonic(), 0
    talk = job.workspace.talk
    with talk.progress(unit="documents") as progress:
        bar = progress.add_task(f"index {job.collection.name}", total=total, note="")
        progress.advance(bar, done)

        def advance(count: int) -> None:
            nonlocal counted
            counted += count
            rate = counted / max(1e-9, time.monotonic() - started)
            progress.update(bar, advance=count, note=f"{rate:,.1f} documents/s")

        yield advance
    if counted:
        rate = counted / max(1e-9, time.monotonic() - started)
        talk.say(f"{counted:,} documents encoded, {rate:,.1f} a second")
