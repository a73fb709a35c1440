"""Masked language modelling: continued pre-training in one language, before distillation.

Devlin et al., BERT (NAACL 2019): a share of the tokens is chosen; of these 80 % become the mask,
10 % a random token, 10 % stay. The choice differs in each epoch (Liu et al., RoBERTa, 2019).
Gururangan et al., Don't Stop Pretraining (ACL 2020), show what continued pre-training brings.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from clir_cli.errors import UserError
from clir_cli.retrieval.batching import pad
from clir_cli.retrieval.encoder import Encoder
from clir_cli.retrieval.loading import embedding_table
from clir_cli.training.batches import epoch_batches
from clir_cli.training.loop import Loss

STAY, REPLACE = 0.1, 0.2  # of the chosen tokens: below the first stay, below the second are random
UNSEEN = -100  # a position without a token to predict; cross_entropy ignores it

Example = tuple[Sequence[int], str]  # token ids, and the key that decides which are masked


class MaskedHead(nn.Module):
    """From hidden states to vocabulary scores: BERT's transform, then the input embeddings again.

    Sentence encoders come without the head they were pre-trained with, so the transform starts as
    the identity plus a little noise, and the output embedding is the input embedding (tied; Press
    and Wolf, EACL 2017), new token embeddings included.

    ``hidden`` is the size of a hidden state, ``vocabulary`` the number of rows of the embedding
    table.
    """

    def __init__(self, hidden: int, vocabulary: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden, hidden)
        nn.init.eye_(self.dense.weight)
        nn.init.zeros_(self.dense.bias)
        with torch.no_grad():
            self.dense.weight += 0.02 * torch.randn_like(self.dense.weight)
        self.norm = nn.LayerNorm(hidden)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, states: Tensor, embeddings: Tensor) -> Tensor:
        """Return scores (..., vocabulary) of states (..., hidden) over embeddings (V, hidden)."""
        transformed = self.norm(functional.gelu(self.dense(states)))
        return functional.linear(transformed, embeddings, self.bias)


@dataclass(frozen=True)
class MaskedEncoder(Encoder):
    """An encoder with a head that predicts masked tokens. The head is trained and then dropped."""

    head: MaskedHead = field(kw_only=True)

    @property
    def trained(self) -> nn.ModuleDict:
        """Return what training changes: what is trained of an encoder, and the head."""
        return nn.ModuleDict({**super().trained, "head": self.head})

    def token_scores(self, states: Tensor) -> Tensor:
        """Return float32 scores (N, vocabulary) of hidden states (N, hidden)."""
        with self.autocast():
            scores = self.head(states, embedding_table(self.model).weight)
        return scores.float()


def with_head(encoder: Encoder) -> MaskedEncoder:
    """Return an encoder with a new head.

    Raises:
        UserError: The encoder cannot predict tokens: it has no mask token, or its embeddings and
            its hidden states differ in size.
    """
    table = embedding_table(encoder.model).weight
    if encoder.tokenizer.mask_token_id is None:
        raise UserError("recipe augment: the student's tokenizer has no mask token; take another")
    if table.shape[1] != encoder.hidden_size:
        raise UserError(
            f"recipe augment: the student's embeddings have {table.shape[1]} dimensions and its "
            f"hidden states {encoder.hidden_size}; it needs one in which they are the same"
        )
    head = MaskedHead(encoder.hidden_size, len(table)).to(encoder.device)
    parts = {name: getattr(encoder, name) for name in Encoder.__dataclass_fields__}
    # What comes between hidden states and embeddings; the head takes the hidden states.
    return MaskedEncoder(**{**parts, "projection": None, "centres": {}}, head=head)


@dataclass(frozen=True)
class MaskedLM:
    """Training an encoder to predict the masked tokens of sentences (see loop.Task).

    ``train`` and ``held_out`` are token ids of sentences, with special tokens; the ids in
    ``special`` are never masked, ``mask`` is the id that masks. ``vocabulary`` is the number of
    tokens, a random one of which may replace a masked token; ``share`` of the tokens are predicted.
    """

    train: Sequence[Sequence[int]]
    held_out: Sequence[Sequence[int]]
    special: frozenset[int]
    mask: int
    vocabulary: int
    share: float
    batch_size: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Return the number of batches of each epoch."""
        return math.ceil(len(self.train) / self.batch_size)

    def batches(self, epoch: int) -> list[list[Example]]:
        """Return the batches of an epoch: sentences, each with the key of its masking."""
        lengths = [len(ids) for ids in self.train]
        chosen = epoch_batches(lengths, self.batch_size, seed=self.seed, epoch=epoch)
        return [
            [(self.train[row], f"{self.seed} {epoch} {row}") for row in rows] for rows in chosen
        ]

    def hide(self, ids: Sequence[int], key: str) -> tuple[list[int], list[int]]:
        """Return a sentence with tokens masked, and the tokens to predict (-100 elsewhere).

        At least one token is masked if there is one that may be; the key decides which.
        """
        rng = random.Random(key)
        free = [position for position, token in enumerate(ids) if token not in self.special]
        chosen = rng.sample(free, max(1, round(self.share * len(free)))) if free else []
        shown, targets = list(ids), [UNSEEN] * len(ids)
        for position in chosen:
            targets[position] = ids[position]
            draw = rng.random()
            if draw >= REPLACE:
                shown[position] = self.mask
            elif draw >= STAY:
                shown[position] = rng.randrange(self.vocabulary)
        return shown, targets

    def loss(self, encoder: MaskedEncoder, batch: Sequence[Example]) -> Loss:
        """Return the mean negative log-likelihood of the masked tokens; 0 if there are none."""
        scores, targets = self._predict(encoder, batch)
        return Loss(functional.cross_entropy(scores, targets) if len(targets) else scores.sum())

    def _predict(self, encoder: MaskedEncoder, batch: Sequence[Example]) -> tuple[Tensor, Tensor]:
        """Return scores (masked tokens, vocabulary) and the ids of the masked tokens."""
        hidden = [self.hide(ids, key) for ids, key in batch]
        ids, mask = pad([shown for shown, _ in hidden], encoder.pad_id, encoder.device)
        targets, _ = pad([targets for _, targets in hidden], UNSEEN, encoder.device)
        masked = targets != UNSEEN
        return encoder.token_scores(encoder.states(ids, mask)[masked]), targets[masked]

    def validate(self, encoder: MaskedEncoder) -> tuple[float, float]:
        """Return loss and MRR of the masked tokens of the held-out sentences, always the same."""
        loss, reciprocal_ranks, tokens = 0.0, 0.0, 0
        for start in range(0, len(self.held_out), self.batch_size):
            rows = range(start, min(start + self.batch_size, len(self.held_out)))
            batch = [(self.held_out[row], f"held out {row}") for row in rows]
            scores, targets = self._predict(encoder, batch)
            loss += float(functional.cross_entropy(scores, targets, reduction="sum"))
            of_target = scores.gather(1, targets[:, None])
            reciprocal_ranks += float((1 / (1 + (scores > of_target).sum(dim=1))).sum())
            tokens += len(targets)
        return loss / max(1, tokens), reciprocal_ranks / max(1, tokens)
