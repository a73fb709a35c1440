"""The open sources as they are published; needs a mirror of them, named in CLIR_MIRROR."""

import os
from pathlib import Path
from typing import Any

import pytest

from clir_cli.corpus import catalogue, formats
from clir_cli.corpus.bitext import inputs, load_bitext
from clir_cli.corpus.checksums import is_whole
from clir_cli.corpus.collections import load_collection
from clir_cli.corpus.dictionaries import load_dictionary
from clir_cli.corpus.formats.reading import Faults, ReadRequest, text_lines
from clir_cli.corpus.overlap import collection_texts, text_key
from clir_cli.corpus.records import Pair, SentencePair
from clir_cli.settings import BitextSettings
from clir_cli.suites import load_settings

MIRROR = Path(os.environ.get("CLIR_MIRROR") or "nowhere")

pytestmark = pytest.mark.skipif(
    "CLIR_MIRROR" not in os.environ, reason="CLIR_MIRROR names no folder with the open sources"
)

# Sentence pairs of a source, and how many of them are different; white space counts for nothing.
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
    "global-voices": {"sw": (30_782, 30_338)},
    "lafand": {"sw": (3_638, 3_620)},
    "gamayun": {"sw": (5_000, 5_000)},
    "hornmt": {"so": (2_030, 2_030)},
    "ciral-questions": {"so": (338, 338), "sw": (198, 198)},
    "marati-nmt": {"mr": (40_751, 40_751)},
    "stsb": {"mr": (17_210, 15_414)},
    "newstest": {"fi": (10_372, 10_352), "de": (30_244, 30_232), "fr": (19_074, 19_055)},
    "kaibigan-salita": {"tl": (3_830, 3_830)},
}
# What the readers leave out.
LEFT_OUT = {
    "global-voices": {"empty line": 1_525},
    "lafand": {"empty line": 87},
    "stsb": {"in another order": 12, "damaged, or not in Devanagari": 22},
}
CELLS = [(source, language) for source in COUNTS for language in catalogue.languages()]

# Files that are no data.
ABOUT = {"README.md", "README.txt", "LICENSE", "LICENSE.md", "LICENSE.txt", "LANGUAGES.tsv"}


def read(
    name: str, language: str, faults: Faults | None = None, **options: int
) -> list[SentencePair]:
    source = catalogue.source("bitext", name)
    files = source.local_files(language, MIRROR)
    if not files:
        return []
    wanted = ReadRequest(language, {**source.options, **options}, faults=faults or Faults())
    return list(formats.PAIR_READERS[source.format](files, wanted))


@pytest.mark.parametrize("language", catalogue.languages())
def test_every_file_that_a_pair_needs_is_the_pinned_one(language: str) -> None:
    chosen = load_settings("open").bitext.model_copy(update={"sources": tuple(COUNTS)})
    found = inputs(chosen, Pair(language, "en"), MIRROR)
    assert {name.split("/")[0] for name in found} == {
        source for source, counts in COUNTS.items() if language in counts
    }


@pytest.mark.parametrize(("source", "language"), CELLS)
def test_a_source_has_the_pairs_it_is_known_to_have(source: str, language: str) -> None:
    faults = Faults()
    found = read(source, language, faults)
    different = {tuple(" ".join(side.split()) for side in pair) for pair in found}
    assert (len(found), len(different)) == COUNTS[source].get(language, (0, 0))
    assert faults.skipped == (LEFT_OUT.get(source, {}) if found else {})


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


@pytest.mark.parametrize(
    ("source", "setting", "count"),
    [
        ("global-voices", {"drop_copies": True}, 470),  # left untranslated
        ("global-voices", {"max_words": 80}, 60),
        ("lafand", {"drop_copies": True}, 80),
        ("gamayun", {"drop_copies": True}, 1),
    ],
)
def test_filters_drop_what_a_source_is_known_to_have(
    source: str, setting: dict[str, Any], count: int
) -> None:
    settings = BitextSettings(sources=(source,), **setting)
    bitext = load_bitext(settings, Pair("sw", "en"), MIRROR)
    assert bitext.skipped[f"bitext.{next(iter(setting))}"] == count


def test_questions_with_other_ids_are_pairs() -> None:
    english = "What was the name of the 44th president whose one parent was from America and other"
    (row,) = [row for row in read("ciral-questions", "sw") if row.english.startswith(english)]
    assert row.query.startswith("Rais 44 wa America")


# Pairs of each source with a side equal to a line of NTREX; the sources with none are not named.
EQUAL = {
    "tatoeba": {"mr": 3, "fi": 3, "fr": 2},
    "tatoeba-laser": {"tl": 1},
    "global-voices": {"sw": 1},
    "marati-nmt": {"mr": 7},
    "newstest": {"fi": 1, "fr": 1},
    "kaibigan-salita": {"tl": 4},
}


@pytest.mark.parametrize("language", catalogue.languages())
def test_pairs_equal_to_a_line_of_ntrex_are_dropped(language: str) -> None:
    texts = collection_texts("ntrex", language, MIRROR)
    lines = {
        text
        for code in catalogue.source("collections", "ntrex").languages
        for text in collection_texts("ntrex", code, MIRROR)
    }
    for source, counts in COUNTS.items():
        if language in counts:
            settings = BitextSettings(sources=(source,), realign=False)
            bitext = load_bitext(settings, Pair(language, "en"), MIRROR, texts)
            dropped = bitext.skipped.get("equal to a test text", 0)
            assert dropped == EQUAL.get(source, {}).get(language, 0)
            # Nothing that is left equals a line in another language either.
            rows = (*bitext.train, *bitext.held_out)
            assert lines.isdisjoint(text_key(side) for row in rows for side in row)


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
    there = [path for path in MIRROR.rglob("*") if path.is_file()]
    known = [path for path in there if path in entries]
    assert len(known) > 150
    assert [path for path in known if not is_whole(path, entries[path])] == []
    assert all(entries[path].bytes and entries[path].sha256 for path in known)
    assert [path for path in there if path not in entries and path.name not in ABOUT] == []


def test_names_of_cldr_are_as_many_as_differ_from_the_english() -> None:
    counts = {"sw": 642, "so": 862, "tl": 84, "mr": 1276, "fi": 940, "de": 646, "fr": 1009}
    source = catalogue.source("dictionaries", "cldr")
    for language in catalogue.languages():
        files = source.local_files(language, MIRROR)
        entries = list(formats.DICTIONARY_READERS[source.format](files, ReadRequest(language)))
        assert len(entries) == counts.get(language, 0)
    found = load_dictionary("cldr", Pair("tl", "en"), MIRROR)
    assert found["mundo"] == ("world",)
    assert "lungsod ng ho chi minh" in found


def test_no_sentence_of_the_bitext_is_a_reserved_row_of_sib() -> None:
    for language in catalogue.languages():
        rows = read("sib-200", language, train_below=10_000)[len(read("sib-200", language)) :]
        reserved = {text_key(side) for row in rows for side in row}
        pairs = [row for source in COUNTS for row in read(source, language)]
        assert reserved.isdisjoint(text_key(side) for row in pairs for side in row)


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
