"""Encoding a collection's documents into shards: what is there already is never encoded again.

Texts are tokenised and shards are written while the model computes.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from clir_cli.corpus.records import Collection
from clir_cli.errors import UserError
from clir_cli.files import digest, file_digest
from clir_cli.retrieval import memory, receipts, store
from clir_cli.retrieval.encoder import Encoder, Input, Packed, encode_inputs, usual_batch
from clir_cli.retrieval.layout import Block
from clir_cli.retrieval.store.selection import selected, write_selected
from clir_cli.settings import IndexSettings
from clir_cli.stages.workspace import Workspace

PROCESS = 700_000_000  # bytes of the interpreter and its libraries, collection and tokenizer
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

    def fault(self, number: int, block: Block) -> str:
        """Return what is wrong with a shard of the draft; nothing when it is whole."""
        return receipts.fault(self.draft, number, self.recipe, self.digests[block.places])

    def take(self, number: int, block: Block) -> str:
        """Take a shard from the index before; return why that cannot be, or nothing."""
        source = block.source
        if source is None or self.before is None:
            return "new"
        wrong = receipts.fault(self.before, source.number, self.recipe, self.held[source.number])
        if wrong:
            return wrong
        if source.whole:
            receipts.carry(self.before, source.number, self.draft, number)
        else:
            shard = store.read_shard(self.before, source.number, self.codec)
            write_selected(self.draft, number, selected(shard, torch.from_numpy(source.rows)))
            self.sign(number, block)
        return ""

    def sign(self, number: int, block: Block) -> None:
        """Write a shard's receipt."""
        receipts.write_receipt(self.draft, number, self.recipe, self.digests[block.places])

    def inputs(self, block: Block) -> list[Input]:
        """Return the documents of a block as the teacher reads them."""
        documents = self.collection.documents
        texts = [documents[place].full_text for place in block.places.tolist()]
        limit = self.workspace.settings.teacher.document_tokens
        return self.teacher.inputs(texts, limit, "document")

    def write(self, number: int, block: Block, packed: Packed) -> None:
        """Write a shard, and when it is there its receipt."""
        store.write_shard(self.draft, number, packed, self.codec)
        self.sign(number, block)


# Encodes the blocks that are left, each with its number; the index has so many documents then.
Encode = Callable[[Job, Sequence[tuple[int, Block]], int], None]


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


def write_shards(job: Job, blocks: Sequence[Block], encode: Encode) -> list[str]:
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
            for each in (path, *receipts.shard_files(job.draft, number)):
                each.unlink()
    left: list[tuple[int, Block]] = []
    told: list[str] = []
    for number, block in enumerate(blocks):
        if job.fault(number, block):
            why = job.take(number, block)
            if why:
                left.append((number, block))
                told += [why] if block.source else []
    encode(job, left, sum(len(block.places) for block in blocks))
    return told


def encode(job: Job, left: Sequence[tuple[int, Block]], done: int) -> None:
    """Encode the blocks that are left in this process; with them there are ``done`` documents."""
    settings = job.workspace.settings.index
    wanted = sum(len(block.places) for _, block in left)
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
