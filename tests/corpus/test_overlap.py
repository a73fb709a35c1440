"""No sentence pair that trains equals a text of the suite's test collection."""

from pathlib import Path

import pytest
from collection_files import located

from clir_cli.corpus import catalogue
from clir_cli.corpus.bitext import load_bitext
from clir_cli.corpus.overlap import (
    checked_by,
    checked_collection,
    collection_texts,
    text_key,
    without_texts,
)
from clir_cli.corpus.records import Collection, Document, Pair
from clir_cli.errors import MissingInput
from clir_cli.settings import BitextSettings, Settings
from clir_cli.suites import load_settings

SWAHILI = Pair("sw", "en")
NTREX = "raw.githubusercontent.com/MicrosoftTranslator/NTREX"


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("“Come on!”", " come\u00a0 ON", True),
        ("Café: dix-neuf", "cafe\u0301 dixneuf", True),
        ("माझे नाव, राम.", "माझे नाव राम", True),
        ("5 + 5", "5 5", False),  # a symbol is no punctuation
        ("come", "comes", False),
    ],
)
def test_case_punctuation_and_white_space_count_for_nothing(
    one: str, other: str, is_same: bool
) -> None:
    assert (text_key(one) == text_key(other)) == is_same


def test_the_texts_of_a_collection_are_its_queries_and_sentences() -> None:
    texts = collection_texts("sample", "sw", Path("nowhere"))
    assert "nivune na kukausha maharagwe lini" in texts  # a query
    assert (
        text_key("Maize that goes into the store wet will turn mouldy within two weeks.") in texts
    )
    assert "" not in texts


def test_the_texts_of_ntrex_are_all_its_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingInput, match=r"newstest2019-src.eng.txt is missing"):
        collection_texts("ntrex", "sw", tmp_path)
    monkeypatch.setattr("clir_cli.corpus.overlap.checked_digest", str)  # these are not the pinned
    for file in catalogue.source("collections", "ntrex").local_files("sw", tmp_path):
        lines = {"": "a\na\n", "en": "He came. She went.\n...\n", "sw": "Njoo!\nNenda\u0085sasa.\n"}
        located(file.path, lines[file.declared.lang])
    expected = {"he came she went", "njoo", "nenda sasa"}
    assert collection_texts("ntrex", "sw", tmp_path) == expected
    assert collection_texts("ntrex-articles", "sw", tmp_path) == expected


@pytest.mark.parametrize(
    ("suite", "changes", "collection"),
    [
        ("open", {}, "ntrex"),
        ("open", {"sources": ["tatoeba", "tico-19"]}, ""),  # sources that are older than the rule
        ("open", {"sources": ["tatoeba", "global-voices"]}, "ntrex"),
        ("open", {"sources": ["tatoeba", "hornmt"]}, ""),  # hornmt has no Swahili
        ("open", {"files": ["own.tsv"]}, "ntrex"),
        ("sample", {"files": ["own.tsv"]}, "sample"),
        ("paper", {}, ""),  # its collection is the user's
    ],
)
def test_a_source_that_says_so_has_all_of_them_checked(
    suite: str, changes: dict[str, list[str]], collection: str
) -> None:
    settings = load_settings(suite)
    bitext = BitextSettings.model_validate({**settings.bitext.model_dump(), **changes})
    changed: Settings = settings.model_copy(update={"bitext": bitext, "collection": "belebele"})
    assert checked_collection(changed, SWAHILI) == collection


def test_every_source_but_the_first_ones_says_so() -> None:
    older = {"sample", "tico-19", "sib-200", "tatoeba", "tatoeba-laser"}
    entries = catalogue.sources("bitext").values()
    assert {entry.name for entry in entries if not entry.options.get("drop_test_texts")} == older


def test_pairs_with_a_side_equal_to_a_text_are_dropped_and_counted(tmp_path: Path) -> None:
    rows = [f"neno {number}\tword {number}" for number in range(20)]
    rows[3], rows[7], rows[9] = "neno 3\tCome on!", "Njoo, sasa\tword 7", "Njoo\tcome"
    own = tmp_path / "own.tsv"
    own.write_text("\n".join(rows) + "\n")
    settings = BitextSettings(files=(str(own),))
    bitext = load_bitext(settings, SWAHILI, tmp_path, frozenset({"come on", "njoo sasa"}))
    assert bitext.skipped == {"equal to a test text": 2}
    kept = {row.english for row in (*bitext.train, *bitext.held_out)}
    assert kept == {row.split("\t")[1] for row in rows} - {"Come on!", "word 7"}


def test_documents_and_queries_that_hold_a_test_text_are_dropped_and_counted() -> None:
    texts = frozenset(map(text_key, ["Rain fell on the hills.", "Yes.", "who saw it"]))
    documents = [
        Document("a", "", "It was late. Rain fell on the hills. All slept."),
        Document("b", "", "Yes. It was late."),  # three words or fewer are in any text
        Document("c", "", "yes"),
        Document("d", "Hills", "Rain fell on the hill."),
    ]
    queries = {"en": {"1": "Who saw it?", "2": "who saw it then"}}
    collection = Collection("asked", documents, queries, {"1": {"a": 1}}, {})
    kept, dropped = without_texts(collection, texts)
    assert [document.id for document in kept.documents] == ["b", "d"]
    assert kept.queries == {"en": {"2": "who saw it then"}}
    assert dropped == 3
    assert without_texts(collection, frozenset()) == (collection, 0)


def test_collections_are_checked_where_the_catalogue_says_so() -> None:
    open_suite = load_settings("open")
    assert checked_by(open_suite, ["xquad"]) == checked_by(open_suite, ["mine/own"]) == ""
    assert checked_by(open_suite, ["xquad", "boolq"]) == "ntrex"
    assert checked_by(load_settings("paper"), ["boolq"]) == "", "its texts are not known"
