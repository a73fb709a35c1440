"""Costs between tokens of sentences and of their translations: made up, shaped like real ones."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

DIMENSION = 384
MEANINGS = 200


def translated(
    pairs: int, rows: int, columns: int, *, seed: int = 0, noise: float = 0.8, common: float = 0.5
) -> tuple[Tensor, Tensor, Tensor]:
    """A batch of pairs with cosine costs.

    A token is one of MEANINGS directions, plus noise, plus a direction that all tokens share, as
    contextual embeddings do. The translation has the same meanings in another order, some
    more or some fewer, and noise of its own. Costs then lie between 0.2 and 1.1.

    Args:
        pairs: number of pairs.
        rows: longest sentence; lengths vary between a third of it and all of it.
        columns: longest translation; lengths follow the sentence's.
        seed: the same seed gives the same batch.
        noise: length of the noise as a share of that of a meaning.
        common: length of the shared direction, likewise.

    Returns:
        cost: (pairs, rows, columns) float32.
        row_mask: (pairs, rows) bool, True on real tokens.
        column_mask: (pairs, columns) bool.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    meanings, shared = draw(MEANINGS, DIMENSION), common * draw(DIMENSION)
    lengths = torch.randint(rows // 3, rows + 1, (pairs,), generator=generator).clamp_min(1)
    ratios = 0.8 + 0.5 * torch.rand(pairs, generator=generator)
    translated_lengths = (lengths * ratios).round().long().clamp(1, columns)

    longest = max(rows, columns)
    sense = meanings[torch.randint(0, MEANINGS, (pairs, longest), generator=generator)]
    sentence = sense[:, :rows] + noise * draw(pairs, rows, DIMENSION) + shared
    translation = torch.zeros(pairs, columns, DIMENSION)
    for i, length in enumerate(translated_lengths.tolist()):
        order = torch.randperm(length, generator=generator)
        translation[i, :length] = sense[i, :length][order]
    translation += noise * draw(pairs, columns, DIMENSION) + shared

    cost = 1 - normalize(sentence, dim=-1) @ normalize(translation, dim=-1).mT
    row_mask = torch.arange(rows) < lengths[:, None]
    column_mask = torch.arange(columns) < translated_lengths[:, None]
    return cost, row_mask, column_mask
