"""Tokenising by words: each word of a bitext is tokenised once, however often it occurs.

A tokenizer of BERT's kind splits a text at its spaces before anything else, so the tokens of a text
are those of the parts between spaces, one after another. A bitext has some hundred times as many
words as different ones.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerBase

from clir_cli.errors import UserError

AT_ONCE = 4096  # texts: the encoding of one takes many times as much memory as its ids
SOME_WORD = "a"
SURROGATE = re.compile("[\ud800-\udfff]")
# Marks that a student's tokenizer removes (vocabulary/extend.py): not the vowel signs of scripts
# from Devanagari to Khmer, which are letters.
ACCENTS = r"(?![\u0900-\u109F\u1780-\u17FF])\p{Mn}"
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
    removes_marks = step.get("pattern") == {"Regex": ACCENTS}
    return not step or step["type"] in LOCAL or removes_marks


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


@contextmanager
def unicode_only(texts: Sequence[str]) -> Iterator[None]:
    """Raise UserError if a text has half of a character, as JSON may have it."""
    try:
        yield
    except TypeError:
        wrong = next(filter(SURROGATE.search, texts), None)
        if wrong is None:
            raise
        raise UserError(f"a text is not valid Unicode: {wrong[:80]!a}") from None


def parts_of(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the texts that are tokenised at once."""
    return (texts[start : start + AT_ONCE] for start in range(0, len(texts), AT_ONCE))


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


def sentence_tokens(
    tokenizer: PreTrainedTokenizerBase, prefix: str, longest: int
) -> Callable[[Sequence[str]], Iterable[list[int]]] | None:
    """Return a function from texts to the ids that a tokenizer gives them, special ones included.

    Texts begin with ``prefix`` and are truncated to ``longest`` tokens. None if the words of a text
    depend on each other, or it is truncated at its beginning.
    """
    words = WordTokens.of(tokenizer)
    some = tokenizer(SOME_WORD, truncation=True, max_length=longest)["input_ids"]
    own = next(words([SOME_WORD])) if words else []
    before = next((at for at in range(len(some)) if own and some[at:][: len(own)] == own), None)
    if words is None or before is None or tokenizer.truncation_side != "right":
        return None
    begin, end = some[:before], some[before + len(own) :]
    room = longest - len(begin) - len(end)

    def tokenize(texts: Sequence[str]) -> Iterator[list[int]]:
        with unicode_only(texts):
            for ids in words([prefix + text for text in texts]):
                yield [*begin, *ids[:room], *end]

    return tokenize
