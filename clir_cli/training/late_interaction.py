"""Training a teacher of tokens: contrastive, with mined hard negatives and score distillation."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from clir_cli.retrieval.batching import TokenizedText
from clir_cli.retrieval.checkpoints import TextKind
from clir_cli.retrieval.encoder import Encoder, Packed, encode_inputs
from clir_cli.training import mining
from clir_cli.training.chunks import packed_chunks, score_chunks
from clir_cli.training.contrastive import Batch, Contrastive, QuerySource, info_nce
from clir_cli.training.data_parallel import step_seed
from clir_cli.training.loop import Loss

HIDDEN = -1e4  # the score of a document that does not count, in a softmax
# What shows progress: for a title and a total, a function that is called with what was done.
Counting = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


def uncounted(_title: str, _total: int) -> AbstractContextManager[Callable[[int], None]]:
    """Show no progress."""
    return nullcontext(lambda _: None)


@dataclass(frozen=True)
class Mining:
    """Which hard negatives a query gets.

    Attributes:
        negatives: Their number; 0 for none.
        depth: Number of ranks from which each epoch draws them again.
        bm25_epochs: First epochs, with the ranks of BM25; the later ones have the model's own.
        alike: What scores above this share of the answer's score by the initial model is no
            negative; 0 for no such bound.
    """

    negatives: int
    depth: int
    bm25_epochs: int
    alike: float


@dataclass(frozen=True)
class LateInteraction(Contrastive):
    """Training an encoder to find each query's document among its hardest rivals (see loop.Task).

    ``distillation`` is the weight of the divergence from the scores of the initial model, and
    ``initial`` its embeddings of each source's queries and documents. ``kept`` has the mined
    negatives of the epoch (rows, negatives) by the number of the source, ``tokenized`` the texts by
    kind, so that each is tokenised once. ``counting`` shows the progress of mining, which takes
    minutes before the first step.
    """

    by_score: ClassVar[bool] = True

    mining: Mining = field(kw_only=True)
    distillation: float = field(kw_only=True)
    initial: list[tuple[Packed, Packed]] = field(default_factory=list)
    counting: Counting = uncounted
    kept: dict[str, Tensor] = field(default_factory=dict)
    tokenized: dict[tuple[str, str], TokenizedText] = field(default_factory=dict)

    def start(self, encoder: Encoder) -> None:
        """Keep the initial model's embeddings, if mining or distillation needs them."""
        if self.distillation or (self.mining.negatives and self.mining.alike):
            self.initial.extend(self._views(encoder, source) for source in self.train)

    def inputs(self, encoder: Encoder, texts: Sequence[str], kind: TextKind) -> list[TokenizedText]:
        """Return tokenised queries or documents."""
        new = [text for text in dict.fromkeys(texts) if (kind, text) not in self.tokenized]
        made = super().inputs(encoder, new, kind)
        self.tokenized.update({(kind, text): each for text, each in zip(new, made, strict=True)})
        return [self.tokenized[kind, text] for text in texts]

    def _views(self, encoder: Encoder, source: QuerySource) -> tuple[Packed, Packed]:
        sides: list[tuple[Sequence[str], TextKind]]
        sides = [(source.texts, self.query_kind), (source.documents, "document")]
        total = len(source.texts) + len(source.documents)
        with self.counting(f"encode {source.name}", total) as advance:
            queries, documents = (
                encode_inputs(
                    encoder, self.inputs(encoder, texts, kind), kind,
                    dtype=torch.float16, advance=advance,
                )
                for texts, kind in sides
            )  # fmt: skip
        return queries, documents

    def begin(self, encoder: Encoder, epoch: int) -> None:
        """Mine the hard negatives of an epoch."""
        for index, source in enumerate(self.train) if self.mining.negatives else ():
            ranked = self._ranked(encoder, source, epoch)
            seed = step_seed(self.seed, epoch, index)
            if self.mining.alike:
                views, share = self.initial[index], self.mining.alike
                ranked = mining.unlike(ranked, source.relevant, *views, share, encoder.device)
            self.kept[str(index)] = mining.drawn(ranked, self.mining.negatives, seed)

    def _ranked(self, encoder: Encoder, source: QuerySource, epoch: int) -> Tensor:
        answers = [source.not_negative(row) for row in range(len(source))]
        depth = self.mining.depth
        if epoch < self.mining.bm25_epochs:
            with self.counting(f"BM25 of {source.name}", len(source.texts)) as advance:
                return mining.lexical(source.texts, source.documents, answers, depth, advance)
        views = self._views(encoder, source)
        return mining.nearest(*views, answers, depth, encoder.device)

    def _once(self, index: int, epoch: int) -> list[Batch]:
        batches = super()._once(index, epoch)
        if str(index) not in self.kept:
            return batches
        mined = [
            [document for document in row if document != mining.NONE]
            for row in self.kept[str(index)].tolist()
        ]
        return [replace(each, mined=[mined[row] for row in each.rows]) for each in batches]

    def loss(self, encoder: Encoder, batch: Batch) -> Loss:
        """Return InfoNCE over the batch, and the divergence from the initial model's scores."""
        scored = self._scored(encoder, self.train[batch.source], batch)
        loss = info_nce(scored.scores, scored.positive, scored.ignored, self.temperature)
        if not self.distillation:
            return loss
        with torch.no_grad():
            queries, documents = self.initial[batch.source]
            tokens, device = self.chunk_tokens, encoder.device
            before = score_chunks(
                packed_chunks(queries, batch.rows, tokens, device),
                packed_chunks(documents, scored.documents, tokens, device),
            )
        now, wanted = (
            functional.log_softmax(
                scores.masked_fill(scored.ignored, HIDDEN) / self.temperature, dim=1
            )
            for scores in (scored.scores, before)
        )
        divergence = functional.kl_div(now, wanted, reduction="batchmean", log_target=True)
        return replace(loss, value=loss.value + self.distillation * divergence)
