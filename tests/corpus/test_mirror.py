"""The open sources as they are published; needs a mirror of them, named in CLIR_MIRROR."""

import os
from pathlib import Path

import pytest

from clir_cli.corpus import catalogue, formats
from clir_cli.corpus.bitext import inputs
from clir_cli.corpus.checksums import is_whole
from clir_cli.corpus.collections import load_collection
from clir_cli.corpus.dictionaries import load_dictionary
from clir_cli.corpus.formats.reading import ReadRequest, text_lines
from clir_cli.corpus.records import Pair, SentencePair
from clir_cli.suites import load_settings

MIRROR = Path(os.environ.get("CLIR_MIRROR") or "nowhere")

pytestmark = pytest.mark.skipif(
    "CLIR_MIRROR" not in os.environ, reason="CLIR_MIRROR names no folder with the open sources"
)

# Sentence pairs of a source, and how many of them are different.
ONCE, TWICE, SIB, LASER = (3071, 3071), (3071, 3070), (510, 510), (1000, 1000)
COUNTS = {
    "tico-19": {"sw": TWICE, "so": ONCE, "tl": TWICE, "mr": ONCE, "fr": TWICE},
    "sib-200": dict.fromkeys(("sw", "so", "tl", "mr", "fi", "de", "fr", "it"), SIB),
    "tatoeba": {
        language: (count, count)
        for language, count in (
            ("sw", 387),
            ("tl", 2_500),
            ("mr", 10_396),
            ("fi", 10_690),
            ("de", 17_565),
            ("fr", 12_681),
            ("it", 17_320),
        )
    },
    "tatoeba-laser": {
        "sw": (390, 390),
        **dict.fromkeys(("tl", "mr", "fi", "de", "fr", "it"), LASER),
    },
}
CELLS = [(source, language) for source in COUNTS for language in catalogue.languages()]


def read(name: str, language: str, **options: int) -> list[SentencePair]:
    source, files = (
        catalogue.source("bitext", name),
        catalogue.source("bitext", name).local_files(language, MIRROR),
    )
    if not files:
        return []
    wanted = ReadRequest(language, {**source.options, **options})
    return list(formats.PAIR_READERS[source.format](files, wanted))


@pytest.mark.parametrize("language", catalogue.languages())
def test_every_file_that_a_pair_needs_is_the_pinned_one(language: str) -> None:
    found = inputs(load_settings("open").bitext, Pair(language, "en"), MIRROR)
    assert {name.split("/")[0] for name in found} == {
        source for source, counts in COUNTS.items() if language in counts
    }


@pytest.mark.parametrize(("source", "language"), CELLS)
def test_a_source_has_the_pairs_it_is_known_to_have(source: str, language: str) -> None:
    found = read(source, language)
    assert (len(found), len(set(found))) == COUNTS[source].get(language, (0, 0))


@pytest.mark.parametrize("language", catalogue.languages())
def test_rows_of_sib_that_are_reserved_never_train(language: str) -> None:
    every = read("sib-200", language, train_below=10_000)
    train = read("sib-200", language)
    assert len(every) == 1004
    assert train == every[: len(train)]
    reserved = {pair.english for pair in every[len(train) :]}
    assert reserved.isdisjoint(pair.english for pair in train)


@pytest.mark.parametrize("language", catalogue.languages())
def test_ntrex_has_397_queries_with_one_relevant_document_each(language: str) -> None:
    found = load_collection("ntrex", language, MIRROR)
    assert len(found.documents) == len(found.queries[language]) == len(found.queries["en"]) == 397
    assert all(found.queries[language].values())
    assert found.qrels == {document.id: {document.id: 1} for document in found.documents}


@pytest.mark.parametrize("language", catalogue.languages())
def test_the_articles_of_ntrex_have_2_to_7_relevant_documents(language: str) -> None:
    found = load_collection("ntrex-articles", language, MIRROR)
    assert len(found.documents) == len(found.queries[language]) == 433
    assert {len(grades) for grades in found.qrels.values()} == set(range(2, 8))


@pytest.mark.parametrize("language", catalogue.languages())
def test_no_sentence_that_trains_is_a_query_or_stands_in_a_document(language: str) -> None:
    trained = [pair for source in COUNTS for pair in read(source, language)]
    test = load_collection("ntrex", language, MIRROR)
    assert set(test.queries[language].values()).isdisjoint(pair.query for pair in trained)
    assert set(test.queries["en"].values()).isdisjoint(pair.english for pair in trained)
    text = "\n".join(document.text for document in test.documents)
    long = [pair.english for pair in trained if len(pair.english.split()) >= 6]
    assert [sentence for sentence in long if sentence in text] == []


def test_every_file_of_the_catalogue_that_the_mirror_has_is_the_pinned_one() -> None:
    kinds: tuple[catalogue.Kind, ...] = ("bitext", "dictionaries", "collections")
    entries = {
        file.local(MIRROR): file
        for kind in kinds
        for source in catalogue.sources(kind).values()
        for file in source.files
        if file.url
    }
    # The mirror also has files that no entry uses yet; those are not checked here.
    there = [path for path in MIRROR.rglob("*") if path.is_file() and path in entries]
    assert len(there) > 80
    assert [path for path in there if not is_whole(path, entries[path])] == []
    assert all(entries[path].bytes and entries[path].sha256 for path in there)


@pytest.mark.parametrize("language", catalogue.languages())
def test_a_terminology_has_306_terms(language: str) -> None:
    source = catalogue.source("dictionaries", "tico-19")
    files = catalogue.source("dictionaries", "tico-19").local_files(language, MIRROR)
    wanted = ReadRequest(language)
    assert len(list(formats.DICTIONARY_READERS[source.format](files, wanted))) == 306
    found = load_dictionary("tico-19", Pair(language, "en"), MIRROR)
    assert 270 < len(found) <= 306  # synonyms in English have one word in the language
    assert {english for row in found.values() for english in row} > {"influenza", "quarantine"}


@pytest.mark.parametrize("language", ["en", *catalogue.languages()])
def test_ntrex_has_1997_sentences_in_123_documents(language: str) -> None:
    files = catalogue.source("collections", "ntrex").local_files(language, MIRROR)
    lines = {file.declared.lang: text_lines(file.path) for file in files}
    assert set(lines) == {"", "en", language}
    assert {len(found) for found in lines.values()} == {1997}
    assert len(set(lines[""])) == 123
