"""search --query: the best documents for one text, the words that match, and their scores."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from clir_cli.artifacts import graph
from clir_cli.artifacts.spec import Ref
from clir_cli.corpus.records import Document
from clir_cli.corpus.unicode_words import word_spans, words
from clir_cli.evaluation.fusion import NORMALISERS
from clir_cli.retrieval.encoder import Encoder
from clir_cli.stages.index import Index
from clir_cli.stages.search import Opened, Search, rank
from clir_cli.stages.support.fitting import open_encoder_at
from clir_cli.stages.support.sources import word_index
from clir_cli.stages.support.used_models import teacher_folder
from clir_cli.stages.support.workspace import Workspace

Span = tuple[int, int]
PASSAGE = 320  # characters of a document to show


@dataclass(frozen=True)
class Part:
    """What one word of the query adds to a document's score; of fused runs, what a run adds.

    ``span`` is the word of the document that is nearest to it, if there is one. The part of all
    other tokens (special ones, punctuation) has no ``name``.
    """

    name: str
    score: float
    span: Span | None = None


@dataclass(frozen=True)
class Hit:
    """A document found for one query; ``marks`` are the spans of its text that the query matches.

    ``query`` is the text that was searched for: its translation, for methods that translate.
    ``parts`` sum to the score, but for the rounding of an index.
    """

    rank: int
    score: float
    document: Document
    marks: Sequence[Span]
    query: str
    parts: Sequence[Part] = ()

    @property
    def passage(self) -> Span:
        """Return the part of the text that has most matches."""
        length = len(self.document.full_text)
        starts = [max(0, min(low - PASSAGE // 4, length - PASSAGE)) for low, _ in self.marks]

        def matches(start: int) -> int:
            return sum(start <= low and high <= start + PASSAGE for low, high in self.marks)

        start = max(starts, key=matches, default=0)
        words = [(low, high) for low, high, _ in word_spans(self.document.full_text)]
        inside = [(low, high) for low, high in words if start <= low and high <= start + PASSAGE]
        if length <= PASSAGE or not inside:
            return 0, min(length, PASSAGE)
        ends = inside[0][0] if start else 0, inside[-1][1]
        return ends if start + PASSAGE < length else (ends[0], length)


class Searcher:
    """A method that stays open for one query after another; what it needs is loaded once.

    Raises:
        UserError: A missing or damaged input.
    """

    def __init__(self, workspace: Workspace, ref: Ref) -> None:
        _check_inputs(workspace, ref)
        self.opened = Opened(workspace, ref)

    @cached_property
    def teacher(self) -> Encoder:
        """Return the encoder of the documents, which knows their tokens."""
        workspace = self.opened.workspace
        return open_encoder_at(workspace, teacher_folder(workspace), self.opened.encoder.device)

    def load(self) -> None:
        """Load now what the first query would."""
        _ = self.documents
        if self.opened.method.scorer == "maxsim":
            _ = self.opened.index, self.teacher

    @cached_property
    def documents(self) -> dict[str, Document]:
        """Return the documents of the collection by id."""
        return {document.id: document for document in self.opened.collection.documents}

    def find(self, text: str) -> list[Hit]:
        """Return the best documents for one query text, best first, as ``search`` would rank them.

        The text is not empty.

        Raises:
            UserError: Runs that cannot answer a new query.
        """
        job = Search(self.opened, typed=text)
        best = rank(job)["query"]
        documents = [self.documents[key] for key, _ in best]
        searched = job.texts[0] if job.method.scorer != "fusion" else text
        match job.method.scorer:
            case "maxsim":
                explained = _token_parts(job, documents, searched, self.teacher)
            case "fusion":
                explained = _run_parts(job, documents)
            case _:
                explained = _word_parts(job, documents, searched)
        hits = []
        for number, parts in enumerate(explained):
            document, score = documents[number], best[number][1]
            marks = sorted({part.span for part in parts if part.span})
            if job.method.scorer != "maxsim":
                query = set(words(searched))
                spans = word_spans(document.full_text)
                marks = [(low, high) for low, high, word in spans if word in query]
            hits.append(Hit(number + 1, score, document, marks, searched, parts))
        return hits


def _check_inputs(workspace: Workspace, ref: Ref) -> None:
    """Report what is missing or damaged as a run would; a collection's queries are no input."""
    for part in graph.inputs_of(ref):
        kind = part.of.kind if part.of else ""
        if kind in ("run", "translations"):  # of the collection's queries
            assert part.of is not None
            _check_inputs(workspace, part.of)
        elif kind != "collection":
            with graph.making(workspace, part.of):
                part.digests(workspace)


def _word_parts(job: Search, documents: Sequence[Document], text: str) -> list[list[Part]]:
    """Return what each word of a query adds to the BM25 score of each document."""
    collection = job.opened.collection
    position = {document.id: at for at, document in enumerate(collection.documents)}
    terms, index = words(text), word_index(job.workspace, collection, None)
    parts: list[dict[str, Part]] = [{} for _ in documents]
    for term, scores in zip(terms, index.scores(terms), strict=True):
        for document, found in zip(documents, parts, strict=True):
            score = float(scores[position[document.id]])
            if math.isfinite(score):
                spans = word_spans(document.full_text)
                first = next((low, high) for low, high, word in spans if word == term)
                before = found[term].score if term in found else 0.0
                found[term] = Part(term, before + score, first)
    return [list(found.values()) for found in parts]


def _run_parts(job: Search, documents: Sequence[Document]) -> list[list[Part]]:
    """Return what each run adds to the fused score of each document."""
    normalise = NORMALISERS[job.workspace.settings.fusion.by]
    runs = {label: normalise(run["query"]) for label, run in job.runs.items() if "query" in run}
    return [
        [Part(label, run[each.id]) for label, run in runs.items() if each.id in run]
        for each in documents
    ]


def _token_parts(
    job: Search, documents: Sequence[Document], text: str, teacher: Encoder
) -> list[list[Part]]:
    """Return what each word of a query adds to MaxSim, and the word that is nearest to it."""
    index, limit = job.opened.index, job.workspace.settings.teacher
    encoder, packed = job.encoded
    spans = encoder.spans(text, limit.query_tokens, job.kind)
    query_words = [(low, high) for low, high, _ in word_spans(text)]
    position = {identity: number for number, identity in enumerate(index.ids)}
    found = []
    for document in documents:
        begin, end, embeddings = _scored_part(index, position[document.id], document, packed[0])
        text_of = document.full_text[begin:end]
        tokens = [
            (begin + first, begin + last)
            for first, last in teacher.spans(text_of, limit.document_tokens, "document")
        ]
        best, nearest = (packed[0] @ embeddings.T).max(dim=1)
        parts, rest = [], float(best.sum())
        for low, high in query_words:
            own = [at for at, (start, stop) in enumerate(spans) if start < high and low < stop]
            if own:  # not behind the limit
                score = sum(float(best[at]) for at in own)
                token = tokens[int(nearest[max(own, key=lambda at: float(best[at]))])]
                part = Part(text[low:high], score, _whole_word(document.full_text, token))
                parts.append(part)
                rest -= score
        found.append([*parts, Part("", rest)])
    return found


def _scored_part(
    index: Index, position: int, document: Document, query: torch.Tensor
) -> tuple[int, int, torch.Tensor]:
    """Return the characters (begin, end) that score a document, and their token embeddings.

    These are all of it, or its best passage for the query tokens (n, d).
    """
    if index.passages is None:
        return 0, len(document.full_text), _embeddings(index, position).to(query)
    rows = index.passages.rows(torch.tensor([position])).tolist()
    vectors = [_embeddings(index, row).to(query) for row in rows]
    scores = [float((query @ each.T).amax(dim=1).sum()) for each in vectors]
    best = scores.index(max(scores))
    begin, end = index.passages.spans[rows[best]].tolist()
    return begin, end, vectors[best]


def _embeddings(index: Index, position: int) -> torch.Tensor:
    for shard in index.shards:
        if position < len(shard):
            return shard[position]
        position -= len(shard)
    raise IndexError(position)


def _whole_word(text: str, token: Span) -> Span | None:
    """Return the word that a token lies in; None for punctuation and special tokens."""
    start, stop = token
    words_of = word_spans(text)
    return next(((low, high) for low, high, _ in words_of if start < high and low < stop), None)
