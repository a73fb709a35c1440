"""Low-rank adapters (Hu et al., LoRA, 2021) by peft: fewer weights are trained.

Each linear layer W learns W + (2/r) B A with A (r, in) and B (out, r); B starts at zero. After
training the product is added to W, so a student is an ordinary model again.
"""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from torch import nn
from transformers import PreTrainedModel

from clir_cli.errors import UserError
from clir_cli.foreign import reported
from clir_cli.retrieval.encoder import Encoder


def with_adapters(encoder: Encoder, rank: int, new_rows: Sequence[int] = ()) -> Encoder:
    """Return an encoder that trains only adapters, new token embeddings and the projection.

    The model is changed in place; the embeddings of ``new_rows`` (token ids) are trained as well.

    Raises:
        UserError: peft is not installed, or does not know the architecture.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise UserError(
            "training.lora_rank needs peft: pip install 'clir-cli[lora]', or set it to 0"
        ) from None
    names = [name for name, part in encoder.model.named_modules() if isinstance(part, nn.Linear)]
    rows: dict[str, Any] = {}
    if new_rows:
        rows["trainable_token_indices"] = {_embeddings(encoder.model): list(new_rows)}
    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=names, **rows)
    kind = encoder.model.config.model_type
    failed = reported(f"a {kind} gets no adapters", "set training.lora_rank to 0")
    with failed, warnings.catch_warnings():  # peft uses a deprecated name of transformers
        warnings.simplefilter("ignore", FutureWarning)
        model = cast(PreTrainedModel, get_peft_model(encoder.model, config))
    return replace(encoder, model=model)


def merged(encoder: Encoder) -> Encoder:
    """Return the encoder with its adapters added to the weights: an ordinary model."""
    return replace(encoder, model=cast(Any, encoder.model).merge_and_unload())


def _embeddings(model: PreTrainedModel) -> str:
    """Return the last part of the embedding table's name, which peft expects."""
    table = model.get_input_embeddings()
    return next(name for name, part in model.named_modules() if part is table).rsplit(".", 1)[-1]
