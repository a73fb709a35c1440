"""Neural machine translation of queries to English, by any sequence-to-sequence model on disk.

NLLB-200, M2M-100, mBART-50, MADLAD-400 and OPUS-MT differ only in how the languages are specified;
``FAMILIES`` holds the difference.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoConfig, AutoModelForSeq2SeqLM, PreTrainedModel, PreTrainedTokenizerBase

from clir_cli.errors import UserError
from clir_cli.foreign import reported
from clir_cli.retrieval.batching import batches_by_tokens
from clir_cli.retrieval.checkpoints import read_checkpoint
from clir_cli.retrieval.loading import (
    load_tokenizer,
    load_weights,
)
from clir_cli.retrieval.model_files import AGAIN, CONFIG


@dataclass(frozen=True)
class Direction:
    """How a direction is specified: a prefix of the text, a source code, a first target token."""

    prefix: str = ""
    source: str = ""
    first_token: int | None = None


@dataclass(frozen=True)
class Translator:
    """A sequence-to-sequence model with its tokenizer, from one language to English."""

    tokenizer: PreTrainedTokenizerBase
    model: PreTrainedModel
    direction: Direction
    device: torch.device

    @torch.inference_mode()
    def translate(
        self,
        texts: Sequence[str],
        *,
        beams: int = 4,
        max_tokens: int = 128,
        batch_tokens: int = 2048,
        advance: Callable[[int], None] = lambda _: None,
    ) -> list[str]:
        """Return the English translation of each text, in order; deterministic.

        One beam is greedy; ``max_tokens`` limits input and output; ``batch_tokens`` bounds (texts x
        longest text) of a batch; ``advance`` is called with the number of texts that were
        translated.
        """
        prefixed = [self.direction.prefix + text for text in texts]
        with reported("the translation model does not work", "take another"):
            if self.direction.source:
                self.tokenizer.src_lang = self.direction.source
            encoded = self.tokenizer(prefixed, truncation=True, max_length=max_tokens)["input_ids"]
        translations = [""] * len(texts)
        for batch in batches_by_tokens([len(ids) for ids in encoded], batch_tokens):
            with reported("the translation model does not work", "take another"):
                rows = self.tokenizer.pad(
                    {"input_ids": [encoded[index] for index in batch]}, return_tensors="pt"
                ).to(self.device)
                generated = cast(Any, self.model).generate(
                    **rows,
                    num_beams=beams,
                    do_sample=False,
                    max_new_tokens=max_tokens,
                    forced_bos_token_id=self.direction.first_token,
                )
                # The language's token is no special one to some tokenizers.
                kept = [
                    [token for token in row if token != self.direction.first_token]
                    for row in generated.tolist()
                ]
                decoded = self.tokenizer.batch_decode(kept, skip_special_tokens=True)
            for index, text in zip(batch, decoded, strict=True):
                translations[index] = " ".join(text.split())
            advance(len(batch))
        return translations


def load_translator(
    folder: Path, codes: Sequence[str], device: torch.device, target: str = "en", pickled: str = ""
) -> Translator:
    """Load a translation model from a folder; no remote code.

    ``codes`` are those of the source language, of two and three letters: ``["sw", "swa", "swh"]``.
    ``target`` is not English for a model that clir trained as a back-translator. ``pickled`` names
    a file with pickled weights, allowed if there are no safetensors; only tensors are read from it.

    Raises:
        UserError: Model or tokenizer is missing or damaged, does not know the language, or was
            trained by clir for another pair or direction.
    """
    tokenizer = load_tokenizer(read_checkpoint(folder).body)
    with reported(f"{folder / CONFIG}: not a transformer's", AGAIN):
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    source, into = (getattr(config, f"{side}_language", "") for side in ("source", "target"))
    if source and into and (source not in codes or into != target):
        raise UserError(
            f"{folder}: this model translates from {source!r} to {into!r}, not from {codes[0]!r} "
            f"to {target!r}; take the one of the pair"
        )
    model = load_weights(AutoModelForSeq2SeqLM, folder, config, pickled)
    direction_of = FAMILIES.get(model.config.model_type, _marian)
    direction = direction_of(tokenizer, codes)
    if direction is None:
        raise UserError(f"{folder}: this model does not know the language {codes[0]!r}")
    translator = Translator(tokenizer, torch.nn.Module.to(model, device).eval(), direction, device)
    translator.translate(["a"], beams=1, max_tokens=4)  # fails now, and not after hours
    return translator


def _language_tokens(tokenizer: PreTrainedTokenizerBase, codes: Sequence[str]) -> Direction | None:
    """NLLB has tokens ``swh_Latn``, mBART-50 ``sw_KE``, M2M-100 ``__sw__``."""
    # Those of M2M-100 are beside its vocabulary.
    vocabulary = {**tokenizer.get_vocab(), **getattr(tokenizer, "lang_token_to_id", {})}

    def token(pattern: str, codes: Sequence[str]) -> str:
        matches = (re.compile(pattern.format(code)).fullmatch for code in codes)
        return next((name for match in matches for name in vocabulary if match(name)), "")

    for pattern in (r"{}_[A-Z][a-z]{{3}}", r"{}_[A-Z]{{2}}", r"__{}__"):
        source, target = token(pattern, codes), token(pattern, ("eng", "en"))
        if source and target:
            return Direction(source=source.strip("_"), first_token=vocabulary[target])
    return None


def _madlad(tokenizer: PreTrainedTokenizerBase, _: Sequence[str]) -> Direction | None:
    """MADLAD-400 takes the target language alone, as a first token ``<2en>``."""
    return Direction(prefix="<2en> ") if "<2en>" in tokenizer.get_vocab() else Direction()


def _marian(tokenizer: PreTrainedTokenizerBase, _: Sequence[str]) -> Direction | None:
    """OPUS-MT has one model per direction; multilingual targets take ``>>eng<<``."""
    return Direction(prefix=">>eng<< " if ">>eng<<" in tokenizer.get_vocab() else "")


FAMILIES: dict[str, Callable[[PreTrainedTokenizerBase, Sequence[str]], Direction | None]] = {
    "m2m_100": _language_tokens,
    "mbart": _language_tokens,
    "t5": _madlad,
    "marian": _marian,
}
