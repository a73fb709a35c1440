"""Data for contrastive training: questions of a collection, spans of sentences, bitext."""

import random
from collections.abc import Sequence
from dataclasses import replace

from clir_cli.corpus.bitext import SPLIT_SEED, Bitext
from clir_cli.corpus.inverse_cloze import cloze_pair, has_enough_words, passage_queries
from clir_cli.corpus.records import Collection, SentencePair
from clir_cli.corpus.sampling import sampled
from clir_cli.errors import UserError
from clir_cli.training.contrastive import QuerySource

Split = tuple[QuerySource, QuerySource]  # to train on, and held out


def selected(source: QuerySource, rows: Sequence[int]) -> QuerySource:
    """Return some rows of a source, with the documents that they name and no others."""
    relevant = [source.relevant[row] for row in rows]
    negatives = [source.negatives[row] for row in rows] if source.negatives else []
    neutral = [source.neutral[row] for row in rows] if source.neutral else []
    named = sorted({document for row in (*relevant, *negatives) for document in row})
    number = {document: index for index, document in enumerate(named)}
    return replace(
        source,
        texts=[source.texts[row] for row in rows],
        documents=[source.documents[document] for document in named],
        relevant=[[number[document] for document in row] for row in relevant],
        negatives=[[number[document] for document in row] for row in negatives],
        neutral=[[number[document] for document in row if document in number] for row in neutral],
    )


# ------------------------------------------------------------------ sentences and bitext


def cloze_questions(bitexts: Sequence[Bitext], most: int) -> Split:
    """Return English sentences of bitexts, each the document of words in it (inverse cloze).

    Each sentence is used once, and one that any bitext holds out is not trained on. ``most`` is the
    number of randomly sampled sentences to train on; 0 takes all.
    """
    held_out = dict.fromkeys(row.english for bitext in bitexts for row in bitext.held_out)
    rest = dict.fromkeys(row.english for bitext in bitexts for row in bitext.train)
    train = sampled([text for text in rest if text not in held_out], most, "sentences")
    return _cloze(train), _cloze(list(held_out))


def _cloze(sentences: Sequence[str]) -> QuerySource:
    texts = [text for text in sentences if has_enough_words(text)]
    return QuerySource("cloze", texts, texts, _own(texts), changes=[lambda *of: cloze_pair(*of)[0]])


def _own(texts: Sequence[str]) -> list[list[int]]:
    """Return each row's document where there is one document for each row."""
    return [[row] for row in range(len(texts))]


def rest_questions(bitexts: Sequence[Bitext], most: int, seed: int) -> Split:
    """Return ``cloze_questions`` whose documents are the rests of the sentences.

    ``seed`` decides which words are taken from them.
    """
    train, held_out = cloze_questions(bitexts, most)
    return _rests(train.texts, seed), _rests(held_out.texts, seed)


def _rests(sentences: Sequence[str], seed: int) -> QuerySource:
    pairs = [cloze_pair(text, f"{seed} {row}") for row, text in enumerate(sentences)]
    texts, rests = [query for query, _ in pairs], [rest for _, rest in pairs]
    return QuerySource("rests", texts, rests, _own(texts))


def passage_questions(name: str, split: Split, most: int) -> Split:
    """Return sentences of a split's documents that ask for the rest of them (inverse cloze).

    The other rests of a document contain the sentence, and count neither as right nor as wrong.

    ``most`` is the number of randomly sampled sentences to train on; 0 takes all.
    """
    train, held_out = _passages(name, split[0].documents), _passages(name, split[1].documents)
    if 0 < most < len(train):
        train = selected(train, sampled(range(len(train)), most, "passages"))
    return train, held_out


def _passages(name: str, documents: Sequence[str]) -> QuerySource:
    texts: list[str] = []
    rests: list[str] = []
    neutral: list[list[int]] = []
    for document in documents:
        queries = passage_queries(document)
        rows = range(len(rests), len(rests) + len(queries))
        texts += [sentence for sentence, _ in queries]
        rests += [rest for _, rest in queries]
        neutral += [[other for other in rows if other != row] for row in rows]
    return QuerySource(name, texts, rests, _own(texts), neutral=neutral)


def bitext_questions(name: str, bitext: Bitext) -> Split:
    """Return the sentences of the query language as queries for their English translations."""
    return _translated(name, bitext.train), _translated(name, bitext.held_out)


def _translated(name: str, rows: Sequence[SentencePair]) -> QuerySource:
    english = dict.fromkeys(row.english for row in rows)
    number = {text: index for index, text in enumerate(english)}
    relevant = [[number[row.english]] for row in rows]
    return QuerySource(name, [row.query for row in rows], list(english), relevant)


# ------------------------------------------------------------------ a collection


def collection_questions(collection: Collection, language: str, most: int, held_out: int) -> Split:
    """Return a collection's queries; documents judged with 0 or less are their hard negatives.

    At most ``held_out`` queries and a tenth are held out, and no document that answers one of them
    answers one that is trained on.

    ``most`` is the number of randomly sampled queries; 0 takes all.

    Raises:
        UserError: It has too few queries with an answer.
    """
    number = {document.id: index for index, document in enumerate(collection.documents)}
    queries = collection.queries.get(language, {})
    keys = [key for key in queries if _judged(collection, key, number, relevant=True)]
    keys = sampled(keys, most, "queries")
    if len(keys) < 10:
        raise UserError(
            f"contrastive.collection={collection.name} has {len(keys)} queries in {language!r} "
            "with a document that answers them; at least 10 are needed"
        )
    whole = QuerySource(
        name=f"{collection.name} {language}",
        texts=[queries[key] for key in keys],
        documents=[document.full_text for document in collection.documents],
        relevant=[_judged(collection, key, number, relevant=True) for key in keys],
        negatives=[_judged(collection, key, number, relevant=False) for key in keys],
    )
    return _split(whole, min(held_out, len(keys) // 10))


def _judged(
    collection: Collection, key: str, number: dict[str, int], *, relevant: bool
) -> list[int]:
    grades = collection.qrels.get(key, {})
    return [number[id] for id, grade in grades.items() if id in number and (grade > 0) == relevant]


def _split(whole: QuerySource, size: int) -> Split:
    order = list(range(len(whole)))
    random.Random(SPLIT_SEED).shuffle(order)
    rows_of: dict[int, list[int]] = {}
    for row in order:
        for document in whole.relevant[row]:
            rows_of.setdefault(document, []).append(row)
    held_out: set[int] = set()
    for row in order:  # the queries of one document after another, until there are enough
        if len(held_out) >= size:
            break
        held_out.update(other for document in whole.relevant[row] for other in rows_of[document])
    answers = {document for row in held_out for document in whole.relevant[row]}
    rest = [row for row in range(len(whole)) if not answers.intersection(whole.relevant[row])]
    if not rest:
        raise UserError(f"contrastive.collection: all queries of {whole.name} have one answer")
    return selected(whole, rest), selected(whole, sorted(held_out))
