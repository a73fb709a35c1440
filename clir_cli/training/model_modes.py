"""How a model is trained: without dropout, with activations computed again, by which attention."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import PreTrainedModel

from clir_cli.foreign import reported
from clir_cli.retrieval.encoder import Encoder


def remove_dropout(model: nn.Module) -> None:
    """Set all dropout of a model to 0, in place, its config aside."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name, value in vars(module).items():  # for torch.nn.functional.dropout
            if "drop" in name and isinstance(value, float):
                setattr(module, name, 0.0)


def attention_of_training(encoder: Encoder) -> AbstractContextManager[None]:
    """Return the context in which attention is trained: its kernel.

    On a CPU in bfloat16 torch's fused kernel is slow backwards: for texts of up to 256 tokens plain
    products compute the gradient in a half to a fifth of its time (2 cores, AVX-512).
    """
    is_slow = encoder.device.type == "cpu" and encoder.precision == torch.bfloat16
    return sdpa_kernel(SDPBackend.MATH) if is_slow else nullcontext()


def recompute_activations(model: PreTrainedModel) -> None:
    """Keep only the input of each layer, and compute the rest again in the backward pass.

    Raises:
        UserError: The architecture cannot.
    """
    # transformers renamed it within its fifth version; the old name warns where the new one is.
    enable = getattr(model, "activation_checkpointing_enable", None)
    with reported("training.gradient_checkpointing", "set it to false for this model"):
        (enable or model.gradient_checkpointing_enable)({"use_reentrant": False})
