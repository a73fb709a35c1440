"""Encoding shards of an index by workers of Ray, with the bytes of one process.

Each shard is encoded in the batches of one process, and written by the worker that encoded it into
the temporary directory that all share. The driver lays out the shards first and completes the
index when all of them are there.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from clir_cli.cluster.connection import Resources
from clir_cli.cluster.probe import await_file
from clir_cli.cluster.workers import RayCluster
from clir_cli.retrieval import shard_checksums, store
from clir_cli.retrieval.encoder import Encoder, encode_inputs
from clir_cli.settings import Settings


@dataclass(frozen=True)
class EncodingConfig:
    """What a worker needs once, before it encodes shards.

    Attributes:
        open_teacher: Loads the teacher where the worker runs; it can be pickled.
        settings: Those of the index and the teacher are read.
        draft: The temporary directory of the index.
        batch_tokens: Padded tokens of a batch.
        recipe: Fingerprint of all that a shard's bytes depend on beside the texts.
    """

    open_teacher: Callable[[], Encoder]
    settings: Settings
    draft: Path
    batch_tokens: int
    recipe: str


@dataclass(frozen=True)
class ShardTexts:
    """The documents of one shard; ``digests`` (documents, 16) go into its checksum file."""

    number: int
    texts: list[str]
    digests: np.ndarray


def encode_shards(
    cluster: RayCluster, config: EncodingConfig, shards: Sequence[ShardTexts], resources: Resources
) -> Iterator[int]:
    """Encode shards; yield the number of documents of each when it is there.

    Raises:
        UserError: No room, or a worker died too often; complete shards stay.
    """
    prepare, encode = partial(_prepare, config), partial(_encode, config)
    for index, _ in cluster.map_unordered(prepare, encode, shards, resources):
        await_file(shard_checksums.checksum_path(config.draft, shards[index].number))
        yield len(shards[index].texts)
    for unfinished in config.draft.glob(".*.tmp"):  # of workers that died while writing
        unfinished.unlink()


def _prepare(config: EncodingConfig) -> tuple[Encoder, store.Codec]:
    return config.open_teacher(), store.read_codec(config.draft)


def _encode(
    config: EncodingConfig, prepared: tuple[Encoder, store.Codec], shard: ShardTexts
) -> None:
    teacher, codec = prepared
    packed = encode_inputs(
        teacher,
        teacher.inputs(shard.texts, config.settings.teacher.document_tokens, "document"),
        batch_tokens=config.batch_tokens,
        dtype=getattr(torch, config.settings.index.dtype),
    )
    store.write_shard(config.draft, shard.number, packed, codec)
    shard_checksums.write_checksums(config.draft, shard.number, config.recipe, shard.digests)
