"""The token store: token embeddings of documents on disk, in shards, mapped into memory."""

from clir_cli.retrieval.store.codec import CODEC, FORMATS, Codec, read_codec, save_codec
from clir_cli.retrieval.store.codec_training import is_trained, sample_size, train_codec
from clir_cli.retrieval.store.shards import (
    Lists,
    Shard,
    gather,
    has_shard,
    read_shard,
    read_shards,
    resident,
    save_shard,
    select_documents,
    shard_path,
    write_shard,
)
