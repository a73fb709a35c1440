"""Loading tokenizer and transformer: safetensors only, no remote code, no missing weights."""

from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AddedToken,
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from clir_cli.errors import UserError, first_line
from clir_cli.retrieval.checkpoints import TOKENIZERS, Checkpoint, weight_files

# The pooler is not used, and some checkpoints lack it.
WITH_POOLER = ("bert", "roberta", "xlm-roberta", "xlm-roberta-xl", "camembert")


def load_transformer(
    checkpoint: Checkpoint, pickled: str = ""
) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    """Load tokenizer and transformer of a checkpoint, in float32 on the CPU.

    Raises:
        UserError: One is missing or damaged, lacks weights, or they belong to different models.
    """
    folder = checkpoint.body
    tokenizer = load_tokenizer(folder)
    config = load_config(folder)
    try:
        model, report = _load_weights(folder, config, pickled)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise UserError(f"{folder}: the model cannot be loaded: {first_line(error)}") from None
    missing = sorted(name for name in report["missing_keys"] if "pooler" not in name)
    if missing:
        raise UserError(
            f"{folder}: the weights lack {missing[0]} and {len(missing) - 1} others of a "
            f"{config.model_type}; they belong to another architecture"
        )
    if checkpoint.markers:
        _add_markers(tokenizer, checkpoint)
    check_rows(checkpoint.folder, tokenizer, embedding_table(model).num_embeddings)
    return tokenizer, model


def load_config(folder: Path) -> PretrainedConfig:
    """Load the configuration of a transformer.

    Raises:
        UserError: It is missing or damaged.
    """
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{folder / 'config.json'}: not a transformer's: {first_line(error)}"
        ) from None


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a folder.

    Raises:
        UserError: It is missing (transformers then makes an empty one) or damaged.
    """
    remedy = "put there what the tokenizer's save_pretrained writes"
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise UserError(
            f"{folder}: the tokenizer cannot be loaded: {first_line(error)}; {remedy}"
        ) from None
    files = tokenizer.vocab_files_names.values()  # none, if characters or bytes are the tokens
    if files and not any((folder / name).is_file() for name in {*files, *TOKENIZERS}):
        raise UserError(f"{folder}: no tokenizer ({', '.join(TOKENIZERS)}); {remedy}")
    return tokenizer


def _load_weights(
    folder: Path, config: PretrainedConfig, pickled: str
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Return the model and transformers' report, from safetensors or the pickle the user named."""
    pooled = {"add_pooling_layer": False} if config.model_type in WITH_POOLER else {}
    shared = {"config": config, "dtype": torch.float32, "output_loading_info": True, **pooled}
    if any(weight_files(folder)) or not pickled:
        return AutoModel.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, **shared
        )
    state = read_pickled(folder / pickled)
    with torch.device("meta"):  # only to know the class; nothing is allocated
        model_class = type(AutoModel.from_config(config, trust_remote_code=False, **pooled))
    return model_class.from_pretrained(None, state_dict=state, **shared)


def read_pickled(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a pickled state; no other object in it is built.

    Raises:
        UserError: It is missing, damaged, or holds more than tensors.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise UserError(f"{path}: cannot be read as pickled weights: {first_line(error)}") from None
    except Exception as error:  # UnpicklingError, and whatever a hostile file can cause
        raise UserError(
            f"{path}: holds more than tensors ({type(error).__name__}), and is not read; take a "
            "model with safetensors"
        ) from None
    if not isinstance(state, dict) or not all(isinstance(x, torch.Tensor) for x in state.values()):
        raise UserError(f"{path}: holds more than tensors, and is not read")
    return state


def _add_markers(tokenizer: PreTrainedTokenizerBase, checkpoint: Checkpoint) -> None:
    """Make the markers of old checkpoints special tokens, so that the tokenizer keeps them whole.

    Their training inserted the markers as token ids ([unused0]). A prefix that is no token of the
    vocabulary stays ordinary text.
    """
    text_format = checkpoint.text_format
    vocabulary = tokenizer.get_vocab()
    for prefix in (text_format.query_prefix, text_format.document_prefix):
        for marker in (prefix, *prefix.split()[:1]):
            if marker in vocabulary:
                if tokenizer.tokenize(marker) != [marker]:
                    tokenizer.add_tokens(AddedToken(marker, normalized=False, special=True), True)
                break


def embedding_table(model: PreTrainedModel) -> nn.Embedding:
    """Return the embeddings of the vocabulary; their weight is (tokens, dimensions)."""
    return cast(nn.Embedding, model.get_input_embeddings())


def check_rows(folder: Path, tokenizer: PreTrainedTokenizerBase, rows: int) -> None:
    """Check that a tokenizer has at most as many tokens as the model has embedding rows.

    Raises:
        UserError: It has more.
    """
    if len(tokenizer) > rows:
        raise UserError(
            f"{folder}: the tokenizer has {len(tokenizer)} tokens and the model {rows} embedding "
            "rows; they belong to different models, take both from one checkpoint"
        )
