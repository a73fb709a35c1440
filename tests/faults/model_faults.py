"""What can be wrong in a model's folder: JSON, weights, tokenizer, configuration, names of files.

A change leaves the token embeddings as they were, or makes the model useless. What makes another
model that works, such as half of the attention heads, is no fault that anybody could notice.
"""

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors.torch import load_file, save_file

WEIGHTS = "model.safetensors"
Change = Callable[[Path, Random], None]  # of a folder


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


# --------------------------------------------------------------------------- JSON

TEXTS_OF_FILES: dict[str, bytes] = {
    "nothing": b"", "a list": b"[]", "a list of lists": b"[[]]", "a number": b"1",
    "null": b"null", "a text": b'"x"', "half": b'{"a": [1, ', "a web page": b"<html>Log in</html>",
    "a deep list": b"[" * 100_000, "deep objects": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "other bytes": b"\xff\xfe\x00{", "UTF-16": "{}".encode("utf-16"), "NUL": bytes(64),
    "a long number": b'{"a": ' + b"9" * 10_000 + b"}", "a list of numbers": b"[1, 2]",
    "a list of objects": b'[{"path": 1, "type": []}]', "half a letter": b'{"\\ud800": "\\ud800"}',
}  # fmt: skip

VALUES: dict[str, Any] = {
    "a text": "no such thing", "-1": -1, "10^30": 10**30, "1e300": 1e300, "NaN": float("nan"),
    "[]": [], "{}": {}, "[1]": [1], "an object": {"a": 1}, "a lone surrogate": "\ud800",
    "-10^18": -(10**18),
    "a list of texts": ["a", "b"], "../../x": "../../x", "/etc/passwd": "/etc/passwd",
    "a long text": "y" * 100_000, "Infinity": float("inf"), "[null]": [None],
}  # fmt: skip

# Keys of which any value is another model, or which nothing reads.
FREE = (
    "layer_norm_eps",
    "initializer_range",
    "transformers_version",
    "dtype",
    "architectures",
    "query_token_id",
    "doc_token_id",
    "query_prefix",
    "query",
    "document",
)


def _keys(value: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the places of all values in JSON, at most three deep."""
    if isinstance(value, dict):
        items: list[tuple[Any, Any]] = list(value.items())[:40]
    else:
        items = list(enumerate(value))[:4] if isinstance(value, list) else []
    for key, inner in items:
        yield (key,)
        yield from ((key, *rest) for rest in _keys(inner) if len(rest) < 3)


def _put(name: str, place: tuple[Any, ...], value: Any) -> Change:
    def change(folder: Path, _: Random) -> None:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
        holder = content
        for key in place[:-1]:
            holder = holder[key]
        if value is None:
            del holder[place[-1]]
        else:
            holder[place[-1]] = value
        write_json(folder / name, content)

    return change


def _replace(name: str, content: bytes) -> Change:
    def change(folder: Path, _: Random) -> None:
        (folder / name).write_bytes(content)

    return change


def json_files(folder: Path) -> list[str]:
    """Return the names of the JSON files of a model."""
    files = [*folder.rglob("*.json"), *folder.glob("artifact.metadata")]
    return sorted(file.relative_to(folder).as_posix() for file in files)


def json_faults(folder: Path) -> Iterator[tuple[str, Change]]:
    """Yield faults of each JSON file, and of each value in it."""
    for name in json_files(folder):
        for what, content in TEXTS_OF_FILES.items():
            yield f"{name}: {what}", _replace(name, content)
        for place in _keys(json.loads((folder / name).read_text(encoding="utf-8"))):
            if place[-1] in FREE:
                continue
            for what, value in VALUES.items():
                yield f"{name}: {'.'.join(map(str, place))} = {what}", _put(name, place, value)


# --------------------------------------------------------------------------- weights


def _header(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the header of a safetensors file."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])


def _tensor(change: Callable[[torch.Tensor], torch.Tensor | None], which: int = 3) -> Change:
    def apply(folder: Path, chance: Random) -> None:
        path = chance.choice(sorted(folder.rglob("*.safetensors")))
        weights = load_file(path)
        name = sorted(weights)[which % len(weights)]
        changed = change(weights.pop(name))
        if changed is not None:
            weights[name] = changed
        save_file(weights, path, {"format": "pt"})

    return apply


def _entry(**values: Any) -> Change:
    def change(folder: Path, chance: Random) -> None:
        path = chance.choice(sorted(folder.rglob("*.safetensors")))

        def put(header: dict[str, Any]) -> None:
            name = next(name for name in sorted(header) if name != "__metadata__")
            header[name] |= values

        _header(path, put)

    return change


def _on_weights(change: Callable[[bytes, Random], bytes]) -> Change:
    def apply(folder: Path, chance: Random) -> None:
        path = chance.choice(sorted(folder.rglob("*.safetensors")))
        path.write_bytes(change(path.read_bytes(), chance))

    return apply


def _filled(value: float) -> Change:
    def change(weight: torch.Tensor) -> torch.Tensor:
        weight.view(-1)[-1] = value
        return weight

    return _tensor(change)


WEIGHT_FAULTS: dict[str, Change] = {
    "weights: nothing": _on_weights(lambda *_: b""),
    "weights: a web page": _on_weights(lambda *_: b"<html>Log in</html>"),
    "weights: a pickle": _on_weights(lambda *_: b"\x80\x02}q\x00."),
    "weights: cut": _on_weights(lambda content, chance: content[: chance.randrange(len(content))]),
    "weights: cut header": _on_weights(lambda content, _: content[:20]),
    "weights: more behind": _on_weights(lambda content, _: content + b"more"),
    "weights: huge header": _on_weights(lambda content, _: b"\xff" * 8 + content[8:]),
    "weights: deep header": _on_weights(lambda *_: struct.pack("<Q", 90_000) + b"[" * 90_000),
    "weights: header is a list": _on_weights(lambda *_: struct.pack("<Q", 2) + b"[]"),
    "weights: no tensors": _on_weights(lambda *_: struct.pack("<Q", 2) + b"{}"),
    "weights: unknown type": _entry(dtype="X7"),
    "weights: other type": _entry(dtype="I64"),
    "weights: negative shape": _entry(shape=[-1]),
    "weights: huge shape": _entry(shape=[1 << 62, 1 << 62]),
    "weights: shape is a text": _entry(shape="x"),
    "weights: offsets beyond": _entry(data_offsets=[0, 1 << 60]),
    "weights: offsets turned": _entry(data_offsets=[64, 0]),
    "weights: NaN": _filled(float("nan")),
    "weights: infinite": _filled(float("inf")),
    "weights: one is lost": _tensor(lambda _: None),
    "weights: one is longer": _tensor(lambda weight: torch.cat([weight, weight])),
    "weights: one has a dimension more": _tensor(lambda weight: weight[None]),
    "weights: one is empty": _tensor(lambda weight: weight[:0]),
    "weights: one is of whole numbers": _tensor(lambda weight: torch.full_like(weight, 9).long()),
    "weights: one is of 64 bits": _tensor(lambda weight: weight.double()),
    "weights: a stranger among them": lambda folder, _: save_file(
        {**load_file(next(folder.rglob("*.safetensors"))), "stranger": torch.ones(2)},
        next(folder.rglob("*.safetensors")),
        {"format": "pt"},
    ),
}

# --------------------------------------------------------------------------- tokenizers, folders


def _tokenizer(change: Callable[[dict[str, Any]], object]) -> Change:
    def apply(folder: Path, _: Random) -> None:
        content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        change(content)
        write_json(folder / "tokenizer.json", content)

    return apply


def _added(**values: Any) -> Change:
    entry = {"content": "zebra", "single_word": False, "lstrip": False, "rstrip": False}
    entry |= {"normalized": False, "special": True, "id": 508}
    return _tokenizer(lambda content: content["added_tokens"].append(entry | values))


def _ids(number: int) -> Change:
    """Give a word another id, in the vocabulary or in the template of special tokens."""

    def change(content: dict[str, Any]) -> None:
        vocabulary = content["model"]["vocab"]
        vocabulary[next(reversed(vocabulary))] = number

    return _tokenizer(change)


def _template(number: int) -> Change:
    def change(content: dict[str, Any]) -> None:
        content["post_processor"] = {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}},
                       {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [],
            "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [number], "tokens": ["[CLS]"]}},
        }  # fmt: skip

    return _tokenizer(change)


def _without(*names: str) -> Change:
    def change(content: dict[str, Any]) -> None:
        for name in names:
            content["model"]["vocab"].pop(name, None)
        content["added_tokens"] = [x for x in content["added_tokens"] if x["content"] not in names]

    return _tokenizer(change)


def _config(**values: Any) -> Change:
    def change(folder: Path, _: Random) -> None:
        path = folder / "config.json"
        write_json(path, json.loads(path.read_text(encoding="utf-8")) | values)

    return change


def _lost(name: str) -> Change:
    return lambda folder, _: (folder / name).unlink()


def _folder(name: str) -> Change:
    def change(folder: Path, _: Random) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return change


def _loop(name: str) -> Change:
    def change(folder: Path, _: Random) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(name)

    return change


def _weights(name: str) -> Change:
    """Let the index of shards name another file."""
    return _put("model.safetensors.index.json", ("weight_map", "embeddings.LayerNorm.bias"), name)


TOKENIZER_FAULTS: dict[str, Change] = {
    "tokenizer: no words": _tokenizer(lambda content: content["model"].update(vocab={})),
    "tokenizer: an id beyond the rows": _ids(100_000),
    "tokenizer: an id of 2^32": _ids(1 << 32),
    "tokenizer: a negative id": _ids(-1),
    "tokenizer: an id as text": _tokenizer(lambda x: x["model"]["vocab"].update(zebra="x")),
    "tokenizer: a template beyond the rows": _template(100_000),
    "tokenizer: a word more": _added(),
    "tokenizer: a word of a high id": _added(id=1 << 31),
    "tokenizer: a word that is a number": _added(content=1),
    "tokenizer: an empty word": _added(content=""),
    "tokenizer: no [UNK]": _without("[UNK]"),
    "tokenizer: no [CLS]": _without("[CLS]"),
    "tokenizer: no special tokens": _without("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    "tokenizer: unknown model": _tokenizer(lambda x: x["model"].update(type="Oracle")),
    "tokenizer: another model": _tokenizer(lambda x: x["model"].update(type="BPE", merges=["a"])),
    "tokenizer: unknown normalizer": _tokenizer(lambda x: x.update(normalizer={"type": "Magic"})),
    "tokenizer: a bad pattern": _tokenizer(lambda x: x.update(
        pre_tokenizer={"type": "Split", "pattern": {"Regex": "(("}, "behavior": "Isolated",
                       "invert": False})),
    "tokenizer: a bad table": _tokenizer(lambda x: x.update(
        normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"})),
    "tokenizer: of another version": _tokenizer(lambda x: x.update(version="9.9")),
    "tokenizer: huge padding": _tokenizer(lambda x: x.update(padding={
        "strategy": {"Fixed": 1 << 40}, "direction": "Right", "pad_to_multiple_of": None,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"})),
    "tokenizer: class of its own": _put("tokenizer_config.json", ("tokenizer_class",), "os.system"),
    "tokenizer: another class": _put("tokenizer_config.json", ("tokenizer_class",),
                                     "XLMRobertaTokenizer"),
}  # fmt: skip

FOLDER_FAULTS: dict[str, Change] = {
    **{
        f"config: a {kind}": _config(model_type=kind)
        for kind in ("clip", "t5", "gpt2", "whisper", "distilbert",
                     "deberta-v2", "modernbert", "dpr", "llama", "albert", "vit", "bart", "mamba",
                     "canine", "longformer", "electra", "encoder-decoder", "", "nonsense")
    },
    **{
        f"config: {name} = {value}": _config(**{name: value})
        for name, values in {
            "num_hidden_layers": (0, 1 << 20, -1, 1000), "num_attention_heads": (0, 3, -2, 1 << 40),
            "hidden_size": (0, 1 << 40, 17, 1 << 16), "vocab_size": (0, 1, 1 << 40, -5),
            "max_position_embeddings": (0, -1, 1, 1 << 40), "type_vocab_size": (0, -1, 1 << 40),
            "intermediate_size": (0, 1 << 40, -1), "hidden_dropout_prob": (-1.0, 2.0, 1e300),
            "pad_token_id": (-10**9, 10**9), "layer_norm_eps": (-1.0, float("nan")),
            "hidden_act": ("os.system", "", "lambda x: x"), "is_decoder": ("x",),
            "quantization_config": ({}, {"quant_method": "x"}, 1), "dtype": ("float99", 1),
            "torch_dtype": ("os.system",), "attn_implementation": ("x",),
        }.items()
        for value in values
    },
    "config: code of its own": _config(model_type="own", auto_map={"AutoModel": "own.Own"}),
    "config: no code": _config(model_type="own", auto_map={"AutoModel": None}),
    **{
        f"{name}: {what}": change(name)
        for name in ("config.json", "tokenizer.json", WEIGHTS)
        for what, change in (("lost", _lost), ("a folder", _folder), ("a loop", _loop))
    },
    "tokenizer_config.json: lost": _lost("tokenizer_config.json"),
}  # fmt: skip

SHARD_FAULTS: dict[str, Change] = {
    f"index names {name[:30]!r}": _weights(name)
    for name in ("../model.safetensors", "/etc/passwd", "nowhere.safetensors", "", "config.json",
                 "model-1-of-2.safetensors/x", "..\\x.safetensors", "x" * 5000, "a\0.safetensors",
                 "model-2-of-2.safetensors", ".")
}  # fmt: skip


def faults_of(kind: str, folder: Path) -> list[tuple[str, Change]]:
    """Return the faults of a whole model of a kind, in a fixed order."""
    faults = list(json_faults(folder)) + list(WEIGHT_FAULTS.items())
    if kind == "plain":
        faults += [*TOKENIZER_FAULTS.items(), *FOLDER_FAULTS.items()]
    return faults + list(SHARD_FAULTS.items() if kind == "shards" else ())
