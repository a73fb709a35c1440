"""Contrastive training: a query's own document against the others of its batch (InfoNCE).

The scores are those of late interaction, so what is trained is what will be searched with. Queries
come from sources: questions of a collection, spans of sentences, sentences of a bitext. A batch is
of one source alone, since documents of another kind would be told apart by their kind.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor
from torch.nn import functional

from clir_cli.retrieval.checkpoints import TextKind
from clir_cli.retrieval.encoder import Encoder, Packed, pad
from clir_cli.retrieval.maxsim import maxsim
from clir_cli.training.batches import epoch_batches, pad_vectors
from clir_cli.training.loop import Loss

HELD_OUT = 0  # the epoch whose queries the held-out sources ask, every time


@dataclass(frozen=True)
class Source:
    """Queries with their documents.

    Attributes:
        name: Of the source, for people.
        query: The text of a row's query in an epoch: a function of the two alone.
        documents: K texts.
        relevant: The documents of each row, one or more; they take turns as the positive.
        negatives: Documents of each row that are known to be wrong; empty where none are given.
        alike: Documents of each row that are neither right nor wrong, likewise.
        read: The fixed teacher's embeddings of the documents. None where the encoder in training
            reads the documents too.
    """

    name: str
    query: Callable[[int, int], str]
    documents: Sequence[str]
    relevant: Sequence[Sequence[int]]
    negatives: Sequence[Sequence[int]] = ()
    alike: Sequence[Sequence[int]] = ()
    read: Packed | None = None

    def __len__(self) -> int:
        return len(self.relevant)

    def positive(self, row: int, epoch: int) -> int:
        """Return the document that is the answer of a row in an epoch."""
        return self.relevant[row][epoch % len(self.relevant[row])]

    def open(self, row: int) -> Sequence[int]:
        """Return the documents that must not count as wrong for a row."""
        return [*self.relevant[row], *(self.alike[row] if self.alike else ())]

    def wrong(self, row: int, epoch: int, most: int) -> Sequence[int]:
        """Return at most so many given negatives of a row; they take turns over the epochs."""
        given = self.negatives[row] if self.negatives else ()
        if not given:
            return ()
        return [
            given[(epoch * most + place) % len(given)] for place in range(min(most, len(given)))
        ]


@dataclass(frozen=True)
class Batch:
    """Rows of one source, asked as in an epoch."""

    source: int
    epoch: int
    rows: Sequence[int]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Reading:
    """How texts are read.

    Attributes:
        query: As what a query is read (retrieval/checkpoints.py).
        query_tokens: Longest query.
        document_tokens: Longest document.
    """

    query: TextKind
    query_tokens: int
    document_tokens: int


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
    right = (logits.argmax(dim=1) == positive).float().mean()
    return Loss(functional.cross_entropy(logits, positive), {"first": float(right)})


def mean_maxsim(queries: Tensor, asked: Tensor, documents: Tensor, there: Tensor) -> Tensor:
    """Return mean MaxSim (B, K): late interaction divided by the query's tokens.

    The mean, so that long queries are not held more certain than short ones (one temperature).

    Args:
        queries: (B, n, d) unit vectors.
        asked: (B, n) True on real tokens.
        documents: (K, m, d) unit vectors.
        there: (K, m) True on real tokens.
    """
    similarity = torch.einsum("qnd,kmd->qknm", queries, documents)
    best = similarity.masked_fill(~there[None, :, None, :], float("-inf")).amax(dim=3)
    return (best * asked[:, None, :]).sum(dim=2) / asked.sum(dim=1)[:, None]


def read(
    encoder: Encoder, texts: Sequence[str], most: int, kind: TextKind
) -> tuple[Tensor, Tensor]:
    """Return embeddings (B, n, d) and the mask (B, n) of those that count; differentiable."""
    inputs = encoder.inputs(texts, most, kind)
    ids, mask = pad([each.ids for each in inputs], encoder.pad_id, encoder.device)
    attended = mask.clone()
    for row, each in enumerate(inputs):
        attended[row, each.attended :] = False
        if each.kept is not None:
            mask[row] = False
            mask[row, each.kept] = True
    return encoder.embed(ids, attended), mask


@dataclass(frozen=True)
class Contrastive:
    """An encoder that learns to find each query's document (see training.Task).

    Attributes:
        train: Sources to train on.
        held_out: The sources that go with them, for model selection; each weighs as ``weights``
            say, or as many queries as it has.
        reading: How queries and documents are read.
        batch_size: Queries a batch.
        temperature: Of the scores.
        negatives: Given negatives a query.
        seed: Decides the batches.
        weights: Probability that a batch is of each source, which makes an epoch as long as
            ``steps``. Without them an epoch has each row of each source once.
        steps: Batches of an epoch, where there are weights.
    """

    train: Sequence[Source]
    held_out: Sequence[Source]
    reading: Reading
    batch_size: int
    temperature: float
    negatives: int
    seed: int
    weights: Sequence[float] = ()
    steps: int = 0

    @property
    def steps_per_epoch(self) -> int:
        """Return the number of batches of each epoch."""
        return self.steps or sum(batches_in(len(each), self.batch_size) for each in self.train)

    def batches(self, epoch: int) -> list[Batch]:
        """Return the batches of an epoch, in an order fixed by seed and epoch."""
        chance = random.Random(f"{self.seed} {epoch} sources")
        if not self.weights:
            found = [
                batch for place in range(len(self.train)) for batch in self._once(place, epoch)
            ]
            chance.shuffle(found)
            return found
        drawn = chance.choices(range(len(self.train)), self.weights, k=self.steps)
        streams = {place: self._again(place, epoch) for place in sorted(set(drawn))}
        return [next(streams[place]) for place in drawn]

    def _again(self, place: int, epoch: int) -> Iterator[Batch]:
        """Yield batches of a source without end; each turn through it asks new queries."""
        for turn in count(epoch * (self.steps + 1)):
            yield from self._once(place, turn)

    def _once(self, place: int, epoch: int) -> list[Batch]:
        source = self.train[place]
        lengths = [len(source.documents[source.positive(row, epoch)]) for row in range(len(source))]
        cut = epoch_batches(lengths, self.batch_size, seed=self.seed, epoch=epoch)
        # One row alone has nothing to be told apart from.
        return [Batch(place, epoch, rows) for rows in cut if len(rows) > 1]

    def loss(self, encoder: Encoder, batch: Batch) -> Loss:
        """Return InfoNCE over the batch: documents of the others, and given negatives."""
        return self._loss(encoder, self.train[batch.source], batch)

    def _loss(self, encoder: Encoder, source: Source, batch: Batch) -> Loss:
        rows, epoch = batch.rows, batch.epoch
        positives = [source.positive(row, epoch) for row in rows]
        wrong = [each for row in rows for each in source.wrong(row, epoch, self.negatives)]
        columns = list(dict.fromkeys([*positives, *wrong]))  # a document of two queries, once
        place = {document: column for column, document in enumerate(columns)}
        ignored = torch.zeros(len(rows), len(columns), dtype=torch.bool)
        for number, (row, positive) in enumerate(zip(rows, positives, strict=True)):
            others = [place[each] for each in source.open(row) if each in place]
            ignored[number, others] = True
            ignored[number, place[positive]] = False
        target = torch.tensor([place[each] for each in positives], device=encoder.device)
        texts = [source.query(row, epoch) for row in rows]
        asked = read(encoder, texts, self.reading.query_tokens, self.reading.query)
        scores = mean_maxsim(*asked, *self._documents(encoder, source, columns))
        return info_nce(scores, target, ignored.to(encoder.device), self.temperature)

    def _documents(
        self, encoder: Encoder, source: Source, columns: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        if source.read is not None:
            return pad_vectors([source.read[each] for each in columns], encoder.device)
        texts = [source.documents[each] for each in columns]
        return read(encoder, texts, self.reading.document_tokens, "document")

    def validate(self, encoder: Encoder) -> tuple[float, float]:
        """Return loss and MRR of the held-out sources, weighted.

        The loss is over batches as in training; each query is ranked over all documents of its
        source that answer some held-out query.
        """
        weights = self.weights or [len(each) for each in self.held_out]
        found = [self._judge(encoder, source) for source in self.held_out]
        total = sum(weights)
        loss, mrr = (
            sum(weight * each[part] for weight, each in zip(weights, found, strict=True)) / total
            for part in (0, 1)
        )
        return loss, mrr

    def _judge(self, encoder: Encoder, source: Source) -> tuple[float, float]:
        size, total = self.batch_size, 0.0
        for start in range(0, len(source), size):
            rows = range(start, min(start + size, len(source)))
            value = self._loss(encoder, source, Batch(0, HELD_OUT, rows)).value
            total += value.item() * len(rows)
        asked = encoder.encode(
            [source.query(row, HELD_OUT) for row in range(len(source))],
            self.reading.query_tokens,
            kind=self.reading.query,
        )
        answers = source.read or encoder.encode(
            source.documents, self.reading.document_tokens, kind="document"
        )
        ranks = 0.0
        for row in range(len(source)):
            scores = maxsim(asked[row], answers)
            best = max(float(scores[each]) for each in source.relevant[row])
            scores[list(source.open(row))] = float("-inf")
            ranks += 1 / (1 + int((scores > best).sum()))
        return total / len(source), ranks / len(source)


def batches_in(rows: int, size: int) -> int:
    """Return how many batches of at least two rows are cut from so many rows."""
    return rows // size + (rows % size > 1) if size > 1 else 0


def shares(sizes: Sequence[int], whole: float) -> list[float]:
    """Return a probability shared out by size; nothing where there is nothing.

    >>> shares([30, 10], 0.5)
    [0.375, 0.125]
    """
    total = sum(sizes)
    return [whole * size / total if total else 0.0 for size in sizes]
