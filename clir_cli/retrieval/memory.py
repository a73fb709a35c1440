"""Memory that training and encoding need, told from a model's configuration before it is loaded.

Weights, gradients and the two moments of AdamW are counted exactly: 4 bytes each, 16 a parameter.
Activations are what autograd keeps for the backward pass, in bytes for each token and layer of a
BERT-like model (h hidden, i intermediate size, a heads, n tokens of a text):

    float32    40 h + 8 i            (gated feed-forward: 40 h + 16 i)
    bfloat16   29 h + 5.5 i          (gated: 29 h + 8 i)
    attention  12 a n                where dropout keeps the attention matrix (CPU)
    embeddings 12 h once

They were fitted to the saved tensors of BERT, XLM-R and ModernBERT under torch 2.13; the terms are
those of Korthikanti et al., Reducing Activation Recomputation in Large Transformer Models (2022),
section 4. With gradient checkpointing 4 h a layer are kept, and one layer is computed again at a
time.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clir_cli.errors import UserError

if TYPE_CHECKING:
    import torch

PROCESS = 700_000_000  # bytes of an interpreter with torch, a collection and a tokenizer
WORD = 4  # bytes of a float32
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Shape:
    """The sizes of a transformer that its memory depends on; ``gated`` is 1 or 0."""

    parameters: int
    layers: int
    hidden: int
    intermediate: int
    heads: int
    vocabulary: int
    gated: int = 0
    attention_dropout: int = 1


@dataclass(frozen=True)
class Load:
    """What is asked of a model: ``texts`` of ``tokens`` each at once, and how it is computed."""

    texts: int
    tokens: int
    bfloat16: bool = False
    checkpointing: bool = False
    lora_rank: int = 0
    on_cpu: bool = True


@dataclass(frozen=True)
class Estimate:
    """Bytes by what they are for."""

    weights: int
    gradients: int
    moments: int
    activations: int

    @property
    def total(self) -> int:
        """Return all of it."""
        return self.weights + self.gradients + self.moments + self.activations

    def told(self) -> str:
        """Return the estimate for people."""
        parts = {
            "weights": self.weights,
            "gradients": self.gradients,
            "AdamW": self.moments,
            "activations": self.activations,
        }
        inner = ", ".join(f"{name} {size(value)}" for name, value in parts.items() if value)
        return f"{size(self.total)} ({inner})"


def size(count: float) -> str:
    """Return a number of bytes for people.

    >>> size(1_500_000_000)
    '1.5 GB'
    """
    return f"{count / 1e9:.1f} GB" if count >= 0.95e9 else f"{count / 1e6:.0f} MB"


def training(shape: Shape, load: Load) -> Estimate:
    """Return what a step of training needs.

    Args:
        shape: Of the student.
        load: A batch of the longest texts.
    """
    trained = _adapters(shape, load.lora_rank) if load.lora_rank else shape.parameters
    weights = WORD * (shape.parameters + (trained if load.lora_rank else 0))
    activations = _kept(shape, load) + _casts(shape, load)
    return Estimate(weights, WORD * trained, 2 * WORD * trained, activations)


def encoding(shape: Shape, load: Load) -> Estimate:
    """Return what encoding needs: nothing is kept, and one layer is at work at a time."""
    wide = 4 if shape.gated else 2
    word = WORD // 2 if load.bfloat16 else WORD
    at_work = load.texts * load.tokens * (8 * shape.hidden + wide * shape.intermediate) * word
    return Estimate(WORD * shape.parameters, 0, 0, at_work + _casts(shape, load))


def _kept(shape: Shape, load: Load) -> int:
    h, i = shape.hidden, shape.intermediate
    if load.bfloat16:
        a_layer = 29 * h + (8 if shape.gated else 5.5) * i
    else:
        a_layer = 40 * h + (16 if shape.gated else 8) * i
    if load.on_cpu and shape.attention_dropout:
        a_layer += 12 * shape.heads * load.tokens
    layers = shape.layers
    a_token = 12 * h + layers * a_layer
    if load.checkpointing:
        a_token = 12 * h + layers * WORD * h + a_layer
    return int(load.texts * load.tokens * a_token)


def _casts(shape: Shape, load: Load) -> int:
    """Return the bytes of the weights in bfloat16, which autocast makes once a step."""
    inner = shape.parameters - shape.vocabulary * shape.hidden
    return 2 * max(0, inner) if load.bfloat16 else 0


def _adapters(shape: Shape, rank: int) -> int:
    """Return the parameters of low-rank adapters on all linear layers."""
    h, i = shape.hidden, shape.intermediate
    feed_forward = (3 if shape.gated else 2) * (h + i)
    return shape.layers * rank * (8 * h + feed_forward)


def shape_of(folder: Path) -> Shape:
    """Return the sizes of the model in a folder; config.json alone is read, and no weights.

    Raises:
        UserError: The configuration is not one of a transformer.
    """
    import torch
    from transformers import AutoConfig, AutoModel

    from clir_cli.retrieval.checkpoints import read_checkpoint

    body = read_checkpoint(folder).body
    try:
        config = AutoConfig.from_pretrained(body, local_files_only=True, trust_remote_code=False)
        with torch.device("meta"):
            model = AutoModel.from_config(config, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{body / 'config.json'}: not a transformer's: {reason}") from None
    counted = (
        value.numel() for name, value in model.named_parameters() if not name.startswith("pooler.")
    )
    dropout = getattr(config, "attention_probs_dropout_prob", None)
    if dropout is None:
        dropout = getattr(config, "attention_dropout", 0.0)
    hidden = int(config.hidden_size)
    return Shape(
        parameters=sum(counted),
        layers=int(config.num_hidden_layers),
        hidden=hidden,
        intermediate=int(getattr(config, "intermediate_size", 4 * hidden)),
        heads=int(getattr(config, "num_attention_heads", 1)),
        vocabulary=int(config.vocab_size),
        gated=int(config.model_type == "modernbert"),
        attention_dropout=int(dropout > 0),
    )


def catalogued(shape: Mapping[str, int]) -> Shape:
    """Return the shape that the catalogue tells of a model."""
    return Shape(**shape)


# ------------------------------------------------------------------ the machine


def free_bytes(device: "torch.device") -> int:
    """Return how much memory a device has left: the GPU's own, or the machine's."""
    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    return min(_machine(), _container())


def _machine() -> int:
    if MEMINFO.is_file():
        for line in MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _container() -> int:
    """Return what the limit of a container leaves; files that it cached can be let go."""
    try:
        limit = (CGROUP / "memory.max").read_text().strip()
        used = int((CGROUP / "memory.current").read_text())
        told = (CGROUP / "memory.stat").read_text().split()
        cached = int(told[told.index("inactive_file") + 1])
    except (OSError, ValueError):
        return 1 << 62
    return int(limit) - used + cached if limit.isdecimal() else 1 << 62
