"""A user's own collection in other forms: named fields, tables, a folder of texts."""

import bz2
import gzip
import json
import lzma

import pytest

from clir_cli.corpus.collections import load_collection
from clir_cli.corpus.records import Document
from clir_cli.errors import UserError

DOCUMENTS = [
    Document("d1", "Wells", 'Dig "deep", then wait.'),
    Document("d2", "", "Maize dries in the sun."),
]
QUERIES = {"q1": "kisima kirefu", "q2": "mahindi; jua"}
QRELS = "q1\td1\t1\nq2\td2\t2\n"
PACKED = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def put(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return load_collection(str(folder), "sw", folder.parent / "downloads")


CSV = 'text,id,title\n"Dig ""deep"", then wait.",d1,Wells\nMaize dries in the sun.,d2,\n'
TSV = 'id\ttitle\ttext\nd1\tWells\tDig "deep", then wait.\r\n\nd2\t\tMaize dries in the sun.\n'
ASKED = '_id;text\nq1;kisima kirefu\nq2;"mahindi; jua"\n'


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize(("kind", "corpus"), [("csv", CSV), ("tsv", TSV)])
def test_tables_hold_documents_and_queries(tmp_path, kind, corpus, packed):
    pack = PACKED[packed]
    files = {f"corpus.{kind}{packed}": pack(("\ufeff" + corpus).encode())}
    files |= {f"queries.csv{packed}": pack(ASKED.encode()), "qrels/test.tsv": QRELS}
    read = put(tmp_path / "own", files)
    assert list(read.documents) == DOCUMENTS
    assert read.queries == {"sw": QUERIES}
    assert read.qrels == {"q1": {"d1": 1}, "q2": {"d2": 2}}
    usual = put(tmp_path / "usual", {
        "corpus.jsonl": "".join(
            json.dumps({"_id": d.id, "title": d.title, "text": d.text}) + "\n" for d in DOCUMENTS
        )
    })  # fmt: skip
    assert usual.digests["documents"] == read.digests["documents"], "the same documents"


def test_a_long_text_of_a_table_is_whole(tmp_path):
    long = "deep\n" * 300_000
    read = put(tmp_path / "own", {"corpus.csv": f'id,text\nd1,"{long}"\n'})
    assert read.documents[0].text == long.strip()


FIELDS = 'id = "docno"\ntitle = "headline"\ntext = "body"\nquery_id = "topic"\nquery = "words"\n'
NAMED = '{"docno": 7, "headline": "Wells", "body": "Dig deep.", "text": "no"}\n'


def test_the_fields_are_those_that_the_collection_names(tmp_path):
    asked = '{"topic": "q1", "words": "kisima"}\n'
    files = {"corpus.jsonl": NAMED, "queries.jsonl": asked, "collection.toml": FIELDS}
    read = put(tmp_path / "own", files)
    assert list(read.documents) == [Document("7", "Wells", "Dig deep.")]
    assert read.queries == {"sw": {"q1": "kisima"}}
    files["collection.toml"] = FIELDS.replace('"body"', '"text"')
    assert put(tmp_path / "own", files).documents[0].text == "no", "read again"


@pytest.mark.parametrize("top", ["", "corpus/"])
def test_a_folder_of_texts_is_a_collection(tmp_path, top):
    files = {f"{top}b.txt": "Maize.\nSun.\n", f"{top}news/a.txt.gz": gzip.compress(b"Wells.")}
    files |= {f"{top}.hidden.txt": "no", "queries.jsonl": '{"_id": "q1", "text": "kisima"}\n'}
    read = put(tmp_path / "own", {**files, "qrels/test.tsv": "q1\tnews/a.txt\t1\n"})
    expected = [Document("b.txt", "", "Maize.\nSun."), Document("news/a.txt", "", "Wells.")]
    assert list(read.documents) == expected
    assert read.qrels == {"q1": {"news/a.txt": 1}}
    (tmp_path / "own" / top / "c.txt").write_text("More.")
    assert len(put(tmp_path / "own", {}).documents) == 3, "read again"


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        ({"corpus.csv": "id,body\n1,a\n"}, "line 2: no 'text'; its keys are ['id', 'body']"),
        ({"corpus.csv": "key,text\n1,a\n"}, "line 2: no '_id'; its keys are ['key', 'text']"),
        ({"corpus.csv": "id,text\n1,a,b\n"}, "line 2: 3 columns, 2 in the first line (id, text)"),
        ({"corpus.csv": "id,id\n1,a\n"}, "line 1: two columns have one name"),
        ({"corpus.csv": 'id,text\n1,"a\n'}, "corpus.csv, line 2: cannot be read"),
        ({"corpus.csv": b"id,text\n1,\xff\n"}, "corpus.csv: not valid UTF-8; save it as UTF-8"),
        ({"corpus.csv": ""}, "corpus.csv: no records"),
        ({"corpus.tsv": "id\ttext\n1\ta\n1\tb\n"}, "line 3: _id '1' occurs twice"),
        ({"corpus.tsv": "id\ttext\n1\t\n"}, "line 2: 'text' is empty"),
        ({"corpus.csv": CSV, "corpus.tsv": TSV}, "corpus.csv and "),
        (
            {"corpus.jsonl": NAMED, "collection.toml": 'text = "bodi"\n'},
            "no '_id'; its keys are ['docno', 'headline', 'body', 'text']",
        ),
        (
            {"corpus.jsonl": NAMED, "collection.toml": 'id = "docno"\ntext = "bodi"\n'},
            "no 'bodi'; its keys are ['docno', 'headline', 'body', 'text']",
        ),
        ({"corpus.jsonl": NAMED, "collection.toml": 'txt = "a"\n'}, "txt: did you mean text?"),
        ({"corpus.jsonl": NAMED, "collection.toml": "id = 3\n"}, "id: Input should be a valid str"),
        ({"a b.txt": "x"}, "_id 'a b.txt' has white space in it"),
        ({"a.txt": " \n"}, "a.txt: 'text' is empty"),
        ({"a.txt": "x", "a.txt.gz": gzip.compress(b"x", mtime=0)}, "_id 'a.txt' occurs twice"),
        ({"a.txt": "x".encode("utf-16")}, "a.txt: UTF-16 or UTF-32, or no text; save it as UTF-8"),
        ({"README.txt": "x", "corpus.json": "{}"}, "corpus.jsonl: missing; a collection has"),
        ({"corpus/a.md": "x"}, "corpus: no .txt in it"),
        ({"corpus/a.txt": "x", "corpus.csv": CSV}, "keep one of them"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(tmp_path, files, fault):
    with pytest.raises(UserError) as refusal:
        list(put(tmp_path / "own", files).documents)
    assert fault in str(refusal.value) and "\n" not in str(refusal.value)
