"""search --query: the best documents for one text, and the words of theirs that match."""

from dataclasses import dataclass

import torch

from clir_cli.corpus.records import Document, Pair
from clir_cli.corpus.words import word_spans
from clir_cli.errors import UserError
from clir_cli.retrieval.encoder import Encoder, load_encoder
from clir_cli.retrieval.maxsim import top_documents
from clir_cli.stages.index import Index, open_index
from clir_cli.stages.inputs import read_collection, teacher_folder
from clir_cli.stages.methods import METHODS
from clir_cli.stages.queries import query_language
from clir_cli.stages.search import open_encoder, scores_of
from clir_cli.stages.workspace import Cell, Workspace


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
    query = encoder.encode([text], workspace.settings.teacher.query_tokens)[0].to(encoder.device)
    found = top_documents(scores_of(query, index), index.ids, workspace.settings.search.top_k)
    by_id = {document.id: document for document in collection.documents}
    place = {identity: number for number, identity in enumerate(index.ids)}
    teacher = load_encoder(teacher_folder(workspace), encoder.device)
    words = query[_word_tokens(encoder, text)]
    hits = []
    for rank, (key, score) in enumerate(found, start=1):
        spans = _token_spans(workspace, teacher, by_id[key].full_text)
        matched = (words @ _vectors(index, place[key]).to(words).T).argmax(dim=1).tolist()
        marks = _whole_words(by_id[key].full_text, {spans[token] for token in matched})
        hits.append(Hit(rank, score, by_id[key], marks))
    return hits


def _word_tokens(encoder: Encoder, text: str) -> list[int]:
    """Return the places of the query's tokens that stand for words: none special, none a comma."""
    tokens = encoder.tokenizer.convert_ids_to_tokens(encoder.tokenize([text], 1 << 20)[0])
    special = set(encoder.tokenizer.all_special_tokens)
    return [
        place
        for place, token in enumerate(tokens)
        if token not in special and any(mark.isalnum() for mark in token)
    ]


def _vectors(index: Index, place: int) -> torch.Tensor:
    for shard in index.shards:
        if place < len(shard):
            return shard[place]
        place -= len(shard)
    raise IndexError(place)


def _token_spans(workspace: Workspace, teacher: Encoder, text: str) -> list[tuple[int, int]]:
    limit = min(workspace.settings.teacher.document_tokens, teacher.position_limit)
    encoded = teacher.tokenizer(
        text, truncation=True, max_length=limit, return_offsets_mapping=True
    )
    return [tuple(span) for span in encoded["offset_mapping"]]


def _whole_words(text: str, spans: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the words that the spans lie in; punctuation and special tokens are left out."""
    return [
        (low, high)
        for low, high, _ in word_spans(text)
        if any(start < high and low < stop for start, stop in spans)
    ]
