from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_encoders import tiny_bert, tiny_roberta

from clir_cli.errors import UserError
from clir_cli.retrieval.batching import batches_by_tokens
from clir_cli.retrieval.encoder import load_encoder

TEXTS = [
    "rain",
    "How do farmers keep maize dry after the harvest?",
    "The clinic opens at eight. Bring the vaccination card of every child, and a bottle of water.",
    "",
]


@pytest.fixture(scope="module")
def teacher(models: Path):
    return load_encoder(models / "all-MiniLM-L6-v2", torch.device("cpu"))


def test_batching_changes_no_embedding(teacher):
    together = teacher.encode(TEXTS, 64)
    for number, text in enumerate(TEXTS):
        alone = teacher.encode([text], 64)[0]
        torch.testing.assert_close(together[number], alone, atol=2e-6, rtol=0)


@pytest.mark.parametrize("batch_tokens", [1, 20, 1000])
def test_no_batch_size_changes_an_embedding_or_its_place(teacher, batch_tokens):
    counted = []
    usual = teacher.encode(TEXTS * 3, 64)
    found = teacher.encode(TEXTS * 3, 64, batch_tokens=batch_tokens, advance=counted.append)
    assert torch.equal(found.offsets, usual.offsets)
    torch.testing.assert_close(found.vectors, usual.vectors, atol=2e-6, rtol=0)
    assert sum(counted) == 3 * len(TEXTS)


def test_bfloat16_gives_nearly_the_same_embeddings(teacher):
    half = replace(teacher, precision=torch.bfloat16)
    exact, found = teacher.encode(TEXTS, 64), half.encode(TEXTS, 64)
    assert found.vectors.dtype == torch.float32
    assert (exact.vectors * found.vectors).sum(dim=-1).min() > 0.999
    assert teacher.model.dtype == torch.float32
    again = teacher.encode(TEXTS, 64)
    assert torch.equal(again.vectors, exact.vectors)  # nothing of it is left behind


def test_no_texts_have_no_embeddings(teacher):
    found = teacher.encode([], 64)
    assert found.vectors.shape == (0, 384)
    assert len(found) == 0


def test_embeddings_are_unit_vectors_and_special_tokens_stay(teacher):
    packed = teacher.encode(TEXTS, 64)
    torch.testing.assert_close(packed.vectors.norm(dim=-1), torch.ones(len(packed.vectors)))
    assert [len(packed[number]) for number in (0, 3)] == [3, 2]  # [CLS] rain [SEP]; [CLS] [SEP]


def test_long_texts_are_cut(teacher):
    assert len(teacher.encode(["water " * 50], 16)[0]) == 16
    assert (
        len(teacher.encode(["water " * 900], 10_000)[0]) == 512
    )  # the model has no more positions


@settings(derandomize=True, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(20, 300))
def test_every_text_is_in_one_batch_within_the_budget(lengths, budget):
    batches = list(batches_by_tokens(lengths, budget))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[index] for index in batch)
        assert len(batch) == 1 or len(batch) * longest <= budget


def test_a_folder_without_weights_is_told_in_one_line(tmp_path, models):
    folder = tmp_path / "broken"
    folder.mkdir()
    source = models / "all-MiniLM-L6-v2"
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((source / name).read_bytes())
    with pytest.raises(UserError, match="cannot be loaded"):
        load_encoder(folder, torch.device("cpu"))
    (folder / "model.safetensors").write_bytes((source / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(UserError, match="cannot be loaded"):
        load_encoder(folder, torch.device("cpu"))


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (None, r"no tokenizer \(tokenizer\.json, .*save_pretrained"),
        ('{"version": "1.0", "mod', "the tokenizer cannot be loaded: .*save_pretrained"),
    ],
)
def test_a_missing_or_cut_tokenizer_is_told_in_one_line(tmp_path, models, harm, told):
    source, folder = models / "all-MiniLM-L6-v2", tmp_path / "broken"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).symlink_to(source / name)
    if harm:
        (folder / "tokenizer.json").write_text(harm)
    with pytest.raises(UserError, match=told) as error:
        load_encoder(folder, torch.device("cpu"))
    assert "\n" not in str(error.value)


def test_a_tokenizer_of_another_model_is_refused(tmp_path, models):
    import json

    source, folder = models / "all-MiniLM-L6-v2", tmp_path / "mixed"
    folder.mkdir()
    for name in ("config.json", "tokenizer_config.json", "model.safetensors"):
        (folder / name).symlink_to(source / name)
    layout = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    layout["model"]["vocab"]["zzyzx"] = len(layout["model"]["vocab"])
    (folder / "tokenizer.json").write_text(json.dumps(layout), encoding="utf-8")
    with pytest.raises(UserError, match="they belong to different models"):
        load_encoder(folder, torch.device("cpu"))


def test_a_model_that_gives_no_numbers_is_refused_by_name(tmp_path, models):
    broken = load_encoder(tiny_bert(tmp_path / "broken", models), torch.device("cpu"))
    with torch.no_grad():
        broken.model.encoder.layer[1].output.LayerNorm.weight[3] = torch.nan
    for kind in ("query", "document", "sentence"):
        with pytest.raises(UserError, match=r"broken: this model gives .* not finite"):
            broken.encode(TEXTS, 64, kind=kind)


def test_roberta_is_used_to_its_last_position_and_no_further(tmp_path, models):
    roberta = load_encoder(tiny_roberta(tmp_path / "roberta", models, 34), torch.device("cpu"))
    assert [len(ids) for ids in roberta.tokenize(["rain " * 31, "rain"], 64)] == [32, 3]
    packed = roberta.encode(["rain " * 60], 64)
    assert packed.vectors.shape == (32, 32)


def test_half_a_character_is_told(models):
    encoder = load_encoder(models / "all-MiniLM-L6-v2", torch.device("cpu"))
    for call in (encoder.tokenize, lambda texts, most: encoder.spans(texts[1], most)):
        with pytest.raises(UserError, match=r"not valid Unicode: 'caf\\udce9 market'"):
            call(["maize", "caf\udce9 market"], 16)
