"""A new translator: subwords that both languages share, and a small Transformer with their rows.

The architecture is Marian's (Junczys-Dowmunt et al., ACL 2018; Vaswani et al., 2017), so the folder
is one that ``AutoModelForSeq2SeqLM`` and ``AutoTokenizer`` load, like an OPUS-MT model.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from torch import Tensor
from transformers import (
    MarianConfig,
    MarianMTModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from clir_cli.retrieval.encoder import Encoder
from clir_cli.retrieval.nmt import Direction, Translator
from clir_cli.settings import TranslatorSettings

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
HEAD = 64  # dimensions of an attention head, at least
LONGEST = 512  # positions


def learn_vocabulary(texts: Iterable[str], size: int) -> PreTrainedTokenizerBase:
    """Return a tokenizer with subwords of texts in two languages.

    Byte-pair encoding (Sennrich, Haddow and Birch, ACL 2016) over both languages together: a name
    has the same subwords on both sides, so it can be copied. A digit is a token.

    Args:
        texts: Sentences of both languages.
        size: Most tokens, letters and special tokens included.
    """
    backend = Tokenizer(BPE(unk_token=UNKNOWN))
    backend.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    )
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(),
            pre_tokenizers.Punctuation(),
            pre_tokenizers.Digits(individual_digits=True),
        ]
    )
    backend.decoder = decoders.Metaspace()
    special = [PAD, END, UNKNOWN]
    trainer = BpeTrainer(
        vocab_size=size, min_frequency=2, special_tokens=special, show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    end = (END, backend.token_to_id(END))
    backend.post_processor = processors.TemplateProcessing(single=f"$A {END}", special_tokens=[end])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token=PAD, eos_token=END, unk_token=UNKNOWN,
        model_max_length=LONGEST, clean_up_tokenization_spaces=False,
    )  # fmt: skip


def new_model(
    settings: TranslatorSettings, tokenizer: PreTrainedTokenizerBase, source: str, target: str
) -> MarianMTModel:
    """Return a model with random weights; source and target embeddings and the output are one.

    ``source`` and ``target`` are the codes of its languages, which its configuration keeps.
    """
    width, pad, end = settings.width, tokenizer.pad_token_id, tokenizer.eos_token_id
    heads = next(n for n in range(max(1, width // HEAD), 0, -1) if width % n == 0)
    inner = 2 * width
    config = MarianConfig(
        vocab_size=len(tokenizer),
        decoder_vocab_size=len(tokenizer),
        d_model=width,
        encoder_layers=settings.encoder_layers,
        decoder_layers=settings.decoder_layers,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        encoder_ffn_dim=inner,
        decoder_ffn_dim=inner,
        dropout=settings.dropout,
        max_position_embeddings=LONGEST,
        activation_function="relu",
        scale_embedding=True,
        init_std=width**-0.5,  # an embedding times sqrt(width) is as large as a position
        pad_token_id=pad,
        eos_token_id=end,
        forced_eos_token_id=end,
        decoder_start_token_id=pad,
    )
    config.source_language, config.target_language = source, target
    model = MarianMTModel(config)
    generation = model.generation_config
    generation.num_beams = settings.held_out_beams
    generation.suppress_tokens = [pad, tokenizer.unk_token_id]
    return model


@dataclass(frozen=True)
class Translating(Encoder):
    """A translator in training, in place of an encoder: what the loop trains and saves."""

    def token_scores(self, ids: Tensor, mask: Tensor, previous: Tensor, known: Tensor) -> Tensor:
        """Return float32 scores (N, vocabulary) of the N target tokens.

        Args:
            ids: (B, n) source tokens; ``mask`` (B, n) is True on real ones.
            mask: See ``ids``.
            previous: (B, m) the token before each target token.
            known: (B, m) True where there is a target token: N in all.
        """
        with self.autocast():
            states = self.model.model(
                input_ids=ids, attention_mask=mask, decoder_input_ids=previous, use_cache=False
            ).last_hidden_state[known]
            scores: Tensor = self.model.lm_head(states) + self.model.final_logits_bias
        return scores.float()

    @property
    def translator(self) -> Translator:
        """Return the translator in its present state."""
        return Translator(self.tokenizer, self.model, Direction(), self.device)


def new_translator(
    settings: TranslatorSettings,
    tokenizer: PreTrainedTokenizerBase,
    languages: tuple[str, str],
    device: torch.device,
    precision: torch.dtype,
) -> Translating:
    """Return an untrained translator from the first language to the second, in training."""
    model = new_model(settings, tokenizer, *languages)
    return Translating(tokenizer, torch.nn.Module.to(model, device), device, precision)
