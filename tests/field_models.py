"""Models of the field with the files that their pages have: tiny, untrained, in true layouts.

OPUS-MT, M2M-100, mBART-50 and mDeBERTa-v3 have no tokenizer.json, but sentencepiece's own files.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from rehearsal.vocabularies import sentence_piece_model, unigrams
from transformers import (
    DebertaV2Config,
    DebertaV2Model,
    M2M100Config,
    M2M100ForConditionalGeneration,
    MarianConfig,
    MarianMTModel,
    MBartConfig,
    MBartForConditionalGeneration,
)

CONTROLS = ("<unk>", "<s>", "</s>")
SHAPE = {
    "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16,
    "max_position_embeddings": 64,
}  # fmt: skip
FAIRSEQ = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def opus_mt(folder: Path, spm: Path, pieces: list[str]) -> None:
    for name in ("source.spm", "target.spm"):
        shutil.copy(spm, folder / name)
    words = dict.fromkeys(["</s>", "<unk>", *(piece for piece in pieces if piece != "<s>")])
    vocabulary = {word: number for number, word in enumerate([*words, "<pad>"])}
    _write(folder / "vocab.json", vocabulary)
    _write(folder / "tokenizer_config.json", {"source_lang": "sw", "target_lang": "en"})
    pad = vocabulary["<pad>"]
    MarianMTModel(
        MarianConfig(
            vocab_size=len(vocabulary), pad_token_id=pad, decoder_start_token_id=pad,
            eos_token_id=0, forced_eos_token_id=0, bad_words_ids=[[pad]], **SHAPE,
        )
    ).save_pretrained(folder)  # fmt: skip


def m2m_100(folder: Path, spm: Path, pieces: list[str]) -> None:
    shutil.copy(spm, folder / "sentencepiece.bpe.model")
    words = dict.fromkeys(["<s>", "<pad>", "</s>", "<unk>", *pieces])
    _write(folder / "vocab.json", {word: number for number, word in enumerate(words)})
    _write(folder / "tokenizer_config.json", {"tokenizer_class": "M2M100Tokenizer"})
    config = M2M100Config(vocab_size=len(words) + 108, **SHAPE, **FAIRSEQ)
    M2M100ForConditionalGeneration(config).save_pretrained(folder)


def mbart_50(folder: Path, spm: Path, pieces: list[str]) -> None:
    shutil.copy(spm, folder / "sentencepiece.bpe.model")
    _write(folder / "tokenizer_config.json", {"tokenizer_class": "MBart50Tokenizer"})
    config = MBartConfig(vocab_size=len(pieces) + 54, **SHAPE, **FAIRSEQ)
    MBartForConditionalGeneration(config).save_pretrained(folder)


def mdeberta(folder: Path, spm: Path, pieces: list[str]) -> None:
    shutil.copy(spm, folder / "spm.model")
    _write(folder / "tokenizer_config.json", {"do_lower_case": False, "vocab_type": "spm"})
    DebertaV2Model(
        DebertaV2Config(
            vocab_size=len(pieces) + 10, hidden_size=32, num_hidden_layers=2,
            num_attention_heads=4, intermediate_size=64, max_position_embeddings=512,
            relative_attention=True, position_buckets=32, pos_att_type=["p2c", "c2p"],
            norm_rel_ebd="layer_norm", share_att_key=True, position_biased_input=False,
        )
    ).save_pretrained(folder)  # fmt: skip


FIELD: dict[str, Callable[[Path, Path, list[str]], None]] = {
    "opus-mt": opus_mt,
    "m2m-100": m2m_100,
    "mbart-50": mbart_50,
    "mdeberta-v3": mdeberta,
}


def field_model(name: str, folder: Path) -> Path:
    """Write one of the models into a folder."""
    folder.mkdir(parents=True)
    spm = folder.parent / "pieces.model"
    spm.write_bytes(sentence_piece_model(CONTROLS))
    torch.manual_seed(0)
    FIELD[name](folder, spm, [*CONTROLS, *(piece for piece, _ in unigrams())])
    return folder
