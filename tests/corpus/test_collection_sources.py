"""Collections in the formats of their publishers: small files just as they publish them."""

import gzip
import io
import json
import os
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from clir_cli.corpus import catalogue
from clir_cli.corpus.catalogue import SourceFile
from clir_cli.corpus.collections import load_collection, needed
from clir_cli.corpus.formats import COLLECTION_READERS, Located
from clir_cli.corpus.formats.parts import Asked, Parts
from clir_cli.corpus.records import Document
from clir_cli.errors import MissingInput, UserError
from clir_cli.files import digest

MIRROR = Path(os.environ.get("CLIR_MIRROR") or "nowhere")


def located(path: Path, content: bytes | str, lang: str = "", role: str = "") -> Located:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Located(path, SourceFile(path.name, lang=lang, role=role))


def read(name: str, files: list[Located], language: str, **asked: Any) -> Parts:
    source = catalogue.source("collections", name)
    return COLLECTION_READERS[source.format](
        files, Asked(language, asked.get("options", source.options), asked.get("codes", {}))
    )


# --------------------------------------------------------------------------- XQuAD, XQuAD-R

WELL = "The well is nine metres deep. Forty people dug it."
MAIZE = " Maize dries in the sun. It is turned twice."
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
    with pytest.raises(UserError, match=r"en.json: the answer of 56be lies in no sentence"):
        read("xquad-r", [cut], "en")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"data": [', "not JSON in UTF-8"),
        (b"\xff\xfe{}", "not JSON in UTF-8"),
        ('{"version": "1.1"}', "no list 'data' where SQuAD's format has one"),
        ('{"data": [{"title": "t"}]}', "no list 'paragraphs'"),
        ('{"data": [{"paragraphs": [{"qas": []}]}]}', "'context' is missing or empty"),
        (squad([(WELL, [("1", " ", 0, "")])]), "'question' is missing or empty"),
        (squad([(WELL, [("", "?", 0, "")])]), "'id' is missing or empty"),
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


def mlqa(path: Path, sheets: dict[str, str]) -> Located:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("MLQA_V1/LICENSE", "CC BY-SA 3.0")
        archive.writestr("__MACOSX/MLQA_V1/._LICENSE", b"\0\5\x16\7")
        for language, text in sheets.items():
            name = f"context-en-question-{language}.json"
            archive.writestr(f"MLQA_V1/test/test-{name}", text)
            archive.writestr(f"MLQA_V1/dev/dev-{name}", squad([]))
            if language != "en":
                archive.writestr(f"MLQA_V1/test/test-context-{language}-question-en.json", "{}")
    return Located(path, SourceFile(path.name))


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
    with pytest.raises(UserError, match=r"test-context-en-question-de.json is not in it"):
        read("mlqa", [file], "de", codes=SPOKEN)
    file.path.write_bytes(file.path.read_bytes()[:-30])
    with pytest.raises(UserError, match="cut or damaged zip"):
        read("mlqa", [file], "de", codes=SPOKEN)


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
    with pytest.raises(UserError, match=r"swh_Latn.jsonl: its questions are not those of the Eng"):
        read("belebele", files, "sw")
    located(tmp_path / "swh_Latn.jsonl", belebele((A, 1, "x", "y")) + '{"link": ""}\n')
    with pytest.raises(UserError, match=r"swh_Latn.jsonl, line 2: 'link' is missing or empty"):
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


def flores(path: Path, members: dict[str, str]) -> Located:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in members.items():
            content = text.encode()
            member = tarfile.TarInfo(f"./flores200_dataset/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return Located(path, SourceFile(path.name))


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
    with pytest.raises(UserError, match=r"cut or damaged tar.gz"):
        read("flores", [file], "sw", codes=CODES)


# --------------------------------------------------------------------------- BEIR, zipped and not

CORPUS = (
    '{"_id": "4983", "title": "Wells", "text": "Dig deep.", "metadata": {}}\n'
    '{"_id": "5836", "title": "", "text": "Maize dries.", "metadata": {}}\n'
)
QUERIES = (
    '{"_id": "0", "text": "how deep", "metadata": {}}\n'
    '{"_id": "2", "text": "a training question", "metadata": {}}\n'
)
JUDGED = "query-id\tcorpus-id\tscore\n0\t4983\t1\n"


def beir_zip(path: Path, **change: str | None) -> Located:
    members = {
        "scifact/corpus.jsonl": CORPUS,
        "scifact/queries.jsonl": QUERIES,
        "scifact/qrels/train.tsv": "query-id\tcorpus-id\tscore\n2\t5836\t1\n",
        "scifact/qrels/test.tsv": JUDGED,
        **change,
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("scifact/", b"")
        for name, text in members.items():
            if text is not None:
                archive.writestr(name, text)
    return Located(path, SourceFile(path.name, lang="en"))


def test_a_zip_of_beir_is_read_without_unpacking(tmp_path: Path) -> None:
    file = beir_zip(tmp_path / "scifact.zip")
    found = read("beir-scifact", [file], "sw")
    assert found.documents == [
        Document("4983", "Wells", "Dig deep."),
        Document("5836", "", "Maize dries."),
    ]
    assert found.queries == {"en": {"0": "how deep"}}  # those of the split alone
    assert found.qrels == {"0": {"4983": 1}}
    assert list(tmp_path.iterdir()) == [file.path]


def test_documents_of_beir_without_text_and_judged_ones_that_it_lacks_stay(tmp_path: Path) -> None:
    change = {
        "scifact/corpus.jsonl": CORPUS + '{"_id": "empty", "title": "", "text": ""}\n',
        "scifact/qrels/test.tsv": JUDGED + "0\tabsent\t1\n",
    }
    found = read("beir-scifact", [beir_zip(tmp_path / "scifact.zip", **change)], "en")
    assert found.documents[-1] == Document("empty", "", "")
    assert found.qrels == {"0": {"4983": 1, "absent": 1}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scifact/queries.jsonl": None}, r"scifact.zip: 0 members are named queries.jsonl"),
        ({"more/corpus.jsonl": CORPUS}, r"scifact.zip: 2 members are named corpus.jsonl"),
        ({"scifact/corpus.jsonl": CORPUS + "{"}, r"scifact/corpus.jsonl, line 3: not JSON"),
        ({"scifact/qrels/test.tsv": JUDGED + "9\t4983\t1\n"}, "line 3: query '9' is not"),
        ({"../evil.txt": "x"}, "leads out of the zip"),
    ],
)  # fmt: skip
def test_a_fault_in_a_zip_of_beir_is_told(
    tmp_path: Path, change: dict[str, str | None], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read("beir-scifact", [beir_zip(tmp_path / "scifact.zip", **change)], "en")


def own(folder: Path) -> Path:
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text(CORPUS)
    (folder / "queries.jsonl").write_text(QUERIES)
    (folder / "qrels" / "test.tsv").write_text(JUDGED)
    return folder


def test_a_directory_in_gzipped_lines_or_parquet_is_the_same(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    plain = load_collection(str(own(tmp_path / "plain" / "set")), "sw", tmp_path)
    packed, columns = own(tmp_path / "gz" / "set"), own(tmp_path / "parquet" / "set")
    for name in ("corpus", "queries"):
        text = (packed / f"{name}.jsonl").read_bytes()
        (packed / f"{name}.jsonl.gz").write_bytes(gzip.compress(text))
        rows = [json.loads(line) for line in text.splitlines()]
        kept = [{key: row[key] for key in row if key != "metadata"} for row in rows]
        write_table(pyarrow.Table.from_pylist(kept), columns / f"{name}.parquet")
        (packed / f"{name}.jsonl").unlink()
        (columns / f"{name}.jsonl").unlink()
    judged = [{"query-id": "0", "corpus-id": "4983", "score": 1}]
    write_table(pyarrow.Table.from_pylist(judged), columns / "qrels" / "test.parquet")
    (columns / "qrels" / "test.tsv").unlink()
    assert load_collection(str(packed), "sw", tmp_path) == plain
    assert load_collection(str(columns), "sw", tmp_path) == plain
    whole = (columns / "corpus.parquet").read_bytes()
    (columns / "corpus.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"corpus.parquet: cut or damaged parquet"):
        load_collection(str(columns), "sw", tmp_path)
    whole = (packed / "corpus.jsonl.gz").read_bytes()
    (packed / "corpus.jsonl.gz").write_bytes(whole[:-9])
    with pytest.raises(UserError, match=r"corpus.jsonl.gz: cut or damaged"):
        load_collection(str(packed), "sw", tmp_path)


def test_the_digest_of_documents_is_that_of_the_list(tmp_path: Path) -> None:
    found = load_collection(str(own(tmp_path / "set")), "sw", tmp_path)
    assert found.digests["documents"] == digest(found.documents)


def test_without_pyarrow_one_line_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = own(tmp_path / "set")
    (folder / "corpus.jsonl").rename(folder / "corpus.parquet")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"pip install 'clir-cli\[parquet\]'"):
        load_collection(str(folder), "sw", tmp_path)


# --------------------------------------------------------------------------- the catalogue

SOURCES = list(catalogue.sources("collections").values())


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_every_collection_can_be_asked_for_in_its_languages(
    source: catalogue.Source, tmp_path: Path
) -> None:
    for language in source.languages:
        wanted = needed(source.name, language, tmp_path)
        assert wanted
        assert all("{" not in each.entry.path + each.entry.url for each in wanted)
    assert needed(source.name, "en", tmp_path)  # for the documents
    if source.files and source.files[0].url:
        with pytest.raises(MissingInput, match="is missing"):
            load_collection(source.name, source.languages[0], tmp_path)
    assert source.options.get("looked_up") or source.name in ("sample", "ntrex")


def test_what_english_queries_alone_can_serve_is_there_for_every_language(tmp_path: Path) -> None:
    assert [each.entry.path for each in needed("beir-nfcorpus", "sw", tmp_path)] == ["nfcorpus.zip"]
    assert needed("mmarco", "sw", tmp_path) == []
    with pytest.raises(UserError, match="collection mmarco has no queries in 'sw'"):
        load_collection("mmarco", "sw", tmp_path)


@pytest.mark.skipif("CLIR_MIRROR" not in os.environ, reason="CLIR_MIRROR names no folder")
@pytest.mark.parametrize("language", ["de", "es", "en"])
def test_xquad_has_1190_questions_over_240_paragraphs(language: str) -> None:
    found = load_collection("xquad", language, MIRROR)
    assert len(found.documents) == 240
    assert len(found.queries[language]) == len(found.queries["en"]) == len(found.qrels) == 1190
    assert all(len(grades) == 1 for grades in found.qrels.values())
