"""Collections in the layout of BEIR, zipped and not: lines, gzipped lines and parquet."""

import gzip
import json
import math
import zipfile
from pathlib import Path

import pytest
from collection_files import read

from clir_cli.corpus.catalogue import CatalogueFile, LocalFile
from clir_cli.corpus.collections import load_collection
from clir_cli.corpus.records import Document
from clir_cli.errors import UserError
from clir_cli.files import digest

CORPUS = (
    '{"_id": "4983", "title": "Wells", "text": "Dig deep.", "metadata": {}}\n'
    '{"_id": "5836", "title": "", "text": "Maize dries.", "metadata": {}}\n'
)
QUERIES = (
    '{"_id": "0", "text": "how deep", "metadata": {}}\n'
    '{"_id": "2", "text": "a training question", "metadata": {}}\n'
)
JUDGED = "query-id\tcorpus-id\tscore\n0\t4983\t1\n"


def beir_zip(path: Path, **change: str | None) -> LocalFile:
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
    return LocalFile(path, CatalogueFile(path.name, lang="en"))


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
        ({"scifact/qrels/test.tsv": JUDGED + "0\t4983\t2\n"}, "line 3: 0 4983 is judged twice"),
        ({"scifact/qrels/test.tsv": JUDGED + "0\t5836\t5000\n"}, "line 3: grade '5000' is not a"),
        ({"scifact/corpus.jsonl": '{"_id": "1", "title": "t"}'}, "line 1: no 'text'; its keys are"),
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
    with pytest.raises(UserError, match=r"corpus.parquet: truncated or damaged parquet"):
        load_collection(str(columns), "sw", tmp_path)
    whole = (packed / "corpus.jsonl.gz").read_bytes()
    (packed / "corpus.jsonl.gz").write_bytes(whole[:-9])
    with pytest.raises(UserError, match=r"corpus.jsonl.gz: truncated or damaged"):
        load_collection(str(packed), "sw", tmp_path)


@pytest.mark.parametrize(
    ("corpus", "judged", "message"),
    [
        ({"_id": [1.0], "text": ["t"]}, None, "'_id' is 1.0, where a text"),
        ({"_id": ["1"], "text": [["t"]]}, None, r"'text' is \['t'\], where a text"),
        ({"_id": ["1"], "text": [b"t"]}, None, "'text' is b't', where a text"),
        ({"_id": ["1"], "title": [math.nan], "text": ["t"]}, None, "'title' is nan, where a text"),
        ({"_id": ["1"], "body": ["t"]}, None, r"no 'text'; its keys are \['_id', 'body'\]"),
        (None, {"score": [None]}, "grade None is not a whole number"),
        (None, {"score": [1.0]}, "grade 1.0 is not a whole number"),
        (None, {"score": [True]}, "grade True is not a whole number"),
        (None, {"score": [2**40]}, "grade 1099511627776 is not a whole number"),
        (None, {"corpus-id": [None]}, "'corpus-id' is empty"),
        (None, {"query-id": [0.0]}, "'query-id' is 0.0, where a text"),
        (
            None,
            {"query-id": ["0"] * 2, "corpus-id": ["4983"] * 2, "score": [1, 0]},
            "line 2: 0 4983 is judged twice, 1 and 0",
        ),
    ],
)
def test_what_parquet_holds_besides_text_is_refused(
    tmp_path: Path, corpus: dict | None, judged: dict | None, message: str
) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    folder = own(tmp_path / "set")
    if corpus is not None:
        (folder / "corpus.jsonl").unlink()
        write_table(pyarrow.table(corpus), folder / "corpus.parquet")
    if judged is not None:
        (folder / "qrels" / "test.tsv").unlink()
        columns = {"query-id": ["0"], "corpus-id": ["4983"], "score": [1], **judged}
        write_table(pyarrow.table(columns), folder / "qrels" / "test.parquet")
    with pytest.raises(UserError, match=message) as error:
        load_collection(str(folder), "sw", tmp_path)
    assert "\n" not in str(error.value)


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    folder = own(tmp_path / "set")
    (folder / "corpus.jsonl").unlink()
    twice = pyarrow.table([["1"], ["a"], ["b"]], names=["_id", "text", "text"])
    write_table(twice, folder / "corpus.parquet")
    with pytest.raises(UserError, match=r"corpus.parquet: two columns have one name"):
        load_collection(str(folder), "sw", tmp_path)


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
