"""Encoders of the suite ``paper`` and of its neighbours: true lists of files, random weights."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import (
    AutoModel,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    BertTokenizerFast,
    DebertaV2Config,
    ModernBertConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Tokenizer,
    Qwen3Config,
    XLMRobertaConfig,
    XLMRobertaTokenizer,
    XLMRobertaXLConfig,
)

from rehearsal.hub import only, repository
from rehearsal.vocabularies import (
    BERT,
    merges,
    sentence_piece_model,
    unigrams,
    word_pieces,
)

SIZE = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48,
}  # fmt: skip
DIMENSIONS = 16
FAIRSEQ = ("<s>", "<pad>", "</s>", "<unk>")
ModelMaker = Callable[[Path], Path]


def _state(config: PretrainedConfig, seed: int = 1, **options: Any) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return AutoModel.from_config(config, **options).state_dict()


def _save(folder: Path, state: Mapping[str, torch.Tensor], *, pickled: bool, safe: bool) -> None:
    tensors = {name: value.contiguous().clone() for name, value in state.items()}
    if safe:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    if pickled:
        torch.save(tensors, folder / "pytorch_model.bin")


def _configure(folder: Path, config: PretrainedConfig, architecture: str) -> None:
    config.architectures = [architecture]
    config.save_pretrained(folder)


def _json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2))


def _bert_tokenizer(folder: Path, vocabulary: list[str], cased: bool) -> None:
    tokenizer = BertTokenizerFast(
        vocab={piece: number for number, piece in enumerate(vocabulary)},
        do_lower_case=not cased, tokenize_chinese_chars=True, model_max_length=512,
    )  # fmt: skip
    tokenizer.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")


def _bert(
    mirror: Path, name: str, architecture: str, *, cased: bool, unused: int
) -> tuple[Path, BertConfig]:
    """Write tokenizer and configuration of a BERT; return its folder and the configuration."""
    folder = repository(mirror, name)
    vocabulary = word_pieces(cased=cased, unused=unused)
    config = BertConfig(vocab_size=len(vocabulary), max_position_embeddings=512, **SIZE)
    _configure(folder, config, architecture)
    _bert_tokenizer(folder, vocabulary, cased)
    return folder, config


def colbert(mirror: Path) -> Path:
    """ColBERTv2: ``bert.*`` and ``linear.weight`` under HF_ColBERT, and artifact.metadata."""
    name = "colbert-ir/colbertv2.0"
    folder, config = _bert(mirror, name, "HF_ColBERT", cased=False, unused=30)
    _json(folder / "special_tokens_map.json", {f"{t[1:-1].lower()}_token": t for t in BERT})
    state = {f"bert.{name}": value for name, value in _state(config).items()}
    state["linear.weight"] = torch.nn.init.orthogonal_(torch.empty(DIMENSIONS, 32))
    _save(folder, state, pickled=True, safe=True)
    _json(folder / "artifact.metadata", {
        "query_token_id": "[unused0]", "doc_token_id": "[unused1]", "query_token": "[Q]",
        "doc_token": "[D]", "ncells": None, "centroid_score_threshold": None, "ndocs": None,
        "index_path": None, "nbits": 1, "kmeans_niters": 20, "similarity": "cosine", "bsize": 64,
        "accumsteps": 1, "lr": 1e-05, "maxsteps": 400000, "save_every": None, "warmup": 20000,
        "warmup_bert": None, "relu": False, "nway": 64, "use_ib_negatives": True,
        "reranker": False, "distillation_alpha": 1.0, "ignore_scores": False,
        "query_maxlen": 32, "attend_to_mask_tokens": False, "interaction": "colbert", "dim": 128,
        "doc_maxlen": 180, "mask_punctuation": True, "checkpoint": "bert-base-uncased",
    })  # fmt: skip
    return folder


def multilingual_bert(mirror: Path) -> Path:
    """mBERT: cased, LayerNorm.gamma and .beta as in TensorFlow, and the head ``cls.*``."""
    name = "google-bert/bert-base-multilingual-cased"
    folder, config = _bert(mirror, name, "BertForMaskedLM", cased=True, unused=99)
    torch.manual_seed(2)
    with_head = BertForMaskedLM(config).state_dict()
    pooler = BertModel(config).state_dict()
    with_head |= {f"bert.{name}": pooler[name] for name in pooler if name.startswith("pooler")}
    renamed = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value
        for name, value in with_head.items()
    }
    _save(folder, renamed, pickled=True, safe=True)
    return folder


def labse(mirror: Path) -> Path:
    """LaBSE: a sentence encoder of three modules, of which the first alone is read."""
    name = "sentence-transformers/LaBSE"
    folder, config = _bert(mirror, name, "BertModel", cased=True, unused=99)
    _save(folder, _state(config, 3), pickled=True, safe=True)
    _modules(folder, ("Transformer", ""), ("Pooling", "1_Pooling"), ("Dense", "2_Dense"))
    dense = {"in_features": 32, "out_features": 32, "bias": True}
    tanh = {"activation_function": "torch.nn.modules.activation.Tanh"}
    _json(folder / "2_Dense" / "config.json", dense | tanh)
    torch.manual_seed(3)
    linear = torch.nn.Linear(32, 32).state_dict()
    save_file(
        {f"linear.{name}": value for name, value in linear.items()},
        folder / "2_Dense" / "model.safetensors",
    )
    return folder


def _modules(folder: Path, *modules: tuple[str, str]) -> None:
    package = "sentence_transformers.models"
    _json(folder / "modules.json", [
        {"idx": number, "name": str(number), "path": path, "type": f"{package}.{kind}"}
        for number, (kind, path) in enumerate(modules)
    ])  # fmt: skip
    _json(folder / "sentence_bert_config.json", {"max_seq_length": 256, "do_lower_case": False})
    versions = {"sentence_transformers": "2.0.0", "transformers": "4.6.1", "pytorch": "1.8.1"}
    _json(folder / "config_sentence_transformers.json", {"__version__": versions})
    pooling = {"word_embedding_dimension": 32, "pooling_mode_cls_token": True}
    _json(folder / "1_Pooling" / "config.json", pooling)


def _xlm_roberta_tokenizer(folder: Path) -> int:
    """Write tokenizer.json and sentencepiece.bpe.model; return the number of tokens."""
    vocabulary = [(token, 0.0) for token in FAIRSEQ] + unigrams() + [("<mask>", 0.0)]
    tokenizer = XLMRobertaTokenizer(vocab=vocabulary, model_max_length=512)
    tokenizer.save_pretrained(folder)
    model = sentence_piece_model(("<unk>", "<s>", "</s>"))
    (folder / "sentencepiece.bpe.model").write_bytes(model)
    return len(tokenizer)


def _xlm_roberta_config(kind: type[PretrainedConfig], tokens: int, positions: int) -> Any:
    return kind(
        vocab_size=tokens, max_position_embeddings=positions, type_vocab_size=1, pad_token_id=1,
        bos_token_id=0, eos_token_id=2, **SIZE,
    )  # fmt: skip


def xlm_roberta(name: str) -> ModelMaker:
    """XLM-R by its name: base and large with safetensors, XL with another architecture."""

    def make(mirror: Path) -> Path:
        folder = repository(mirror, name)
        tokens = _xlm_roberta_tokenizer(folder)
        kind = XLMRobertaXLConfig if name.endswith("-xl") else XLMRobertaConfig
        config = _xlm_roberta_config(kind, tokens, 514)
        architecture = kind.__name__.replace("Config", "ForMaskedLM")
        _configure(folder, config, architecture)
        state = {f"roberta.{key}": value for key, value in _state(config, 4).items()}
        _save(folder, state, pickled=True, safe=True)
        return folder

    return make


def mmbert(mirror: Path) -> Path:
    """mmBERT: ModernBERT's architecture, pickled weights alone."""
    folder = repository(mirror, "jhu-clsp/mmBERT-small")
    vocabulary, pairs = merges(is_byte_level=False)
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    numbered = {token: number for number, token in enumerate([*special, *vocabulary])}
    tokenizer = _gemma_like(numbered, pairs)
    tokenizer.save_pretrained(folder)
    config = ModernBertConfig(
        vocab_size=len(tokenizer), max_position_embeddings=8192, pad_token_id=0, eos_token_id=1,
        bos_token_id=2, cls_token_id=1, sep_token_id=1, global_attn_every_n_layers=1, **SIZE,
    )  # fmt: skip
    _configure(folder, config, "ModernBertForMaskedLM")
    state = {f"model.{name}": value for name, value in _state(config, 5).items()}
    _save(folder, state, pickled=True, safe=False)
    return folder


def _gemma_like(vocabulary: dict[str, int], pairs: list[tuple[str, str]]) -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, processors

    backend = Tokenizer(models.BPE(vocabulary, pairs, unk_token="<unk>"))
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    backend.decoder = decoders.Metaspace()
    backend.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", 2), ("<eos>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>",
        unk_token="<unk>", mask_token="<mask>", cls_token="<bos>", sep_token="<eos>",
        model_max_length=8192,
    )  # fmt: skip


def mdeberta(mirror: Path) -> Path:
    """mDeBERTa-v3: pickled weights, and no vocabulary but ``spm.model``."""
    folder = repository(mirror, "microsoft/mdeberta-v3-base")
    special = ("[PAD]", "[CLS]", "[SEP]", "<unk>")
    (folder / "spm.model").write_bytes(sentence_piece_model(special))
    _json(folder / "tokenizer_config.json", {"do_lower_case": False, "vocab_type": "spm"})
    config = DebertaV2Config(
        vocab_size=len(special) + len(unigrams()) + 10, max_position_embeddings=512,
        type_vocab_size=0, relative_attention=True, position_buckets=256, norm_rel_ebd="layer_norm",
        share_att_key=True, pos_att_type="p2c|c2p", position_biased_input=False, pooler_dropout=0,
        **SIZE,
    )  # fmt: skip
    _configure(folder, config, "DebertaV2ForMaskedLM")
    state = {f"deberta.{name}": value for name, value in _state(config, 6).items()}
    _save(folder, state, pickled=True, safe=False)
    return only(folder, "config.json", "spm.model", "tokenizer_config.json", "pytorch_model.bin")


def bge_m3(mirror: Path) -> Path:
    """BGE-M3: XLM-R with 8,194 positions as a sentence encoder, pickled weights alone."""
    folder = repository(mirror, "BAAI/bge-m3")
    tokens = _xlm_roberta_tokenizer(folder)
    config = _xlm_roberta_config(XLMRobertaConfig, tokens, 8194)
    _configure(folder, config, "XLMRobertaModel")
    _save(folder, _state(config, 7), pickled=True, safe=False)
    _modules(folder, ("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize"))
    for name in ("colbert_linear.pt", "sparse_linear.pt"):
        torch.save({"weight": torch.zeros(1, 32)}, folder / name)
    return folder


def qwen3_embedding(mirror: Path) -> Path:
    """Qwen3-Embedding: a causal decoder in bfloat16, byte-level pairs, padding on the left."""
    folder = repository(mirror, "Qwen/Qwen3-Embedding-0.6B")
    vocabulary, pairs = merges(is_byte_level=True)
    tokenizer = Qwen2Tokenizer(vocab=dict(vocabulary), merges=pairs, padding_side="left")
    tokenizer.save_pretrained(folder)
    _json(folder / "vocab.json", vocabulary)
    (folder / "merges.txt").write_text("".join(f"{a} {b}\n" for a, b in pairs), encoding="utf-8")
    config = Qwen3Config(
        vocab_size=len(tokenizer), max_position_embeddings=32768, num_key_value_heads=1,
        head_dim=16, **SIZE,
    )  # fmt: skip
    config.dtype = torch.bfloat16
    _configure(folder, config, "Qwen3ForCausalLM")
    state = {name: value.to(torch.bfloat16) for name, value in _state(config, 8).items()}
    _save(folder, state, pickled=False, safe=True)
    _modules(folder, ("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize"))
    return folder


ENCODERS: dict[str, ModelMaker] = {
    "colbert-ir/colbertv2.0": colbert,
    "google-bert/bert-base-multilingual-cased": multilingual_bert,
    "sentence-transformers/LaBSE": labse,
    "jhu-clsp/mmBERT-small": mmbert,
    **{
        name: xlm_roberta(name)
        for name in (
            "FacebookAI/xlm-roberta-base",
            "FacebookAI/xlm-roberta-large",
            "facebook/xlm-roberta-xl",
        )
    },
    "microsoft/mdeberta-v3-base": mdeberta,
    "BAAI/bge-m3": bge_m3,
    "Qwen/Qwen3-Embedding-0.6B": qwen3_embedding,
}
