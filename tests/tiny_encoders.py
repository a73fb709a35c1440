"""A tiny encoder in the real format: random weights, the real English vocabulary."""

import json
from pathlib import Path

import torch
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
