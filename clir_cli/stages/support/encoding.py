"""Encoding a collection's documents into shards; whole shards are not encoded again.

Texts are tokenised and shards are written while the model computes.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clir_cli import runtime
from clir_cli.cluster.probe import await_file
from clir_cli.cluster.workers import ray_cluster
from clir_cli.corpus.records import Collection
from clir_cli.errors import UserError
from clir_cli.files import remove
from clir_cli.retrieval import memory, shard_checksums, store
from clir_cli.retrieval.batching import TokenizedText, usual_batch
from clir_cli.retrieval.encoder import Encoder, Packed, encode_inputs
from clir_cli.retrieval.memory import PROCESS, Load
from clir_cli.retrieval.shard_layout import ShardDocuments
from clir_cli.settings import IndexSettings, Settings
from clir_cli.stages.support.fitting import open_encoder_at
from clir_cli.stages.support.used_models import teacher_folder
from clir_cli.stages.support.workspace import Workspace

COPIES = 5  # of a shard's vectors at once: one is made while another is turned into bytes
ROUNDING = 12  # bytes a number while it is rounded
LEAST_DOCUMENTS = 32  # of a shard


@dataclass(frozen=True)
class ShardEncoder:
    """Encodes documents and writes them as shards of a draft, in this process or in a worker.

    ``made_from`` is the fingerprint of all that a shard's bytes depend on beside the texts.
    """

    settings: Settings
    teacher: Encoder
    codec: store.Codec
    draft: Path
    batch_tokens: int
    made_from: str

    def inputs(self, texts: Sequence[str]) -> list[TokenizedText]:
        """Return texts as the teacher encodes them."""
        return self.teacher.inputs(texts, self.settings.teacher.document_tokens, "document")

    def encode(
        self, inputs: Sequence[TokenizedText], advance: Callable[[int], None] = lambda _: None
    ) -> Packed:
        """Return the token embeddings of texts."""
        return encode_inputs(
            self.teacher,
            inputs,
            "document",
            batch_tokens=self.batch_tokens,
            dtype=getattr(torch, self.settings.index.dtype),
            advance=advance,
        )

    def write(
        self, number: int, packed: Packed, digests: np.ndarray, cut: Sequence[int] = ()
    ) -> None:
        """Write a shard of texts with these digests, ``cut`` the rows that were too long.

        Its checksum file comes last.
        """
        store.write_shard(self.draft, number, packed, self.codec, self.teacher.device)
        shard_checksums.write_checksums(self.draft, number, self.made_from, digests, cut)


@dataclass(frozen=True)
class IndexJob:
    """The shards of one index: of which texts, by what, and which index may have some already.

    ``digests`` (documents, 16) are those of the texts; ``before`` is the other index, and ``held``
    has the digests of the rows of each of its shards.
    """

    workspace: Workspace
    collection: Collection
    encoder: ShardEncoder
    digests: np.ndarray
    before: Path | None = None
    held: Sequence[np.ndarray] = ()

    def texts(self, block: ShardDocuments) -> list[str]:
        """Return the texts of the documents of a block."""
        documents = self.collection.documents
        return [documents[index].full_text for index in block.documents.tolist()]

    def fault(self, number: int, block: ShardDocuments) -> str:
        """Return what is wrong with a shard of the draft; nothing if it is whole."""
        encoder, digests = self.encoder, self.digests[block.documents]
        return shard_checksums.fault(encoder.draft, number, encoder.made_from, digests)

    def reuse(self, number: int, block: ShardDocuments) -> str:
        """Copy a shard from the index before; return why that is impossible, or nothing."""
        reused, draft, made_from = block.reused, self.encoder.draft, self.encoder.made_from
        if reused is None or self.before is None:
            return "new"
        held = self.held[reused.shard]
        if fault := shard_checksums.fault(self.before, reused.shard, made_from, held):
            return fault
        if reused.whole:
            shard_checksums.link_shard(self.before, reused.shard, draft, number)
            return ""
        shard = store.read_shard(self.before, reused.shard, self.encoder.codec)
        store.save_shard(
            draft, number, store.select_documents(shard, torch.from_numpy(reused.rows))
        )
        digests = self.digests[block.documents]
        held_cut = set(shard_checksums.cut_rows(self.before, reused.shard))
        cut = [row for row, old in enumerate(reused.rows.tolist()) if old in held_cut]
        shard_checksums.write_checksums(draft, number, made_from, digests, cut)
        return ""


Blocks = Sequence[tuple[int, ShardDocuments]]  # the documents of shards, each with its number
Encode = Callable[[IndexJob, Blocks, int], None]  # the index then has so many documents


def shard_size(settings: IndexSettings, teacher: Encoder, document_tokens: int) -> int:
    """Return how many documents a shard may have, so that indexing stays within the memory.

    Raises:
        UserError: The memory is too small for a shard of a few documents.
    """
    if settings.memory_bytes is None:
        return settings.shard_documents
    width = torch.finfo(getattr(torch, settings.dtype)).bits // 8
    a_number = COPIES * width + (ROUNDING if settings.format != "dense" or settings.lists else 0)
    a_document = a_number * document_tokens * teacher.dimensions
    weights = sum(value.numel() * value.element_size() for value in teacher.trained.parameters())
    batch = settings.batch_tokens or usual_batch(teacher.device)
    at_work = 40 * batch * teacher.hidden_size  # a layer's states and its wider ones
    fixed = PROCESS + int(1.5 * weights) + at_work
    room = (settings.memory_bytes - fixed) // a_document
    if room < LEAST_DOCUMENTS:
        least = memory.size(fixed + LEAST_DOCUMENTS * a_document)
        raise UserError(
            f"index.memory={settings.memory} is too small to encode with this teacher; it takes "
            f"{least}"
        )
    return min(settings.shard_documents, room)


def write_shards(job: IndexJob, blocks: Sequence[ShardDocuments], encode: Encode) -> list[str]:
    """Make the shards of a draft what the blocks say.

    Whole shards stay; those of the index before are reused; the others are encoded.

    Returns:
        What was wrong with shards of the index before that had to be encoded again.
    """
    draft = job.encoder.draft
    for path in draft.glob("shard-*"):  # of a longer draft
        digits = path.name[len("shard-") :].split(".")[0]
        if not digits.isdecimal() or int(digits) >= len(blocks):
            remove(path)
    missing: list[tuple[int, ShardDocuments]] = []
    faults: list[str] = []
    for number, block in enumerate(blocks):
        if job.fault(number, block) and (fault := job.reuse(number, block)):
            missing.append((number, block))
            faults += [fault] if block.reused else []
    encode(job, missing, sum(len(block.documents) for block in blocks))
    return faults


def open_teacher(workspace: Workspace, folder: Path, tokens: int) -> Encoder:
    """Load the teacher to encode documents with, ``tokens`` padded tokens at once."""
    runtime.hush_libraries()
    device = runtime.choose_device(workspace.device)
    if device.type == "cuda":  # it would wait for a single thread that tokenises
        os.environ["TOKENIZERS_PARALLELISM"] = "true"
    precision = runtime.choose_precision(workspace.settings.index.precision, device)
    return open_encoder_at(workspace, folder, device, precision, tokens=tokens)


def encode_here(job: IndexJob, blocks: Blocks, total: int) -> None:
    """Encode blocks in this process; the index then has ``total`` documents."""
    encoder = job.encoder
    missing = sum(len(block.documents) for _, block in blocks)

    def read(index: int) -> list[TokenizedText]:
        return encoder.inputs(job.texts(blocks[index][1]))

    with _counting(job, total, total - missing) as advance, _overlapped() as (reads, writes):
        written: Future[None] | None = None
        ahead = reads.submit(read, 0) if blocks else None
        for index, (number, block) in enumerate(blocks):
            assert ahead is not None
            inputs = ahead.result()
            if index + 1 < len(blocks):
                ahead = reads.submit(read, index + 1)
            packed = encoder.encode(inputs, advance)
            if written is not None:
                written.result()
            digests = job.digests[block.documents]
            written = writes.submit(encoder.write, number, packed, digests, _cut(inputs))
            del packed, inputs
        if written is not None:
            written.result()


def encode_on_ray(job: IndexJob, blocks: Blocks, total: int) -> None:
    """Encode blocks by workers of Ray, with the bytes of ``encode_here``.

    Each shard is encoded in the batches of one process and written by the worker that encoded it.

    Raises:
        UserError: No Ray, no room, or a worker died too often; complete shards stay.
    """
    workspace, draft = job.workspace, job.encoder.draft
    shards = [(number, job.texts(block), job.digests[block.documents]) for number, block in blocks]
    sizes = [len(texts) for _, texts, _ in shards]
    with (
        _counting(job, total, total - sum(sizes)) as advance,
        ray_cluster(workspace.engine, workspace.home, workspace.talk.say) as cluster,
    ):
        device = cluster.device(workspace.device)
        settings = workspace.settings.index
        # What suits the processors here, not a worker's share of them: other batches, other bytes.
        batch = settings.batch_tokens or usual_batch(torch.device(device))
        folder = teacher_folder(workspace).resolve()
        there = replace(workspace, home=workspace.home.resolve(), device=device)
        made_from, teacher = job.encoder.made_from, job.encoder.teacher
        centres = {side: centre.cpu() for side, centre in teacher.centres.items()}
        needed = settings.memory_bytes or _worker_bytes(job, folder, device, batch, sizes)
        for (number, texts, _), _ in cluster.map_unordered(
            partial(_open_in_worker, there, folder, draft.resolve(), batch, made_from, centres),
            _encode_in_worker,
            shards,
            cluster.resources(workspace.settings.cluster, device, needed),
        ):
            await_file(shard_checksums.checksum_path(draft, number))
            advance(len(texts))
    for unfinished in draft.glob(".*.tmp"):  # of workers that died while writing
        unfinished.unlink()


def _open_in_worker(
    workspace: Workspace,
    folder: Path,
    draft: Path,
    batch: int,
    made_from: str,
    centres: Mapping[str, Tensor],
) -> ShardEncoder:
    teacher, codec = open_teacher(workspace, folder, batch), store.read_codec(draft)
    teacher = replace(teacher, centres=centres)
    return ShardEncoder(workspace.settings, teacher, codec, draft, batch, made_from)


def _encode_in_worker(encoder: ShardEncoder, shard: tuple[int, list[str], np.ndarray]) -> None:
    number, texts, digests = shard
    inputs = encoder.inputs(texts)
    encoder.write(number, encoder.encode(inputs), digests, _cut(inputs))


def _cut(inputs: Sequence[TokenizedText]) -> list[int]:
    return [row for row, text in enumerate(inputs) if text.is_cut]


def _worker_bytes(
    job: IndexJob, teacher: Path, device: str, batch: int, sizes: Sequence[int]
) -> int:
    settings = job.workspace.settings
    estimate = memory.encoding(memory.size_of(teacher), Load(1, batch))
    tokens = max(sizes, default=0) * settings.teacher.document_tokens // 2  # half the limit each
    width = torch.finfo(getattr(torch, settings.index.dtype)).bits // 8
    vectors = COPIES * tokens * job.encoder.teacher.dimensions * width
    return PROCESS + estimate.on_host(device) + vectors


@contextmanager
def _overlapped() -> Iterator[tuple[ThreadPoolExecutor, ThreadPoolExecutor]]:
    """Yield a thread that reads ahead and one that writes; an error ends both at once."""
    with ThreadPoolExecutor(1) as reads, ThreadPoolExecutor(1) as writes:
        try:
            yield reads, writes
        finally:
            reads.shutdown(cancel_futures=True)


@contextmanager
def _counting(job: IndexJob, total: int, done: int) -> Iterator[Callable[[int], None]]:
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
