"""A tiny encoder in the real format: random weights, the real English vocabulary."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, BertConfig, BertModel, RobertaConfig, RobertaModel


def tiny_bert(folder: Path, models: Path, hidden: int = 32, seed: int = 5) -> Path:
    """Save a random BERT of two layers and ``hidden`` dimensions, and MiniLM's tokenizer."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=30_522, hidden_size=hidden, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64,
    )  # fmt: skip
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    AutoTokenizer.from_pretrained(models / "all-MiniLM-L6-v2").save_pretrained(folder)
    return folder


def stanford(tiny: Path, folder: Path, **metadata) -> Path:
    """Write what the original ColBERT writes: one file of weights, and artifact.metadata."""
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((tiny / name).read_bytes())
    config = json.loads((tiny / "config.json").read_text())
    config["architectures"] = ["HF_ColBERT"]
    (folder / "config.json").write_text(json.dumps(config))
    weights = {f"bert.{name}": x for name, x in load_file(tiny / "model.safetensors").items()}
    weights["linear.weight"] = torch.randn(8, 32, generator=torch.Generator().manual_seed(2))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    told = {
        "query_token_id": "[unused0]", "doc_token_id": "[unused1]", "query_token": "[Q]",
        "doc_token": "[D]", "dim": 8, "query_maxlen": 32, "doc_maxlen": 24,
        "mask_punctuation": True, "attend_to_mask_tokens": False, "similarity": "cosine",
    }  # fmt: skip
    (folder / "artifact.metadata").write_text(json.dumps(told | metadata, indent=4))
    return folder


def tiny_roberta(folder: Path, models: Path, positions: int = 34) -> Path:
    """Save a random RoBERTa, which can use all but two of its positions; MiniLM's tokenizer."""
    torch.manual_seed(5)
    config = RobertaConfig(
        vocab_size=30_522, hidden_size=32, num_hidden_layers=1, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=positions,
    )  # fmt: skip
    RobertaModel(config, add_pooling_layer=False).save_pretrained(folder)
    AutoTokenizer.from_pretrained(models / "all-MiniLM-L6-v2").save_pretrained(folder)
    return folder


def weights_of_many(folder: Path, parameters: int) -> None:
    """Write the header of a file with so many weights, and none of them."""
    entry = {"dtype": "F32", "shape": [parameters], "data_offsets": [0, 4 * parameters]}
    header = json.dumps({"encoder.weight": entry}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
