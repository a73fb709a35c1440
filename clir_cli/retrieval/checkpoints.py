"""Formats of checkpoints: how texts become token embeddings beyond a plain transformer.

Four formats, recognised by their files:

- plain: config.json, tokenizer, weights; the last hidden states are the token embeddings.
- multi-vector: modules.json names a Transformer, Dense layers and a MultiVectorMask, as
  sentence-transformers 6 and PyLate write them.
- Stanford ColBERT: the projection is ``linear.weight`` among the weights, the rest is in
  artifact.metadata (Khattab and Zaharia, 2020; Santhanam et al., 2022).
- distilled: the output of ``clir distill``, a plain model with recipe.json beside it.
"""

import json
import string
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from clir_cli.artifacts.manifest import MANIFEST, verify
from clir_cli.errors import UserError
from clir_cli.retrieval.model_files import (
    ARTIFACT,
    CONFIG,
    INDEX,
    MODULES,
    SENTENCE_TRANSFORMERS,
    TEXT_FORMAT,
    TRANSFORMER_OPTIONS,
    WEIGHTS,
    read_keys,
    read_modules,
    shard_names,
)

TextKind = Literal["query", "document", "sentence"]

SIDES: tuple[TextKind, ...] = ("query", "document")
TOKENIZERS = (
    "tokenizer.json",
    "vocab.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
    "spm.model",
    "source.spm",
    "target.spm",
    "vocab.json",
)
# Modules that change no token embedding, or only its length, which is always 1 here.
NO_LAYERS = ("Transformer", "Normalize", "MultiVectorMask")


@dataclass(frozen=True)
class Expansion:
    """Query expansion: a short query is padded to ``length`` tokens, which are scored too.

    Attributes:
        length: Tokens of an expanded query, special tokens included.
        token: Token that is appended; empty for the tokenizer's mask token.
        attended: Whether the other tokens attend to the appended ones.
        fixed: Whether a longer query is truncated to ``length``.
    """

    length: int
    token: str = ""
    attended: bool = False
    fixed: bool = True


@dataclass(frozen=True)
class TextFormat:
    """How a checkpoint preprocesses texts. The default suits a plain transformer.

    Attributes:
        query_prefix: Prefix of queries and sentences.
        document_prefix: Prefix of documents.
        query_length: Longest query in tokens; 0 if the checkpoint does not say.
        document_length: Longest document in tokens; 0 if the checkpoint does not say.
        expansion: Query expansion, if any.
        skipped: Tokens that are encoded but have no embedding, such as punctuation.
        skipped_in: Kinds of text in which they are skipped.
    """

    query_prefix: str = ""
    document_prefix: str = ""
    query_length: int = 0
    document_length: int = 0
    expansion: Expansion | None = None
    skipped: tuple[str, ...] = ()
    skipped_in: tuple[str, ...] = ("document",)

    def prefix(self, kind: TextKind) -> str:
        """Return the prefix of a text of a kind."""
        return self.document_prefix if kind == "document" else self.query_prefix

    def length(self, kind: TextKind) -> int:
        """Return the longest text of a kind in tokens, 0 for no bound (always for sentences)."""
        if kind == "query" and self.expansion and self.expansion.fixed:
            return self.expansion.length
        return {"query": self.query_length, "document": self.document_length}.get(kind, 0)

    def without_lengths(self) -> "TextFormat":
        """Return the text format without its lengths; queries are still filled up to theirs."""
        expansion = self.expansion and replace(self.expansion, fixed=False)
        return replace(self, query_length=0, document_length=0, expansion=expansion)

    def for_student(self) -> "TextFormat":
        """Return the text format of a student: the query prefix alone.

        Expansion tokens belong to no word, so a transport plan cannot align them.
        """
        return TextFormat(query_prefix=self.query_prefix)


@dataclass(frozen=True)
class Layer:
    """Configuration of one linear layer of a projection."""

    inputs: int
    outputs: int
    bias: bool = False
    activation: str = "Identity"
    residual: bool = False


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a model's folder.

    Attributes:
        folder: The model's folder.
        body: Folder with config.json, tokenizer and weights of the transformer.
        text_format: How texts are preprocessed.
        layers: Layers of the projection, each with the folder of its weights.
        stanford: Whether the projection is among the weights of the transformer.
        markers: Whether the prefixes are tokens of the vocabulary that the tokenizer would split.
    """

    folder: Path
    body: Path
    text_format: TextFormat
    layers: tuple[tuple[Layer, Path], ...] = ()
    stanford: bool = False
    markers: bool = False


def read_checkpoint(folder: Path) -> Checkpoint:
    """Return the format of a model's folder; only small JSON files are read.

    The files of a model that clir fetched or made are verified first.

    Raises:
        UserError: The model needs its own code, a module is unknown, or a file is damaged.
    """
    if (folder / MANIFEST).exists():
        verify(folder)
    config, modules = read_keys(folder / CONFIG), read_modules(folder)
    settings = read_keys(folder / SENTENCE_TRANSFORMERS)
    if (folder / TEXT_FORMAT).is_file():
        prefixes = read_keys(folder / TEXT_FORMAT)
        query, document = (prefixes.get(f"{side}_prefix") or "" for side in SIDES)
        checkpoint = Checkpoint(folder, folder, TextFormat(query, document))
    elif modules and _is_multi_vector(modules, settings):
        checkpoint = _multi_vector(folder, modules, settings)
    elif (folder / ARTIFACT).is_file() or "HF_ColBERT" in (config.get("architectures") or ()):
        checkpoint = _stanford(folder)
    else:
        checkpoint = Checkpoint(folder, folder, TextFormat())
    _refuse_code(checkpoint.body)
    return checkpoint


def described_by(folder: Path) -> list[Path]:
    """Return the files, beyond those of a plain model, that the token embeddings depend on."""
    if not (folder / MODULES).is_file() and not (folder / ARTIFACT).is_file():
        return []
    checkpoint = read_checkpoint(folder)
    if checkpoint.text_format == TextFormat() and not checkpoint.layers:
        return []
    folders = {part for _, part in checkpoint.layers} | {checkpoint.body}
    folders |= {folder / path for _, path in read_modules(folder)}
    inner = [file for inside in folders - {folder} for file in sorted(inside.glob("*"))]
    return [file for file in (folder / ARTIFACT, *inner) if file.is_file()]


def _refuse_code(body: Path) -> None:
    config = read_keys(body / CONFIG)
    auto_map = config.get("auto_map") or {}
    if not auto_map:
        return
    from transformers import CONFIG_MAPPING

    if config.get("model_type") not in CONFIG_MAPPING:
        code = next(iter(auto_map.values()))
        raise UserError(
            f"{body}: the model is code of its own ({code}), and remote code is never run; choose "
            "one of an architecture that transformers has (clir ls models)"
        )


def write_text_format(folder: Path, text_format: TextFormat) -> None:
    """Write recipe.json with the prefixes beside a model; one without any needs none."""
    prefixes = {f"{side}_prefix": text_format.prefix(side) for side in SIDES}
    prefixes = {name: prefix for name, prefix in prefixes.items() if prefix}
    if prefixes:
        (folder / TEXT_FORMAT).write_text(json.dumps(prefixes) + "\n", encoding="utf-8")


# ------------------------------------------------------------------ Stanford ColBERT


def _stanford(folder: Path) -> Checkpoint:
    settings = read_keys(folder / ARTIFACT)
    length = settings.get("query_maxlen") or 32
    text_format = TextFormat(
        query_prefix=f"{settings.get('query_token_id') or '[unused0]'} ",
        document_prefix=f"{settings.get('doc_token_id') or '[unused1]'} ",
        document_length=settings.get("doc_maxlen") or 0,
        expansion=Expansion(length, attended=bool(settings.get("attend_to_mask_tokens"))),
        skipped=tuple(string.punctuation) if settings.get("mask_punctuation", True) else (),
    )
    return Checkpoint(folder, folder, text_format, stanford=True, markers=True)


# ------------------------------------------------------------------ multi-vector modules


def _is_multi_vector(modules: list[tuple[str, str]], settings: dict[str, Any]) -> bool:
    if settings.get("model_type") in ("MultiVectorEncoder", "ColBERT"):
        return True
    types = [name for name, _ in modules]
    return any(name.startswith("pylate.") or name.endswith("MultiVectorMask") for name in types)


def _multi_vector(
    folder: Path, modules: list[tuple[str, str]], settings: dict[str, Any]
) -> Checkpoint:
    named = [(name.rsplit(".", 1)[-1], folder / path) for name, path in modules]
    for name, path in named:
        if name not in (*NO_LAYERS, "Dense"):
            raise UserError(
                f"{path}: module {name} is not one that clir knows; known: "
                f"{', '.join((*NO_LAYERS, 'Dense'))}"
            )
    order = [name for name, _ in named if name in ("Normalize", "Dense")]
    if "Normalize" in order and "Dense" in order[order.index("Normalize") :]:
        raise UserError(
            f"{folder}: it normalises before a Dense layer, as an exported centred model does; "
            "not supported, take the model that it was exported from"
        )
    folders = dict(named)
    if "Transformer" not in folders:
        raise UserError(f"{folder / MODULES}: names no Transformer module")
    body, masking = folders["Transformer"], folders.get("MultiVectorMask")
    mask = read_keys(masking / CONFIG) if masking else {}
    if mask.get("keep_only_token_ids"):
        raise UserError(f"{masking}: keeps only some tokens, as for images; not supported")
    words = (mask if masking else settings).get("skiplist_words")
    if not masking and words is None:  # PyLate before 4 skips punctuation
        words = string.punctuation
    options = {**_legacy(settings), **read_keys(body / TRANSFORMER_OPTIONS)}
    text_format = TextFormat(
        query_prefix=_prefix(settings, "query"),
        document_prefix=_prefix(settings, "document"),
        query_length=options.get("query_length") or 0,
        document_length=options.get("document_length") or 0,
        expansion=_expansion(folder, options.get("query_expansion")),
        skipped=tuple(words or ()),
        skipped_in=tuple(mask.get("skiplist_tasks") or ("document",)),
    )
    layers = tuple((_dense(path), path) for name, path in named if name == "Dense")
    markers = "query_prefix" in settings or "document_prefix" in settings
    return Checkpoint(folder, body, text_format, layers, markers=markers)


def _prefix(settings: dict[str, Any], side: str) -> str:
    """Return the prefix of queries or documents: PyLate's marker, then the prompt."""
    marker = settings.get(f"{side}_prefix") or ""
    prompt = (settings.get("prompts") or {}).get(side) or ""
    return marker + prompt.removeprefix(marker)


def _legacy(settings: dict[str, Any]) -> dict[str, Any]:
    """Return lengths and expansion as PyLate before 4 has them, at the top level."""
    flat = ("query_length", "document_length", "do_query_expansion", "query_prefix")
    options = {name: settings[name] for name in flat[:2] if settings.get(name) is not None}
    if "query_expansion" in settings:
        options["query_expansion"] = settings["query_expansion"]
    elif any(name in settings for name in (*flat, "document_prefix", "skiplist_words")):
        options["query_expansion"] = None
        if settings.get("do_query_expansion") is not False:
            options["query_expansion"] = {
                "strategy": "fixed",
                "attend": bool(settings.get("attend_to_expansion_tokens")),
                "length": options.pop("query_length", None) or 32,
            }
    return options


def _expansion(folder: Path, options: dict[str, Any] | None) -> Expansion | None:
    if not options:
        return None
    strategy = options.get("strategy")
    if strategy not in ("fixed", "min"):
        raise UserError(f"{folder}: query expansion {strategy!r} is not known")
    token, attended = options.get("token") or "", bool(options.get("attend"))
    return Expansion(options["length"], token, attended, strategy == "fixed")


def _dense(folder: Path) -> Layer:
    config = read_keys(folder / CONFIG)
    if not {"in_features", "out_features"} <= config.keys():
        raise UserError(f"{folder / CONFIG}: in_features or out_features is missing")
    activation = config.get("activation_function", "torch.nn.modules.activation.Tanh")
    if not activation.startswith("torch.nn."):
        raise UserError(f"{folder}: activation {activation} is code of its own, which is never run")
    name, residual = activation.rsplit(".", 1)[-1], bool(config.get("use_residual"))
    sizes = config["in_features"], config["out_features"]
    return Layer(*sizes, bool(config.get("bias", True)), name, residual)


# ------------------------------------------------------------------ weights


def weight_files(folder: Path) -> Iterator[Path]:
    """Yield the safetensors files of a transformer, all shards of it."""
    if (folder / INDEX).is_file():
        yield from (folder / name for name in shard_names(folder))
    elif (folder / WEIGHTS).is_file():
        yield folder / WEIGHTS
