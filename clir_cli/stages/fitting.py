"""Whether a model fits the machine, told before it is loaded and hours are spent."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from clir_cli.corpus.records import SentencePair
from clir_cli.errors import UserError
from clir_cli.retrieval import loading, memory
from clir_cli.retrieval.checkpoints import read_checkpoint
from clir_cli.retrieval.encoder import Encoder, load_encoder
from clir_cli.retrieval.memory import Estimate, Load, Shape
from clir_cli.stages.workspace import Workspace

SAMPLED = 200  # sentences whose tokens are counted


def open_encoder_at(
    workspace: Workspace,
    folder: Path,
    device: torch.device,
    precision: torch.dtype = torch.float32,
    *,
    tokens: int = 8192,
) -> Encoder:
    """Load an encoder that will read ``tokens`` padded tokens at once.

    Raises:
        UserError: It cannot be loaded, or does not fit the machine.
    """
    require_encoding(folder, device, precision, tokens)
    pickled = workspace.settings.models.allow_pickle
    return load_encoder(folder, device, precision, pickled=pickled)


def require_encoding(
    folder: Path, device: torch.device, precision: torch.dtype, tokens: int
) -> None:
    """Refuse to encode with a model that does not fit the machine."""
    load = Load(1, tokens, precision == torch.bfloat16, on_cpu=device.type != "cuda")
    shape = memory.shape_of(folder)
    needed, free = memory.encoding(shape, load), memory.free_bytes(device)
    if needed.total <= free:
        return
    smaller = memory.encoding(shape, replace(load, tokens=min(1024, tokens)))
    remedy = "take a smaller model (clir ls models) or a machine with more memory"
    if smaller.total <= free:
        remedy = "try --set index.batch_tokens=1024"
    raise UserError(_told(f"encoding with {folder}", needed, free, device, remedy))


def require_training(
    workspace: Workspace,
    folder: Path,
    lengths: Sequence[int],
    device: torch.device,
    precision: torch.dtype,
) -> Estimate:
    """Return what training needs, or refuse a student that does not fit the machine.

    Args:
        workspace: Settings of the training.
        folder: The initial student's.
        lengths: Tokens of the longest sentences.
        device: Where to train.
        precision: What to compute in.

    Raises:
        UserError: It does not fit; the settings with which it would are told.
    """
    loop = workspace.settings.training
    load = Load(
        texts=loop.batch_size,
        tokens=max(lengths),
        bfloat16=precision == torch.bfloat16,
        checkpointing=loop.gradient_checkpointing,
        lora_rank=loop.lora_rank,
        on_cpu=device.type != "cuda",
    )
    shape = memory.shape_of(folder)
    needed, free = memory.training(shape, load), memory.free_bytes(device)
    # Sharded weights lie in the GPUs of all processes together.
    shares = workspace.team.size if loop.shard and device.type == "cuda" else 1
    if needed.total > free * shares:
        remedy = _remedy(shape, load, free)
        raise UserError(_told(f"training {folder}", needed, free, device, remedy))
    return needed


def longest(folder: Path, rows: Sequence[SentencePair], max_tokens: int) -> list[int]:
    """Return the tokens of the sentences that are longest in characters; no weights are loaded.

    Raises:
        UserError: The tokenizer is missing, damaged, or of another model.
    """
    texts = sorted((row.query for row in rows), key=len, reverse=True)[:SAMPLED]
    tokenizer = loading.load_tokenizer(read_checkpoint(folder).body)
    loading.check_rows(folder, tokenizer, memory.shape_of(folder).vocabulary)
    return [
        len(ids) for ids in tokenizer(texts, truncation=True, max_length=max_tokens)["input_ids"]
    ]


def _remedy(shape: Shape, load: Load, free: int) -> str:
    """Return the settings, fewest first, with which training would fit."""
    steps: list[tuple[str, dict[str, object]]] = [
        ("training.gradient_checkpointing=true", {"checkpointing": True}),
        (f"training.batch_size={max(1, load.texts // 4)}", {"texts": max(1, load.texts // 4)}),
        ("training.precision=bfloat16", {"bfloat16": True}),
        ("training.lora_rank=16", {"lora_rank": 16}),
    ]
    chosen: list[str] = []
    for assignment, change in steps:
        if memory.training(shape, replace(load, **change)).total <= free:
            return f"try --set {assignment}"
    for assignment, change in steps:
        if all(getattr(load, name) == value for name, value in change.items()):
            continue
        load = replace(load, **change)
        chosen.append(f"--set {assignment}")
        if memory.training(shape, load).total <= free:
            return f"try {' '.join(chosen)}"
    return "no setting makes it fit; take a smaller model (clir ls models)"


def _told(what: str, needed: Estimate, free: int, device: torch.device, remedy: str) -> str:
    return (
        f"{what} needs about {needed.told()} and {memory.size(free)} are free on {device}; {remedy}"
    )
