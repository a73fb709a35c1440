"""Translation models of the hub: true lists of files, random weights."""

import json
from pathlib import Path

import torch
from transformers import (
    M2M100Config,
    M2M100ForConditionalGeneration,
    MarianConfig,
    MarianMTModel,
    NllbTokenizer,
    PreTrainedModel,
)

from rehearsal.encoders import FAIRSEQ, ModelMaker
from rehearsal.hub import only, repository
from rehearsal.vocabularies import merges, sentence_piece_model, unigrams

SIZE = {
    "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16,
}  # fmt: skip


def nllb(mirror: Path) -> Path:
    """NLLB-200-distilled: M2M-100's architecture, pickled weights, 202 languages as tokens."""
    folder = repository(mirror, "facebook/nllb-200-distilled-600M")
    vocabulary, pairs = merges(is_byte_level=False)
    numbered = {
        token: number for number, token in enumerate(dict.fromkeys((*FAIRSEQ, *vocabulary)))
    }
    tokenizer = NllbTokenizer(vocab=numbered, merges=pairs, model_max_length=1024)
    tokenizer.save_pretrained(folder)
    model = sentence_piece_model(("<unk>", "<s>", "</s>"))
    (folder / "sentencepiece.bpe.model").write_bytes(model)
    torch.manual_seed(11)
    config = M2M100Config(
        vocab_size=len(tokenizer), bos_token_id=0, pad_token_id=1, eos_token_id=2,
        decoder_start_token_id=2, max_length=200, max_position_embeddings=1024, **SIZE,
    )  # fmt: skip
    return _saved(folder, M2M100ForConditionalGeneration(config), {"max_length": 200})


def opus_mt(mirror: Path) -> Path:
    """OPUS-MT from Swahili: pickled weights, two models of SentencePiece, no tokenizer.json."""
    folder = repository(mirror, "Helsinki-NLP/opus-mt-sw-en")
    for side in ("source", "target"):
        (folder / f"{side}.spm").write_bytes(sentence_piece_model(("<unk>", "<s>", "</s>")))
    pieces = ["</s>", "<unk>", *(piece for piece, _ in unigrams()), "<pad>"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    options = {"target_lang": "eng", "source_lang": "swa"}
    (folder / "tokenizer_config.json").write_text(json.dumps(options))
    torch.manual_seed(12)
    last = len(pieces) - 1
    config = MarianConfig(
        vocab_size=len(pieces), pad_token_id=last, eos_token_id=0, bos_token_id=0,
        decoder_start_token_id=last, forced_eos_token_id=0, max_position_embeddings=512, **SIZE,
    )  # fmt: skip
    _saved(folder, MarianMTModel(config), {"bad_words_ids": [[last]], "num_beams": 6})
    return only(
        folder, "config.json", "generation_config.json", "pytorch_model.bin", "source.spm",
        "target.spm", "tokenizer_config.json", "vocab.json",
    )  # fmt: skip


def _saved(folder: Path, model: PreTrainedModel, generates: dict[str, object]) -> Path:
    model.generation_config.update(**generates)
    model.generation_config.save_pretrained(folder)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return folder


TRANSLATORS: dict[str, ModelMaker] = {
    "facebook/nllb-200-distilled-600M": nllb,
    "Helsinki-NLP/opus-mt-sw-en": opus_mt,
}
