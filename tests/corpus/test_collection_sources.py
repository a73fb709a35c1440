"""Collections in the formats of their publishers: small files just as they publish them."""

import io
import json
import os
import tarfile
from pathlib import Path

import pytest
from collection_files import MAIZE, WELL, located, read

from clir_cli.corpus import catalogue
from clir_cli.corpus.catalogue import CatalogueFile, LocalFile
from clir_cli.corpus.collections import load_collection, required_files
from clir_cli.corpus.records import Document
from clir_cli.errors import MissingInput, UserError

MIRROR = Path(os.environ.get("CLIR_MIRROR") or "nowhere")


# --------------------------------------------------------------------------- Belebele


def belebele(*rows: tuple[str, int, str, str]) -> str:
    """Return the lines of a language: link, number, passage, question; columns as published."""
    return "".join(
        json.dumps(
            {
                "link": link, "question_number": number, "flores_passage": passage,
                "question": question, "mc_answer1": "a", "mc_answer2": "b", "mc_answer3": "c",
                "mc_answer4": "d", "correct_answer_num": "1", "dialect": "x", "ds": "2023-05-03",
            },
            ensure_ascii=False,
        )
        + "\n"
        for link, number, passage, question in rows
    )  # fmt: skip


A, B = "https://en.wikinews.org/wiki/A", "https://en.wikibooks.org/wiki/B"
SWAHILI = ((B, 1, "Mahindi", "Wapi?"), (A, 2, "Kisima", "Nani?"), (A, 1, "Kisima", "Kina gani?"),
           (B, 1, "Nyingine", "Lini?"))  # fmt: skip
IN_ENGLISH = ((A, 1, WELL, "How deep?"), (A, 2, WELL, "Who?"), (B, 1, MAIZE, "Where?"),
              (B, 1, "Another.", "When?"))  # fmt: skip


def test_belebele_joins_languages_on_link_and_number_and_keeps_a_passage_once(
    tmp_path: Path,
) -> None:
    files = [
        located(tmp_path / "eng_Latn.jsonl", belebele(*IN_ENGLISH), "en"),
        located(tmp_path / "swh_Latn.jsonl", belebele(*SWAHILI), "sw"),
    ]
    found = read("belebele", files, "sw")
    assert [document.text for document in found.documents] == [WELL, MAIZE.strip(), "Another."]
    assert found.queries["sw"] == {
        "q0001": "Kina gani?",
        "q0002": "Nani?",
        "q0003": "Wapi?",
        "q0004": "Lini?",
    }
    assert found.queries["en"]["q0002"] == "Who?"
    assert found.qrels == {
        "q0001": {"p0001": 1},
        "q0002": {"p0001": 1},
        "q0003": {"p0002": 1},
        "q0004": {"p0003": 1},
    }
    assert read("belebele", files[:1], "en").documents == found.documents


def test_languages_of_belebele_that_do_not_answer_each_other_are_told(tmp_path: Path) -> None:
    files = [
        located(tmp_path / "eng_Latn.jsonl", belebele(*IN_ENGLISH), "en"),
        located(tmp_path / "swh_Latn.jsonl", belebele(*SWAHILI[:3]), "sw"),
    ]
    with pytest.raises(UserError, match=r"swh_Latn.jsonl: its questions differ from the Eng"):
        read("belebele", files, "sw")
    located(tmp_path / "swh_Latn.jsonl", belebele((A, 1, "x", "y")) + '{"link": ""}\n')
    with pytest.raises(UserError, match=r"swh_Latn.jsonl, line 2: 'link' is empty"):
        read("belebele", files, "sw")


# --------------------------------------------------------------------------- AfriQA


def afriqa(*rows: tuple[str, str | None, str | None, str, str]) -> str:
    return "".join(
        json.dumps(
            {
                "answer_pivot": {"answer_start": [0], "text": ["a"]}, "context": context,
                "id": key, "question_lang": question, "question_translated": english,
                "title": title, "answer_lang": "a",
            }
        )
        + "\n"
        for key, title, context, question, english in rows
    )  # fmt: skip


def test_afriqa_pools_the_passages_of_all_languages(tmp_path: Path) -> None:
    files = [
        located(
            tmp_path / "gold_span_passages.afriqa.swa.en.test.json",
            afriqa(
                ("0", "Well", WELL, "Kina gani?", "How deep?"),
                ("1", "Well", WELL, "Nani?", "Who?"),
                ("2", None, "Untitled.", "Wapi?", "Where?"),
                ("3", None, None, "Lini?", "When?"),  # no gold passage: cannot be judged
            ),
            role="sw",
        ),
        located(
            tmp_path / "gold_span_passages.afriqa.yor.en.test.json",
            afriqa(("0", "Maize", MAIZE, "Nibo?", "Where is it?")),
            role="yo",
        ),
    ]
    found = read("afriqa", files, "sw")
    assert found.documents == [
        Document("p00001", "Well", WELL),
        Document("p00002", "", "Untitled."),
        Document("p00003", "Maize", MAIZE.strip()),
    ]
    assert found.queries["sw"] == {"sw-0": "Kina gani?", "sw-1": "Nani?", "sw-2": "Wapi?"}
    assert found.queries["en"] == {"sw-0": "How deep?", "sw-1": "Who?", "sw-2": "Where?"}
    assert found.qrels == {"sw-0": {"p00001": 1}, "sw-1": {"p00001": 1}, "sw-2": {"p00002": 1}}
    assert read("afriqa", files, "yo").documents == found.documents
    assert read("afriqa", files, "en").qrels.keys() == {"sw-0", "sw-1", "sw-2", "yo-0"}


# --------------------------------------------------------------------------- FLORES-200


def flores(path: Path, members: dict[str, str]) -> LocalFile:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in members.items():
            content = text.encode()
            member = tarfile.TarInfo(f"./flores200_dataset/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return LocalFile(path, CatalogueFile(path.name))


def flores_members() -> dict[str, str]:
    pages = ["https://a.org/1"] * 3 + ["https://a.org/2"] + ["https://a.org/3"] * 2
    meta = "URL\tdomain\ttopic\thas_image\thas_hyperlink\n" + "".join(
        f"{page}\twikinews\tnews\tno\tno\n" for page in pages
    )
    return {
        "README": "FLORES-200",
        "metadata_dev.tsv": "URL\n",
        "metadata_devtest.tsv": meta,
        "dev/eng_Latn.dev": "not this\n",
        "devtest/eng_Latn.devtest": "".join(f"English {number}.\n" for number in range(6)),
        "devtest/swh_Latn.devtest": "".join(f"Sentensi {number}.\n" for number in range(6)),
        "devtest/fin_Latn.devtest": "Lause 0.\n",
    }


CODES = {"sw": "swh_Latn", "fi": "fin_Latn", "so": "som_Latn"}


def test_flores_is_cut_by_page_straight_from_its_archive(tmp_path: Path) -> None:
    file = flores(tmp_path / "flores200_dataset.tar.gz", flores_members())
    found = read("flores", [file], "sw", codes=CODES)
    assert found.documents == [
        Document("devtest-0001-01", "", "English 1. English 2."),
        Document("devtest-0003-01", "", "English 5."),
    ]
    assert found.queries == {
        "en": {"devtest-0001-01": "English 0.", "devtest-0003-01": "English 4."},
        "sw": {"devtest-0001-01": "Sentensi 0.", "devtest-0003-01": "Sentensi 4."},
    }
    assert found.qrels == {key: {key: 1} for key in found.queries["sw"]}
    assert list(tmp_path.iterdir()) == [file.path]
    assert read("flores", [file], "en", codes=CODES).documents == found.documents


@pytest.mark.parametrize(
    ("language", "change", "message"),
    [
        ("so", {}, "devtest/som_Latn.devtest is not in it"),
        ("fi", {}, "fin_Latn has 1 lines, metadata 6"),
        ("sw", {"metadata_devtest.tsv": "domain\n"}, "does not begin with the column URL"),
    ],
)
def test_an_archive_that_is_not_flores_is_told(
    tmp_path: Path, language: str, change: dict[str, str], message: str
) -> None:
    file = flores(tmp_path / "flores200_dataset.tar.gz", {**flores_members(), **change})
    with pytest.raises(UserError, match=message):
        read("flores", [file], language, codes=CODES)


def test_an_archive_that_was_cut_is_told(tmp_path: Path) -> None:
    file = flores(tmp_path / "flores200_dataset.tar.gz", flores_members())
    file.path.write_bytes(file.path.read_bytes()[:200])
    with pytest.raises(UserError, match=r"truncated or damaged"):
        read("flores", [file], "sw", codes=CODES)


# --------------------------------------------------------------------------- the catalogue

SOURCES = list(catalogue.sources("collections").values())


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_every_collection_can_be_asked_for_in_its_languages(
    source: catalogue.CatalogueEntry, tmp_path: Path
) -> None:
    for language in source.languages:
        wanted = required_files(source.name, language, tmp_path)
        assert wanted
        assert all("{" not in each.declared.path + each.declared.url for each in wanted)
    assert required_files(source.name, "en", tmp_path)  # for the documents
    if source.files and source.files[0].url:
        with pytest.raises(MissingInput, match="is missing"):
            load_collection(source.name, source.languages[0], tmp_path)
    assert source.options.get("looked_up") or source.name in ("sample", "ntrex", "ntrex-articles")


def test_what_english_queries_alone_can_serve_is_there_for_every_language(tmp_path: Path) -> None:
    assert [each.declared.path for each in required_files("beir-nfcorpus", "sw", tmp_path)] == [
        "nfcorpus.zip"
    ]
    assert required_files("mmarco", "sw", tmp_path) == []
    with pytest.raises(UserError, match="collection mmarco has no queries in 'sw'"):
        load_collection("mmarco", "sw", tmp_path)


@pytest.mark.skipif("CLIR_MIRROR" not in os.environ, reason="CLIR_MIRROR names no folder")
@pytest.mark.parametrize("language", ["de", "es", "en"])
def test_xquad_has_1190_questions_over_240_paragraphs(language: str) -> None:
    found = load_collection("xquad", language, MIRROR)
    assert len(found.documents) == 240
    assert len(found.queries[language]) == len(found.queries["en"]) == len(found.qrels) == 1190
    assert all(len(grades) == 1 for grades in found.qrels.values())
