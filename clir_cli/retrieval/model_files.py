"""The small JSON of a model's folder: names of files, and the keys that are read, with types.

They come from the hub, so nothing in them is believed to be of its type.
"""

from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_core import from_json

from clir_cli.foreign import JsonObject, read_json

CONFIG = "config.json"
TEXT_FORMAT = "recipe.json"  # of a student
ARTIFACT = "artifact.metadata"  # of the original ColBERT
MODULES = "modules.json"
SENTENCE_TRANSFORMERS = "config_sentence_transformers.json"  # of PyLate too
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


class Module(JsonObject):
    """One entry of modules.json."""

    type: str = ""
    path: Annotated[str, AfterValidator(_inside)] = ""


class QueryExpansion(JsonObject):
    """How queries are expanded."""

    strategy: str | None = None
    length: Width
    token: str | None = None
    attend: bool | None = None


class Keys(JsonObject):
    """The keys of all other files: each means the same wherever it is."""

    # config.json of the transformer, whose other keys transformers reads
    model_type: str | None = None
    is_encoder_decoder: bool | None = None
    architectures: list[str] | None = None
    auto_map: dict[str, Any] | None = None
    # artifact.metadata
    query_maxlen: Length | None = None
    doc_maxlen: Length | None = None
    query_token_id: str | None = None
    doc_token_id: str | None = None
    attend_to_mask_tokens: bool | None = None
    mask_punctuation: bool | None = None
    # sentence-transformers and PyLate, and recipe.json
    query_prefix: str | None = None
    document_prefix: str | None = None
    query_length: Length | None = None
    document_length: Length | None = None
    query_expansion: QueryExpansion | None = None
    prompts: dict[str, str | None] | None = None
    do_query_expansion: bool | None = None
    attend_to_expansion_tokens: bool | None = None
    # config.json of a MultiVectorMask
    skiplist_words: list[str] | None = None
    skiplist_tasks: list[str] | None = None
    keep_only_token_ids: list[int] | None = None
    # config.json of a Dense module
    in_features: Width = 0
    out_features: Width = 0
    bias: Any = True
    use_residual: Any = None
    activation_function: str = ""
    # the index of shards
    weight_map: dict[str, Annotated[str, AfterValidator(_shard)]] = Field(default_factory=dict)


def read_keys(path: Path) -> dict[str, Any]:
    """Return the known keys that a model's JSON file has; {} if it is not there.

    Raises:
        UserError: It is no JSON object, or a key is of another type.
    """
    return read_json(path, Keys, AGAIN).model_dump(exclude_unset=True) if path.is_file() else {}


def read_modules(folder: Path) -> list[tuple[str, str]]:
    """Return type and path of each module of a folder, [] if it has no modules.json; may raise."""
    modules = Annotated[list[Module], Field(min_length=1)]
    path = folder / MODULES
    entries = read_json(path, modules, AGAIN) if path.is_file() else []
    return [(module.type, module.path) for module in entries]


def shard_names(folder: Path) -> list[str]:
    """Return the weight files that the index of a folder names, [] if it has none; may raise."""
    return sorted(set(read_keys(folder / INDEX).get("weight_map", {}).values()))


def read_header(path: Path) -> dict[str, dict[str, Any]]:
    """Return what a safetensors file says of each tensor (dtype, shape); {} if it is damaged."""
    try:
        with path.open("rb") as file:
            header = from_json(file.read(min(int.from_bytes(file.read(8), "little"), 1 << 27)))
        header.pop("__metadata__", None)
        return {name: entry for name, entry in header.items() if isinstance(entry, dict)}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # loading reports what is wrong
