"""Masked language modelling: an encoder reads on in one language before it is distilled.

Devlin et al., BERT (NAACL 2019): of the tokens, a share is chosen; of these 80 % become the mask,
10 % any token, 10 % stay. Which ones is drawn anew each epoch (Liu et al., RoBERTa, 2019).
Gururangan et al., Don't Stop Pretraining (ACL 2020), show what reading on in a domain brings.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from clir_cli.errors import UserError
from clir_cli.retrieval.encoder import Encoder, pad
from clir_cli.training.batches import epoch_batches
from clir_cli.training.loop import Loss

KEPT, ANY = 0.1, 0.2  # of the chosen tokens: below the first stay, below the second become any
UNSEEN = -100  # no token to guess here, as cross_entropy wants it


class MaskedHead(nn.Module):
    """From hidden states to vocabulary scores: BERT's transform, then the input embeddings again.

    Sentence encoders come without the head they were pre-trained with, so the transform starts as
    the identity plus a little noise, and the output embedding is the input embedding (tied; Press
    and Wolf, EACL 2017), word rows included.

    Args:
        hidden: Size of a hidden state.
        vocabulary: Rows of the embedding table.
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
        found = self.norm(functional.gelu(self.dense(states)))
        return functional.linear(found, embeddings, self.bias)


@dataclass(frozen=True)
class MaskedReader(Encoder):
    """An encoder with a head that guesses hidden tokens. The head is trained and then dropped."""

    head: MaskedHead | None = None

    @property
    def trained(self) -> nn.ModuleDict:
        """Return what training changes: what is trained of an encoder, and the head."""
        return nn.ModuleDict({**super().trained, "head": self.head})


def with_head(encoder: Encoder) -> MaskedReader:
    """Return an encoder with a fresh head.

    Raises:
        UserError: The encoder cannot guess tokens: it has no mask token, or its embeddings are not
            of the size of its hidden states.
    """
    table = encoder.model.get_input_embeddings().weight
    if encoder.tokenizer.mask_token_id is None:
        raise UserError("recipe augment: the student's tokenizer has no mask token; take another")
    if table.shape[1] != encoder.hidden_size:
        raise UserError(
            f"recipe augment: the student's embeddings have {table.shape[1]} dimensions and its "
            f"hidden states {encoder.hidden_size}; it needs one in which they are the same"
        )
    head = MaskedHead(encoder.hidden_size, len(table)).to(encoder.device)
    parts = {name: getattr(encoder, name) for name in Encoder.__dataclass_fields__}
    # A projection stands between hidden states and embeddings; the head reads the former.
    return MaskedReader(**{**parts, "projection": None}, head=head)


@dataclass(frozen=True)
class Masked:
    """An encoder that guesses the hidden tokens of sentences (see training.Task).

    Attributes:
        train: Token ids of the sentences to train on, with special tokens.
        held_out: Those for model selection.
        special: Ids that are never hidden.
        mask: The id that hides a token.
        vocabulary: Number of tokens; one of them may stand for a hidden one.
        share: Of the tokens, that are to be guessed.
        batch_size: Sentences a batch.
        seed: Decides the batches and what is hidden.
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

    def batches(self, epoch: int) -> list[list[tuple[Sequence[int], str]]]:
        """Return the batches of an epoch: sentences, each with the key of what is hidden in it."""
        lengths = [len(ids) for ids in self.train]
        cut = epoch_batches(lengths, self.batch_size, seed=self.seed, epoch=epoch)
        return [[(self.train[row], f"{self.seed} {epoch} {row}") for row in rows] for rows in cut]

    def hide(self, ids: Sequence[int], key: str) -> tuple[list[int], list[int]]:
        """Return a sentence with tokens hidden, and what is to be guessed (-100 elsewhere).

        At least one token is hidden where there is one that may be; the key decides which.
        """
        chance = random.Random(key)
        free = [place for place, each in enumerate(ids) if each not in self.special]
        chosen = chance.sample(free, max(1, round(self.share * len(free)))) if free else []
        shown, wanted = list(ids), [UNSEEN] * len(ids)
        for place in chosen:
            wanted[place] = ids[place]
            luck = chance.random()
            if luck >= ANY:
                shown[place] = self.mask
            elif luck >= KEPT:
                shown[place] = chance.randrange(self.vocabulary)
        return shown, wanted

    def loss(self, encoder: MaskedReader, batch: Sequence[tuple[Sequence[int], str]]) -> Loss:
        """Return the mean negative log-likelihood of the hidden tokens."""
        scores, wanted = self._guess(encoder, batch)
        return Loss(functional.cross_entropy(scores, wanted))

    def _guess(
        self, encoder: MaskedReader, batch: Sequence[tuple[Sequence[int], str]]
    ) -> tuple[Tensor, Tensor]:
        """Return scores (hidden tokens, vocabulary) and the tokens that stood there."""
        hidden = [self.hide(ids, key) for ids, key in batch]
        ids, mask = pad([shown for shown, _ in hidden], encoder.pad_id, encoder.device)
        wanted, _ = pad([wanted for _, wanted in hidden], UNSEEN, encoder.device)
        places = wanted != UNSEEN
        states = encoder.states(ids, mask)[places]
        table = encoder.model.get_input_embeddings().weight
        with encoder.autocast():
            scores = encoder.head(states, table)
        return scores.float(), wanted[places]

    def validate(self, encoder: MaskedReader) -> tuple[float, float]:
        """Return loss and MRR of the hidden tokens of the held-out sentences, always the same."""
        losses, ranks, tokens = 0.0, 0.0, 0
        for start in range(0, len(self.held_out), self.batch_size):
            rows = range(start, min(start + self.batch_size, len(self.held_out)))
            batch = [(self.held_out[row], f"held out {row}") for row in rows]
            scores, wanted = self._guess(encoder, batch)
            losses += float(functional.cross_entropy(scores, wanted, reduction="sum"))
            own = scores.gather(1, wanted[:, None])
            ranks += float((1 / (1 + (scores > own).sum(dim=1))).sum())
            tokens += len(wanted)
        return losses / max(1, tokens), ranks / max(1, tokens)
