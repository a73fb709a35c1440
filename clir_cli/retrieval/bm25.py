"""BM25 over words (Robertson et al., TREC-3), by bm25s; no model, no index on disk."""

import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from clir_cli.corpus.unicode_words import words

K1, B = 0.9, 0.4  # the defaults of Anserini for passages


def bm25_scores(documents: Sequence[str], queries: Sequence[str]) -> Iterator[Tensor]:
    """Yield the scores (documents,) of each query, in order.

    Words are compared in lower case and not stemmed, so names match in any language. A document
    that shares no word with the query scores minus infinity: it is not found.
    """
    bm25s = _bm25s()
    index, corpus = bm25s.BM25(k1=K1, b=B), [words(text) for text in documents]
    if has_words := any(corpus):  # bm25s cannot index documents without a word
        index.index(corpus, show_progress=False)
    for query in queries:
        terms = [word for word in words(query) if has_words and word in index.vocab_dict]
        if not terms:
            yield torch.full((len(documents),), float("-inf"))
            continue
        scores = torch.from_numpy(index.get_scores(terms))
        yield scores.masked_fill(scores <= 0, float("-inf"))


def _bm25s() -> Any:
    """Import bm25s without JAX: it would start JAX, which takes most of a GPU's memory."""
    absent = "jax" not in sys.modules
    sys.modules.setdefault("jax", None)  # type: ignore[arg-type]  # so that importing it fails
    try:
        return import_module("bm25s")
    finally:
        if absent:
            del sys.modules["jax"]
