"""The record types of all data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from clir_cli.errors import UserError, nearest

# The digest of a data set of the hub that is called so is no sha256 but its commit.
REVISION = "revision of "
POOLS = "pools"  # the digest of what was judged on what


class SentencePair(NamedTuple):
    """A sentence in the query language and its English translation."""

    query: str
    english: str


class Document(NamedTuple):
    """A document; ``text`` includes no title."""

    id: str
    title: str
    text: str

    @property
    def full_text(self) -> str:
        """Return title and text, as an encoder gets them."""
        return f"{self.title}. {self.text}" if self.title and self.text else self.title or self.text


class Pool(NamedTuple):
    """Queries that were judged on some of the documents alone: those whose ids begin so."""

    name: str
    title: str  # of the documents
    queries: Sequence[str]
    documents: Sequence[str]

    def has(self, document: str) -> bool:
        """Return True if a document, by its id, is among those on which the queries were judged."""
        return document.startswith(tuple(self.documents))


@dataclass(frozen=True)
class Collection:
    """Documents, queries by language, and graded relevance judgments.

    ``pools`` has the queries that were judged on some of the documents; ``depth`` is how many
    documents of a ranking its measures count by tradition (0: no tradition); ``notes`` are what its
    reader reports.
    """

    name: str
    documents: Sequence[Document]
    queries: Mapping[str, Mapping[str, str]]  # texts by language and query id
    qrels: Mapping[str, Mapping[str, int]]  # grades by query and document id
    digests: Mapping[str, str]  # sha256 of each part
    pools: Sequence[Pool] = ()
    depth: int = 0
    notes: Sequence[str] = ()

    @property
    def pool_of(self) -> dict[str, Pool]:
        """Return the pool of each query that was not judged on all documents."""
        return {query: pool for pool in self.pools for query in pool.queries}


class Pair(NamedTuple):
    """A language pair: the language of the queries and the language of the documents."""

    query: str
    document: str

    def __str__(self) -> str:
        return f"{self.query}-{self.document}"


def parse_pair(text: str, languages: Mapping[str, object]) -> Pair:
    """Return the pair that ``text`` names, such as ``sw-en``; UserError if it names none."""
    query, dash, document = text.strip().lower().partition("-")
    if document == "en" and query in languages:
        return Pair(query, document)
    close = nearest(query, languages, "{}-en")
    if query == "en" and document in languages:
        close = f"documents are English, did you mean {document}-en?"
    if not dash:
        close = f"a pair is two languages, {close}"
    raise UserError(f"unknown pair {text!r}: {close}")
