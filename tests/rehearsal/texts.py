"""The texts that all miniatures are made of: those of the sample, which was written for clir."""

import json
from functools import cache

from clir_cli.suites import bundled

LANGUAGES = ("sw", "so", "tl", "mr", "fi", "de", "fr")  # of the suite
EVERY = ("en", *LANGUAGES)


def _lines(path: str) -> list[str]:
    return (bundled("data") / "sample" / path).read_text(encoding="utf-8").splitlines()


@cache
def sentences(language: str) -> list[str]:
    """Return 576 sentences; those of all languages have the same meaning at the same place."""
    return _lines(f"bitext/sample.{language}.txt")


@cache
def queries(language: str) -> dict[str, str]:
    """Return 80 queries by their name, five of each topic."""
    rows = map(json.loads, _lines(f"collection/queries.{language}.jsonl"))
    return {row["_id"]: row["text"] for row in rows}


@cache
def documents() -> dict[str, tuple[str, str]]:
    """Return 144 English documents by their name, nine of each topic: title and text."""
    rows = map(json.loads, _lines("collection/corpus.jsonl"))
    return {row["_id"]: (row["title"], row["text"]) for row in rows}


@cache
def qrels() -> list[tuple[str, str, int]]:
    """Return the judgments: query, document, grade."""
    rows = (line.split("\t") for line in _lines("collection/qrels/test.tsv")[1:])
    return [(query, document, int(grade)) for query, document, grade in rows]


def dictionary(language: str) -> list[tuple[str, str]]:
    """Return everyday words, each with its English word."""
    rows = (line.split("\t") for line in _lines(f"dictionary/{language}.tsv"))
    return [(word, english) for word, english in rows]


def all_texts() -> list[str]:
    """Return every text, to make vocabularies from."""
    read = [" ".join(pair) for pair in documents().values()]
    for language in EVERY:
        read += [*sentences(language), *queries(language).values()]
    return read
