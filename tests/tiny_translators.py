"""Translation models in their real formats, tiny and untrained."""

import torch
from tokenizers import Tokenizer, pre_tokenizers, processors
from tokenizers.models import WordLevel
from transformers import (
    M2M100Config,
    M2M100ForConditionalGeneration,
    MarianConfig,
    MarianMTModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

WORDS = ["maji", "safi", "watoto", "water", "clean", "children", "the"]


def save(folder, model, marks=()):
    vocabulary = ["<s>", "<pad>", "</s>", "<unk>", *WORDS, *marks]
    backend = Tokenizer(WordLevel({word: i for i, word in enumerate(vocabulary)}, "<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", pad_token="<pad>", eos_token="</s>",
        unk_token="<unk>", additional_special_tokens=list(marks),
    ).save_pretrained(folder)  # fmt: skip
    torch.manual_seed(0)
    model().save_pretrained(folder)
    return folder


def m2m(**more):
    return M2M100ForConditionalGeneration(
        M2M100Config(
            vocab_size=24,
            d_model=16,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=16,
            decoder_ffn_dim=16,
            bos_token_id=0,
            pad_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=2,
            max_position_embeddings=64,
        )
    )


def marian():
    return MarianMTModel(
        MarianConfig(
            vocab_size=24,
            d_model=16,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=16,
            decoder_ffn_dim=16,
            pad_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=1,
            forced_eos_token_id=2,
            max_position_embeddings=64,
        )
    )


def t5():
    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=24,
            d_model=16,
            d_kv=8,
            d_ff=16,
            num_layers=1,
            num_heads=2,
            pad_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=1,
        )
    )
