"""Data sets of the hub as collections: the layouts that are published, from a cache or a mirror."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import hub_sets
import pytest
from hub_sets import (
    COMMIT,
    DOCUMENTS,
    EXPECTED,
    QRELS,
    QUERIES,
    SWAHILI,
    card,
    in_lines,
    in_parquet,
)
from huggingface_hub import constants

from clir_cli.corpus import hub
from clir_cli.corpus.collections import collection_label, load_collection, required_files
from clir_cli.corpus.records import Collection, Document, Pair
from clir_cli.errors import MissingInput, UserError
from clir_cli.stages import download
from clir_cli.stages.support.workspace import Workspace
from clir_cli.suites import load_settings

READ = [
    Document("d1", "Wells", "Dig deep for water."),
    Document("d2", "", "Maize is sold at the market."),
    Document("d3", "Rain", ""),
]
ENGLISH = {"q1": "deep well", "q2": "price of maize"}
IN_SWAHILI = {"q1": "kisima kirefu", "q2": "bei ya mahindi"}
NAME = "hf:someone/set"

Read = Callable[..., Collection]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of huggingface_hub, empty, and no network."""
    folder = tmp_path / "hf" / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.delenv("CLIR_CACHE", raising=False)
    monkeypatch.setenv("CLIR_OFFLINE", "1")
    return folder


@pytest.fixture
def fetch(tmp_path: Path) -> Callable[..., Path]:
    """Download a collection for a language, and return the folder of downloads."""

    def call(name: str, language: str = "en", mirror: Path | str = "", **how: bool) -> Path:
        settings = load_settings("sample", None, ()).model_copy(update={"collection": name})
        space = Workspace(settings, tmp_path / "home", mirror=str(mirror), **how)
        pairs = () if language == "en" else (Pair(language, "en"),)
        download.fetch_part(space, space.ref("collection", pairs))
        return space.downloads

    return call


@pytest.fixture
def read(fetch: Callable[..., Path]) -> Read:
    """Download a collection and read it."""

    def call(name: str, language: str = "en", mirror: Path | str = "") -> Collection:
        return load_collection(name, language, fetch(name, language, mirror))

    return call


@pytest.fixture
def publish(cache: Path) -> Callable[[Mapping[str, bytes]], Path]:
    return lambda files: hub_sets.add_snapshot(cache, "someone/set", files)


def tables(**rows: object) -> dict[str, bytes]:
    """Return ``CONFIG/test-00000-of-00001.parquet`` of each config, and a card without configs."""
    files = {f"{config}/test-00000-of-00001.parquet": in_parquet(r) for config, r in rows.items()}
    return {"README.md": b"# none\n", **files}


# ------------------------------------------------------------------ what is published


def test_the_layout_of_mteb_has_json_lines_and_qrels_by_split(cache: Path, read: Read) -> None:
    hub_sets.add_snapshot(cache, "mteb/scifact", hub_sets.scifact())
    found = read("hf:mteb/scifact")
    assert list(found.documents) == READ
    assert found.queries == {"en": ENGLISH}, "those of other splits are left out"
    assert found.qrels == EXPECTED
    assert found.name == "hf-mteb-scifact"
    assert found.digests["revision of hf:mteb/scifact"] == COMMIT
    train = read("hf:mteb/scifact/train")
    assert (train.queries, train.qrels) == ({"en": {"q0": "of train"}}, {"q0": {"d1": 1}})
    swahili = read("hf:mteb/scifact", "sw")
    assert swahili.queries == {"en": ENGLISH}, "the card says that they are English"


def test_the_qrels_of_beir_are_in_a_repository_beside_it(cache: Path, read: Read) -> None:
    hub_sets.add_snapshot(cache, "BeIR/scifact", hub_sets.beir())
    hub_sets.add_snapshot(cache, "BeIR/scifact-qrels", hub_sets.beir_qrels(), "b" * 40)
    found = read("hf:BeIR/scifact")
    assert (list(found.documents), found.qrels) == (READ, EXPECTED)
    commit = f"{COMMIT} and {'b' * 40} (BeIR/scifact-qrels)"
    assert found.digests["revision of hf:BeIR/scifact"] == commit


def test_a_data_set_without_qrels_has_queries_alone(cache: Path, read: Read) -> None:
    hub_sets.add_snapshot(cache, "BeIR/scifact", hub_sets.beir())
    found = read("hf:BeIR/scifact")
    assert (found.queries, found.qrels) == ({"en": ENGLISH}, {})


@pytest.mark.parametrize(
    "names", ["{language}-{role}", "{role}-{language}"], ids=["language first", "role first"]
)
def test_configs_by_language(publish, read: Read, names: str) -> None:
    publish(hub_sets.by_language({"swa": SWAHILI, "eng": QUERIES}, names=names))
    ours = read(NAME, "sw")
    assert [document.id for document in ours.documents] == ["eng-d1", "eng-d2", "eng-d3"]
    assert ours.queries == {"en": ENGLISH}, "the Swahili ones are of other documents"
    chosen = read(f"{NAME}/swa", "sw")
    assert [document.id for document in chosen.documents] == ["swa-d1", "swa-d2", "swa-d3"]
    assert chosen.queries == {"sw": IN_SWAHILI}
    assert chosen.qrels["q1"] == {"swa-d1": 2, "swa-d3": 0}


def test_mmteb_miracl_calls_its_qrels_by_the_language_alone_and_has_its_own_columns(
    publish, read: Read
) -> None:
    documents = [{"docid": d["_id"], "title": d["title"], "text": d["text"]} for d in DOCUMENTS]
    queries = [{"query_id": q["_id"], "query": q["text"]} for q in SWAHILI]
    qrels = [dict(zip(("query_id", "docid", "score"), row.values(), strict=True)) for row in QRELS]
    publish(
        {
            "corpus-sw/corpus-00000-of-00001.parquet": in_parquet(documents),
            "queries-sw/queries-00000-of-00001.parquet": in_parquet(queries),
            "sw/dev-00000-of-00001.parquet": in_parquet(qrels),
        }
    )
    found = read(NAME, "sw")
    assert (list(found.documents), found.queries) == (READ, {"sw": IN_SWAHILI})
    assert found.qrels == EXPECTED


def test_one_corpus_with_queries_in_several_languages(publish, read: Read) -> None:
    publish(
        tables(
            **{"corpus": DOCUMENTS, "queries-en": QUERIES, "queries-swahili": SWAHILI},
            qrels=QRELS,
        )
    )
    assert read(NAME, "sw").queries == {"sw": IN_SWAHILI, "en": ENGLISH}
    index = read(NAME)
    assert index.queries == {"en": ENGLISH}
    assert index.digests["documents"] == read(NAME, "sw").digests["documents"]
    assert read(NAME, "fr").queries == {"en": ENGLISH}, "for methods that use those"


def test_a_code_that_is_not_known_is_a_language_beside_others_and_a_name_alone(
    publish, read: Read
) -> None:
    publish(tables(**{"corpus": DOCUMENTS, "queries-en": QUERIES, "queries-yue": SWAHILI}))
    assert read(NAME, "sw").queries == {"en": ENGLISH}
    assert read(NAME, "yue").queries == {"yue": IN_SWAHILI, "en": ENGLISH}
    assert read(f"{NAME}/yue", "sw").queries == {"sw": IN_SWAHILI}


def test_a_language_that_the_queries_do_not_have_is_refused(publish, read: Read) -> None:
    publish(tables(**{"corpus": DOCUMENTS, "queries-sw": SWAHILI}))
    with pytest.raises(UserError, match=r"no queries in 'fr'; its queries are called sw"):
        read(NAME, "fr")


def test_of_two_languages_the_documents_come_first(publish, read: Read) -> None:
    both = {"eng-deu": QUERIES, "deu-eng": QUERIES, "eng-eng": QUERIES}
    publish(hub_sets.by_language(both))
    assert read(f"{NAME}/eng-deu", "de").queries == {"de": ENGLISH}
    assert read(f"{NAME}/deu-eng", "de").queries == {"en": ENGLISH}
    with pytest.raises(UserError, match=r"several corpora \(eng-deu, deu-eng, eng-eng\); add one"):
        read(NAME, "de")


def test_queries_of_no_language_are_in_the_one_of_the_card_or_of_the_pair(
    publish, read: Read
) -> None:
    files = tables(corpus=DOCUMENTS, queries=SWAHILI, default=QRELS)
    for head, expected in (
        ("", "sw"),
        ("language: [sw, en]", "sw"),
        ("language: swa", "sw"),
        ("language: multilingual", "sw"),
        ("language: [en, xx]", "sw"),
        ("language: eng", "en"),
    ):
        publish({**files, "README.md": f"---\n{head}\n---\n".encode()})
        shutil.rmtree(hub.pin_path(hub.parse_name(NAME), Path("x")).parent, ignore_errors=True)
        pin = hub._listed("someone/set", "main", "")
        entry = hub.entry_of(hub.parse_name(NAME), "sw", pin, {})
        assert entry.languages == (expected,), head


def test_splits_may_be_what_is_chosen(publish, read: Read) -> None:
    """As in NanoBEIR: three configs, and a split for each set."""
    files = {}
    for config, rows in (("corpus", DOCUMENTS), ("queries", QUERIES), ("qrels", QRELS)):
        for split in ("NanoOne", "NanoTwo"):
            content = rows if split == "NanoOne" or config != "corpus" else rows[:2]
            files[f"{config}/{split}-00000-of-00001.parquet"] = in_parquet(content)
    publish(files)
    assert list(read(f"{NAME}/NanoOne", "sw").documents) == READ
    with pytest.raises(UserError, match=r"several splits \(NanoOne, NanoTwo\); add one as /Nano"):
        read(NAME, "sw")
    with pytest.raises(UserError, match=r"no subset or split 'NanoOn'; did you mean NanoOne\?"):
        read(f"{NAME}/NanoOn", "sw")


@pytest.mark.parametrize(
    "files",
    [
        pytest.param(
            {
                "corpus.jsonl.gz": hub_sets.compressed(in_lines(DOCUMENTS)),
                "queries.jsonl.gz": hub_sets.compressed(in_lines(QUERIES)),
                "qrels/test.tsv": hub_sets.in_tsv([{**r, "score": int(r["score"])} for r in QRELS]),
            },
            id="compressed lines",
        ),
        pytest.param(
            {
                "data/corpus.jsonl": in_lines(DOCUMENTS),
                "data/queries.jsonl": in_lines(QUERIES),
                "data/test-00000-of-00001.parquet": in_parquet(QRELS),
            },
            id="folder data",
        ),
        pytest.param(
            {
                "corpus/corpus/0000.parquet": in_parquet(DOCUMENTS[:2]),
                "corpus/corpus/0001.parquet": in_parquet(DOCUMENTS[2:]),
                "queries/queries/0000.parquet": in_parquet(QUERIES),
                "default/test/0000.parquet": in_parquet(QRELS),
            },
            id="converted by the hub",
        ),
        pytest.param(
            {
                "README.md": card({
                    "corpus": {"train": "a/*.parquet"}, "query": {"train": "b.jsonl"},
                    "default": {"test": "c/**/x*"}, "extra": {"test": "a/*"},
                }),
                "a/1.parquet": in_parquet(DOCUMENTS),
                "b.jsonl": in_lines(QUERIES),
                "c/d/e/x.parquet": in_parquet(QRELS),
                "c/d/e/y.parquet": in_parquet(QUERIES),
            },
            id="by the card",
        ),
        pytest.param(
            {
                "default/corpus.parquet": in_parquet(DOCUMENTS),
                "default/queries.parquet": in_parquet(QUERIES),
                "default/qrels.parquet": in_parquet(QRELS),
                "dataset_infos.json": b"{}",
            },
            id="a folder default",
        ),
    ],
)  # fmt: skip
def test_other_places_of_the_same_tables(publish, read: Read, files: dict[str, bytes]) -> None:
    publish(files)
    found = read(NAME, "sw")
    assert (list(found.documents), found.qrels) == (READ, EXPECTED)
    assert found.queries == {"sw": ENGLISH}


def test_whole_numbers_as_ids_are_texts(publish, read: Read) -> None:
    documents = [{"_id": 7, "text": "seven"}, {"_id": 8, "text": "eight"}]
    qrels = [{"query-id": "1", "corpus-id": 7, "score": 1}]
    publish(tables(corpus=documents, queries=[{"_id": 1, "text": "saba"}], qrels=qrels))
    found = read(NAME, "sw")
    assert (found.queries, found.qrels) == ({"sw": {"1": "saba"}}, {"1": {"7": 1}})


def test_an_entry_of_one_s_own_names_columns_and_keeps_judgments_of_what_is_not_there(
    publish, read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [{"key": d["_id"], "head": d["title"], "body": d["text"]} for d in DOCUMENTS]
    publish(
        tables(corpus=documents, queries=QUERIES, qrels=[*QRELS, {**QRELS[0], "corpus-id": "d9"}])
    )
    entry = (
        '[mine]\nformat = "hub"\ntitle = "Mine"\nlicence = "CC0-1.0"\nterms = "open"\n'
        'repository = "someone/set"\nid = "key"\ntext = "body"\n'
    )
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "collections.toml").write_text(entry + 'missing = "keep"\n')
    monkeypatch.setenv("CLIR_CATALOGUE", str(tmp_path / "own"))
    found = read("mine", "sw")
    assert [document.text for document in found.documents] == [each.text for each in READ]
    assert found.qrels["q1"] == {"d1": 2, "d3": 0, "d9": 2}
    assert found.name == "mine"
    (tmp_path / "less").mkdir()
    (tmp_path / "less" / "collections.toml").write_text(entry)
    monkeypatch.setenv("CLIR_CATALOGUE", str(tmp_path / "less"))
    with pytest.raises(UserError, match=r"document 'd9' is not in the corpus"):
        read("mine", "sw")
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "collections.toml").write_text(entry.replace("repository", "repositories"))
    monkeypatch.setenv("CLIR_CATALOGUE", str(tmp_path / "none"))
    with pytest.raises(UserError, match=r'\[mine\] repository is missing; add repository = "ORG'):
        read("mine", "sw")


# ------------------------------------------------------------------ where it comes from


def mirrored(folder: Path, place: str) -> Path:
    """Write scifact into the tree of a mirror."""
    home = folder / "huggingface.co" / "datasets" / "mteb" / "scifact" / "resolve" / place
    for name, content in hub_sets.scifact().items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("place", ["main", COMMIT], ids=["branch", "commit"])
def test_a_mirror_has_the_files_by_their_address(read: Read, tmp_path: Path, place: str) -> None:
    mirror = mirrored(tmp_path / "mirror", place)
    found = read("hf:mteb/scifact", "en", mirror)
    assert (list(found.documents), found.qrels) == (READ, EXPECTED)
    known = found.digests["revision of hf:mteb/scifact"]
    assert known == COMMIT if place == COMMIT else known.startswith("files ")
    shutil.rmtree(mirror)
    assert list(read("hf:mteb/scifact", "en").documents) == READ, "nothing is asked again"


@pytest.mark.parametrize("below", ["", "hub"], ids=["cache", "HF_HOME"])
def test_a_mirror_may_be_a_copy_of_the_cache(read: Read, tmp_path: Path, below: str) -> None:
    mirror = tmp_path / "mirror"
    hub_sets.add_snapshot(mirror / below, "mteb/scifact", hub_sets.scifact())
    assert read("hf:mteb/scifact", "en", mirror).qrels == EXPECTED
    shutil.rmtree(mirror)
    assert list(read("hf:mteb/scifact", "en").documents) == READ, "it was copied, not linked to"


def test_the_downloads_of_one_home_serve_another(
    read: Read, cache: Path, tmp_path: Path, monkeypatch
) -> None:
    hub_sets.add_snapshot(cache, "mteb/scifact", hub_sets.scifact())
    read("hf:mteb/scifact")
    (tmp_path / "home" / "downloads").rename(tmp_path / "other")
    monkeypatch.setenv("CLIR_CACHE", str(tmp_path / "other"))
    assert read("hf:mteb/scifact").qrels == EXPECTED


def test_a_revision_is_a_branch_or_a_commit(cache: Path, read: Read) -> None:
    hub_sets.add_snapshot(cache, "mteb/scifact", hub_sets.scifact())
    later = {
        **hub_sets.scifact(),
        "corpus.jsonl": in_lines([*DOCUMENTS, {"_id": "d4", "text": "x"}]),
    }
    hub_sets.add_snapshot(cache, "mteb/scifact", later, "c" * 40, ref="v2")
    assert len(read("hf:mteb/scifact@v2").documents) == 4
    assert len(read(f"hf:mteb/scifact@{'c' * 40}").documents) == 4
    assert len(read(f"hf:mteb/scifact@{COMMIT}").documents) == len(
        read("hf:mteb/scifact").documents
    )
    assert collection_label("hf:mteb/scifact@v2") == "hf-mteb-scifact-v2"
    with pytest.raises(MissingInput, match=r"revision v3 is neither on the mirror nor in"):
        read("hf:mteb/scifact@v3")


def test_a_branch_that_moved_is_asked_for_again_with_force(cache: Path, fetch, read: Read) -> None:
    hub_sets.add_snapshot(cache, "mteb/scifact", hub_sets.scifact())
    before = read("hf:mteb/scifact")
    hub_sets.add_snapshot(cache, "mteb/scifact", hub_sets.scifact(), "d" * 40)
    assert read("hf:mteb/scifact").digests == before.digests
    moved = load_collection("hf:mteb/scifact", "en", fetch("hf:mteb/scifact", "en", force=True))
    assert moved.digests["revision of hf:mteb/scifact"] == "d" * 40
    assert moved.digests["documents"] == before.digests["documents"]


def test_a_file_that_was_lost_is_fetched_again(cache: Path, fetch, read: Read) -> None:
    hub_sets.add_snapshot(cache, "mteb/scifact", hub_sets.scifact())
    downloads = fetch("hf:mteb/scifact")
    (corpus,) = downloads.rglob("corpus.jsonl")
    corpus.unlink()
    with pytest.raises(MissingInput, match=r"corpus\.jsonl is missing"):
        load_collection("hf:mteb/scifact", "en", downloads)
    assert list(read("hf:mteb/scifact").documents) == READ


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    "name", ["hf:", "hf:scifact", "hf:a/b@", "hf:../b", "hf:a/../b", "hf:a/b c"]
)
def test_a_name_that_is_none_says_how_to_write_one(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"unknown collection .* write hf:ORG/NAME, hf:ORG/NAME/S"):
        required_files(name, "en", tmp_path)


def replaced(**changes: object) -> dict[str, bytes]:
    return tables(**{"corpus": DOCUMENTS, "queries": QUERIES, "qrels": QRELS, **changes})


WRONG = {
    "no corpus": (
        tables(topics=QUERIES, qrels=QRELS), r"no corpus, .* \(qrels: qrels/test-.*; queries: top"
    ),
    "nothing": ({"README.md": b"x"}, r"no corpus, that is no config, folder or file .*\(none\)"),
    "columns": (
        replaced(corpus=[{"name": "d1", "words": "x"}]),
        r"line 1: no '_id'; its keys are \['name', 'words'\]",
    ),
    "no text": (replaced(corpus=[{"_id": "d1", "image": "x"}]), r"line 1: no 'text'; its keys are"),
    "empty": (replaced(corpus=[{"_id": "d1", "text": ""}]), r"no document has a text \(of 1\)"),
    "columns of qrels": (
        replaced(qrels=[{"query": "q1", "document": "d1"}]), r"line 1: no 'query-id'; its keys are"
    ),
    "document": (
        replaced(qrels=[{**QRELS[0], "corpus-id": "d9"}]), r"line 1: document 'd9' is not in the co"
    ),
    "query": (
        replaced(qrels=[{**QRELS[0], "query-id": "q9"}]), r"line 1: query 'q9' is not among the que"
    ),
    "grade": (replaced(qrels=[{**QRELS[0], "score": 0.5}]), r"grade 0\.5 is not a whole number"),
    "id": (replaced(corpus=[{"_id": 1.5, "text": "x"}]), r"'_id' is 1\.5, where a text is needed"),
    "twice": (replaced(corpus=[DOCUMENTS[0]] * 2), r"line 2: _id 'd1' occurs twice"),
    "card": ({**replaced(), "README.md": b"---\na: [b\n---\n"}, r"README\.md: its head is no YAML"),
    "part": (
        {"corpus/x-00000-of-00003.parquet": in_parquet(DOCUMENTS)},
        r"1 of 3 parts of corpus/x-00000-of-00003\.parquet are there",
    ),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_a_data_set_that_cannot_be_read_is_refused(publish, read: Read, wrong: str) -> None:
    files, message = WRONG[wrong]
    publish(files)
    with pytest.raises(UserError, match=message) as refusal:
        read(NAME, "sw")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("damage", ["cut", "page", "flipped"])
def test_damaged_parquet_is_refused(publish, read: Read, damage: str) -> None:
    whole = in_parquet(DOCUMENTS)
    files = replaced()
    files["corpus/test-00000-of-00001.parquet"] = {
        "cut": whole[:-20],
        "page": b"<!doctype html><html>sign in</html>",
        "flipped": bytes([byte ^ 255 for byte in whole[:64]]) + whole[64:],
    }[damage]
    publish(files)
    expected = r"a web page came in its place" if damage == "page" else r"damaged parquet"
    with pytest.raises(UserError, match=expected):
        read(NAME, "sw")


def test_parquet_needs_pyarrow(publish, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(replaced())
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"needs pyarrow: pip install 'clir-cli\[parquet\]'"):
        read(NAME, "sw")


def test_a_list_of_files_that_is_damaged_names_the_remedy(publish, fetch) -> None:
    publish(replaced())
    path = hub.pin_path(hub.parse_name(NAME), fetch(NAME))
    path.write_text("{")
    with pytest.raises(UserError, match=r"not readable as JSON .*delete it, and run clir download"):
        fetch(NAME)
    files = '{"../x.parquet": {"bytes": 1}}'
    path.write_text(f'{{"repository": "a/b", "commit": "c", "folder": "c", "files": {files}}}')
    with pytest.raises(UserError, match=r"'\.\./x\.parquet' leads out of the data set; delete it"):
        fetch(NAME)
