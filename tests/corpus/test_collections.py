"""Collections: BEIR directories, and what is wrong with a user's own."""

import bz2
import gzip
import json
import lzma
import os
import shutil
from pathlib import Path

import pytest

from clir_cli.corpus.collections import (
    collection_label,
    is_directory,
    language_read,
    load_collection,
    required_files,
)
from clir_cli.corpus.formats import opening
from clir_cli.corpus.records import Collection, Document
from clir_cli.errors import MissingInput, UserError

# --------------------------------------------------------------------------- BEIR


CORPUS, QUERIES, QRELS = "corpus.jsonl", "queries.jsonl", "qrels/test.tsv"


def jsonl(path: Path, *rows: object) -> None:
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A user's own collection that is as it should be."""
    folder = tmp_path / "own"
    (folder / "qrels").mkdir(parents=True)
    jsonl(
        folder / "corpus.jsonl",
        {"_id": "d1", "title": "Wells", "text": "Dig deep."},
        {"_id": 2, "title": "", "text": " Maize dries in the sun. ", "metadata": {"year": 2020}},
        {"_id": "d3", "title": "Only a title", "text": ""},
    )
    jsonl(
        folder / "queries.jsonl",
        {"_id": "q1", "text": "kisima kirefu"},
        {"_id": "q2", "text": "mahindi"},
    )
    judged = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\t2\t0\nq2\t2\t1\n"
    (folder / "qrels" / "test.tsv").write_text(judged)
    return folder


def load(folder: Path, language: str = "sw") -> Collection:
    return load_collection(str(folder), language, folder / "downloads")


def test_a_directory_in_beir_layout_is_read(own: Path) -> None:
    found = load(own)
    assert found.name == "own"
    assert found.documents == [
        Document("d1", "Wells", "Dig deep."),
        Document("2", "", "Maize dries in the sun."),
        Document("d3", "Only a title", ""),
    ]
    assert [document.full_text for document in found.documents] == [
        "Wells. Dig deep.",
        "Maize dries in the sun.",
        "Only a title",
    ]
    assert found.queries == {"sw": {"q1": "kisima kirefu", "q2": "mahindi"}}
    assert found.qrels == {"q1": {"d1": 2, "2": 0}, "q2": {"2": 1}}


def test_a_file_of_queries_for_the_language_wins_and_the_english_ones_stand_beside(
    own: Path,
) -> None:
    jsonl(own / "queries.fi.jsonl", {"_id": "q1", "text": "syvä kaivo"}, {"_id": "q2", "text": "x"})
    jsonl(own / "queries.en.jsonl", {"_id": "q1", "text": "deep well"}, {"_id": "q2", "text": "y"})
    assert load(own, "fi").queries["fi"]["q1"] == "syvä kaivo"
    assert load(own, "sw").queries["sw"]["q1"] == "kisima kirefu"
    assert load(own, "sw").queries["en"]["q1"] == "deep well"
    assert load(own, "en").queries == {"en": {"q1": "deep well", "q2": "y"}}


def test_marks_blank_lines_and_windows_line_ends_change_nothing(own: Path) -> None:
    plain = load(own)
    for path in [own / "corpus.jsonl", own / "queries.jsonl", own / "qrels" / "test.tsv"]:
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    assert load(own) == plain


def test_pyserini_names_of_columns_are_read(own: Path) -> None:
    plain = load(own)
    for name in (CORPUS, QUERIES):
        text = (own / name).read_text().replace('"_id"', '"id"').replace('"text"', '"contents"')
        (own / name).write_text(text.replace('"title": ""', '"title": null, "text": ""'))
    assert load(own) == plain


def test_the_same_judgment_twice_is_one(own: Path) -> None:
    plain = load(own)
    with (own / QRELS).open("a") as stream:
        stream.write("q1\td1\t02\n")
    assert load(own) == plain


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_file_in_utf16_is_named(own: Path, name: str, encoding: str) -> None:
    (own / name).write_bytes((own / name).read_text().encode(encoding))
    with pytest.raises(UserError, match=f"{name}: UTF-16 or UTF-32, or no text; save it as UTF-8"):
        load(own)


PACKERS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.mark.parametrize("suffix", PACKERS)
def test_compressed_files_are_read_with_or_without_the_ending(own: Path, suffix: str) -> None:
    plain, pack = load(own), PACKERS[suffix]
    for name in (CORPUS, QUERIES, QRELS):
        (own / name).write_bytes(pack((own / name).read_bytes()))
    assert load(own) == plain
    for name in (CORPUS, QUERIES, QRELS):
        (own / name).rename(own / f"{name}{suffix}")
    assert load(own) == plain
    packed = (own / f"{CORPUS}{suffix}").read_bytes()
    (own / f"{CORPUS}{suffix}").write_bytes(packed[:-9])
    with pytest.raises(UserError, match=f"{CORPUS}{suffix}: truncated or damaged"):
        load(own)


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_compressed_file_that_unpacks_to_more_than_text_is_refused(
    own: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr(opening, "ALWAYS_ALLOWED", 1 << 16)
    (own / CORPUS).unlink()
    (own / f"{CORPUS}{suffix}").write_bytes(PACKERS[suffix](b" " * (1 << 24)))
    with pytest.raises(UserError, match=f"{CORPUS}{suffix}: unpacks to far more than text does"):
        load(own)


@pytest.mark.parametrize("name", [CORPUS, QUERIES, QRELS])
def test_a_pipe_in_the_place_of_a_file_is_refused(own: Path, name: str) -> None:
    (own / name).unlink()
    os.mkfifo(own / name)
    with pytest.raises(UserError, match=f"{name}: not a regular file"):
        load(own)


def test_a_corpus_in_two_forms_is_refused(own: Path) -> None:
    (own / "corpus.jsonl.gz").write_bytes(gzip.compress((own / CORPUS).read_bytes()))
    with pytest.raises(UserError, match=r"corpus.jsonl and .*corpus.jsonl.gz: keep one of them"):
        load(own)


@pytest.mark.parametrize("other", ["qrels.tsv", "qrels/dev.tsv"])
def test_what_is_there_instead_of_a_missing_file_is_named(own: Path, other: str) -> None:
    (own / QRELS).rename(own / other)
    with pytest.raises(UserError, match=rf"qrels/test.tsv: missing; .*; there is {other}"):
        load(own)


def test_qrels_without_a_header_lose_no_line(own: Path) -> None:
    plain, path = load(own), own / "qrels" / "test.tsv"
    path.write_text(path.read_text().removeprefix("query-id\tcorpus-id\tscore\n"))
    assert load(own) == plain


def test_digests_follow_the_content_and_nothing_else(own: Path) -> None:
    before = load(own).digests
    shutil.copytree(own, own.parent / "moved")
    assert load(own.parent / "moved").digests == before
    path = own / "qrels" / "test.tsv"
    path.write_text(path.read_text().replace("d1\t2", "d1\t1"))
    after = load(own).digests
    assert {name for name in before if before[name] != after[name]} == {"qrels"}


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl"])
def test_a_collection_without_one_of_its_files_is_told(own: Path, name: str) -> None:
    (own / name).unlink()
    with pytest.raises(UserError, match=f"{name}: missing; a collection has corpus.jsonl, and"):
        load(own)


def test_judgments_may_be_absent_and_queries_with_them(own: Path) -> None:
    whole = load(own)
    (own / QRELS).unlink()
    unjudged = load(own)
    assert (list(unjudged.documents), unjudged.queries) == (list(whole.documents), whole.queries)
    assert unjudged.qrels == {}
    (own / "queries.jsonl").unlink()
    assert load(own).queries == {}
    assert load(own).digests["documents"] == whole.digests["documents"]


@pytest.mark.parametrize(
    ("name", "extra", "message"),
    [
        (CORPUS, '{"_id": "d1", "text": "again"}', "line 4: _id 'd1' occurs twice"),
        (CORPUS, '{"_id": "2", "text": "as a number before"}', "line 4: _id '2' occurs twice"),
        (QUERIES, '{"_id": "q2", "text": "tena"}', "line 3: _id 'q2' occurs twice"),
        (CORPUS, '{"_id": "", "text": "nameless"}', "line 4: '_id' is empty"),
        (CORPUS, '{"_id": " ", "text": "nameless"}', "line 4: '_id' is empty"),
        (CORPUS, '{"_id": null, "text": "nameless"}', "line 4: '_id' is empty"),
        (CORPUS, '{"_id": 1.0, "text": "t"}', "line 4: '_id' is 1.0, where a text is needed"),
        (CORPUS, '{"_id": true, "text": "t"}', "line 4: '_id' is True, where a text is"),
        (CORPUS, '{"_id": ["d4"], "text": "t"}', "line 4: '_id' is ['d4'], where a text is"),
        (QUERIES, '{"text": "nameless"}', "line 3: no '_id'; its keys are ['text']"),
        (QUERIES, '["q3", "a list"]', "line 3: ['q3', 'a list'] is not a record"),
        (QUERIES, "NaN", "line 3: nan is not a record"),
        (CORPUS, '{"_id": "d 4", "text": "t"}', "line 4: _id 'd 4' has white space in it"),
        (CORPUS, '{"_id": "d\u20284", "text": "t"}', r"line 4: _id 'd\u20284' has white space"),
        (CORPUS, r'{"_id": "d\u00004", "text": "t"}', r"line 4: _id 'd\x004' has a control"),
        (CORPUS, '{"_id": "d4", "text": "t"', "line 4: not JSON in UTF-8"),
        (CORPUS, '{"_id": "d4", "text": "t", "text": "u"}', "line 4: not JSON in UTF-8: a record"),
        (CORPUS, f'{{"_id": {"1" * 5000}, "text": "t"}}', "line 4: not JSON in UTF-8"),
        (CORPUS, f'{{"_id": "d4", "text": {"[" * 90_000}', "line 4: JSON that is nested too deep"),
        (QUERIES, '{"a":' * 90_000, "line 3: JSON that is nested too deeply"),
        (QUERIES, "q3\tmoja", "line 3: not JSON in UTF-8"),
        (CORPUS, b'{"_id": "d4", "text": "\xff"}', "line 4: not JSON in UTF-8"),
        (CORPUS, b'{"_id": "d4", "text": "\xed\xa0\x80"}', "line 4: not JSON in UTF-8"),
        (CORPUS, r'{"_id": "d4", "text": "\ud83d"}', "line 4: 'text' has half a surrogate pair"),
        (CORPUS, r'{"_id": "\ud83d", "text": "t"}', "line 4: '_id' has half a surrogate pair"),
        (CORPUS, '{"_id": "d4", "title": "", "text": " "}', "line 4: 'text' is empty"),
        (CORPUS, '{"_id": "d4", "text": null}', "line 4: 'text' is empty"),
        (CORPUS, '{"_id": "d4", "title": "t", "text": 4}', "line 4: 'text' is 4, where a text"),
        (CORPUS, '{"_id": "d4", "title": NaN, "text": "t"}', "line 4: 'title' is nan, where a"),
        (CORPUS, '{"_id": "d4", "title": ["a"], "text": "t"}', "line 4: 'title' is ['a'], where"),
        (CORPUS, '{"_id": "d4", "title": {}, "text": "t"}', "line 4: 'title' is {}, where a"),
        (CORPUS, '{"_id": "d4", "title": false, "text": "t"}', "line 4: 'title' is False, where"),
        (CORPUS, '{"_id": "d4", "title": 1984, "text": "t"}', "line 4: 'title' is 1984, where"),
        (CORPUS, '{"_id": "d4", "title": "t", "body": "b"}',
         "line 4: no 'text'; its keys are ['_id', 'title', 'body']"),
        (QUERIES, '{"_id": "q3", "title": "t"}', "line 3: no 'text'; its keys are ['_id', 'ti"),
        (QUERIES, '{"_id": "q3", "text": Infinity}', "line 3: 'text' is inf, where a text is"),
        (QRELS, "q9\td1\t1", "line 5: query 'q9' is not among the queries"),
        (QRELS, "q1\td9\t1", "line 5: document 'd9' is not in the corpus"),
        (QRELS, "query-id\tcorpus-id\t1", "line 5: query 'query-id' is not among"),
        (QRELS, "q1\td1", r"line 5: 'q1\td1' is not query-id, corpus-id and score with tabs"),
        (QRELS, "q1\t0\td1\t1", r"line 5: 'q1\t0\td1\t1' is not query-id, corpus-id and score"),
        (QRELS, "q1 d1 1", "line 5: 'q1 d1 1' is not query-id, corpus-id and score with tabs"),
        (QRELS, "q1\td1\t", r"line 5: 'q1\td1' is not query-id"),
        (QRELS, "q1\td1\tgood", "line 5: grade 'good' is not a whole number from -1,000 to 1,000"),
        (QRELS, "q1\td1\t0.5", "line 5: grade '0.5' is not a whole number"),
        (QRELS, "q1\td1\t²", "line 5: grade '²' is not a whole number"),
        (QRELS, "q1\td1\t--1", "line 5: grade '--1' is not a whole number"),
        (QRELS, "q1\td1\t1001", "line 5: grade '1001' is not a whole number"),
        (QRELS, "q1\td1\t2147483647", "line 5: grade '2147483647' is not a whole number"),
        (QRELS, f"q1\td1\t{2**63}", "line 5: grade '9223372036854775808' is not a whole number"),
        (QRELS, f"q1\td1\t-{'9' * 5000}", "line 5: grade '-9999"),
        (QRELS, "q1\td1\t0", "line 5: q1 d1 is judged twice, 2 and 0"),
        (QRELS, b"q1\td\xff\t1", "line 5: not valid UTF-8"),
    ],
)  # fmt: skip
def test_a_fault_in_a_collection_is_told_with_file_and_line(
    own: Path, name: str, extra: str | bytes, message: str
) -> None:
    with (own / name).open("ab") as stream:
        stream.write((extra if isinstance(extra, bytes) else extra.encode()) + b"\n")
    with pytest.raises(UserError) as error:
        load(own)
    assert str(error.value).startswith(f"{own / name}, {message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (CORPUS, "", "no records"),
        (QUERIES, "\n\n", "no records"),
        (QRELS, "query-id\tcorpus-id\tscore\n", "no judgments"),
        (QRELS, "", "no judgments"),
    ],
)
def test_an_empty_file_of_a_collection_is_told(
    own: Path, name: str, content: str, message: str
) -> None:
    (own / name).write_text(content)
    with pytest.raises(UserError, match=f"{name}: {message}"):
        load(own)


# --------------------------------------------------------------------------- by name


@pytest.mark.parametrize("language", ["en", "sw", "so", "tl", "mr", "fi", "de", "fr"])
def test_the_sample_collection_loads_in_every_language(tmp_path: Path, language: str) -> None:
    found = load_collection("sample", language, tmp_path)
    assert found.queries.keys() == {"en", language}
    assert found.queries[language].keys() == found.queries["en"].keys()
    assert found.qrels.keys() == found.queries["en"].keys()


@pytest.mark.parametrize(
    ("name", "language", "message"),
    [
        ("sampel", "sw", "unknown collection 'sampel': did you mean sample"),
        ("sample", "xx", "collection sample has no queries in 'xx'"),
        ("no/such/folder", "sw", "no/such/folder: no such directory; a collection has"),
    ],
)
def test_a_collection_that_is_not_there_is_told(
    tmp_path: Path, name: str, language: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load_collection(name, language, tmp_path)


def test_a_collection_that_was_not_fetched_or_is_not_the_pinned_one_is_told(
    tmp_path: Path,
) -> None:
    with pytest.raises(MissingInput, match=r"DOCUMENT_IDS.tsv is missing"):
        load_collection("ntrex", "sw", tmp_path)
    folder = "raw.githubusercontent.com/MicrosoftTranslator/NTREX"
    file = tmp_path / folder / "8561f6a622db9edad1217683e5c83daefd8bb2bf" / "DOCUMENT_IDS.tsv"
    file.parent.mkdir(parents=True)
    file.write_text("bbc.381790\n")
    with pytest.raises(MissingInput, match="the checksum does not match the catalogue's"):
        load_collection("ntrex", "sw", tmp_path)


def test_a_name_of_the_catalogue_wins_over_a_folder(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own.parent)
    (own.parent / "sample").mkdir()
    assert not is_directory("sample")
    assert is_directory("./sample")
    assert is_directory("own")
    assert not is_directory("nowhere")
    assert is_directory("some/where")
    assert collection_label("own") == collection_label(f"{own}/") == "own"
    assert collection_label("ntrex") == "ntrex"


@pytest.mark.parametrize(
    ("name", "language", "read"),
    [
        ("mlqa", "de", "de"),
        ("mlqa", "sw", "en"),
        ("xquad-r", "so", "en"),
        ("beir-scifact", "sw", "sw"),  # English for every language
        ("mmarco", "sw", "sw"),  # has no English ones of its own
        ("sample", "en", "en"),
    ],
)
def test_a_pair_that_a_collection_lacks_reads_its_english_queries(
    name: str, language: str, read: str, tmp_path: Path
) -> None:
    assert language_read(name, language) == read
    assert required_files(name, language, tmp_path) == required_files(name, read, tmp_path)
