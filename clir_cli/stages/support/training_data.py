"""What contrastive training is fed with: questions of a collection, spans of sentences, bitext."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from clir_cli.corpus.bitext import SPLIT_SEED, Bitext
from clir_cli.corpus.inverse_cloze import cloze_pair, has_enough_words, passage_queries
from clir_cli.corpus.records import Collection, SentencePair
from clir_cli.errors import UserError
from clir_cli.retrieval.encoder import Packed
from clir_cli.training.contrastive import QuerySource

Rows = Sequence[Sequence[int]]
Change = Callable[[str, str], str]  # a text and the key of its lot, to the text that is asked


@dataclass(frozen=True)
class Questions:
    """Queries and the documents that answer them, by number; see contrastive.QuerySource.

    ``texts`` holds one text a row: the query, or with ``cloze`` the sentence that it is drawn from.
    """

    name: str
    texts: Sequence[str]
    documents: Sequence[str]
    relevant: Rows
    negatives: Rows = ()
    alike: Rows = ()
    cloze: bool = False

    def __len__(self) -> int:
        return len(self.relevant)

    def rows(self, chosen: Sequence[int]) -> "Questions":
        """Return some of the rows, with the documents that they name and no others."""
        negatives = [self.negatives[row] for row in chosen] if self.negatives else []
        alike = [self.alike[row] for row in chosen] if self.alike else []
        relevant = [self.relevant[row] for row in chosen]
        kept = sorted({each for row in (*relevant, *negatives) for each in row})
        place = {old: new for new, old in enumerate(kept)}
        return replace(
            self,
            texts=[self.texts[row] for row in chosen],
            documents=[self.documents[each] for each in kept],
            relevant=[[place[each] for each in row] for row in relevant],
            negatives=[[place[each] for each in row] for row in negatives],
            alike=[[place[each] for each in row if each in place] for row in alike],
        )

    def source(self, seed: int, change: Change | None, packed: Packed | None) -> QuerySource:
        """Return them as a source: queries are drawn, and changed, anew each epoch."""

        def query(row: int, epoch: int) -> str:
            key = f"{seed} {self.name} {epoch} {row}"
            text = self.texts[row]
            text = cloze_pair(text, key)[0] if self.cloze else text
            return change(text, key) if change else text

        rows = (self.relevant, self.negatives, self.alike)
        return QuerySource(self.name, query, self.documents, *rows, packed)


Split = tuple[Questions, Questions]  # to train on, and held out


# ------------------------------------------------------------------ sentences and bitext


def cloze_questions(bitexts: Sequence[Bitext], most: int) -> Split:
    """Return the English sides of bitexts as sentences to be asked for (inverse cloze).

    Args:
        bitexts: One or several; each sentence enters once, and what one holds out is trained on
            for none.
        most: A random sample of so many sentences to train on; 0 takes all.
    """
    held = dict.fromkeys(row.english for each in bitexts for row in each.held_out)
    rest = dict.fromkeys(row.english for each in bitexts for row in each.train)
    train = sampled([text for text in rest if text not in held], most, "sentences")
    return _asked_for("cloze", train), _asked_for("cloze", list(held))


def _asked_for(name: str, sentences: Sequence[str]) -> Questions:
    texts = [text for text in sentences if has_enough_words(text)]
    return Questions(name, texts, texts, [[row] for row in range(len(texts))], cloze=True)


def rest_questions(bitexts: Sequence[Bitext], most: int, seed: int) -> Split:
    """Return runs of words that ask for the rest of their English sentence (inverse cloze).

    Args:
        bitexts: As for ``cloze_questions``.
        most: Likewise.
        seed: Of the runs.
    """
    train, held = (_left(part.texts, seed) for part in cloze_questions(bitexts, most))
    return train, held


def _left(sentences: Sequence[str], seed: int) -> Questions:
    pairs = [cloze_pair(text, f"{seed} {place}") for place, text in enumerate(sentences)]
    texts, rests = [query for query, _ in pairs], [rest for _, rest in pairs]
    return Questions("rests", texts, rests, [[place] for place in range(len(pairs))])


def passage_questions(name: str, split: Split, most: int) -> Split:
    """Return sentences of a split's documents that ask for the rest of them (inverse cloze).

    The other rests of a document hold the sentence, and count neither as right nor as wrong.

    Args:
        name: What they are called.
        split: Questions; the sentences are of documents that answer one.
        most: A random sample of so many sentences to train on; 0 takes all.
    """
    train, held = (_rests(name, part.documents) for part in split)
    if most and most < len(train):
        train = train.rows(sorted(random.Random("passages").sample(range(len(train)), most)))
    return train, held


def _rests(name: str, documents: Sequence[str]) -> Questions:
    texts: list[str] = []
    rests: list[str] = []
    alike: list[list[int]] = []
    for document in documents:
        found = passage_queries(document)
        places = range(len(rests), len(rests) + len(found))
        texts += [sentence for sentence, _ in found]
        rests += [rest for _, rest in found]
        alike += [[other for other in places if other != place] for place in places]
    own = [[place] for place in range(len(rests))]
    return Questions(name, texts, rests, own, alike=alike)


def bitext_questions(name: str, bitext: Bitext) -> Split:
    """Return a bitext as queries, the sentences of the other language, and English documents."""
    return _translated(name, bitext.train), _translated(name, bitext.held_out)


def _translated(name: str, rows: Sequence[SentencePair]) -> Questions:
    place = {text: number for number, text in enumerate(dict.fromkeys(row.english for row in rows))}
    relevant = [[place[row.english]] for row in rows]
    return Questions(name, [row.query for row in rows], list(place), relevant)


def sampled(texts: Sequence[str], most: int, key: str) -> list[str]:
    """Return a random sample in order; all where there are no more than ``most``, or it is 0."""
    if not most or len(texts) <= most:
        return list(texts)
    chosen = sorted(random.Random(key).sample(range(len(texts)), most))
    return [texts[place] for place in chosen]


# ------------------------------------------------------------------ a collection


def collection_questions(collection: Collection, language: str, most: int, held_out: int) -> Split:
    """Return a collection's queries; documents judged with 0 or less are their hard negatives.

    Held out is at most ``held_out`` queries and a tenth, and no document that answers one of them
    answers one that is trained on.

    Args:
        collection: With the queries of the language.
        language: Of the queries.
        most: A random sample of so many queries; 0 takes all.
        held_out: Queries for model selection.

    Raises:
        UserError: It has too few queries with an answer.
    """
    place = {document.id: number for number, document in enumerate(collection.documents)}
    keys = [key for key in collection.queries[language] if _answers(collection, key, place)]
    keys = sampled(keys, most, "queries")
    name = f"{collection.name} {language}"
    if len(keys) < 10:
        raise UserError(
            f"contrastive.collection={collection.name} has {len(keys)} queries in {language!r} "
            "with a document that answers them; at least 10 are needed"
        )
    whole = Questions(
        name=name,
        texts=[collection.queries[language][key] for key in keys],
        documents=[document.full_text for document in collection.documents],
        relevant=[_answers(collection, key, place) for key in keys],
        negatives=[_answers(collection, key, place, wrong=True) for key in keys],
    )
    return _split(whole, min(held_out, len(keys) // 10))


def _answers(
    collection: Collection, key: str, place: dict[str, int], wrong: bool = False
) -> list[int]:
    judged = collection.qrels.get(key, {})
    return [
        place[each] for each, grade in judged.items() if each in place and (grade <= 0) == wrong
    ]


def _split(whole: Questions, wanted: int) -> Split:
    order = list(range(len(whole)))
    random.Random(SPLIT_SEED).shuffle(order)
    asking: dict[int, list[int]] = {}
    for row in order:
        for document in whole.relevant[row]:
            asking.setdefault(document, []).append(row)
    held: set[int] = set()
    for row in order:  # the queries of one document after another, until there are enough
        if len(held) >= wanted:
            break
        held.update(each for document in whole.relevant[row] for each in asking[document])
    kept = {document for row in held for document in whole.relevant[row]}
    rest = [row for row in range(len(whole)) if not kept.intersection(whole.relevant[row])]
    if not rest:
        raise UserError(f"contrastive.collection: all queries of {whole.name} have one answer")
    return whole.rows(rest), whole.rows(sorted(held))
