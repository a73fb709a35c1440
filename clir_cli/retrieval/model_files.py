"""The small JSON of a model's folder: names of files, and the keys that are read, with types.

They come from the hub, so nothing in them is believed to be of its type.
"""

from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_core import from_json

from clir_cli.foreign import JsonObject, read_json

CONFIG = "config.json"
TEXT_FORMAT = "recipe.json"
ARTIFACT = "artifact.metadata"
MODULES = "modules.json"
SENTENCE_TRANSFORMERS = "config_sentence_transformers.json"
TRANSFORMER_OPTIONS = "sentence_bert_config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
AGAIN = "fetch the model again, or take another"


def _inside(path: str) -> str:
    """Return a path if it leads to a place within its folder."""
    if "\\" in path or "\0" in path or path.startswith("/") or ".." in PurePosixPath(path).parts:
        raise ValueError(f"{path!r} leads out of the model")
    return path


def _shard(name: str) -> str:
    """Return a name if it is that of weights beside the index."""
    if "/" in name or not name.endswith(".safetensors"):
        raise ValueError(f"{name!r} is not the name of a safetensors file")
    return _inside(name)


Length = Annotated[int, Field(ge=0, lt=1 << 20)]  # in tokens
Width = Annotated[int, Field(gt=0, lt=1 << 20)]
InnerPath = Annotated[str, AfterValidator(_inside)]
ShardName = Annotated[str, AfterValidator(_shard)]


class Config(JsonObject):
    """config.json, as far as it says which code a model needs; transformers reads the rest."""

    model_type: str | None = None
    architectures: list[str] | None = None
    auto_map: dict[str, Any] | None = None


class Prefixes(JsonObject):
    """recipe.json of a student."""

    query_prefix: str = ""
    document_prefix: str = ""


class Stanford(JsonObject):
    """artifact.metadata of the original ColBERT."""

    query_maxlen: Length | None = None
    doc_maxlen: Length | None = None
    query_token_id: str | None = None
    doc_token_id: str | None = None
    attend_to_mask_tokens: bool | None = None
    mask_punctuation: bool | None = True


class Module(JsonObject):
    """One entry of modules.json."""

    type: str = ""
    path: InnerPath = ""


Modules = Annotated[list[Module], Field(min_length=1)]


class QueryExpansion(JsonObject):
    """How queries are expanded."""

    strategy: str | None = None
    length: Annotated[int, Field(gt=0, lt=1 << 20)]
    token: str | None = None
    attend: bool | None = None


class Options(JsonObject):
    """sentence_bert_config.json: lengths and expansion of sentence-transformers 6."""

    query_length: Length | None = None
    document_length: Length | None = None
    query_expansion: QueryExpansion | None = None


class SentenceTransformers(Options):
    """config_sentence_transformers.json, of PyLate too."""

    model_type: str | None = None
    query_prefix: str | None = None
    document_prefix: str | None = None
    prompts: dict[str, str | None] | None = None
    skiplist_words: list[str] | None = None
    do_query_expansion: bool | None = None
    attend_to_expansion_tokens: bool | None = None


class Mask(JsonObject):
    """config.json of a MultiVectorMask."""

    skiplist_words: list[str] | None = None
    skiplist_tasks: list[str] | None = None
    keep_only_token_ids: list[int] | None = None


class DenseConfig(JsonObject):
    """config.json of a Dense module."""

    in_features: Width
    out_features: Width
    bias: bool = True
    use_residual: bool | None = None
    activation_function: str = "torch.nn.modules.activation.Tanh"


class ShardIndex(JsonObject):
    """model.safetensors.index.json."""

    weight_map: dict[str, ShardName] = Field(default_factory=dict)


def read_object(path: Path, kind: type[JsonObject]) -> dict[str, Any]:
    """Return the keys of a model's JSON file that it has and ``kind`` names; {} if it is not there.

    Raises:
        UserError: It is no JSON, or a key is of another type.
    """
    return read_json(path, kind, AGAIN).model_dump(exclude_unset=True) if path.is_file() else {}


def read_modules(folder: Path) -> list[tuple[str, str]]:
    """Return type and path of each module of a folder, [] if it has no modules.json; may raise."""
    path = folder / MODULES
    modules = read_json(path, Modules, AGAIN) if path.is_file() else []
    return [(module.type, module.path) for module in modules]


def shard_names(folder: Path) -> list[str]:
    """Return the weight files that the index of a folder names, [] if it has none; may raise."""
    return sorted(set(read_object(folder / INDEX, ShardIndex).get("weight_map", {}).values()))


def read_header(path: Path) -> dict[str, dict[str, Any]]:
    """Return what a safetensors file says of each tensor (dtype, shape); {} if it is damaged."""
    try:
        with path.open("rb") as file:
            header = from_json(file.read(min(int.from_bytes(file.read(8), "little"), 1 << 27)))
        header.pop("__metadata__", None)
        return {name: entry for name, entry in header.items() if isinstance(entry, dict)}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # loading reports what is wrong
