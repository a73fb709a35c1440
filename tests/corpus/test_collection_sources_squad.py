"""Collections of questions on paragraphs, in SQuAD's format: XQuAD, XQuAD-R and MLQA."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from collection_files import MAIZE, WELL, located, read

from clir_cli.corpus.catalogue import CatalogueFile, LocalFile
from clir_cli.corpus.records import Document
from clir_cli.errors import UserError

# --------------------------------------------------------------------------- XQuAD, XQuAD-R

BRUNNEN = "Der Brunnen ist neun Meter tief. Vierzig Leute gruben ihn."


def squad(paragraphs: list[tuple[str, list[tuple[str, str, int, str]]]], **extra: Any) -> str:
    """Return a file in SQuAD's format; each paragraph with questions (id, text, offset, answer)."""
    told = [
        {
            "context": context,
            "qas": [
                {"answers": [{"answer_start": at, "text": answer}], "id": key, "question": question}
                for key, question, at, answer in questions
            ],
            **{name: value[place] for name, value in extra.items()},
        }
        for place, (context, questions) in enumerate(paragraphs)
    ]
    article = {"paragraphs": told, "title": "Village_life"}
    return json.dumps({"data": [article], "version": "1.1"}, indent=2)


ENGLISH = [
    (WELL, [("56be", "How deep is it?", 12, "nine"), ("56bf", "Who dug it?", 30, "Forty people")]),
    (MAIZE, [("57aa", "Where does it dry?", 20, "the sun")]),
]
GERMAN = [
    (BRUNNEN, [("56be", "Wie tief ist er?", 16, "neun"), ("56bf", "Wer grub ihn?", 33, "Vierzig")]),
    (" Mais trocknet.", [("57aa", "Wo trocknet er?", 1, "Mais")]),
]


def test_xquad_asks_in_one_language_over_the_english_paragraphs(tmp_path: Path) -> None:
    files = [
        located(tmp_path / "xquad.en.json", squad(ENGLISH), "en"),
        located(tmp_path / "xquad.de.json", squad(GERMAN), "de"),
    ]
    found = read("xquad", files, "de")
    assert found.documents == [Document("p0001", "", WELL), Document("p0002", "", MAIZE)]
    assert found.queries["de"] == {
        "56be": "Wie tief ist er?",
        "56bf": "Wer grub ihn?",
        "57aa": "Wo trocknet er?",
    }
    assert found.queries["en"]["56bf"] == "Who dug it?"
    assert found.qrels == {"56be": {"p0001": 1}, "56bf": {"p0001": 1}, "57aa": {"p0002": 1}}
    assert read("xquad", files[:1], "en").documents == found.documents


def test_xquad_r_asks_for_the_sentence_that_holds_the_answer(tmp_path: Path) -> None:
    breaks = [[[0, 29], [30, 50]], [[1, 24], [25, 45]]]
    sentences = [["..."], ["..."]]
    files = [
        located(
            tmp_path / "en.json",
            squad(ENGLISH, sentence_breaks=breaks, sentences=sentences),
            "en",
        ),
        located(tmp_path / "de.json", squad(GERMAN), "de"),
    ]
    found = read("xquad-r", files, "de")
    assert found.documents == [
        Document("p0001-01", "", "The well is nine metres deep."),
        Document("p0001-02", "", "Forty people dug it."),
        Document("p0002-01", "", "Maize dries in the sun."),
        Document("p0002-02", "", "It is turned twice."),
    ]
    assert found.qrels == {
        "56be": {"p0001-01": 1},
        "56bf": {"p0001-02": 1},
        "57aa": {"p0002-01": 1},
    }
    text = squad(ENGLISH, sentence_breaks=[[[0, 10]], [[1, 45]]])
    cut = located(tmp_path / "en.json", text, "en")
    with pytest.raises(UserError, match=r"en.json: the answer of 56be is in no sentence"):
        read("xquad-r", [cut], "en")


@pytest.mark.parametrize(
    "breaks", [None, 7, [7], [[0]], [[0, "9"]], [[-5, 9]], [[9, 9]], [[0, 1e3]]]
)
def test_sentences_of_xquad_r_without_begin_and_end_are_refused(tmp_path: Path, breaks) -> None:
    text = squad(ENGLISH[:1], sentence_breaks=[breaks])
    with pytest.raises(UserError, match=r"en.json: .* is not (begin and end of a|an offset)"):
        read("xquad-r", [located(tmp_path / "en.json", text, "en")], "en")


@pytest.mark.parametrize("start", [None, "7", 1.5, -1, [0]])
def test_answers_of_xquad_r_without_a_place_are_refused(tmp_path: Path, start) -> None:
    text = squad([(WELL, [("1", "?", start, "")])], sentence_breaks=[[[0, 10**12]]])
    with pytest.raises(UserError, match=r"en.json: .* is not an offset in characters"):
        read("xquad-r", [located(tmp_path / "en.json", text, "en")], "en")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"data": [', "not JSON in UTF-8"),
        (b"\xff\xfe{}", "UTF-16 or UTF-32"),
        (b'{"data": "\xff"}', "not JSON in UTF-8"),
        ('{"data": ' * 90_000, "JSON that is nested too deeply"),
        ('["data"]', "no list of records under 'data'"),
        ('{"data": [1]}', "no list of records under 'data'"),
        ('{"version": "1.1"}', "no list of records under 'data'"),
        ('{"data": [{"title": "t"}]}', "no list of records under 'paragraphs'"),
        ('{"data": [{"paragraphs": [{"qas": []}]}]}', r"no 'context'; its keys are \['qas'\]"),
        (squad([(WELL, [("1", " ", 0, "")])]), "'question' is empty"),
        (squad([(WELL, [("", "?", 0, "")])]), "'id' is empty"),
        (squad([(WELL, [("1", "?", 0, ""), ("1", "!", 0, "")])]), "query 1 occurs twice"),
    ],
)
def test_a_fault_in_a_file_of_squad_is_told(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    with pytest.raises(UserError, match=f"xquad.en.json: {message}"):
        read("xquad", [located(tmp_path / "xquad.en.json", text, "en")], "en")


def test_a_question_that_english_lacks_is_told(tmp_path: Path) -> None:
    files = [
        located(tmp_path / "xquad.en.json", squad(ENGLISH[:1]), "en"),
        located(tmp_path / "xquad.de.json", squad(GERMAN), "de"),
    ]
    with pytest.raises(UserError, match=r"xquad.de.json: the English file has no question 57aa"):
        read("xquad", files, "de")


# --------------------------------------------------------------------------- MLQA

SPOKEN = {"en": "en", "de": "de", "es": "es"}


def mlqa(path: Path, sheets: dict[str, str]) -> LocalFile:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("MLQA_V1/LICENSE", "CC BY-SA 3.0")
        archive.writestr("__MACOSX/MLQA_V1/._LICENSE", b"\0\5\x16\7")
        for language, text in sheets.items():
            name = f"context-en-question-{language}.json"
            archive.writestr(f"MLQA_V1/test/test-{name}", text)
            archive.writestr(f"MLQA_V1/dev/dev-{name}", squad([]))
            if language != "en":
                archive.writestr(f"MLQA_V1/test/test-context-{language}-question-en.json", "{}")
    return LocalFile(path, CatalogueFile(path.name))


def test_mlqa_is_read_from_its_zip_and_judges_the_questions_of_the_language(
    tmp_path: Path,
) -> None:
    german = [(WELL, [("56be", "Wie tief ist er?", 12, "nine")])]
    spanish = [("Only here.", [("58cc", "¿Dónde?", 5, "here")])]
    sheets = {"en": squad(ENGLISH), "de": squad(german), "es": squad(spanish)}
    file = mlqa(tmp_path / "MLQA_V1.zip", sheets)
    found = read("mlqa", [file], "de", codes=SPOKEN)
    documents = [
        Document("p00001", "", WELL),
        Document("p00002", "", MAIZE),
        Document("p00003", "", "Only here."),
    ]
    assert found.documents == documents
    assert found.queries["de"] == {"56be": "Wie tief ist er?"}
    assert found.qrels == {"56be": {"p00001": 1}}
    assert found.queries["en"]["56be"] == "How deep is it?"
    english = read("mlqa", [file], "en", codes=SPOKEN)
    assert english.documents == documents
    assert english.qrels.keys() == {"56be", "56bf", "57aa"}


def test_a_zip_that_is_not_mlqa_or_is_cut_is_told(tmp_path: Path) -> None:
    file = mlqa(tmp_path / "MLQA_V1.zip", {"en": squad(ENGLISH)})
    with pytest.raises(UserError, match=r"0 members are named test-context-en-question-de.json"):
        read("mlqa", [file], "de", codes=SPOKEN)
    file.path.write_bytes(file.path.read_bytes()[:-30])
    with pytest.raises(UserError, match="truncated or damaged zip"):
        read("mlqa", [file], "de", codes=SPOKEN)
