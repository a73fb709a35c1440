"""BM25 over words (Robertson et al., TREC-3), by bm25s; no model, no index on disk."""

import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from clir_cli.corpus.unicode_words import words

K1, B = 0.9, 0.4  # the defaults of Anserini for passages


@dataclass(frozen=True)
class WordIndex:
    """The words of documents, to score many queries.

    ``ids`` numbers the words; ``index`` is None if there are none, which bm25s cannot index.
    """

    documents: int
    ids: Mapping[str, int]
    index: Any

    @classmethod
    def of(cls, documents: Iterable[str]) -> "WordIndex":
        """Index documents; four bytes a word are held, and some twenty for a word of a document."""
        ids: dict[str, int] = {}
        corpus = [
            array("i", [ids.setdefault(word, len(ids)) for word in words(text)])
            for text in documents
        ]
        index = None
        if ids:
            index = _bm25s().BM25(k1=K1, b=B)
            index.scores = index.build_index_from_ids(
                list(ids.values()), corpus, show_progress=False
            )
        return cls(len(corpus), ids, index)

    def scores(self, queries: Iterable[str]) -> Iterator[Tensor]:
        """Yield the scores (documents,) of each query, in order.

        Words are compared in lower case and not stemmed, so names match in any language. A document
        that shares no word with the query scores minus infinity: it is not found.
        """
        for query in queries:
            terms = [self.ids[word] for word in words(query) if word in self.ids]
            if not terms:
                yield torch.full((self.documents,), float("-inf"))
                continue
            scores = torch.from_numpy(self.index.get_scores_from_ids(terms))
            yield scores.masked_fill(scores <= 0, float("-inf"))


def bm25_scores(documents: Iterable[str], queries: Iterable[str]) -> Iterator[Tensor]:
    """Yield the scores of each query for documents that are indexed for it alone."""
    yield from WordIndex.of(documents).scores(queries)


def _bm25s() -> Any:
    """Import bm25s without JAX: it would start JAX, which takes most of a GPU's memory."""
    absent = "jax" not in sys.modules
    sys.modules.setdefault("jax", None)  # type: ignore[arg-type]  # so that importing it fails
    try:
        return import_module("bm25s")
    finally:
        if absent:
            del sys.modules["jax"]
