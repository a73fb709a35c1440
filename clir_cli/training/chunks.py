"""Scores of a large batch in bounded memory: gradient caching.

Gao et al., Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup (RepL4NLP 2021;
arXiv 2101.06983): texts are encoded in chunks without keeping activations, the loss and its
gradient with regard to the embeddings are computed, then each chunk is encoded again and that
gradient is carried on. torch's checkpoints do the same within an ordinary backward pass, and set
the random state of each chunk again, so dropout is the same both times. Blocks of MaxSim's
similarities are computed again too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from clir_cli.retrieval.batching import TokenizedText, batches_by_tokens, collate
from clir_cli.retrieval.checkpoints import TextKind
from clir_cli.retrieval.encoder import Encoder, Packed
from clir_cli.retrieval.maxsim import mean_maxsim
from clir_cli.training.batches import pad_vectors


@dataclass(frozen=True)
class Chunk:
    """Embeddings (B, n, d) of some texts, the mask (B, n) of those that count, and which texts."""

    embeddings: Tensor
    mask: Tensor
    texts: Sequence[int]


def embed_chunks(
    encoder: Encoder, inputs: Sequence[TokenizedText], kind: TextKind, tokens: int
) -> list[Chunk]:
    """Return the embeddings of all texts, differentiable.

    ``tokens`` is the number of padded tokens of a chunk; 0 for all texts in one. If there are
    several chunks, their activations are computed again in the backward pass.
    """
    lengths = [len(text) for text in inputs]
    groups, embed = [list(range(len(inputs)))], encoder.embed
    if 0 < tokens < len(lengths) * max(lengths):
        groups, embed = list(batches_by_tokens(lengths, tokens)), encoder.recomputed
    chunks = []
    for texts in groups:
        chosen = [inputs[text] for text in texts]
        ids, attended, embedded = collate(chosen, encoder.pad_id, encoder.device)
        chunks.append(Chunk(embed(ids, attended, kind), embedded, texts))
    return chunks


def packed_chunks(
    packed: Packed, texts: Sequence[int], tokens: int, device: torch.device
) -> list[Chunk]:
    """Return fixed embeddings of some texts, numbered as given; chunks as in ``embed_chunks``."""
    lengths = packed.offsets.diff()[list(texts)].tolist()
    groups = batches_by_tokens(lengths, tokens) if tokens else [list(range(len(texts)))]
    return [
        Chunk(*pad_vectors([packed[texts[row]] for row in group], device), group)
        for group in groups
    ]


def score_chunks(queries: Sequence[Chunk], documents: Sequence[Chunk]) -> Tensor:
    """Return the mean MaxSim (B, K) of all queries and documents, in the order of the texts."""

    def score(query: Chunk, document: Chunk) -> Tensor:
        tensors = (query.embeddings, query.mask, document.embeddings, document.mask)
        if len(queries) == len(documents) == 1:
            return mean_maxsim(*tensors)
        scores: Tensor = checkpoint(mean_maxsim, *tensors, use_reentrant=False)
        return scores

    table = torch.cat([torch.cat([score(q, d) for d in documents], dim=1) for q in queries])
    rows, columns = (
        torch.tensor([text for chunk in chunks for text in chunk.texts]).argsort().to(table.device)
        for chunks in (queries, documents)
    )
    return table[rows][:, columns]
