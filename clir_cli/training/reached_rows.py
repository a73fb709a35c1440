"""The embedding table in training: a table of the rows that the training data reaches.

A multilingual encoder has 120,000 to 250,000 rows, and 6,000 sentence pairs reach some 10,000 of
them. The others have a gradient of zero in every step, so AdamW changes them by weight decay alone,
which is one factor for all. The reached rows are therefore trained as a small table: the weights
end the same up to rounding, without a gradient, two moments and a walk over the other rows in each
step.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from clir_cli.retrieval.encoder import Encoder
from clir_cli.retrieval.loading import embedding_table

LARGEST_SHARE = 0.5  # of the table's rows; above it little is saved


class ReachedRows(nn.Module):
    """An embedding table (rows, d) of which ``weight`` (reached, d) is trained.

    In training every token must be reached (IndexError). Without it, other tokens have their rows
    times ``decay``, the product of (1 - learning rate x weight decay) of the steps so far.
    """

    decay: Tensor
    reached: Tensor
    position: Tensor

    def __init__(self, table: nn.Embedding, reached: Tensor) -> None:
        super().__init__()
        self.table = table.requires_grad_(False)
        self.weight = nn.Parameter(table.weight.detach()[reached])
        self.register_buffer("decay", torch.ones((), device=reached.device))
        self.register_buffer("reached", reached, persistent=False)
        position = torch.full((table.num_embeddings,), -1, device=reached.device)
        position[reached] = torch.arange(len(reached), device=reached.device)
        self.register_buffer("position", position, persistent=False)
        padding = table.padding_idx  # its row has no gradient
        self.padding = None if padding is None else int(position[padding])

    def forward(self, ids: Tensor) -> Tensor:
        """Return the embeddings (..., d) of token ids (...)."""
        position = self.position[ids]
        if self.training:
            return embedding(position, self.weight, self.padding)
        known = embedding(position.clamp(min=0), self.weight)
        return torch.where((position < 0)[..., None], self.table(ids) * self.decay, known)

    @torch.no_grad()
    def whole(self) -> nn.Embedding:
        """Return the table with its trained rows, as it would be if all had been trained."""
        self.table.weight.mul_(self.decay)
        self.table.weight[self.reached] = self.weight
        return self.table.requires_grad_(True)


def with_reached_rows(encoder: Encoder, tokens: Iterable[int]) -> ReachedRows | None:
    """Let an encoder train only the rows of some tokens, and of padding, in place.

    Returns:
        Its new table; None, and nothing is changed, if the table is not trained, is tied to another
        weight or does more than look up rows, or if most rows are reached.
    """
    table = embedding_table(encoder.model)
    names = [
        name
        for name, value in encoder.trained.named_parameters(remove_duplicate=False)
        if value is table.weight
    ]
    is_plain = type(table) is nn.Embedding and not (
        table.sparse or table.scale_grad_by_freq or table.max_norm
    )
    if not (is_plain and table.weight.requires_grad and len(names) == 1):
        return None
    padding = set() if table.padding_idx is None else {table.padding_idx}
    reached = sorted({*tokens, encoder.pad_id} | padding)
    if len(reached) > LARGEST_SHARE * table.num_embeddings:
        return None
    rows = ReachedRows(table, torch.tensor(reached, device=table.weight.device))
    encoder.model.set_input_embeddings(rows)
    return rows
