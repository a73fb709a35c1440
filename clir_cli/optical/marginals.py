"""The mass of each token of a sentence: weights for `clir_cli.optical.transport`.

Uniform masses treat "the" like "Sahara". Weights by norm follow what the encoder finds worth
keeping; weights by inverse document frequency follow what distinguishes documents. The solver
scales both to sum to one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clir_cli.ragged import Ragged
from clir_cli.retrieval.encoder import Packed


@dataclass(frozen=True)
class Marginals:
    """Weights for both sides of sentence pairs, where they are not uniform.

    Attributes:
        student: From token ids (B, n), mask (B, n) and states (B, n, d), which are not normalised,
            to weights (B, n).
        teacher: The weights of the tokens of each translation: vectors (tokens,).
    """

    student: Callable[[Tensor, Tensor, Tensor], Tensor]
    teacher: Packed


def norm_weights(embeddings: Tensor, mask: Tensor) -> Tensor:
    """Weights by the length of token embeddings that are not normalised.

    Args:
        embeddings: (B, n, d), any floating type.
        mask: (B, n) bool, True on real tokens.

    Returns:
        (B, n) float32, detached; zero on padding.
    """
    norms = torch.linalg.vector_norm(embeddings.detach().float(), dim=2)
    return norms.masked_fill(~mask, 0.0)


def inverse_document_frequencies(frequencies: Tensor, documents: int) -> Tensor:
    """Return log((N + 1) / (df + 1)) + 1 of each token id (V,), at least 1: no token has no mass.

    Args:
        frequencies: (V,) number of documents in which each id occurs, df.
        documents: number of documents that were counted, N.
    """
    return torch.log((documents + 1) / (frequencies.float() + 1)) + 1


def idf_weights(tokens: Tensor, mask: Tensor, idf: Tensor) -> Tensor:
    """Weights by `inverse_document_frequencies`.

    Args:
        tokens: (B, n) int64 token ids.
        mask: (B, n) bool, True on real tokens.
        idf: (V,) weight of each id.

    Returns:
        (B, n) float32; zero on padding.
    """
    return idf[tokens].masked_fill(~mask, 0.0)


def by_norm(_: Tensor, mask: Tensor, states: Tensor) -> Tensor:
    """`norm_weights` (B, n) as `Marginals.student`: of mask (B, n) and states (B, n, d)."""
    return norm_weights(states, mask)


def by_idf(idf: Tensor) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """`idf_weights` (B, n) as `Marginals.student`, with weights by token id (V,) on its device."""
    return lambda tokens, mask, _: idf_weights(tokens, mask, idf)


def document_frequencies(texts: Ragged, vocabulary: int) -> Tensor:
    """Return (V,) int64: in how many texts each token id occurs, of ids below ``vocabulary``, V."""
    return torch.from_numpy(np.bincount(texts.distinct().values, minlength=vocabulary))
