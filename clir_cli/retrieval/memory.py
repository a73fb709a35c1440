"""Memory that training and encoding need, estimated before any weights are loaded.

Weights, gradients and the two moments of AdamW are counted: 4 bytes each, 16 a parameter. For
activations there is a plain allowance, which is close for encoders like BERT (the feed-forward part
4 times as wide as the hidden states) and within a factor of 2 for ModernBERT.
"""

import math
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clir_cli.retrieval.checkpoints import read_checkpoint, weight_files
from clir_cli.retrieval.model_files import read_header

if TYPE_CHECKING:
    import torch

PROCESS = 700_000_000  # bytes of an interpreter with torch, a collection and a tokenizer
WORD = 4  # bytes of a float32
UNUSED = ("pooler.", "cls.", "lm_head.")  # weights of a checkpoint that are not loaded
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class ModelSize:
    """Parameters and layers of a transformer, and the size of hidden states and vocabulary."""

    parameters: int
    layers: int
    hidden: int
    vocabulary: int


@dataclass(frozen=True)
class Load:
    """How a model is used: ``texts`` of ``tokens`` tokens each at once, and what saves memory.

    ``similarities`` are those of query and document tokens that a loss holds at once; ``predicted``
    is the share of tokens for which it holds scores of the whole vocabulary.
    """

    texts: int
    tokens: int
    bfloat16: bool = False
    checkpointing: bool = False
    lora_rank: int = 0
    freeze: str = ""
    similarities: int = 0
    predicted: float = 0


@dataclass(frozen=True)
class Estimate:
    """Bytes by purpose; ``optimizer`` holds the gradients and AdamW's moments.

    A batch is computed in ``parts``, one after another.
    """

    weights: int
    optimizer: int
    activations: int
    parts: int = 1

    @property
    def total(self) -> int:
        """Return the sum."""
        return self.weights + self.optimizer + self.activations

    def on_host(self, device: str) -> int:
        """Return the bytes of the machine's memory, of which a GPU spares all but the weights."""
        return self.weights if device == "cuda" else self.total

    def __str__(self) -> str:
        optimizer = f", gradients and AdamW {size(self.optimizer)}" if self.optimizer else ""
        inner = f"weights {size(self.weights)}{optimizer}, activations {size(self.activations)}"
        return f"{size(self.total)} ({inner})"


def size(count: float) -> str:
    """Return a number of bytes as text.

    >>> size(1_500_000_000)
    '1.5 GB'
    """
    return f"{count / 1e9:.1f} GB" if count >= 0.95e9 else f"{count / 1e6:.0f} MB"


def training(model: ModelSize, load: Load) -> Estimate:
    """Return the memory of a training step on a batch of the longest texts."""
    adapters = 18 * load.lora_rank * model.hidden * model.layers  # on all linear layers
    frozen = frozen_layers(load.freeze)
    body = max(0, model.parameters - model.vocabulary * model.hidden)
    trained = adapters or (body if load.freeze else model.parameters)
    trained = trained * (model.layers - frozen) // model.layers
    # Numbers that autograd keeps for each token, layer and hidden unit; attention grows with n.
    a_layer = (18 + load.tokens / 16) * (0.75 if load.bfloat16 else 1)
    count = model.layers - frozen
    layers = count + a_layer if load.checkpointing else count * a_layer
    kept = 3 + layers  # 3 of the embeddings
    tokens = load.texts * load.tokens
    # Each score of a loss thrice: itself, its masked or normalised form, and the gradient.
    scores = 3 * (load.similarities + load.predicted * tokens * model.vocabulary)
    activations = int((tokens * kept * model.hidden + scores) * WORD)
    weights = _weight_bytes(load) * (model.parameters + adapters)
    return Estimate(weights, 3 * WORD * trained, activations)


def frozen_layers(what: str) -> int:
    """Return N of ``training.freeze=layers:N``, else 0."""
    return int(what.partition(":")[2] or 0)


def encoding(model: ModelSize, load: Load) -> Estimate:
    """Return the memory of encoding: no gradients, and the activations of one layer."""
    width = WORD // 2 if load.bfloat16 else WORD
    activations = load.texts * load.tokens * 16 * model.hidden * width
    return Estimate(_weight_bytes(load) * model.parameters, 0, activations)


def _weight_bytes(load: Load) -> int:
    return WORD + (WORD // 2 if load.bfloat16 else 0)  # autocast keeps a copy in bfloat16


def size_of(folder: Path) -> ModelSize:
    """Return the size of the model in a folder, from its configuration and file headers."""
    from clir_cli.retrieval.loading import load_config

    body = read_checkpoint(folder).body
    config = load_config(body)
    parameters = listed_parameters(body)
    if not parameters:  # pickled weights, where the user allows them
        parameters = sum(path.stat().st_size for path in body.glob("*.bin")) // WORD
    shape = config.num_hidden_layers, config.hidden_size, config.vocab_size
    return ModelSize(parameters, *shape)


def listed_parameters(body: Path) -> int:
    """Return the number of parameters that the weights of a folder list in their headers."""
    return sum(map(_parameters, weight_files(body)))


def _parameters(path: Path) -> int:
    """Return the parameters that the header of a safetensors file lists; 0 if it is damaged."""
    try:
        return sum(
            math.prod(entry["shape"])
            for name, entry in read_header(path).items()
            if not name.startswith(UNUSED) and not name.endswith("position_ids")
        )
    except (KeyError, TypeError):
        return 0


def free_bytes(device: "torch.device") -> int:
    """Return how much memory a device has left: the GPU's own, or the machine's."""
    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    return free_on_host()


def free_on_host() -> int:
    """Return how much of the machine's memory is left, within the limit of a container."""
    free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, KeyError):
        fields = dict(line.split(":") for line in MEMINFO.read_text().splitlines())
        free = int(fields["MemAvailable"].split()[0]) * 1024
    # The limit of a container, or "max"; the files that it caches can be dropped.
    with suppress(OSError, ValueError):
        limit = int((CGROUP / "memory.max").read_text())
        used = int((CGROUP / "memory.current").read_text())
        statistics = (CGROUP / "memory.stat").read_text().split()
        cached = int(statistics[statistics.index("inactive_file") + 1])
        free = min(free, limit - used + cached)
    return free
