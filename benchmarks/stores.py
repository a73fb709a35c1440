"""Stores to search, written as `clir index` writes them, from embeddings that are there already."""

import json
import time
from collections.abc import Iterable
from pathlib import Path

from clir_cli.files import write_text
from clir_cli.retrieval import store
from clir_cli.retrieval.encoder import Packed
from clir_cli.retrieval.store import Shard
from clir_cli.settings import IndexSettings

BUILT = "built.json"


def build(
    folder: Path,
    settings: IndexSettings,
    shards: Iterable[Packed],
    sample: Packed,
    documents: int,
) -> dict[str, float]:
    """Write a store unless it is there, and return the seconds that training and writing took.

    The seconds are the processor's.
    """
    if (folder / BUILT).is_file():
        return json.loads((folder / BUILT).read_text())
    folder.mkdir(parents=True, exist_ok=True)
    clock = time.process_time()
    codec = store.train_codec(settings, sample, documents=documents)
    store.save_codec(folder, codec)
    told = {"train": time.process_time() - clock, "write": 0.0}
    for number, packed in enumerate(shards):
        clock = time.process_time()
        store.write_shard(folder, number, packed, codec)
        told["write"] += time.process_time() - clock
    write_text(folder / BUILT, json.dumps(told))
    return told


def opened(folder: Path) -> list[Shard]:
    """Return the shards of a store."""
    return list(store.read_shards(folder))


def bytes_of(folder: Path) -> int:
    """Return what the files of a store take."""
    return sum(file.stat().st_size for file in folder.iterdir() if file.name != BUILT)
