"""Collections of ir_datasets: what it has is what clir reads, and nothing is fetched unasked."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clir_cli.corpus import catalogue
from clir_cli.corpus.collections import (
    collection_label,
    is_directory,
    load_collection,
    required_files,
)
from clir_cli.corpus.formats import irds
from clir_cli.corpus.records import Document
from clir_cli.errors import MissingInput, UserError

library = pytest.importorskip("ir_datasets")


@pytest.fixture(scope="session")
def registered(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An id of ir_datasets over local files."""
    folder = tmp_path_factory.mktemp("irds")
    (folder / "docs.tsv").write_text("d1\tDig deep.\nd2\tMaize dries.\n")
    (folder / "queries.tsv").write_text("q1\tkisima  kirefu\nq2\tmahindi\nq3\tnothing judged\n")
    (folder / "qrels.txt").write_text("q1 0 d1 1\nq1 0 d2 0\nq2 0 d2 2\n")
    made = library.create_dataset(
        docs_tsv=str(folder / "docs.tsv"),
        queries_tsv=str(folder / "queries.tsv"),
        qrels_trec=str(folder / "qrels.txt"),
    )
    library.registry.register("clir-local/test", made)
    return "irds:clir-local/test"


def fetched(name: str, language: str, downloads: Path) -> list[int]:
    return [
        irds.fetch(each.declared.path, each.path)
        for each in required_files(name, language, downloads)
    ]


def test_any_id_is_a_collection_once_it_was_fetched(registered: str, tmp_path: Path) -> None:
    assert not is_directory(registered)
    assert collection_label(registered) == "irds-clir-local-test"
    with pytest.raises(MissingInput, match="irds:clir-local/test#docs has not been fetched"):
        load_collection(registered, "sw", tmp_path)
    assert fetched(registered, "sw", tmp_path) == [2, 3, 3]
    found = load_collection(registered, "sw", tmp_path)
    assert found.name == "irds-clir-local-test"
    assert found.documents == [Document("d1", "", "Dig deep."), Document("d2", "", "Maize dries.")]
    assert found.queries == {"sw": {"q1": "kisima kirefu", "q2": "mahindi"}}
    assert found.qrels == {"q1": {"d1": 1, "d2": 0}, "q2": {"d2": 2}}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("qrels.txt", "q1 0 d1 1\nq1 0 d1 0\n", "q1 d1 is judged twice, 1 and 0"),
        ("qrels.txt", "q1 0 d1 2147483647\n", "grade 2147483647 is not a whole number"),
        ("docs.tsv", "d 1\tDig deep.\n", "document id 'd 1' has white space in it"),
        ("queries.tsv", "q1\tkisima\nq1\tmoto\n", "query q1 occurs twice, with different texts"),
    ],
)
def test_ids_and_grades_of_ir_datasets_are_checked_too(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    files = {"docs.tsv": "d1\tDig.\n", "queries.tsv": "q1\tkisima\n", "qrels.txt": "q1 0 d1 1\n"}
    for file, content in {**files, name: text}.items():
        (tmp_path / file).write_text(content)
    key = f"clir-local/{tmp_path.name}"
    docs, queries, qrels = (str(tmp_path / file) for file in files)
    library.registry.register(
        key, library.create_dataset(docs_tsv=docs, queries_tsv=queries, qrels_trec=qrels)
    )
    fetched(f"irds:{key}", "sw", tmp_path)
    with pytest.raises(UserError, match=f"irds:{key}: {message}"):
        load_collection(f"irds:{key}", "sw", tmp_path)


def test_the_command_line_fetches_it_and_tells_the_same_the_second_time(
    clir, home: Path, registered: str
) -> None:
    own = ("--collection", registered, "--home", home)
    outcome = clir("index", *own)
    assert outcome.code == 2
    assert f"clir download --lang all --collection {registered} --suite sample" in outcome.err
    dry = clir("download", "--lang", "sw-en", *own, "--dry-run", "--json")
    urls = {row["url"]: row["there"] for row in dry.json if row["source"] == registered}
    assert urls == {f"{registered}#{part}": False for part in ("docs", "queries", "qrels")}
    for state in (False, True):
        outcome = clir("download", "--lang", "sw-en", *own, "--json")
        assert outcome.code == 0, outcome.err
        told = {row["there"] for row in outcome.json if row["source"] == registered}
        assert told == {state}
    assert clir("index", *own).code == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("irds:clir-locl/test", "ir_datasets has no collection 'clir-locl/test': did you mean"),
        ("irds:", "unknown collection 'irds:'"),
    ],
)
def test_an_unknown_id_is_told(registered: str, tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        fetched(name, "sw", tmp_path)


def test_an_id_without_queries_is_told(tmp_path: Path) -> None:
    (tmp_path / "docs.tsv").write_text("d1\tDig deep.\n")
    made = library.create_dataset(docs_tsv=str(tmp_path / "docs.tsv"))
    library.registry.register(f"clir-local/{tmp_path.name}", made)
    with pytest.raises(UserError, match="has no queries; take an id with documents, queries and"):
        fetched(f"irds:clir-local/{tmp_path.name}", "sw", tmp_path)


def test_without_ir_datasets_one_line_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ir_datasets", None)
    with pytest.raises(UserError, match=r"pip install 'clir-cli\[irds\]'"):
        fetched("irds:vaswani", "sw", tmp_path)


@pytest.mark.parametrize(
    ("name", "language", "parts"),
    [
        ("mmarco", "de", ["msmarco-passage#docs", "mmarco/v2/de/dev/small#queries",
                          "msmarco-passage/dev/small#queries", "msmarco-passage/dev/small#qrels"]),
        ("mmarco", "en", ["msmarco-passage#docs", "msmarco-passage/dev/small#queries",
                          "msmarco-passage/dev/small#qrels"]),
        ("clirmatrix", "sw", ["clirmatrix/en#docs", "clirmatrix/en/bi139-base/sw/test1#queries",
                              "clirmatrix/en/bi139-base/sw/test1#qrels"]),
        ("clirmatrix", "en", ["clirmatrix/en#docs"]),
        ("miracl-sw", "sw", ["miracl/sw#docs", "miracl/sw/dev#queries", "miracl/sw/dev#qrels"]),
        ("miracl-sw", "en", ["miracl/sw#docs"]),
        ("miracl-en", "en", ["miracl/en#docs", "miracl/en/dev#queries", "miracl/en/dev#qrels"]),
        ("wikiclir-de", "sw", ["wikiclir/de#docs", "wikiclir/de#queries", "wikiclir/de#qrels"]),
    ],
)  # fmt: skip
def test_an_entry_of_the_catalogue_means_these_ids(
    name: str, language: str, parts: list[str], tmp_path: Path
) -> None:
    assert [each.declared.path for each in required_files(name, language, tmp_path)] == parts


# CLIRMatrix as its publisher writes it, where ir_datasets keeps it; read by ir_datasets itself, in
# a process of its own because it looks at IR_DATASETS_HOME once.
CLIRMATRIX = """
import json, sys
from pathlib import Path
from clir_cli.corpus.collections import load_collection, required_files
from clir_cli.corpus.formats import irds
downloads = Path(sys.argv[1])
for language in ("sw", "en"):
    for each in required_files("clirmatrix", language, downloads):
        irds.fetch(each.declared.path, each.path)
found = load_collection("clirmatrix", "sw", downloads)
documents = load_collection("clirmatrix", "en", downloads)
assert documents.digests["documents"] == found.digests["documents"]
assert documents.queries == documents.qrels == {}
print(json.dumps([found.documents, found.queries, found.qrels]))
"""


def test_clirmatrix_is_read_through_ir_datasets(tmp_path: Path) -> None:
    home = tmp_path / "home" / "clirmatrix"
    home.mkdir(parents=True)
    keys = {"docs/en": "en.tsv.gz", "queries/sw_en/test1": "sw_en.test1.jsonl.gz"}
    rows = {
        key: {"url": f"https://nowhere.invalid/{name}", "expected_md5": "0", "cache_path": name}
        for key, name in keys.items()
    }
    contexts = {
        "clirmatrix_docs": {"docs/en": rows["docs/en"]},
        "clirmatrix_bi139_base": {"queries/sw_en/test1": rows["queries/sw_en/test1"]},
    }
    documents = "12\tAnarchism is a political philosophy.\n39\tAlbedo is how much is reflected.\n"
    query = {"src_id": "7", "src_query": "Albedo", "tgt_results": [["39", 6], ["12", 0]]}
    for name, text in (
        ("clirmatrix_downloads.json.gz", json.dumps(contexts)),
        ("en.tsv.gz", documents),
        ("sw_en.test1.jsonl.gz", json.dumps(query) + "\n"),
    ):
        (home / name).write_bytes(gzip.compress(text.encode()))
    done = subprocess.run(
        [sys.executable, "-c", CLIRMATRIX, str(tmp_path / "downloads")],
        env={**os.environ, "IR_DATASETS_HOME": str(home.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        [
            ["12", "", "Anarchism is a political philosophy."],
            ["39", "", "Albedo is how much is reflected."],
        ],
        {"sw": {"7": "Albedo"}},
        {"7": {"39": 6, "12": 0}},
    ]


def test_every_id_of_the_catalogue_is_known_to_ir_datasets(tmp_path: Path) -> None:
    known = set(library.registry)
    for source in catalogue.sources("collections").values():
        if source.format == "irds" and source.name != "clirmatrix":  # its ids are a pattern
            for language in source.languages:
                ids = {
                    part.declared.path.split("#")[0]
                    for part in required_files(source.name, language, tmp_path)
                }
                assert ids <= known


@pytest.fixture
def remote(tmp_path: Path) -> tuple[str, Path]:
    """An id whose documents ir_datasets must fetch, and the place where it keeps them."""
    from ir_datasets.formats import TsvDocs
    from ir_datasets.util import Download, RequestsDownload

    kept = tmp_path / "irds-home" / "docs.tsv"
    file = Download([RequestsDownload("https://nowhere.invalid/set/docs.tsv")], str(kept))
    key = f"clir-remote/{tmp_path.name}"
    library.registry.register(key, library.Dataset(TsvDocs(file)))
    return f"{key}#docs", kept


def test_ir_datasets_takes_files_from_the_mirror_and_from_its_home(
    remote: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, kept = remote
    monkeypatch.setenv("CLIR_OFFLINE", "1")
    place = tmp_path / "mirror" / "nowhere.invalid" / "set" / "docs.tsv"
    place.parent.mkdir(parents=True)
    place.write_text("d1\tDig deep.\nd2\tMaize dries.\n")
    assert irds.fetch(part, tmp_path / "first.json", str(tmp_path / "mirror")) == 2
    assert kept.read_bytes() == place.read_bytes()
    assert irds.fetch(part, tmp_path / "second.json") == 2


def test_without_a_network_ir_datasets_asks_for_nothing(
    remote: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, kept = remote
    monkeypatch.setenv("CLIR_OFFLINE", "1")
    needed = r"nowhere.invalid/set/docs.tsv is missing and the network is .* IR_DATASETS_HOME"
    with pytest.raises(MissingInput, match=needed):
        irds.fetch(part, tmp_path / "marker.json")
    assert not kept.exists()
    assert not (tmp_path / "marker.json").exists()
