"""Loading encoders, and refusing work that does not fit the memory before hours are spent."""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import torch

from clir_cli.errors import UserError
from clir_cli.foreign import reported
from clir_cli.retrieval import loading, memory
from clir_cli.retrieval.checkpoints import read_checkpoint
from clir_cli.retrieval.encoder import Encoder, load_encoder
from clir_cli.retrieval.memory import Estimate, Load, ModelSize
from clir_cli.retrieval.model_files import AGAIN
from clir_cli.stages.support.workspace import Workspace

CAUSAL = "is causal"  # a key of the workspace's cache
SAMPLED = 200  # sentences whose tokens are counted


def open_encoder_at(
    workspace: Workspace,
    folder: Path,
    device: torch.device,
    precision: torch.dtype = torch.float32,
    *,
    tokens: int = 8192,
) -> Encoder:
    """Load an encoder that encodes ``tokens`` padded tokens at once; UserError if it cannot fit."""
    require_encoding(folder, device, precision, tokens)
    pickled = workspace.settings.models.allow_pickle
    encoder = load_encoder(folder, device, precision, pickled=pickled)
    if not workspace.settings.teacher.own_lengths:
        encoder = replace(encoder, text_format=encoder.text_format.without_lengths())
    if (CAUSAL, folder) not in workspace.cache:  # tried and reported once
        workspace.cache[CAUSAL, folder] = encoder.is_causal()
        if workspace.cache[CAUSAL, folder]:
            workspace.talk.say(
                f"{folder}: a decoder: no token sees those behind it, so the embedding of a word "
                "is of what comes before it alone"
            )
    return encoder


def require_encoding(
    folder: Path, device: torch.device, precision: torch.dtype, tokens: int
) -> None:
    """Raise UserError if the machine has too little memory to encode with a model."""
    model, free = memory.size_of(folder), memory.free_bytes(device)
    load = Load(1, tokens, precision == torch.bfloat16)
    needed = memory.encoding(model, load)
    if needed.total <= free:
        return
    remedy = "take a smaller model (clir ls models) or a machine with more memory"
    if memory.encoding(model, replace(load, tokens=min(1024, tokens))).total <= free:
        remedy = "try --set index.batch_tokens=1024"
    raise _too_large(f"encoding with {folder}", needed, free, device, remedy)


def require_training(
    workspace: Workspace,
    folder: Path,
    lengths: Sequence[int],
    device: torch.device,
    precision: torch.dtype,
    chunk_tokens: int = 0,
    sides: int = 1,
    similarities: int = 0,
    predicted: float = 0,
) -> Estimate:
    """Return the memory that training the model in ``folder`` needs.

    ``lengths`` are those of the longest sentences, in tokens. ``chunk_tokens`` is the number of
    tokens with activations in memory; 0 for those of a batch. ``sides`` is the number of texts that
    the model encodes for each example of a batch. ``similarities`` and ``predicted`` are as in
    ``memory.Load``.

    Raises:
        UserError: It does not fit; the message names the settings with which it would.
    """
    loop, bfloat16 = workspace.settings.training, precision == torch.bfloat16
    checkpointing = loop.gradient_checkpointing
    texts = max(1, chunk_tokens // max(lengths)) if chunk_tokens else loop.batch_size * sides
    load = Load(
        *(texts, max(lengths), bfloat16, checkpointing, loop.lora_rank, loop.freeze),
        similarities=similarities,
        predicted=predicted,
    )
    model, free = memory.size_of(folder), memory.free_bytes(device)
    needed = memory.training(model, load)
    # Sharded weights are spread over the GPUs of all processes.
    shares = workspace.group.size if loop.shard and device.type == "cuda" else 1
    parts = 1
    while needed.total > free * shares and loop.halve and parts < texts:
        parts *= 2
        needed = memory.training(model, replace(load, texts=-(-texts // parts)))
    if needed.total <= free * shares:
        return replace(needed, parts=parts)
    fewer = max(sides, load.texts // 4)
    smaller_batch = f"training.batch_size={fewer // sides}"
    if chunk_tokens:
        smaller_batch = f"late_interaction.chunk_tokens={fewer * max(lengths)}"
    savings: list[tuple[str, dict[str, Any]]] = [
        ("training.batch_size=auto", {} if loop.halve else {"texts": sides}),
        ("training.gradient_checkpointing=true", {"checkpointing": True}),
        (smaller_batch, {"texts": fewer, "similarities": similarities // 16}),
        ("training.precision=bfloat16", {"bfloat16": True}),
        ("training.lora_rank=16", {"lora_rank": 16}),
    ]
    savings = [saving for saving in savings if replace(load, **saving[1]) != load]
    remedy = "no setting makes it fit; take a smaller model (clir ls models)"
    # Each alone, then the first of them together; the first that fits is named.
    for group in (*([saving] for saving in savings), *(savings[:count] for count in range(2, 6))):
        smaller = reduce(lambda load, saving: replace(load, **saving[1]), group, load)
        if memory.training(model, smaller).total <= free:
            remedy = f"try {' '.join(f'--set {assignment}' for assignment, _ in group)}"
            break
    raise _too_large(f"training {folder}", needed, free, device, remedy)


def require_translator(model: ModelSize, load: Load, device: torch.device) -> Estimate:
    """Return the memory that training a translator needs, which predicts all its target tokens.

    Raises:
        UserError: It does not fit.
    """
    needed = memory.training(model, replace(load, predicted=1))
    free = memory.free_bytes(device)
    if needed.total <= free:
        return needed
    remedy = f"try --set translator.batch_size={max(1, load.texts // 4)}"
    raise _too_large("training a translator", needed, free, device, remedy)


def longest(folder: Path, texts: Iterable[str], max_tokens: int) -> list[int]:
    """Return the lengths in tokens of the texts with most characters; loads no weights."""
    texts = heapq.nlargest(SAMPLED, texts, key=len)
    body = read_checkpoint(folder).body
    tokenizer = loading.load_tokenizer(body)
    loading.check_rows(folder, tokenizer, loading.load_config(body).vocab_size)
    with reported(f"{folder}: the tokenizer does not work", AGAIN):
        encoded = tokenizer(texts, truncation=True, max_length=max_tokens)["input_ids"]
        return [len(ids) for ids in encoded]


def _too_large(
    work: str, needed: Estimate, free: int, device: torch.device, remedy: str
) -> UserError:
    return UserError(
        f"{work} needs about {needed} and {memory.size(free)} are free on {device}; {remedy}"
    )
