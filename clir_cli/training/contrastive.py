"""Contrastive training: a query's own document against the others of its batch (InfoNCE).

The scores are those of late interaction, so what is trained is what will be searched with. Queries
come from sources: questions of a collection, spans of sentences, sentences of a bitext. A batch is
of one source alone, since documents of another kind could be recognised by their kind.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor
from torch.nn import functional

from clir_cli.retrieval.batching import TokenizedText
from clir_cli.retrieval.checkpoints import TextKind
from clir_cli.retrieval.encoder import Encoder, Packed, encode_inputs
from clir_cli.training.batches import epoch_batches
from clir_cli.training.chunks import embed_chunks, packed_chunks, score_chunks
from clir_cli.training.held_out import reciprocal_ranks
from clir_cli.training.loop import Loss

Change = Callable[[str, str], str]
HELD_OUT = 0  # the epoch of the held-out queries, every time


@dataclass(frozen=True)
class QuerySource:
    """Queries with their documents; a document is given by its index in ``documents``.

    Attributes:
        name: Name of the source, for people.
        texts: One text for each row: the query before any change.
        documents: K texts.
        relevant: The documents of each row, one or more; they take turns as the positive.
        negatives: Known wrong documents of each row; empty if there are none.
        neutral: Documents of each row that are neither right nor wrong, likewise.
        embeddings: The fixed teacher's embeddings of the K documents. None if the encoder in
            training encodes the documents too.
        seed: Seed of the changes.
        changes: Functions of a text and a key, which make a row's query of its text; applied in
            this order, with another key in each epoch.
    """

    name: str
    texts: Sequence[str]
    documents: Sequence[str]
    relevant: Sequence[Sequence[int]]
    negatives: Sequence[Sequence[int]] = ()
    neutral: Sequence[Sequence[int]] = ()
    embeddings: Packed | None = None
    seed: int = 0
    changes: Sequence[Change] = ()

    def __len__(self) -> int:
        return len(self.relevant)

    def query(self, row: int, epoch: int) -> str:
        """Return the query of a row in an epoch."""
        text = self.texts[row]
        for change in self.changes:
            text = change(text, f"{self.seed} {self.name} {epoch} {row}")
        return text

    def positive(self, row: int, epoch: int) -> int:
        """Return the document that is the answer of a row in an epoch."""
        return self.relevant[row][epoch % len(self.relevant[row])]

    def not_negative(self, row: int) -> Sequence[int]:
        """Return the documents that must not count as wrong for a row."""
        return [*self.relevant[row], *(self.neutral[row] if self.neutral else ())]

    def negatives_in(self, row: int, epoch: int, most: int) -> Sequence[int]:
        """Return at most so many known negatives of a row; they take turns over the epochs."""
        known = self.negatives[row] if self.negatives else ()
        return [known[(epoch * most + rank) % len(known)] for rank in range(min(most, len(known)))]


@dataclass(frozen=True)
class Batch:
    """Rows of one source, given by its index, with their queries in an epoch.

    ``mined`` are further wrong documents of each row, if there are any.
    """

    source: int
    epoch: int
    rows: Sequence[int]
    mined: Sequence[Sequence[int]] = ()

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Scored:
    """A batch's scores (B, K) of its queries over ``documents``, K indices.

    ``positive`` (B,) is the column of each query's own document; ``ignored`` (B, K) is True where a
    document is neither right nor wrong.
    """

    documents: Sequence[int]
    scores: Tensor
    positive: Tensor
    ignored: Tensor


def info_nce(scores: Tensor, positive: Tensor, ignored: Tensor, temperature: float) -> Loss:
    """Return the InfoNCE loss: -log softmax(scores / temperature) of the positive, mean over rows.

    Van den Oord, Li and Vinyals, Contrastive Predictive Coding (2018; arXiv 1807.03748), with the
    other documents of the batch as negatives (Karpukhin et al., EMNLP 2020; arXiv 2004.04906).

    Args:
        scores: (B, K) of B queries over K documents.
        positive: (B,) the column of each query's own document.
        ignored: (B, K) True where a document is neither: it answers the query as well.
        temperature: Above 0.
    """
    logits = scores.masked_fill(ignored, float("-inf")) / temperature
    first = (logits.argmax(dim=1) == positive).float().mean()
    return Loss(functional.cross_entropy(logits, positive), {"first": float(first)})


@dataclass(frozen=True)
class Contrastive:
    """Training an encoder to find each query's document (see loop.Task).

    Attributes:
        train: Sources to train on.
        held_out: The sources that correspond to them, for model selection; each has its weight of
            ``weights``, or as many queries as it has.
        query_kind: The kind of text that a query is encoded as (retrieval/checkpoints.py).
        query_tokens: Longest query.
        document_tokens: Longest document.
        batch_size: Queries in a batch.
        temperature: Temperature of the scores.
        negatives: Known negatives per query.
        seed: Seed of the batches.
        weights: Probability of each source for a batch; an epoch then has ``steps`` batches.
            Without weights an epoch has each row of each source once.
        steps: Batches of an epoch, if there are weights.
        chunk_tokens: Tokens whose activations are in memory at once (training/chunks.py); 0 for
            those of the whole batch.
    """

    train: Sequence[QuerySource]
    held_out: Sequence[QuerySource]
    query_kind: TextKind
    query_tokens: int
    document_tokens: int
    batch_size: int
    temperature: float
    negatives: int
    seed: int
    weights: Sequence[float] = ()
    steps: int = 0
    chunk_tokens: int = 0

    @property
    def steps_per_epoch(self) -> int:
        """Return the number of batches of each epoch."""
        return self.steps or sum(batches_in(len(source), self.batch_size) for source in self.train)

    def batches(self, epoch: int) -> list[Batch]:
        """Return the batches of an epoch, in an order fixed by seed and epoch."""
        rng = random.Random(f"{self.seed} {epoch} sources")
        if not self.weights:
            batches = [
                batch for index in range(len(self.train)) for batch in self._once(index, epoch)
            ]
            rng.shuffle(batches)
            return batches
        sampled = rng.choices(range(len(self.train)), self.weights, k=self.steps)
        streams = {index: self._endless(index, epoch) for index in sorted(set(sampled))}
        return [next(streams[index]) for index in sampled]

    def _endless(self, index: int, epoch: int) -> Iterator[Batch]:
        """Yield batches of a source without end; each turn through it has new queries."""
        for turn in count(epoch * (self.steps + 1)):
            yield from self._once(index, turn)

    def _once(self, index: int, epoch: int) -> list[Batch]:
        source = self.train[index]
        lengths = [len(source.documents[source.positive(row, epoch)]) for row in range(len(source))]
        chosen = epoch_batches(lengths, self.batch_size, seed=self.seed, epoch=epoch)
        # A single row has no other document to compare with.
        return [Batch(index, epoch, rows) for rows in chosen if len(rows) > 1]

    def loss(self, encoder: Encoder, batch: Batch) -> Loss:
        """Return InfoNCE over the batch: documents of the others, and known negatives."""
        return self._loss(encoder, self.train[batch.source], batch)

    def _loss(self, encoder: Encoder, source: QuerySource, batch: Batch) -> Loss:
        scored = self._scored(encoder, source, batch)
        return info_nce(scored.scores, scored.positive, scored.ignored, self.temperature)

    def _scored(self, encoder: Encoder, source: QuerySource, batch: Batch) -> Scored:
        rows, epoch = batch.rows, batch.epoch
        positives = [source.positive(row, epoch) for row in rows]
        negatives = [
            document for row in rows for document in source.negatives_in(row, epoch, self.negatives)
        ]
        negatives += [document for mined in batch.mined for document in mined]
        documents = list(dict.fromkeys([*positives, *negatives]))  # one of two queries, once
        column = {document: number for number, document in enumerate(documents)}
        ignored = torch.zeros(len(rows), len(documents), dtype=torch.bool)
        for number, (row, positive) in enumerate(zip(rows, positives, strict=True)):
            others = [column[other] for other in source.not_negative(row) if other in column]
            ignored[number, others] = True
            ignored[number, column[positive]] = False
        target = torch.tensor([column[document] for document in positives], device=encoder.device)
        asked = self.inputs(encoder, [source.query(row, epoch) for row in rows], self.query_kind)
        queries = embed_chunks(encoder, asked, self.query_kind, self.chunk_tokens)
        if source.embeddings is not None:
            scored = packed_chunks(source.embeddings, documents, 0, encoder.device)
        else:
            texts = [source.documents[document] for document in documents]
            inputs = self.inputs(encoder, texts, "document")
            scored = embed_chunks(encoder, inputs, "document", self.chunk_tokens)
        scores = score_chunks(queries, scored)
        return Scored(documents, scores, target, ignored.to(encoder.device))

    def inputs(self, encoder: Encoder, texts: Sequence[str], kind: TextKind) -> list[TokenizedText]:
        """Return tokenised queries or documents."""
        limit = self.document_tokens if kind == "document" else self.query_tokens
        return encoder.inputs(texts, limit, kind)

    def encode(self, encoder: Encoder, texts: Sequence[str], kind: TextKind) -> Packed:
        """Return the embeddings of queries or documents, without gradients."""
        return encode_inputs(encoder, self.inputs(encoder, texts, kind), kind)

    def validate(self, encoder: Encoder) -> tuple[float, float]:
        """Return loss and MRR of the held-out sources, weighted.

        The loss is over batches as in training; each query is ranked over all documents of its
        source that answer some held-out query.
        """
        weights = self.weights or [len(source) for source in self.held_out]
        figures = [self._validate(encoder, source) for source in self.held_out]
        total = sum(weights)
        loss, mrr = (
            sum(weight * figure for weight, figure in zip(weights, column, strict=True)) / total
            for column in zip(*figures, strict=True)
        )
        return loss, mrr

    def _validate(self, encoder: Encoder, source: QuerySource) -> tuple[float, float]:
        size, total = self.batch_size, 0.0
        for start in range(0, len(source), size):
            rows = range(start, min(start + size, len(source)))
            value = self._loss(encoder, source, Batch(0, HELD_OUT, rows)).value
            total += value.item() * len(rows)
        if not math.isfinite(total):  # then the encoder's embeddings are no numbers either
            return total, 0.0
        asked = [source.query(row, HELD_OUT) for row in range(len(source))]
        queries = self.encode(encoder, asked, self.query_kind)
        documents = source.embeddings or self.encode(encoder, source.documents, "document")
        ranks: list[float] = []
        for start in range(0, len(source), size):
            rows = range(start, min(start + size, len(source)))
            some = Packed.of([queries[row] for row in rows])
            right = [source.relevant[row] for row in rows]
            neutral = [source.not_negative(row) for row in rows]
            ranks += reciprocal_ranks(some, documents, right, neutral)
        return total / len(source), sum(ranks) / len(source)


def batches_in(rows: int, size: int) -> int:
    """Return the number of batches of at least two rows that so many rows are cut into."""
    return rows // size + (rows % size > 1) if size > 1 else 0


def shares(sizes: Sequence[int], whole: float) -> list[float]:
    """Return a probability divided in proportion to the sizes; zeros if they sum to 0.

    >>> shares([30, 10], 0.5)
    [0.375, 0.125]
    """
    total = sum(sizes)
    return [whole * size / total if total else 0.0 for size in sizes]
