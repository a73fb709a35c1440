"""Teachers that project, mark and expand, through all stages; students of other sizes."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_encoders import tiny_bert, weights_of_many
from transformers import AutoModel, AutoTokenizer, BertConfig

from clir_cli.corpus.bitext import Bitext
from clir_cli.corpus.records import Pair, SentencePair
from clir_cli.retrieval.encoder import load_encoder
from clir_cli.stages.support.teacher_embeddings import document_embeddings, teacher_embeddings
from clir_cli.stages.support.workspace import Workspace
from clir_cli.suites import load_settings
from clir_cli.training.batches import epoch_batches

SMALL = (
    "--set", "bitext.max_pairs=120", "--set", "training.epochs=2",
    "--set", "training.batch_size=16",
)  # fmt: skip


@pytest.fixture
def colbert(models, tmp_path) -> Path:
    """MiniLM's weights as a ColBERT of 32 dimensions, in the layout of the original code."""
    source, folder = models / "all-MiniLM-L6-v2", tmp_path / "colbert"
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).write_bytes((source / name).read_bytes())
    config = json.loads((source / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["HF_ColBERT"]}))
    weights = load_file(source / "model.safetensors")
    weights = {f"bert.{name}": x for name, x in weights.items() if "position_ids" not in name}
    chance = torch.Generator().manual_seed(1)
    weights["linear.weight"] = torch.nn.init.orthogonal_(torch.empty(32, 384), generator=chance)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    told = {"query_token_id": "[unused0]", "doc_token_id": "[unused1]", "dim": 32,
            "query_maxlen": 32, "doc_maxlen": 180, "mask_punctuation": True}  # fmt: skip
    (folder / "artifact.metadata").write_text(json.dumps(told))
    return folder


@pytest.fixture
def chain(clir, home, small_collection, colbert, tmp_path):
    def call(verb, *words):
        own = ("--collection", small_collection) if verb != "distill" else ()
        results = ("--results", tmp_path / "results") if verb == "evaluate" else ()
        lang = () if verb == "index" else ("--lang", "sw-en")
        teacher = ("--set", f"teacher.model={colbert}")
        return clir(verb, *lang, *SMALL, *teacher, *words, *own, *results, "--home", home)

    return call


def test_a_colbert_teacher_goes_through_all_stages(chain, home, colbert):
    for verb in ("distill", "index", "search"):
        outcome = chain(verb)
        assert outcome.code == 0, outcome.err
    student = home / "sample/sw-en/ot/student"
    assert len(AutoTokenizer.from_pretrained(student)) > 30_522
    assert AutoModel.from_pretrained(student, add_pooling_layer=False).config.hidden_size == 384
    assert json.loads((student / "recipe.json").read_text()) == {"query_prefix": "[unused0] "}
    encoder = load_encoder(student, torch.device("cpu"))
    assert encoder.dimensions == 32
    ids = encoder.tokenize(["maji"], 16)[0]
    marker = encoder.tokenizer.convert_tokens_to_ids("[unused0]")
    assert ids[1] == marker == load_encoder(colbert, torch.device("cpu")).tokenize(["x"], 9)[0][1]
    outcome = chain("evaluate", "--metric", "map", "--json")
    value = {row["method"]: row["value"] for row in outcome.json}
    assert value["zero-shot"] < value["ot"]
    assert value["zero-shot"] < value["english"]
    told = chain("search", "--query", "maji safi", "--json").json
    assert all(word in hit["text"] for hit in told for word in hit["matched"])
    assert any(hit["matched"] for hit in told)
    assert not any(mark in word for hit in told for word in hit["matched"] for mark in ".,!?")


def test_a_student_of_another_size_gets_a_projection(chain, home, models, tmp_path):
    other = tiny_bert(tmp_path / "other", models, hidden=48, seed=2)
    chosen = ("--set", f"student.model={other}", "--set", "student.vocabulary=initial")
    outcome = chain("distill", *chosen, "--variant", "small", "--set", "training.epochs=1")
    assert outcome.code == 0, outcome.err
    student = home / "sample/sw-en/ot.small/student"
    encoder = load_encoder(student, torch.device("cpu"))
    assert (encoder.hidden_size, encoder.dimensions) == (48, 32)
    assert not (student / "recipe.json").exists()
    assert chain("index").code == 0
    outcome = chain("search", "--method", "ot,zero-shot", "--variant", "small", *chosen)
    assert outcome.code == 0, outcome.err


@pytest.mark.slow
def test_adapters_leave_an_ordinary_student(chain, home):
    outcome = chain("distill", "--variant", "lora", "--set", "training.lora_rank=4",
                    "--set", "training.gradient_checkpointing=true")  # fmt: skip
    assert outcome.code == 0, outcome.err
    student = home / "sample/sw-en/ot.lora/student"
    names = {path.name for path in student.iterdir()}
    assert "model.safetensors" in names
    assert not any("adapter" in name for name in names)
    assert not any("lora" in name for name in load_file(student / "model.safetensors"))


def test_a_student_that_does_not_fit_is_told_before_its_weights_are_read(
    clir, home, models, tmp_path
):
    huge, source = tmp_path / "huge", models / "all-MiniLM-L6-v2"
    huge.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (huge / name).write_bytes((source / name).read_bytes())
    BertConfig(
        vocab_size=30_522, hidden_size=32_768, num_hidden_layers=24, num_attention_heads=64,
        intermediate_size=131_072,
    ).save_pretrained(huge)  # fmt: skip
    weights_of_many(huge, 12 * 24 * 32_768**2)
    outcome = clir("distill", "--lang", "sw-en", "--home", home, "--set", f"student.model={huge}")
    assert outcome.code == 2
    line = outcome.err.splitlines()[-1]
    assert "AdamW" in line and "are free on" in line
    assert "no setting makes it fit; take a smaller model" in line
    assert not (home / "sample").exists()


def test_sentences_that_no_epoch_draws_are_not_encoded(home, models):
    changes = ["training.epoch_pairs=3", "training.epochs=2"]
    workspace = Workspace(load_settings("sample", None, changes), home)
    rows = [SentencePair("maji", f"{'clean ' * index}water") for index in range(12)]
    bitext, where = Bitext(rows, rows[:2], {}), (Pair("sw", "en"),)
    every, _ = teacher_embeddings(workspace, *where, bitext, torch.device("cpu"))
    some, held_out = teacher_embeddings(workspace, *where, bitext, torch.device("cpu"), seed=5)
    lengths = every.offsets.diff().tolist()
    seen = [epoch_batches(lengths, 2, seed=5, epoch=epoch, most=3) for epoch in range(2)]
    chosen = {index for batches in seen for batch in batches for index in batch}
    assert 3 <= len(chosen) <= 6
    for index in range(12):
        expected = every[index] if index in chosen else every[index][:0]
        torch.testing.assert_close(some[index].float(), expected.float(), atol=2e-3, rtol=0)
    assert len(held_out) == 2
    assert sorted(path.name for path in (home / "sample" / "sw-en").iterdir()) == [
        "teacher", "teacher.2x3.seed5"
    ]  # fmt: skip


def test_the_bitext_is_encoded_as_queries_and_a_collection_as_documents(home, colbert):
    workspace = Workspace(load_settings("sample", None, [f"teacher.model={colbert}"]), home)
    teacher, texts = load_encoder(colbert, torch.device("cpu")), ["clean water, a lot.", "rain"]
    rows = [SentencePair("maji", text) for text in texts]
    of_bitext, _ = teacher_embeddings(
        workspace, Pair("sw", "en"), Bitext(rows, rows, {}), teacher.device
    )
    of_documents, _ = document_embeddings(workspace, "texts", (texts, texts), teacher.device)
    for found, kind in ((of_bitext, "sentence"), (of_documents, "document")):
        expected = teacher.encode(texts, 64, kind=kind)
        assert torch.equal(found.offsets, expected.offsets)  # without punctuation, or with it
        torch.testing.assert_close(found.vectors.float(), expected.vectors, atol=1e-3, rtol=0)
