"""What a checkpoint says of itself: how texts become token embeddings beyond a plain transformer.

Four formats, told apart by their files:

- plain: config.json, tokenizer, weights; the last hidden states are the token embeddings.
- multi-vector: modules.json names a Transformer, Dense layers and a MultiVectorMask, as
  sentence-transformers 6 and PyLate write them.
- Stanford ColBERT: the projection is ``linear.weight`` among the weights, the rest stands in
  artifact.metadata (Khattab and Zaharia, 2020; Santhanam et al., 2022).
- distilled: what ``clir distill`` leaves, a plain model with recipe.json beside it.
"""

import json
import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from clir_cli.errors import UserError

TextKind = Literal["query", "document", "sentence"]

TEXT_FORMAT = "recipe.json"
ARTIFACT = "artifact.metadata"
MODULES = "modules.json"
SENTENCE_TRANSFORMERS = "config_sentence_transformers.json"
# Modules that change no token embedding, or only its length, which is always one here.
SILENT = ("Transformer", "Normalize", "MultiVectorMask")


@dataclass(frozen=True)
class Expansion:
    """Query expansion: a short query is filled up to ``length`` tokens, which are scored too.

    Attributes:
        length: Tokens of an expanded query, special tokens included.
        token: What fills it up; empty for the tokenizer's mask token.
        attended: Whether the other tokens see the filling.
        fixed: Whether a longer query is cut to ``length``.
    """

    length: int
    token: str = ""
    attended: bool = False
    fixed: bool = True


@dataclass(frozen=True)
class TextFormat:
    """How a checkpoint treats texts. The default is that of a plain transformer.

    Attributes:
        query_prefix: Put before a query, and before a sentence that is read as one.
        document_prefix: Put before a document.
        query_length: Longest query in tokens; 0 where the checkpoint does not say.
        document_length: The same for documents.
        expansion: Of queries, if any.
        skipped: Tokens that are read but have no embedding, such as punctuation.
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
        """Return what stands before a text of a kind."""
        return self.document_prefix if kind == "document" else self.query_prefix

    def length(self, kind: TextKind) -> int:
        """Return the longest text of a kind in tokens, 0 for no bound.

        A sentence of a bitext is read with the query's prefix, but is not cut as short: queries are
        short by nature, and sentences are not.
        """
        if kind == "query" and self.expansion and self.expansion.fixed:
            return self.expansion.length
        return {"query": self.query_length, "document": self.document_length}.get(kind, 0)

    def for_student(self) -> "TextFormat":
        """Return the text format of a student: the query's prefix, and nothing else.

        A student learns where the tokens of a sentence stand. Tokens of expansion belong to no
        word, so the transport would have nothing to say of them, and they are left out.
        """
        return TextFormat(query_prefix=self.query_prefix)


@dataclass(frozen=True)
class Layer:
    """One linear layer of a projection, as a configuration: sizes, and what comes after it."""

    inputs: int
    outputs: int
    bias: bool = False
    activation: str = "Identity"
    residual: bool = False


@dataclass(frozen=True)
class Checkpoint:
    """What lies in a model's folder.

    Attributes:
        folder: The model's folder.
        body: The folder with config.json, tokenizer and weights of the transformer.
        text_format: How texts are treated.
        layers: The projection's layers with the folder of their weights.
        markers: Whether the prefixes are tokens of the vocabulary that the tokenizer would cut.
    """

    folder: Path
    body: Path
    text_format: TextFormat
    layers: tuple[tuple[Layer, Path], ...] = ()
    stanford: bool = False
    markers: bool = False


def read_checkpoint(folder: Path) -> Checkpoint:
    """Return what a model's folder says of itself; nothing but small JSON files is read.

    Raises:
        UserError: Code of its own, a module that clir does not know, or unreadable JSON.
    """
    config = _json(folder / "config.json")
    modules = _json(folder / MODULES) if (folder / MODULES).is_file() else []
    settings = _json(folder / SENTENCE_TRANSFORMERS)
    if (folder / TEXT_FORMAT).is_file():
        found = Checkpoint(folder, folder, _distilled(_json(folder / TEXT_FORMAT)))
    elif modules and _is_multi_vector(modules, settings):
        found = _multi_vector(folder, modules, settings)
    elif (folder / ARTIFACT).is_file() or "HF_ColBERT" in (config.get("architectures") or ()):
        found = _stanford(folder)
    else:
        found = Checkpoint(folder, folder, TextFormat())
    _refuse_code(found.body)
    return found


def described_by(folder: Path) -> list[Path]:
    """Return the files beyond a plain model's that decide about the token embeddings."""
    if not (folder / MODULES).is_file() and not (folder / ARTIFACT).is_file():
        return []
    checkpoint = read_checkpoint(folder)
    if checkpoint.text_format == TextFormat() and not checkpoint.layers:
        return []
    folders = {part for _, part in checkpoint.layers} | {checkpoint.body}
    if (folder / MODULES).is_file():
        folders |= {folder / entry.get("path", "") for entry in _json(folder / MODULES)}
    inner = [file for each in folders - {folder} for file in sorted(each.glob("*"))]
    return [file for file in (folder / ARTIFACT, *inner) if file.is_file()]


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable as JSON ({error}); fetch the model again") from None


def _refuse_code(body: Path) -> None:
    """Refuse a model whose code lies beside its weights: it is never run."""
    config = _json(body / "config.json")
    own = config.get("auto_map") or {}
    if not own:
        return
    from transformers import CONFIG_MAPPING

    if config.get("model_type") not in CONFIG_MAPPING:
        code = next(iter(own.values()))
        raise UserError(
            f"{body}: the model is code of its own ({code}), and remote code is never run; choose "
            "one of an architecture that transformers has (clir ls models)"
        )


# ------------------------------------------------------------------ distilled students


def _distilled(told: dict[str, Any]) -> TextFormat:
    return TextFormat(query_prefix=str(told.get("query_prefix", "")))


def write_text_format(folder: Path, text_format: TextFormat) -> None:
    """Write recipe.json beside a student's model; a plain one needs none."""
    if text_format != TextFormat():
        prefix = {"query_prefix": text_format.query_prefix}
        (folder / TEXT_FORMAT).write_text(json.dumps(prefix) + "\n", encoding="utf-8")


# ------------------------------------------------------------------ Stanford ColBERT


def _stanford(folder: Path) -> Checkpoint:
    told = _json(folder / ARTIFACT)
    length = int(told.get("query_maxlen") or 32)
    text_format = TextFormat(
        query_prefix=f"{told.get('query_token_id') or '[unused0]'} ",
        document_prefix=f"{told.get('doc_token_id') or '[unused1]'} ",
        document_length=int(told.get("doc_maxlen") or 0),
        expansion=Expansion(length, attended=bool(told.get("attend_to_mask_tokens"))),
        skipped=tuple(string.punctuation) if told.get("mask_punctuation", True) else (),
    )
    return Checkpoint(folder, folder, text_format, stanford=True, markers=True)


# ------------------------------------------------------------------ multi-vector modules


def _is_multi_vector(modules: list[dict[str, str]], settings: dict[str, Any]) -> bool:
    if settings.get("model_type") in ("MultiVectorEncoder", "ColBERT"):
        return True
    types = [entry.get("type", "") for entry in modules]
    return any(name.startswith("pylate.") or name.endswith("MultiVectorMask") for name in types)


def _multi_vector(
    folder: Path, modules: list[dict[str, str]], settings: dict[str, Any]
) -> Checkpoint:
    named = [(entry.get("type", "").rsplit(".", 1)[-1], entry.get("path", "")) for entry in modules]
    for name, path in named:
        if name not in (*SILENT, "Dense"):
            raise UserError(
                f"{folder / path}: module {name} is not one that clir knows; known: "
                f"{', '.join((*SILENT, 'Dense'))}"
            )
    of = {name: folder / path for name, path in named}
    if "Transformer" not in of:
        raise UserError(f"{folder / MODULES}: names no Transformer module")
    body = of["Transformer"]
    mask = _json(of["MultiVectorMask"] / "config.json") if "MultiVectorMask" in of else None
    if mask and mask.get("keep_only_token_ids"):
        raise UserError(f"{of['MultiVectorMask']}: keeps only some tokens, as for images; not read")
    layers = tuple(
        (_dense(folder / path), folder / path) for name, path in named if name == "Dense"
    )
    own = {**_legacy(settings), **_json(body / "sentence_bert_config.json")}
    skipped = _skipped(mask, settings)
    text_format = TextFormat(
        query_prefix=_prompt(settings, "query"),
        document_prefix=_prompt(settings, "document"),
        query_length=int(own.get("query_length") or 0),
        document_length=int(own.get("document_length") or 0),
        expansion=_expansion(folder, own.get("query_expansion")),
        skipped=skipped,
        skipped_in=tuple((mask or {}).get("skiplist_tasks") or ("document",)),
    )
    markers = "query_prefix" in settings or "document_prefix" in settings
    return Checkpoint(folder, body, text_format, layers, markers=markers)


def _prompt(settings: dict[str, Any], side: str) -> str:
    """Return the prefix of a side: PyLate's marker, then the prompt."""
    marker = settings.get(f"{side}_prefix") or ""
    prompt = (settings.get("prompts") or {}).get(side) or ""
    return marker + prompt.removeprefix(marker)


def _legacy(settings: dict[str, Any]) -> dict[str, Any]:
    """Return lengths and expansion as PyLate before 4 writes them at the top of its settings."""
    flat = ("query_length", "document_length", "do_query_expansion", "query_prefix")
    found = {name: settings[name] for name in flat[:2] if settings.get(name) is not None}
    if "query_expansion" in settings:
        found["query_expansion"] = settings["query_expansion"]
    elif any(name in settings for name in (*flat, "document_prefix", "skiplist_words")):
        found["query_expansion"] = None
        if settings.get("do_query_expansion") is not False:
            attended = settings.get("attend_to_expansion_tokens")
            found["query_expansion"] = {
                "strategy": "fixed",
                "attend": bool(attended),
                "length": found.pop("query_length", None) or 32,
            }
    return found


def _expansion(folder: Path, told: dict[str, Any] | None) -> Expansion | None:
    if not told:
        return None
    if told.get("strategy") not in ("fixed", "min"):
        raise UserError(f"{folder}: query expansion {told.get('strategy')!r} is not known")
    return Expansion(
        int(told["length"]),
        told.get("token") or "",
        bool(told.get("attend")),
        told["strategy"] == "fixed",
    )


def _skipped(mask: dict[str, Any] | None, settings: dict[str, Any]) -> tuple[str, ...]:
    """Return the skipped tokens; PyLate before 4 has no mask module and skips punctuation."""
    if mask is not None:
        return tuple(mask.get("skiplist_words") or ())
    told = settings.get("skiplist_words")
    return tuple(string.punctuation if told is None else told)


def _dense(folder: Path) -> Layer:
    told = _json(folder / "config.json")
    activation = str(told.get("activation_function", "torch.nn.modules.activation.Tanh"))
    if not activation.startswith("torch.nn."):
        raise UserError(f"{folder}: activation {activation} is code of its own, which is never run")
    return Layer(
        int(told["in_features"]),
        int(told["out_features"]),
        bool(told.get("bias", True)),
        activation.rsplit(".", 1)[-1],
        bool(told.get("use_residual")),
    )


# ------------------------------------------------------------------ weights


def weight_files(folder: Path) -> Iterator[Path]:
    """Yield the safetensors files of a transformer, all shards of it."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(_json(index).get("weight_map", {}).values()))
        yield from (folder / name for name in names)
    elif (folder / "model.safetensors").is_file():
        yield folder / "model.safetensors"
