"""Teachers in the formats that people have: each must give the embeddings of its own library."""

import json
import string
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from tiny_encoders import stanford, tiny_bert

from clir_cli.errors import UserError
from clir_cli.retrieval.encoder import load_encoder
from clir_cli.retrieval.models import model_digest

CPU = torch.device("cpu")
TEXTS = [
    "rain",
    "How do farmers keep maize dry, after the harvest?",
    "The clinic opens at eight. Bring the card (yellow) of every child; and a bottle of water!",
    "...",
    "",
    "a long text " * 30,
]


@pytest.fixture(scope="module")
def tiny(models: Path, tmp_path_factory) -> Path:
    """A random BERT of 32 dimensions with the real English vocabulary."""
    return tiny_bert(tmp_path_factory.mktemp("tiny"), models)


def multi_vector(tiny: Path, folder: Path, *, dense: dict | None = None, **knobs) -> Path:
    """Save a multi-vector model with sentence-transformers' own code."""
    torch.manual_seed(3)
    body = Transformer(str(tiny), **knobs)
    sizes = {"in_features": 32, "out_features": 8, "bias": False, "activation_function": None}
    head = Dense(**sizes | (dense or {}), module_input_name="token_embeddings")
    mask = MultiVectorMask(skiplist_words=list(string.punctuation))
    model = MultiVectorEncoder(
        modules=[body, head, mask, Normalize("token_embeddings")],
        prompts={"query": "query: ", "document": "passage: "},
        device="cpu",
    )
    model.save(str(folder))
    return folder


def pylate(tiny: Path, folder: Path, **settings) -> Path:
    """Write the layout of PyLate before its fourth version: Transformer and Dense, no mask."""
    multi_vector(tiny, folder)
    body = "sentence_transformers.models.Transformer"
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": body},
        {"idx": 1, "name": "1", "path": "1_Dense", "type": "pylate.models.Dense.Dense"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    dense = {"in_features": 32, "out_features": 8, "bias": False,
             "activation_function": "torch.nn.modules.linear.Identity"}  # fmt: skip
    (folder / "1_Dense" / "config.json").write_text(json.dumps(dense))
    told = {
        "model_type": "ColBERT", "prompts": {}, "query_prefix": "[unused0]",
        "document_prefix": "[unused1]", "query_length": 20, "document_length": 40,
        "attend_to_expansion_tokens": False, "skiplist_words": [".", ",", "?"],
    }  # fmt: skip
    (folder / "config_sentence_transformers.json").write_text(json.dumps(told | settings))
    return folder


EXPANSION = {"strategy": "fixed", "attend": False, "length": 16}
MAKERS = {
    "stanford": (stanford, {}),
    "stanford, punctuation kept, masks seen": (
        stanford,
        {"mask_punctuation": False, "attend_to_mask_tokens": True, "query_maxlen": 12},
    ),
    "multi-vector": (multi_vector, {}),
    "multi-vector, expansion": (
        multi_vector,
        {"query_expansion": EXPANSION, "document_length": 30},
    ),
    "multi-vector, least length": (
        multi_vector,
        {"query_expansion": EXPANSION | {"strategy": "min", "attend": True}, "query_length": 40},
    ),
    "multi-vector, bias, activation, residual": (
        multi_vector,
        {"dense": {"bias": True, "activation_function": torch.nn.Tanh(), "use_residual": True}},
    ),
    "pylate": (pylate, {}),
    "pylate, no expansion": (pylate, {"do_query_expansion": False}),
}


@pytest.mark.parametrize("name", MAKERS)
def test_embeddings_are_those_of_the_format_s_own_library(name, tiny, tmp_path):
    maker, knobs = MAKERS[name]
    folder = maker(tiny, tmp_path / "model", **knobs)
    theirs = MultiVectorEncoder(str(folder), device="cpu", local_files_only=True)
    ours = load_encoder(folder, CPU)
    for kind, encode in (("query", theirs.encode_query), ("document", theirs.encode_document)):
        expected = encode(TEXTS)
        found = ours.encode(TEXTS, 512, kind=kind, batch_tokens=100)
        assert found.vectors.shape[1] == 8
        for number, each in enumerate(expected):
            torch.testing.assert_close(found[number], each, atol=1e-5, rtol=0)
            spans = ours.spans(TEXTS[number], 512, kind)
            assert len(spans) == len(each)


def test_spans_point_at_the_words_that_have_an_embedding(tiny, tmp_path):
    encoder = load_encoder(stanford(tiny, tmp_path / "model"), CPU)
    text = "Rain, at last!"
    shown = [text[low:high] for low, high in encoder.spans(text, 64, "document")]
    assert shown == ["", "", "Rain", "at", "last", ""]  # [CLS] [unused1] ... [SEP], no , and no !
    asked = [text[low:high] for low, high in encoder.spans(text, 64, "query")]
    assert asked[:7] == ["", "", "Rain", ",", "at", "last", "!"]
    assert len(asked) == 32
    sentence = [text[low:high] for low, high in encoder.spans(text, 64, "sentence")]
    assert sentence == ["", "", "Rain", ",", "at", "last", "!", ""]


def test_a_sentence_is_a_query_without_expansion_and_may_be_longer(tiny, tmp_path):
    encoder = load_encoder(
        stanford(tiny, tmp_path / "model", attend_to_mask_tokens=False, query_maxlen=12), CPU
    )
    query = encoder.encode(["rain at last"], 64, kind="query")[0]
    sentence = encoder.encode(["rain at last"], 64, kind="sentence")[0]
    assert (len(query), len(sentence)) == (12, 6)
    torch.testing.assert_close(sentence, query[:6], atol=1e-5, rtol=0)
    assert len(encoder.encode(["rain " * 50], 40, kind="sentence")[0]) == 40


def test_a_plain_model_reads_all_kinds_alike(models):
    encoder = load_encoder(models / "all-MiniLM-L6-v2", CPU)
    assert encoder.projection is None
    found = [encoder.encode(TEXTS, 64, kind=kind) for kind in ("query", "document", "sentence")]
    assert torch.equal(found[0].vectors, found[1].vectors)
    assert torch.equal(found[0].vectors, found[2].vectors)


def test_the_digest_covers_what_decides_about_the_embeddings(tiny, tmp_path):
    first = stanford(tiny, tmp_path / "one")
    before = model_digest(first)
    (first / "artifact.metadata").write_text('{"query_maxlen": 30}')
    assert model_digest(first) != before
    second = multi_vector(tiny, tmp_path / "two")
    before = model_digest(second)
    config = second / "1_Dense" / "config.json"
    config.write_text(config.read_text().replace("Identity", "Tanh"))
    assert model_digest(second) != before


def _change(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_what_cannot_be_read_is_told_in_one_line(tiny, tmp_path):
    folder = multi_vector(tiny, tmp_path / "module")
    _change(folder / "modules.json", "modules.normalize.Normalize", "modules.Router")
    with pytest.raises(UserError, match=r"module Router is not one that clir knows"):
        load_encoder(folder, CPU)

    folder = multi_vector(tiny, tmp_path / "activation")
    _change(folder / "1_Dense" / "config.json", "torch.nn.modules.linear.Identity", "mine.Gate")
    with pytest.raises(UserError, match=r"activation mine\.Gate is code of its own"):
        load_encoder(folder, CPU)

    folder = multi_vector(tiny, tmp_path / "weights")
    (folder / "1_Dense" / "model.safetensors").unlink()
    with pytest.raises(UserError, match="the projection cannot be read"):
        load_encoder(folder, CPU)

    folder = stanford(tiny, tmp_path / "linear")
    weights = load_file(folder / "model.safetensors")
    weights["linear.weight"] = torch.zeros(8, 16)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="takes 16 dimensions and the model has 32"):
        load_encoder(folder, CPU)

    folder = stanford(tiny, tmp_path / "json")
    (folder / "artifact.metadata").write_text("{")
    with pytest.raises(UserError, match=r"artifact\.metadata: not readable as JSON"):
        load_encoder(folder, CPU)


def test_code_of_its_own_is_never_run(tiny, tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    for file in tiny.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((tiny / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoModel": "modeling_mine.Mine"}}
    (folder / "config.json").write_text(json.dumps(config))
    trace = tmp_path / "it-ran"
    (folder / "modeling_mine.py").write_text(f"open({str(trace)!r}, 'w')\n")
    with pytest.raises(UserError, match=r"code of its own \(modeling_mine\.Mine\).*never run"):
        load_encoder(folder, CPU)
    assert not trace.exists()


def test_weights_of_another_architecture_are_refused_not_filled_at_random(tiny, tmp_path):
    folder = stanford(tiny, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    renamed = {name.replace(".attention.", ".mixer."): x for name, x in weights.items()}
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="they belong to another architecture"):
        load_encoder(folder, CPU)


def test_pickled_weights_are_read_only_where_they_are_named_and_only_as_tensors(tiny, tmp_path):
    folder = tmp_path / "pickled"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((tiny / name).read_bytes())
    torch.save(load_file(tiny / "model.safetensors"), folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="cannot be loaded"):
        load_encoder(folder, CPU)
    found = load_encoder(folder, CPU, pickled="pytorch_model.bin").encode(TEXTS, 64)
    assert torch.equal(found.vectors, load_encoder(tiny, CPU).encode(TEXTS, 64).vectors)

    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "it-ran",))

    torch.save({"weight": Trap()}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="holds more than tensors"):
        load_encoder(folder, CPU, pickled="pytorch_model.bin")
    assert not (tmp_path / "it-ran").exists()
