"""search --query: the best documents for one text, and the words of theirs that match."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from clir_cli.artifacts import graph
from clir_cli.artifacts.spec import Ref
from clir_cli.corpus.records import Document
from clir_cli.corpus.unicode_words import word_spans, words
from clir_cli.errors import UserError
from clir_cli.stages.index import Index
from clir_cli.stages.search import Search, rank
from clir_cli.stages.support.fitting import open_encoder_at
from clir_cli.stages.support.used_models import teacher_folder
from clir_cli.stages.support.workspace import Workspace

Spans = list[tuple[int, int]]


@dataclass(frozen=True)
class Hit:
    """A document found for one query; ``marks`` are the spans of its text that the query matches.

    ``query`` is the text that was searched for: its translation, for methods that translate.
    """

    rank: int
    score: float
    document: Document
    marks: Spans
    query: str


def search_text(workspace: Workspace, ref: Ref, text: str) -> list[Hit]:
    """Return the best documents for one query text, best first, as ``search`` would rank them.

    Raises:
        UserError: An empty query, or a missing input.
    """
    if not text.strip():
        raise UserError("--query is empty; give the words to search for")
    _check_inputs(workspace, ref)
    job = Search(workspace, ref, typed=text)
    best = rank(job)["query"]
    by_id = {document.id: document for document in job.collection.documents}
    marker = _token_marks if job.method.scorer == "maxsim" else _word_marks
    texts = job.texts if job.method.scorer != "fusion" else [text]
    marks = marker(job, [by_id[key] for key, _ in best], texts[0])
    return [
        Hit(number, score, by_id[key], spans, texts[0])
        for number, ((key, score), spans) in enumerate(zip(best, marks, strict=True), start=1)
    ]


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


def _word_marks(_: Search, documents: Sequence[Document], text: str) -> list[Spans]:
    query = set(words(text))
    return [
        [(low, high) for low, high, word in word_spans(document.full_text) if word in query]
        for document in documents
    ]


def _token_marks(job: Search, documents: Sequence[Document], text: str) -> list[Spans]:
    """Return the words of each document whose tokens are nearest to the words of the query."""
    workspace, index = job.workspace, job.index
    encoder, packed = job.encoded
    limit = workspace.settings.teacher
    spans = encoder.spans(text, limit.query_tokens, job.kind)
    # Only tokens that are part of words: no comma, no special token.
    in_words = [
        number
        for number, (low, high) in enumerate(spans)
        if any(character.isalnum() for character in text[low:high])
    ]
    query = packed[0][in_words]
    teacher = open_encoder_at(workspace, teacher_folder(workspace), encoder.device)
    position = {identity: number for number, identity in enumerate(index.ids)}
    marks = []
    for document in documents:
        tokens = teacher.spans(document.full_text, limit.document_tokens, "document")
        embeddings = _embeddings(index, position[document.id]).to(query)
        nearest = (query @ embeddings.T).argmax(dim=1).tolist()
        marks.append(_whole_words(document.full_text, {tokens[token] for token in nearest}))
    return marks


def _embeddings(index: Index, position: int) -> torch.Tensor:
    for shard in index.shards:
        if position < len(shard):
            return shard[position]
        position -= len(shard)
    raise IndexError(position)


def _whole_words(text: str, spans: set[tuple[int, int]]) -> Spans:
    """Return the words that the spans lie in; punctuation and special tokens are left out."""
    return [
        (low, high)
        for low, high, _ in word_spans(text)
        if any(start < high and low < stop for start, stop in spans)
    ]
