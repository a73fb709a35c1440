"""Loading tokenizer and transformer: safetensors only, no remote code, no missing weights."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch
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

from clir_cli.errors import UserError
from clir_cli.foreign import reported
from clir_cli.retrieval.checkpoints import TOKENIZERS, Checkpoint, weight_files
from clir_cli.retrieval.memory import frozen_layers, listed_parameters
from clir_cli.retrieval.model_files import AGAIN, CONFIG, read_header

SENTENCEPIECE = ("sentencepiece", "google.protobuf")  # what reads the files of the first
FLOATS = ("F16", "BF16", "F32", "F64")
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
    config, tokenizer = load_config(folder), load_tokenizer(folder)
    pooled = {"add_pooling_layer": False} if config.model_type in WITH_POOLER else {}
    model = load_weights(AutoModel, folder, config, pickled, **pooled)
    with reported(f"{folder}: the tokenizer does not work", AGAIN):
        if checkpoint.markers:
            _add_markers(tokenizer, checkpoint)
        check_rows(checkpoint.folder, tokenizer, embedding_table(model).num_embeddings)
    return tokenizer, model


def load_config(folder: Path) -> PretrainedConfig:
    """Load the configuration of a transformer.

    Raises:
        UserError: It is missing or damaged, or it is not of a text encoder, as an
            encoder-decoder's is not.
    """
    with reported(f"{folder / CONFIG}: not a transformer's", AGAIN):
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if config.is_encoder_decoder:
        raise UserError(
            f"{folder}: {config.model_type} is an encoder-decoder, which translates (nmt.model); "
            "teacher and student are encoders, choose one (clir ls models)"
        )
    for name, most in (("hidden_size", 1 << 17), ("num_hidden_layers", 1 << 10)):
        value = getattr(config, name, None)
        if type(value) is not int or not 0 < value < most:
            raise UserError(
                f"{folder / CONFIG}: {name} is {value!r}, not a number from 1 to {most:,}; it is "
                "not of a text encoder, or damaged"
            )
    return config


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a folder.

    Raises:
        UserError: It is missing (transformers then makes an empty one), damaged or empty, or is
            sentencepiece's alone and that is not installed.
    """
    remedy = "put there what the tokenizer's save_pretrained writes"
    # Without it transformers names another package, or none.
    if not (folder / TOKENIZERS[0]).is_file() and not all(map(_is_installed, SENTENCEPIECE)):
        pieces = [path.name for pattern in ("*.spm", "*.model") for path in folder.glob(pattern)]
        if pieces:
            raise UserError(
                f"{folder}: its tokenizer is a file of sentencepiece ({min(pieces)}); to read it: "
                "pip install 'clir-cli[sentencepiece]'"
            )
    with reported(f"{folder}: the tokenizer cannot be loaded", remedy):
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        files = tokenizer.vocab_files_names.values()  # none, if characters or bytes are the tokens
        if files and not any((folder / name).is_file() for name in {*files, *TOKENIZERS}):
            raise UserError(f"{folder}: no tokenizer ({', '.join(TOKENIZERS)}); {remedy}")
        if len(tokenizer) <= len(tokenizer.all_special_ids):
            raise UserError(f"{folder}: the tokenizer has no tokens but special ones; {remedy}")
    return tokenizer


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # of the package that it is in
        return False


def load_weights(
    auto_class: Any, folder: Path, config: PretrainedConfig, pickled: str = "", **options: Any
) -> PreTrainedModel:
    """Load a model from safetensors, or the pickle that the user named, in float32 on the CPU.

    ``pickled`` names a file with pickled weights that is allowed where there are no safetensors;
    ``options`` are further arguments of the model, which is an ``auto_class``.

    Raises:
        UserError: The weights are missing, damaged, not finite, or of another model.
    """
    options = {**options, "config": config, "dtype": torch.float32}
    with reported(f"{folder}: the model cannot be loaded", AGAIN):
        with torch.device("meta"):  # only to know class and size; nothing is allocated
            empty = auto_class.from_config(trust_remote_code=False, **options)
        listed = listed_parameters(folder)
        described = empty.num_parameters(only_trainable=True)  # positions by sine are not stored
        if 0 < 2 * listed < described:
            raise UserError(
                f"{folder}: {CONFIG} describes a {config.model_type} of {described:,} "
                f"parameters and the weights have {listed:,}; they belong to different models"
            )
        options |= {"output_loading_info": True, "ignore_mismatched_sizes": True}
        if any(weight_files(folder)) or not pickled:
            model, report = auto_class.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, use_safetensors=True,
                **options,
            )  # fmt: skip
        else:
            state = read_pickled(folder / pickled)
            model, report = type(empty).from_pretrained(None, state_dict=state, **options)
    _refuse_other_weights(folder, model, report)
    return model


def _refuse_other_weights(folder: Path, model: PreTrainedModel, report: dict[str, Any]) -> None:
    kind = model.config.model_type
    if missing := sorted(name for name in report["missing_keys"] if "pooler" not in name):
        raise UserError(
            f"{folder}: the weights lack {missing[0]} and {len(missing) - 1} others of a {kind}; "
            "they belong to another architecture"
        )
    if mismatched := sorted(report["mismatched_keys"]):
        name, shape, expected = mismatched[0]
        raise UserError(
            f"{folder}: {name} is {tuple(shape)} among the weights and {tuple(expected)} by "
            f"{CONFIG}, and {len(mismatched) - 1} others differ; they belong to different models"
        )
    types = {
        name: str(entry.get("dtype"))
        for path in weight_files(folder)
        for name, entry in read_header(path).items()
        if name.endswith((".weight", ".bias")) and name not in report["unexpected_keys"]
    }
    for name, dtype in types.items():
        if dtype not in FLOATS:
            raise UserError(
                f"{folder}: {name} is stored as {dtype}; take weights that are not quantised"
            )
    for name, weight in model.named_parameters():
        if not weight.sum().isfinite():
            raise UserError(f"{folder}: {name} is not finite (NaN or infinity); take other weights")


def read_pickled(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a pickled state; no other object in it is built.

    Raises:
        UserError: It is missing, damaged, or holds more than tensors.
    """
    problem = f"{path}: cannot be read as pickled weights, or holds more than tensors"
    with reported(problem, "take a model with safetensors"):
        state = torch.load(path, map_location="cpu", weights_only=True)
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


def replace_table(model: PreTrainedModel, weight: torch.Tensor) -> None:
    """Let the vocabulary have the embeddings (tokens, dimensions), which are not copied."""
    padding = embedding_table(model).padding_idx
    rows, dimensions = weight.shape
    model.set_input_embeddings(nn.Embedding(rows, dimensions, padding, _weight=weight))
    model.config.vocab_size = len(weight)


def layer_stack(model: PreTrainedModel, count: int, setting: str) -> tuple[str, nn.ModuleList]:
    """Return the layers of a transformer, and their name, for a setting that names ``count``.

    Raises:
        UserError: It has fewer, or an unknown architecture.
    """
    total = model.config.num_hidden_layers
    if count > total:
        raise UserError(f"{setting} is {count} and the model has {total}; choose fewer")
    stacks = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == total
    ]
    if len(stacks) != 1:
        kind = model.config.model_type
        raise UserError(f"{setting}: the layers of a {kind} are not known; leave it at its default")
    return stacks[0]


def freeze(model: PreTrainedModel, what: str) -> None:
    """Train no token embeddings, or only what follows the first N layers, in place.

    Args:
        model: A transformer.
        what: ``embeddings``, ``layers:N``, or nothing, as ``training.freeze``.

    Raises:
        UserError: It has fewer layers.
    """
    trained: set[nn.Parameter] = set()
    if count := frozen_layers(what):
        _, layers = layer_stack(model, count, "training.freeze=layers")
        trained.update(layers[count:].parameters())
    frozen = model if count else embedding_table(model) if what else nn.Module()
    for value in frozen.parameters():
        if value not in trained:
            value.requires_grad_(False)


def check_rows(folder: Path, tokenizer: PreTrainedTokenizerBase, rows: int) -> None:
    """Check that each token of a tokenizer has an embedding of its own.

    Raises:
        UserError: It has more tokens than the model has embedding rows, or two with the same id.
    """
    ids = tokenizer.get_vocab().values()
    count = max(len(tokenizer), 1 + max(ids, default=0))
    if count > rows:
        raise UserError(
            f"{folder}: the tokenizer has {count} tokens and the model {rows} embedding rows; they "
            "belong to different models, take both from one checkpoint"
        )
    if shared := len(ids) - len(set(ids)):
        raise UserError(
            f"{folder}: {shared} ids of the tokenizer belong to two tokens, as when the vocabulary "
            "lacks special tokens; take the tokenizer of one checkpoint"
        )
