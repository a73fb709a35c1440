"""Tokenising by words: each word of a bitext is tokenised once, however often it occurs.

A tokenizer of BERT's kind splits a text at its spaces before anything else, so the tokens of a text
are those of the parts between spaces, one after another. A bitext has some hundred times as many
words as different ones.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerBase

# Normalisers that change each character by itself, or with the marks that follow it.
LOCAL = frozenset({"BertNormalizer", "NFC", "NFD", "Lowercase", "StripAccents"})


def is_wordwise(layout: dict[str, Any]) -> bool:
    """Return True if the tokens of a text are those of its parts between spaces.

    ``layout`` is the JSON of a fast tokenizer.
    """
    before, normalizer = layout.get("pre_tokenizer") or {}, layout.get("normalizer") or {}
    steps = normalizer.get("normalizers", [normalizer])
    return (
        layout["model"].get("type") == "WordPiece"
        and before.get("type") == "BertPreTokenizer"
        and all(map(_is_local, steps))
        and not any(_reaches_over_spaces(token) for token in layout.get("added_tokens", ()))
    )


def _is_local(step: dict[str, Any]) -> bool:
    # What is replaced here is a class of characters (vocabulary/extend.py), or a text.
    pattern = step.get("pattern") or {}
    is_mark = step.get("type") == "Replace" and str(pattern.get("Regex", "")).endswith(r"\p{Mn}")
    return step.get("type") in LOCAL or is_mark or not step


def _reaches_over_spaces(token: dict[str, Any]) -> bool:
    return bool(token["lstrip"] or token["rstrip"] or " " in token["content"])


@contextmanager
def untruncated(backend: Tokenizer) -> Iterator[Tokenizer]:
    """Yield a tokenizer that neither truncates nor pads, whatever its last call asked for."""
    truncation, padding = backend.truncation, backend.padding
    backend.no_truncation()
    backend.no_padding()
    try:
        yield backend
    finally:
        if truncation:
            backend.enable_truncation(**truncation)
        if padding:
            backend.enable_padding(**padding)


class WordTokens:
    """The token ids of texts, without special tokens, from those of their words."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._backend = tokenizer.backend_tokenizer
        self._known: dict[str, list[int]] = {}

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> "WordTokens | None":
        """Return those of a tokenizer; None if its words depend on each other, or it is slow."""
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None or not isinstance(backend.model, models.WordPiece):
            return None
        return cls(tokenizer) if is_wordwise(json.loads(backend.to_str())) else None

    def __call__(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """Yield the token ids of each text; TypeError if one is no Unicode."""
        rows, known = [text.split(" ") for text in texts], self._known
        new = list(dict.fromkeys(word for row in rows for word in row if word not in known))
        with untruncated(self._backend) as backend:
            encoded = backend.encode_batch_fast(new, add_special_tokens=False)
        known.update(zip(new, (encoding.ids for encoding in encoded), strict=True))
        for row in rows:
            yield list(chain.from_iterable(map(known.__getitem__, row)))
