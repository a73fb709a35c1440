"""The sample data hold what they promise: counts, ids, clean text, and no leak into the bitext."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from clir_cli.corpus.catalogue import languages
from clir_cli.suites import bundled

SAMPLE = bundled("data") / "sample"
LANGUAGES = list(languages())[:7]  # the seven of OPTICAL; the sample has no others
SPOKEN = ["en", *LANGUAGES]
RUN = 8  # so many words in a row are no longer chance

# Words of English that are no words of the seven languages.
ENGLISH = set(
    re.findall(
        r"\w+",
        """the of and with that this from which have should their they your because when were has
        would must before after about into who what there these those while never every""",
    )
)
# Frequent words by which a text of the language is known.
TYPICAL = {
    "en": {"the", "and", "of"},
    "sw": {"na", "ya", "wa"},
    "so": {"oo", "iyo", "ku"},
    "tl": {"ang", "ng", "mga"},
    "mr": {"आणि", "आहे", "नाही"},
    "fi": {"ja", "on", "joka"},
    "de": {"und", "die", "der"},
    "fr": {"les", "de", "et"},
}


@cache
def lines(name: str) -> list[str]:
    return (SAMPLE / name).read_text(encoding="utf-8").removesuffix("\n").split("\n")


def rows(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in lines(name)]


def documents() -> list[dict[str, str]]:
    return rows("collection/corpus.jsonl")


def queries(language: str) -> dict[str, str]:
    return {row["_id"]: row["text"] for row in rows(f"collection/queries.{language}.jsonl")}


def judgments() -> list[tuple[str, str, int]]:
    header, *judged = lines("collection/qrels/test.tsv")
    assert header == "query-id\tcorpus-id\tscore"
    cells = [line.split("\t") for line in judged]
    return [(query, document, int(grade)) for query, document, grade in cells]


def bitext(language: str) -> list[str]:
    return lines(f"bitext/sample.{language}.txt")


def dictionary(language: str) -> list[tuple[str, ...]]:
    return [tuple(line.split("\t")) for line in lines(f"dictionary/{language}.tsv")]


def sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.!?])\s+", text)


def words(text: str) -> tuple[str, ...]:
    folded = unicodedata.normalize("NFC", text).casefold()
    return tuple(re.findall(r"[\w\u0900-\u0963\u0966-\u097f]+", folded))


# --------------------------------------------------------------------------- counts and ids


def test_there_are_enough_documents_over_enough_topics() -> None:
    found = documents()
    topics = Counter(row["_id"].rpartition("-")[0] for row in found)
    assert len(found) >= 120
    assert len(topics) >= 12
    assert min(topics.values()) >= 5
    assert len({row["_id"] for row in found}) == len(found)
    assert len({words(row["text"]) for row in found}) == len(found)
    assert all(row["title"] for row in found)


def test_every_document_has_three_to_five_sentences() -> None:
    assert {
        row["_id"]: n for row in documents() if not 3 <= (n := len(sentences(row["text"]))) <= 5
    } == {}


@pytest.mark.parametrize("language", SPOKEN)
def test_every_language_has_the_same_queries(language: str) -> None:
    found = queries(language)
    assert len(found) == len(lines(f"collection/queries.{language}.jsonl")) >= 60
    assert list(found) == list(queries("en"))
    assert len({words(text) for text in found.values()}) == len(found)


def test_the_judgments_are_graded_and_name_only_known_ids() -> None:
    judged, known = judgments(), {row["_id"] for row in documents()}
    assert {query for query, _, _ in judged} == queries("en").keys()
    assert {document for _, document, _ in judged} <= known
    assert len({judgment[:2] for judgment in judged}) == len(judged)
    assert {grade for _, _, grade in judged} == {1, 2}
    relevant = Counter(query for query, _, _ in judged)
    best = Counter(query for query, _, grade in judged if grade == 2)
    assert sum(relevant.values()) / len(relevant) >= 2
    assert best.keys() == relevant.keys(), "a query without a document that answers it"


@pytest.mark.parametrize("language", SPOKEN)
def test_the_bitext_has_enough_pairs_and_none_twice(language: str) -> None:
    found = bitext(language)
    assert len(found) == len(bitext("en")) >= 360
    assert len({words(line) for line in found}) == len(found)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_dictionary_has_enough_entries(language: str) -> None:
    found = dictionary(language)
    assert {len(entry) for entry in found} == {2}
    assert len(set(found)) == len(found) >= 600
    assert all(re.fullmatch("[a-z]+", english) for _, english in found)
    same = [query for query, english in found if query.casefold() == english]
    assert len(same) <= len(found) // 10, "borrowed words are few"


# --------------------------------------------------------------------------- clean text


@pytest.mark.parametrize(
    "path", sorted(SAMPLE.rglob("*.*")), ids=lambda path: str(path.relative_to(SAMPLE))
)
def test_a_file_is_clean_text(path: Path) -> None:
    text = path.read_bytes().decode("utf-8")
    assert unicodedata.normalize("NFC", text) == text
    assert text.endswith("\n")
    strange = {mark for mark in text if unicodedata.category(mark) in {"Cc", "Cf", "Co", "Cn"}}
    assert strange <= {"\n", "\t"}
    if path.suffix != ".md":
        wrong = [line for line in text[:-1].split("\n") if not line or line != line.strip()]
        assert wrong == []


def left_in_english(line: str, english: str) -> bool:
    told = words(line)
    return told == words(english) or len(ENGLISH.intersection(told)) >= 2


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_line_is_left_in_english(language: str) -> None:
    pairs = [*zip(bitext(language), bitext("en"), strict=True)]
    pairs += zip(queries(language).values(), queries("en").values(), strict=True)
    assert [line for line, english in pairs if left_in_english(line, english)] == []


def test_a_line_that_is_left_in_english_would_be_found() -> None:
    for line in [*bitext("en"), *queries("en").values()]:
        assert left_in_english(line.upper() + "!", line)
    unlike = [line for line in bitext("en") if left_in_english(line, "")]
    assert len(unlike) > len(bitext("en")) // 2, "the words of English find too little"


@pytest.mark.parametrize("language", SPOKEN)
def test_a_text_is_in_its_own_language_and_script(language: str) -> None:
    told = [*bitext(language), *queries(language).values()]
    if language in LANGUAGES:
        told += [entry[0] for entry in dictionary(language)]
    script = {"mr": "DEVANAGARI"}.get(language, "LATIN")
    letters = {mark for mark in "".join(told) if unicodedata.category(mark)[0] in "LM"}
    assert [mark for mark in letters if not unicodedata.name(mark).startswith(script)] == []

    def share(text: Sequence[str], known: set[str]) -> float:
        return sum(bool(known.intersection(words(line))) for line in text) / len(text)

    found = {spoken: share(bitext(language), known) for spoken, known in TYPICAL.items()}
    assert max(found, key=found.__getitem__) == language, found


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_line_is_much_longer_or_shorter_than_its_translation(language: str) -> None:
    pairs = [*zip(bitext(language), bitext("en"), strict=True)]
    pairs += zip(queries(language).values(), queries("en").values(), strict=True)
    assert [pair for pair in pairs if not 1 / 2.2 < len(pair[0]) / len(pair[1]) < 2.2] == []


# --------------------------------------------------------------------------- nothing leaks


def held_out(language: str) -> list[str]:
    """Return what the bitext must not know: queries, and in English titles and sentences too."""
    told = list(queries(language).values())
    if language == "en":
        for row in documents():
            told += [row["title"], *sentences(row["text"])]
    return told


def leaks(unseen: Sequence[str], trained: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs of texts that share too much.

    Too much is a whole text inside the other, a run of RUN words, or two thirds of all their words.
    """
    known = [words(line) for line in trained]
    padded = [f" {' '.join(line)} " for line in known]
    sets = [set(line) for line in known]
    runs = {
        line[at : at + RUN]: k for k, line in enumerate(known) for at in range(len(line) - RUN + 1)
    }
    found = []
    for text in unseen:
        told = words(text)
        inside, own = f" {' '.join(told)} ", set(told)
        for at in range(len(told) - RUN + 1):
            if told[at : at + RUN] in runs:
                found.append((text, trained[runs[told[at : at + RUN]]]))
        for line, other, each in zip(trained, padded, sets, strict=True):
            whole = (len(told) >= 3 and inside in other) or (len(each) >= 3 and other in inside)
            if whole or 3 * len(own & each) > 2 * len(own | each):
                found.append((text, line))
    return found


@pytest.mark.parametrize("language", SPOKEN)
def test_nothing_of_queries_and_documents_stands_in_the_bitext(language: str) -> None:
    assert leaks(held_out(language), bitext(language)) == []


@pytest.mark.parametrize("language", SPOKEN)
def test_a_leak_would_be_found(language: str) -> None:
    unseen = held_out(language)
    long = max(unseen, key=lambda text: len(words(text)))
    query = next(iter(queries(language).values()))
    start = " ".join(words(long)[: RUN + 1])
    for planted in (long, long.upper().rstrip(".?") + " !", f"{query}, {query}", f"{start} x y z"):
        assert leaks(unseen, [*bitext(language)[:5], unicodedata.normalize("NFD", planted)])


# --------------------------------------------------------------------------- the README


def test_the_readme_tells_the_true_counts() -> None:
    text = (SAMPLE / "README.md").read_text(encoding="utf-8")
    judged = judgments()
    topics = {row["_id"].rpartition("-")[0] for row in documents()}
    for count in (
        f"{len(documents())} documents",
        f"{len(topics)} topics",
        f"{len(queries('en'))} queries",
        f"{len(judged)} judgments",
        f"{sum(grade == 2 for *_, grade in judged)} with grade 2",
        f"{sum(grade == 1 for *_, grade in judged)} with grade 1",
        f"{len(judged) / len(queries('en')):.1f} relevant documents a query",
        f"{len(bitext('en'))} sentence pairs",
        *(f"{language} {len(dictionary(language))}" for language in LANGUAGES),
    ):
        assert count in text
    assert topics <= set(re.findall(r"\w+", text))
