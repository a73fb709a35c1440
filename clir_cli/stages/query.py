"""search --query: the best documents for one text, and the words of theirs that match."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from clir_cli.corpus.records import Document, Pair
from clir_cli.corpus.unicode_words import word_spans
from clir_cli.errors import UserError
from clir_cli.retrieval.encoder import Encoder, Packed
from clir_cli.retrieval.maxsim import top_documents
from clir_cli.stages.index import Index, open_index
from clir_cli.stages.search import open_encoder, ranker_of, reading
from clir_cli.stages.support.fitting import open_encoder_at
from clir_cli.stages.support.inputs import read_collection, teacher_folder
from clir_cli.stages.support.methods import METHODS
from clir_cli.stages.support.queries import query_language
from clir_cli.stages.support.workspace import Cell, Workspace


@dataclass(frozen=True)
class Hit:
    """A document found for one query; ``marks`` are the spans of text that query tokens match."""

    rank: int
    score: float
    document: Document
    marks: list[tuple[int, int]]


def search_text(workspace: Workspace, pair: Pair, cell: Cell, text: str) -> list[Hit]:
    """Return the best documents for one query text, best first.

    Raises:
        UserError: An empty query, or a missing input.
    """
    if not text.strip():
        raise UserError("--query is empty; give the words to search for")
    if METHODS[cell.method].scorer != "maxsim":
        raise UserError(f"--query shows late interaction; method {cell.method} has none, take ot")
    collection = read_collection(workspace, query_language(pair, cell))
    index = open_index(workspace, collection)
    encoder = open_encoder(workspace, pair, cell)
    limit, kind = workspace.settings.teacher.query_tokens, reading(cell)
    query = encoder.encode([text], limit, kind=kind)[0].to(encoder.device)
    (scores,) = ranker_of(workspace, index).rank(Packed.of([query]))
    found = top_documents(scores, index.ids, workspace.settings.search.top_k)
    by_id = {document.id: document for document in collection.documents}
    place = {identity: number for number, identity in enumerate(index.ids)}
    teacher = open_encoder_at(workspace, teacher_folder(workspace), encoder.device)
    words = query[_word_tokens(text, encoder.spans(text, limit, kind))]
    hits = []
    for rank, (key, score) in enumerate(found, start=1):
        spans = _token_spans(workspace, teacher, by_id[key].full_text)
        matched = (words @ _vectors(index, place[key]).to(words).T).argmax(dim=1).tolist()
        marks = _whole_words(by_id[key].full_text, {spans[token] for token in matched})
        hits.append(Hit(rank, score, by_id[key], marks))
    return hits


def _word_tokens(text: str, spans: Sequence[tuple[int, int]]) -> list[int]:
    """Return the places of the query's embeddings that stand for words: no comma, no marker."""
    return [
        place
        for place, (low, high) in enumerate(spans)
        if any(mark.isalnum() for mark in text[low:high])
    ]


def _vectors(index: Index, place: int) -> torch.Tensor:
    for shard in index.shards:
        if place < len(shard):
            return shard[place]
        place -= len(shard)
    raise IndexError(place)


def _token_spans(workspace: Workspace, teacher: Encoder, text: str) -> list[tuple[int, int]]:
    """Return where each of a document's embeddings stands in it, in the order of the index."""
    return teacher.spans(text, workspace.settings.teacher.document_tokens, "document")


def _whole_words(text: str, spans: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the words that the spans lie in; punctuation and special tokens are left out."""
    return [
        (low, high)
        for low, high, _ in word_spans(text)
        if any(start < high and low < stop for start, stop in spans)
    ]
