"""The life of an index: cut and continued, damaged and repaired, brought up to date."""

import json
import shutil

import pytest
import torch
from tiny_encoders import tiny_bert

from clir_cli.errors import UserError
from clir_cli.retrieval.encoder import load_encoder
from clir_cli.retrieval.store import read_shards
from clir_cli.settings import IndexSettings
from clir_cli.stages.support.encoding import shard_size

SHARDS = 5  # of five documents, the last of four


@pytest.fixture(scope="module")
def teachers(models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("teachers")
    return [tiny_bert(folder / str(seed), models, seed=seed) for seed in (1, 2)]


@pytest.fixture
def call(clir, tmp_path, small_collection, teachers):
    """Run a verb over the small collection with a tiny teacher, in one of several homes."""

    def run(verb, *words, home="home", teacher=0, collection=small_collection):
        return clir(
            verb, *words, "--collection", collection, "--home", tmp_path / home,
            "--set", f"teacher.model={teachers[teacher]}", "--set", "index.shard_documents=5",
            "--set", "index.precision=float32", "--set", "index.dtype=float32",
        )  # fmt: skip

    return run


SEARCH = ("search", "--lang", "sw-en", "--method", "zero-shot")


def index_of(tmp_path, home="home"):
    return tmp_path / home / "sample" / "index" / "small"


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != MANIFEST}


MANIFEST = "manifest.json"


def inodes(folder):
    return {path.name: path.stat().st_ino for path in folder.glob("shard-*.npy")}


def flip(path):
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 4
    path.write_bytes(bytes(raw))


def cut(path):
    path.write_bytes(path.read_bytes()[:-7])


def remove(path):
    path.unlink()


@pytest.mark.parametrize(
    ("damage", "name", "encoded"),
    [
        (flip, "shard-00001.vectors.npy", 5),
        (cut, "shard-00004.vectors.npy", 4),
        (remove, "shard-00000.offsets.npy", 5),
        (cut, "shard-00002.receipt.json", 5),
        (flip, "digests.bin", 0),
        (flip, "documents.txt", 0),
        (remove, "shards.json", 0),
        (cut, MANIFEST, 0),
    ],
)
def test_damage_is_refused_by_name_and_repaired_to_the_byte(call, tmp_path, damage, name, encoded):
    assert call("index").code == 0
    folder = index_of(tmp_path)
    before, kept = content(folder), inodes(folder)
    assert sum(file.endswith(".receipt.json") for file in before) == SHARDS
    damage(folder / name)
    outcome = call(*SEARCH)
    assert outcome.code == 2
    assert name in outcome.err
    assert not list((tmp_path / "home").rglob("run.trec"))
    if name != MANIFEST:
        assert "--repair" in outcome.err
    outcome = call("index", "--repair")
    assert outcome.code == 0, outcome.err
    assert content(folder) == before
    told = f"{encoded} documents encoded" if encoded else "documents encoded"
    assert (told in outcome.err) == bool(encoded)
    stem = name.split(".")[0] if encoded else "none"
    untouched = {file: node for file, node in kept.items() if not file.startswith(stem)}
    assert untouched.items() <= inodes(folder).items()  # the same files, not copies
    assert call(*SEARCH).code == 0
    assert "is whole" in call("index", "--repair").err


def test_a_cut_index_goes_on_with_the_shards_that_are_whole(call, tmp_path):
    assert call("index").code == 0
    folder = index_of(tmp_path)
    before = content(folder)
    draft = folder.with_name(".small.part")
    marker = {"fingerprint": json.loads((folder / MANIFEST).read_text())["fingerprint"]}
    folder.rename(draft)
    for name in (MANIFEST, "documents.txt", "digests.bin", "shards.json", "notes.json"):
        (draft / name).unlink()
    (draft / "draft.json").write_text(json.dumps(marker))
    kept = inodes(draft)
    flip(draft / "shard-00001.vectors.npy")  # as a disk may
    (draft / "shard-00003.receipt.json").unlink()  # cut in the midst of the shard
    outcome = call("index")
    assert outcome.code == 0, outcome.err
    assert "10 documents encoded" in outcome.err
    assert content(folder) == before
    changed = ("shard-00001", "shard-00003")
    for name, node in inodes(folder).items():
        assert name.startswith(changed) or kept[name] == node


def rewrite(folder, change):
    path = folder / "corpus.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows = change(rows)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    known = {row["_id"] for row in rows}
    judged = (folder / "qrels" / "test.tsv").read_text().splitlines()
    kept = [line for line in judged[1:] if line.split("\t")[1] in known]
    (folder / "qrels" / "test.tsv").write_text("\n".join([judged[0], *kept]) + "\n")


def new(number):
    return {"_id": f"new-{number}", "title": "", "text": f"Rain number {number} fell on maize."}


def added(rows):
    return [*rows, *map(new, range(7))]


def deleted(rows):
    return [row for number, row in enumerate(rows) if number not in (3, 10, 11, 12, 13, 14, 23)]


def changed(rows):
    return [{**row, "text": row["text"] + " Again."} if row in rows[6:8] else row for row in rows]


def shuffled(rows):
    return [new(1), *rows[12:], new(2), *rows[:11]]


def renamed(rows):
    return [{**row, "_id": f"x{row['_id']}"} if row in rows[-2:] else row for row in rows]


def ranking(tmp_path, home):
    run = next((tmp_path / home).rglob("run.trec")).read_text().splitlines()
    rows = [line.split() for line in run]
    return [(row[0], row[2]) for row in rows], [float(row[4]) for row in rows]


@pytest.mark.parametrize(
    ("change", "encoded", "form"),
    [
        (added, 7, "dense"),
        (deleted, 0, "int8"),
        (changed, 2, "dense"),
        (shuffled, 2, "int8"),
        (renamed, 0, "dense"),
    ],
)
def test_an_updated_index_finds_what_a_new_one_finds(
    call, tmp_path, small_collection, change, encoded, form
):
    form = ("--set", f"index.format={form}")
    assert call("index", *form).code == 0
    kept = inodes(index_of(tmp_path))
    rewrite(small_collection, change)
    refused = call(*SEARCH, *form)
    assert refused.code == 2
    assert "documents" in refused.err
    refused = call("index", *form)
    assert refused.code == 2
    assert "--update" in refused.err
    outcome = call("index", "--update", *form)
    assert outcome.code == 0, outcome.err
    assert (f"{encoded} documents encoded" in outcome.err) == bool(encoded)
    if change in (added, renamed):
        assert kept.items() <= inodes(index_of(tmp_path)).items()
    assert "is current" in call("index", "--update", *form).err
    assert "is current" in call("index", *form).err
    assert call("index", *form, home="anew").code == 0
    for home in ("home", "anew"):
        assert call(*SEARCH, *form, home=home).code == 0
    (order, scores), (order_anew, scores_anew) = (
        ranking(tmp_path, home) for home in ("home", "anew")
    )
    assert order == order_anew
    assert scores == pytest.approx(scores_anew, abs=2e-4)


def embeddings_of(tmp_path, home):
    """The stored vectors of each document, by its id."""
    folder = index_of(tmp_path, home)
    ids = iter((folder / "documents.txt").read_text(encoding="utf-8").split())
    return {next(ids): each[row] for each in read_shards(folder) for row in range(len(each))}


def test_rounded_documents_come_and_go_under_the_codes_that_were_learned(
    call, tmp_path, small_collection, teachers
):
    form = ("--set", "index.format=residual2")
    assert call("index", *form).code == 0
    before, codec = embeddings_of(tmp_path, "home"), index_of(tmp_path) / "codec.safetensors"
    learned = codec.read_bytes()
    for change, encoded in ((deleted, 0), (added, 7), (changed, 2)):
        rewrite(small_collection, change)
        outcome = call("index", "--update", *form)
        assert outcome.code == 0, outcome.err
        assert (f"{encoded} documents encoded" in outcome.err) == bool(encoded)
    assert codec.read_bytes() == learned
    rows = (small_collection / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
    stored = embeddings_of(tmp_path, "home")
    assert stored.keys() == {json.loads(row)["_id"] for row in rows}
    kept = [name for name in stored if name in before and torch.equal(stored[name], before[name])]
    assert len(kept) == len(stored) - 7 - 2, "what stayed is what it was"
    assert call("index", home="exact").code == 0  # the same documents in float32
    exact = embeddings_of(tmp_path, "exact")
    for name, vectors in stored.items():  # those that came later are kept as closely
        assert (vectors * exact[name]).sum(1).mean() > 0.9
    assert call(*SEARCH, *form).code == 0
    order, scores = ranking(tmp_path, "home")
    teacher = load_encoder(teachers[0], torch.device("cpu"))
    told = (small_collection / "queries.sw.jsonl").read_text(encoding="utf-8").splitlines()
    asked = [json.loads(line) for line in told]
    read = teacher.encode([each["text"] for each in asked], 128, kind="query")
    for place, query in enumerate(asked):
        expected = {
            name: (read[place] @ vectors.T).max(dim=1).values.sum().item()
            for name, vectors in stored.items()
        }
        found = [
            (name, score) for (of, name), score in zip(order, scores, strict=True)
            if of == query["_id"]
        ]  # fmt: skip
        assert {name for name, _ in found} == expected.keys()
        assert [score for _, score in found] == pytest.approx(
            [expected[name] for name, _ in found], abs=1e-3
        )
        assert [score for _, score in found] == sorted((s for _, s in found), reverse=True)


def test_an_updated_index_can_be_updated_and_repaired(call, tmp_path, small_collection):
    assert call("index").code == 0
    for change in (deleted, added, changed):
        rewrite(small_collection, change)
        assert call("index", "--update").code == 0
    before = content(index_of(tmp_path))
    remove(index_of(tmp_path) / "shard-00003.vectors.npy")
    assert call("index", "--repair").code == 0
    after = content(index_of(tmp_path))
    assert before.keys() == after.keys()
    assert {name for name in before if before[name] != after[name]} <= {
        "shard-00003.vectors.npy", "shard-00003.receipt.json",
    }  # fmt: skip
    assert call(*SEARCH).code == 0


def test_what_another_teacher_made_is_neither_updated_nor_repaired(call, tmp_path):
    assert call("index").code == 0
    before = content(index_of(tmp_path))
    for how in ("--update", "--repair"):
        outcome = call("index", how, teacher=1)
        assert outcome.code == 2
        assert "made from something else (teacher)" in outcome.err
    outcome = call(*SEARCH, teacher=1)
    assert outcome.code == 2
    assert f"{index_of(tmp_path)} was made from something else (teacher)" in outcome.err
    assert not list((tmp_path / "home").rglob("run.trec"))
    assert content(index_of(tmp_path)) == before
    assert call("index", "--force", teacher=1).code == 0
    assert content(index_of(tmp_path)) != before


def test_an_index_of_before_there_were_receipts_is_encoded_again(call, tmp_path, small_collection):
    assert call("index").code == 0
    folder = index_of(tmp_path)
    old = json.loads((folder / MANIFEST).read_text())
    for path in (*folder.glob("*.receipt.json"), folder / "digests.bin", folder / "shards.json"):
        path.unlink()
        old["files"].pop(path.name)
    (folder / MANIFEST).write_text(json.dumps(old))
    assert call(*SEARCH).code == 0
    rewrite(small_collection, added)
    assert "31 documents encoded" in call("index", "--update").err


def test_nothing_to_repair_and_words_that_exclude_each_other(call, tmp_path):
    outcome = call("index", "--repair")
    assert outcome.code == 2
    assert "is missing; make it with: clir index" in outcome.err
    assert call("index", "--repair", "--update").code == 2
    assert "exclude one another" in call("index", "--update", "--force").err
    assert call("index", "--update").code == 0  # the first time, it is made
    shutil.rmtree(tmp_path / "home")


def test_the_memory_decides_how_large_a_shard_is(teachers):
    teacher = load_encoder(teachers[0], torch.device("cpu"))
    sizes = []
    for memory in ("", "4GB", "2GB", "1GB"):
        settings = IndexSettings(memory=memory, shard_documents=200_000)
        sizes.append(shard_size(settings, teacher, 256))
    assert sizes[0] == 200_000
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes)
    with pytest.raises(UserError, match=r"index.memory=100MB is too small.*it takes"):
        shard_size(IndexSettings(memory="100MB"), teacher, 256)
