"""Texts of the suite's test collection, which nothing that trains may equal.

The rule holds for the user's own files of bitext, and for all sources of a pair or all collections
to train on if one of them says so (``drop_test_texts`` in the catalogue). Those that are older than
the rule do not say so: what was made from them alone stays as it is.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import regex

from clir_cli.corpus import catalogue
from clir_cli.corpus.checksums import checked_digest
from clir_cli.corpus.collections import load_collection
from clir_cli.corpus.formats.own_bitext import read_files
from clir_cli.corpus.formats.reading import Faults, text_lines
from clir_cli.corpus.inverse_cloze import END, has_enough_words
from clir_cli.corpus.records import Collection, Pair, SentencePair
from clir_cli.settings import Settings
from clir_cli.suites import suite_settings

_PUNCTUATION = regex.compile(r"\p{P}+")


def text_key(text: str) -> str:
    """Return what equal texts share: NFC in lower case without punctuation, single spaces.

    >>> text_key("“Come on!”") == text_key(" come  ON")
    True
    """
    plain = unicodedata.normalize("NFC", text).lower()
    return " ".join(_PUNCTUATION.sub("", plain).split())


def is_equal(row: SentencePair, texts: frozenset[str]) -> bool:
    """Return True if a side of a pair equals one of the texts, which are ``text_key``s."""
    return text_key(row.query) in texts or text_key(row.english) in texts


def checked_collection(settings: Settings, pair: Pair) -> str:
    """Return the collection whose texts may not train a pair; empty if there is none."""
    sources = catalogue.chosen("bitext", settings.bitext)
    is_checked = any(s.options.get("drop_test_texts") and s.has(pair.query) for s in sources)
    return _known_collection(settings) if settings.bitext.files or is_checked else ""


def checked_by(settings: Settings, training: Sequence[str]) -> str:
    """Return the collection whose texts may not be in those to train on; empty if none is."""
    entries = catalogue.sources("collections")
    chosen = [entries[name] for name in training if name in entries]
    is_checked = any(entry.options.get("drop_test_texts") for entry in chosen)
    return _known_collection(settings) if is_checked else ""


def _known_collection(settings: Settings) -> str:
    """Return the suite's own collection, for a student searches any; empty if unknown.

    Its texts must be known, that is pinned by sha256 or in the package.
    """
    name = suite_settings(settings.suite).collection
    entry = catalogue.sources("collections").get(name)
    files = entry.files if entry and not entry.user_supplied else ()
    is_known = bool(files) and all(file.sha256 or not file.url for file in files)
    return name if is_known else ""


def collection_texts(name: str, language: str, downloads: Path) -> frozenset[str]:
    """Return the ``text_key`` of each text of a collection, in a language and in English.

    Texts are the lines of its files if its entry says so (``texts = "lines"``), also those that are
    in no document; else queries, and sentences of documents.

    Raises:
        MissingInput: A file has not been fetched.
    """
    entry = catalogue.source("collections", name)
    language = language if entry.has(language) else "en"
    texts: Iterable[str]
    if entry.options.get("texts") == "lines":
        files = [file for file in entry.local_files(language, downloads) if file.declared.lang]
        for file in files:
            checked_digest(file)
        texts = (line for file in files for line in text_lines(file.path))
    else:
        collection = load_collection(name, language, downloads)
        queries = (text for by_id in collection.queries.values() for text in by_id.values())
        parts = (END.split(document.full_text) for document in collection.documents)
        texts = [*queries, *(sentence for sentences in parts for sentence in sentences)]
    return frozenset(map(text_key, texts)) - {""}


def without_texts(collection: Collection, texts: frozenset[str]) -> tuple[Collection, int]:
    """Return a collection without queries and documents that hold a text; and their number.

    A document holds a text if it, or one of its sentences of four words or more, equals it: shorter
    ones ("He agreed.") are in any two texts.
    """
    if not texts:
        return collection, 0

    def holds(text: str) -> bool:
        parts = [part for part in END.split(text) if text_key(part) in texts]
        return text_key(text) in texts or any(map(has_enough_words, parts))

    documents = [each for each in collection.documents if not holds(each.full_text)]
    queries = {
        language: {key: text for key, text in asked.items() if text_key(text) not in texts}
        for language, asked in collection.queries.items()
    }
    asked = [sum(map(len, each.values())) for each in (collection.queries, queries)]
    dropped = len(collection.documents) - len(documents) + asked[0] - asked[1]
    return replace(collection, documents=documents, queries=queries), dropped


def any_equal(files: Sequence[Path], texts: frozenset[str], language: str) -> bool:
    """Return True if a pair of the user's files equals one of the texts."""
    return any(is_equal(row, texts) for row in read_files(files, Faults("skip"), language))
