"""Models of the field: those that are sentencepiece's files alone, and which are encoders."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from field_models import field_model
from safetensors.torch import load_file
from tiny_encoders import tiny_bert
from tiny_translators import m2m, save
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import Unigram
from transformers import (
    AutoTokenizer,
    CamembertConfig,
    CamembertModel,
    DebertaV2Config,
    DebertaV2Model,
    GPT2Config,
    GPT2Model,
    LongformerConfig,
    LongformerModel,
    ModernBertConfig,
    ModernBertModel,
    MPNetConfig,
    MPNetModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3Model,
    T5Config,
    T5Model,
)

from clir_cli.corpus.catalogue import Model
from clir_cli.errors import UserError
from clir_cli.retrieval.encoder import load_encoder
from clir_cli.retrieval.hub import Fetching, fetch_model
from clir_cli.retrieval.loading import load_tokenizer
from clir_cli.retrieval.nmt import load_translator

CPU = torch.device("cpu")
SWAHILI = ["sw", "swa", "swh"]


def from_hub(folder: Path, target: Path, pickled: str = "") -> bool:
    """Fetch a model by its name from a mirror that has the files of a folder."""
    place = target.parent / "mirror" / "huggingface.co" / "someone" / "model" / "resolve" / "main"
    place.parent.mkdir(parents=True)
    place.symlink_to(folder)
    entry = Model("someone/model", "", "", "", "", "someone/model", "main", ())
    return fetch_model(Fetching(entry, target, str(target.parent / "mirror")), pickled)


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setenv("CLIR_OFFLINE", "1")


@pytest.mark.parametrize("name", ["opus-mt", "m2m-100", "mbart-50", "mdeberta-v3"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_files_of_sentencepiece_alone_come_by_name_and_work(tmp_path, offline, name):
    pytest.importorskip("sentencepiece")
    pytest.importorskip("sacremoses")
    folder, fetched = field_model(name, tmp_path / "published"), tmp_path / "fetched"
    from_hub(folder, fetched)
    assert {path.name for path in folder.iterdir()} == {path.name for path in fetched.iterdir()}
    text = "maji safi ya watoto"
    if name == "mdeberta-v3":
        encoder = load_encoder(fetched, CPU)
        assert len(encoder.encode([text], 16)) == 1
        assert "".join(encoder.tokenizer.tokenize(text)) == "▁maji▁safi▁ya▁watoto"
        return
    translator = load_translator(fetched, SWAHILI, CPU)
    assert "".join(translator.tokenizer.tokenize(text)) == "▁maji▁safi▁ya▁watoto"
    (english,) = translator.translate([text], beams=2, max_tokens=6)
    assert "__en__" not in english
    assert "en_XX" not in english
    assert translator.translate([text, "watoto"], beams=2, max_tokens=6)[0] == english


def test_m2m_100_puts_the_language_first_on_both_sides(tmp_path):
    pytest.importorskip("sentencepiece")
    translator = load_translator(field_model("m2m-100", tmp_path / "model"), SWAHILI, CPU)
    tokenizer = translator.tokenizer
    assert translator.direction.source == "sw"
    assert tokenizer.convert_ids_to_tokens(translator.direction.first_token) == "__en__"
    translator.translate(["maji"], beams=1, max_tokens=2)
    ids = tokenizer(["maji"])["input_ids"][0]
    assert tokenizer.convert_ids_to_tokens(ids)[0] == "__sw__"


@pytest.mark.parametrize("name", ["source.spm", "spm.model", "sentencepiece.bpe.model"])
def test_without_sentencepiece_the_message_names_the_extra(tmp_path, monkeypatch, name):
    find = importlib.util.find_spec
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    monkeypatch.setattr(
        "clir_cli.retrieval.loading.find_spec",
        lambda package: None if package == "sentencepiece" else find(package),
    )
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "marian"}))
    (tmp_path / name).write_bytes(b"pieces")
    with pytest.raises(UserError, match=rf"{name}\).*pip install 'clir-cli\[sentencepiece\]'"):
        load_tokenizer(tmp_path)


def test_a_pickled_translator_is_written_once_as_safetensors(tmp_path, offline):
    folder = save(tmp_path / "nllb", m2m, ("swh_Latn", "eng_Latn"))
    expected = load_translator(folder, SWAHILI, CPU).translate(["maji safi"], max_tokens=4)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"models\.allow_pickle=pytorch_model\.bin"):
        from_hub(folder, tmp_path / "refused")
    (tmp_path / "again").mkdir()
    fetched = tmp_path / "again" / "fetched"
    assert from_hub(folder, fetched, "pytorch_model.bin")
    assert not list(fetched.glob("*.bin"))
    assert load_translator(fetched, SWAHILI, CPU).translate(["maji safi"], max_tokens=4) == expected
    pickled = load_translator(folder, SWAHILI, CPU, pickled="pytorch_model.bin")
    assert pickled.translate(["maji safi"], max_tokens=4) == expected


# ------------------------------------------------------------------ encoders, decoders, positions

SIZES = {"vocab_size": 30_522, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
ENCODER = {**SIZES, "intermediate_size": 64, "pad_token_id": 1}


def saved(folder: Path, models: Path, model) -> Path:
    """Save a model with MiniLM's tokenizer."""
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(models / "all-MiniLM-L6-v2").save_pretrained(folder)
    return folder


def qwen() -> Qwen3Model:
    return Qwen3Model(Qwen3Config(**ENCODER, num_key_value_heads=2, head_dim=8))


def gpt2() -> GPT2Model:
    return GPT2Model(GPT2Config(vocab_size=30_522, n_embd=32, n_layer=2, n_head=4))


def modern_bert() -> ModernBertModel:
    special = dict.fromkeys(("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 2)
    return ModernBertModel(ModernBertConfig(**ENCODER, **special))


def deberta() -> DebertaV2Model:
    return DebertaV2Model(DebertaV2Config(**ENCODER))


@pytest.mark.parametrize(
    ("model", "causal"), [(qwen, True), (gpt2, True), (modern_bert, False), (deberta, False)]
)
def test_a_decoder_is_known_by_what_its_tokens_see(tmp_path, models, model, causal):
    torch.manual_seed(0)
    assert load_encoder(saved(tmp_path / "model", models, model()), CPU).is_causal() is causal


def test_bert_is_no_decoder(tmp_path, models):
    assert not load_encoder(tiny_bert(tmp_path / "bert", models), CPU).is_causal()
    assert not load_encoder(models / "all-MiniLM-L6-v2", CPU).is_causal()


@pytest.mark.parametrize(
    ("architecture", "config", "options"),
    [
        (MPNetModel, MPNetConfig, {}),
        (CamembertModel, CamembertConfig, {}),
        (LongformerModel, LongformerConfig, {"attention_window": 8}),
        (DebertaV2Model, DebertaV2Config, {}),  # of its positions, all can be used
    ],
    ids=["mpnet", "camembert", "longformer", "deberta"],
)
def test_texts_are_cut_where_the_positions_end(tmp_path, models, architecture, config, options):
    torch.manual_seed(0)
    model = architecture(config(**ENCODER, max_position_embeddings=34, **options))
    encoder = load_encoder(saved(tmp_path / "model", models, model), CPU)
    usable = 34 if architecture is DebertaV2Model else 32
    assert len(encoder.encode(["water " * 90], 512)[0]) == usable


def unreadable(folder: Path) -> Path:
    """Return a file of bitext that is refused as soon as it is read."""
    path = folder / "bitext.tsv"
    path.write_text("one column alone\n")
    return path


def t5() -> T5Model:
    return T5Model(T5Config(vocab_size=30_522, d_model=32, num_layers=1, num_heads=2, d_kv=16))


@pytest.mark.parametrize("side", ["teacher", "student"])
@pytest.mark.parametrize("verb", ["distill", "train"])
def test_an_encoder_decoder_is_refused_before_the_data_is_read(
    clir, home, models, tmp_path, side, verb
):
    folder = saved(tmp_path / "t5", models, t5())
    words = {"train": ["--recipe", "hybrid"]}.get(verb, [])
    words += ["--lang", "sw-en", "--set", f"bitext.files=['{unreadable(tmp_path)}']"]
    outcome = clir(verb, *words, "--set", f"{side}.model={folder}", "--home", home)
    assert outcome.code == 2
    assert "t5 is an encoder-decoder" in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_decoder_is_used_with_a_word_on_what_it_sees(clir, home, models, tmp_path, quick):
    torch.manual_seed(0)
    folder = saved(tmp_path / "qwen", models, qwen())
    words = [*quick, "--set", f"student.model={folder}", "--set", "student.vocabulary=initial"]
    outcome = clir("distill", "--lang", "sw-en", *words, "--home", home)
    assert outcome.code == 0, outcome.err
    assert " ".join(outcome.err.split()).count("no token sees those behind it") == 1


def test_a_vocabulary_that_no_student_can_have_is_refused_before_the_bitext(
    clir, home, models, tmp_path
):
    folder = tiny_bert(tmp_path / "unigram", models)
    pieces = [("<unk>", 0.0), ("<pad>", 0.0), ("▁", -1.0), *((c, -2.0) for c in "abcdefghijkl")]
    backend = Tokenizer(Unigram(pieces, unk_id=0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", pad_token="<pad>"
    ).save_pretrained(folder)
    (folder / "vocab.txt").unlink(missing_ok=True)
    outcome = clir(
        "distill", "--lang", "sw-en", "--set", f"student.model={folder}", "--home", home,
        "--set", f"bitext.files=['{unreadable(tmp_path)}']",
    )  # fmt: skip
    assert outcome.code == 2
    assert "student.vocabulary=both needs a WordPiece tokenizer" in outcome.err
