"""The folder of a multi-vector model, as sentence-transformers 6 and PyLate load it.

A model without centring is written as PyLate saves one: a Transformer and Dense layers, and the
lengths and prompts in config_sentence_transformers.json. Both tools read it and normalise by
themselves. PyLate adds a random projection to a model that has no Dense layer, so that one has the
identity.

A centred model, e = (h / |h| - m) / |h / |h| - m|, is Normalize, Dense with the identity and the
bias -m, Normalize. That is exact. sentence-transformers 6 has these modules; PyLate does not.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from clir_cli.errors import UserError
from clir_cli.foreign import reported
from clir_cli.retrieval.checkpoints import SIDES, TextKind
from clir_cli.retrieval.encoder import Encoder
from clir_cli.retrieval.loading import WITH_POOLER
from clir_cli.retrieval.model_files import (
    AGAIN,
    CONFIG,
    MODULES,
    SENTENCE_TRANSFORMERS,
    TRANSFORMER_OPTIONS,
    WEIGHTS,
)
from clir_cli.retrieval.projection import Projection, orthogonal

TOKENIZER = "tokenizer_config.json"
BOTH = "sentence_transformers.models.Transformer"  # its name in versions 2 to 6
BASE = "sentence_transformers.base.modules"


@dataclass(frozen=True)
class Lengths:
    """The longest query and the longest document, in tokens."""

    query: int
    document: int


def write_model(folder: Path, encoder: Encoder, side: TextKind, lengths: Lengths) -> None:
    """Write a model whose embeddings of ``side`` are the encoder's.

    Raises:
        UserError: It has query expansion or skipped tokens, or its tokenizer has no
            tokenizer.json, which older versions of transformers need.
    """
    text_format = encoder.text_format
    if text_format.expansion or text_format.skipped:
        raise UserError(
            f"{encoder.model.name_or_path}: it has query expansion or skipped tokens, so it is in "
            "a format that these tools load; give them the folder itself"
        )
    encoder.model.save_pretrained(folder)
    _add_pooler(folder, encoder)
    encoder.tokenizer.save_pretrained(folder)
    _for_older_transformers(folder)
    layers = [_dense(encoder.projection, number) for number in range(_depth(encoder))]
    centre = encoder.centres.get(side)
    if centre is None:
        layers = layers or [_added(encoder.dimensions)]
        kinds = ["pylate.models.Dense.Dense"] * len(layers)
    else:
        kinds = [f"{BASE}.dense.Dense"] * len(layers)
        kinds += [f"{BASE}.normalize.Normalize", f"{BASE}.dense.Dense"]
        kinds += ["sentence_transformers.multi_vector_encoder.modules.MultiVectorMask"]
        kinds += [f"{BASE}.normalize.Normalize"]
        layers.append(_added(encoder.dimensions, -centre.cpu()))
    _write_modules(folder, kinds, layers)
    _write_options(folder, encoder, lengths, for_pylate=centre is None)


def _add_pooler(folder: Path, encoder: Encoder) -> None:
    """Write a pooler of zeros where transformers expects one: without it, each load warns."""
    path = folder / WEIGHTS
    if encoder.model.config.model_type not in WITH_POOLER or not path.is_file():
        return
    size = encoder.hidden_size
    pooler = {
        "pooler.dense.weight": torch.zeros(size, size),
        "pooler.dense.bias": torch.zeros(size),
    }
    save_file({**pooler, **load_file(path)}, path, metadata={"format": "pt"})


def _depth(encoder: Encoder) -> int:
    return len(encoder.projection) if encoder.projection is not None else 0


Module = tuple[dict[str, Any], dict[str, Tensor]]  # configuration and weights of a Dense layer


def _dense(projection: Projection | None, number: int) -> Module:
    assert projection is not None
    layer = projection.layers[number]
    activation: type[nn.Module] = getattr(nn, layer.activation)
    config = {
        "in_features": layer.inputs,
        "out_features": layer.outputs,
        "bias": layer.bias,
        "activation_function": f"{activation.__module__}.{activation.__qualname__}",
        "use_residual": layer.residual,
    }
    return config, {name: x.cpu() for name, x in projection[number].state_dict().items()}


def _added(size: int, bias: Tensor | None = None) -> Module:
    """Return the identity (d, d), plus a bias (d,) if there is one."""
    config, weights = _dense(orthogonal(size, size, 0), 0)
    weights["linear.weight"] = torch.eye(size)
    if bias is not None:
        config["bias"], weights["linear.bias"] = True, bias.contiguous()
    return config, weights


def _write_modules(folder: Path, kinds: list[str], layers: list[Module]) -> None:
    modules = [{"idx": 0, "name": "0", "path": "", "type": BOTH}]
    dense = iter(layers)
    for number, kind in enumerate(kinds, start=1):
        name = kind.rsplit(".", 1)[-1]
        path = f"{number}_{name}"
        (folder / path).mkdir()
        modules.append({"idx": number, "name": str(number), "path": path, "type": kind})
        config: Mapping[str, Any] = {}
        if name == "Normalize":
            config = {"module_input_name": "token_embeddings"}
        if name == "MultiVectorMask":
            config = {"skiplist_words": [], "skiplist_tasks": ["document"]}
        if name == "Dense":
            config, weights = next(dense)
            save_file(weights, folder / path / WEIGHTS)
            if not kind.startswith("pylate"):
                config = {**config, "module_input_name": "token_embeddings"}
        _write(folder / path / CONFIG, config)
    _write(folder / MODULES, modules)


def _write_options(folder: Path, encoder: Encoder, lengths: Lengths, *, for_pylate: bool) -> None:
    prompts = {side: encoder.text_format.prefix(side) for side in SIDES}
    options: dict[str, Any] = {"prompts": prompts, "default_prompt_name": None}
    sizes = {"query_length": lengths.query, "document_length": lengths.document}
    body: dict[str, Any] = {"max_seq_length": max(lengths.query, lengths.document)}
    if for_pylate:
        options |= {
            "model_type": "ColBERT",
            "similarity_fn_name": "MaxSim",
            "query_prefix": "",
            "document_prefix": "",
            **sizes,
            "do_query_expansion": False,
            "attend_to_expansion_tokens": False,
            "skiplist_words": [],
        }
    else:
        options |= {"model_type": "MultiVectorEncoder", "similarity_fn_name": "maxsim"}
        body |= sizes
    _write(folder / SENTENCE_TRANSFORMERS, options)
    _write(folder / TRANSFORMER_OPTIONS, {**body, "do_lower_case": False})


def _for_older_transformers(folder: Path) -> None:
    """Let transformers 4.57 read the tokenizer, too: its class has another name there."""
    path = folder / TOKENIZER
    if not (folder / "tokenizer.json").is_file():
        raise UserError(f"{folder.name}: the tokenizer has no tokenizer.json, which is needed")
    with reported(f"{path}: not a tokenizer's", AGAIN):
        config = json.loads(path.read_text(encoding="utf-8"))
        if config.get("tokenizer_class") == "TokenizersBackend":
            config["tokenizer_class"] = "PreTrainedTokenizerFast"
        if isinstance(config.get("extra_special_tokens"), list):  # a table until version 5
            config["additional_special_tokens"] = config.pop("extra_special_tokens")
        for name in ("is_local", "local_files_only", "backend"):  # of the loading, not the model
            config.pop(name, None)
    _write(path, config)


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
