"""Long documents in passages: indexed whole, found by what is at their end, listed once."""

import json
import shutil
from functools import partial

import numpy as np
import pytest
import torch
from outcomes import refused, well
from tiny_encoders import tiny_bert

from clir_cli.evaluation.runs import read_run
from clir_cli.retrieval.encoder import load_encoder
from clir_cli.retrieval.store import read_shards

ANSWER = "The ferry to the island leaves from the old harbour at noon."
LONG = "Farmers store maize in dry and clean sacks. " * 30 + ANSWER
PASSAGES = ("--set", "index.passage_tokens=40", "--set", "index.passage_overlap=12")


@pytest.fixture
def teacher(models, tmp_path):
    return tiny_bert(tmp_path / "teacher", models)


@pytest.fixture
def call(clir, tmp_path, small_collection, teacher):
    """Run a verb over the small collection, which has a long document more."""
    with (small_collection / "corpus.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({"_id": "long", "title": "Maize", "text": LONG}) + "\n")
    shutil.rmtree(small_collection / "qrels")  # whose documents come and go

    def run(verb, *words, teacher=teacher):
        return clir(
            verb, *words, "--collection", small_collection, "--home", tmp_path / "home",
            "--set", f"teacher.model={teacher}", "--set", "teacher.document_tokens=160",
            "--set", "index.precision=float32", "--set", "index.dtype=float32",
            "--set", "index.shard_documents=20",
        )  # fmt: skip

    return run


def index_of(tmp_path):
    return tmp_path / "home" / "sample" / "index" / "small"


def notes_of(tmp_path):
    return json.loads((index_of(tmp_path) / "manifest.json").read_text())["notes"]


def documents_of(folder):
    lines = (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return {row["_id"]: ". ".join(filter(None, (row["title"], row["text"]))) for row in rows}


ASK = ("search", "--lang", "sw-en", "--method", "english", "--query", ANSWER, "--json")


def test_what_is_at_the_end_of_a_long_document_is_found_with_passages(call, clir, tmp_path, models):
    call = partial(call, teacher=models / "all-MiniLM-L6-v2")
    told = well(call("index")).err
    assert "1 document was cut at 160 tokens (teacher.document_tokens); --set index.pass" in told
    assert notes_of(tmp_path)["documents_cut"] == 1
    listed = ("ls", "indexes", "--json", "--home", tmp_path / "home")
    (row,) = well(clir(*listed)).json
    assert (row["documents"], row["passages"], row["documents_cut"]) == (25, None, 1)
    before = well(call(*ASK)).json
    assert before[0]["document"] != "long"
    told = well(call("index", *PASSAGES, "--force")).err
    notes = notes_of(tmp_path)
    assert notes["documents"] == 25 and "documents_cut" not in notes
    (row,) = well(clir(*listed)).json
    assert (row["documents"], row["passages"], row["documents_cut"]) == (
        25,
        notes["passages"],
        None,
    )
    assert f"{notes['passages']:,} passages of 25 documents" in told
    hits = well(call(*ASK, *PASSAGES)).json
    assert len({hit["document"] for hit in hits}) == len(hits) == 5
    assert hits[0]["document"] == "long" and hits[0]["passage"].endswith("old harbour at noon.")
    assert {"ferry", "island", "harbour", "noon"} <= set(hits[0]["matched"])
    assert len(hits[0]["text"]) > 1000


def expected_scores(tmp_path, small_collection, teacher, form):
    """Return (query, document) -> score: the best passage, each scored by itself."""
    folder, texts = index_of(tmp_path), documents_of(small_collection)
    encoder = load_encoder(teacher, torch.device("cpu"))
    table = np.load(folder / "passages.npy").tolist()
    ids = (folder / "documents.txt").read_text(encoding="utf-8").split()
    assert ids == list(texts)
    stored = [shard[row] for shard in read_shards(folder) for row in range(len(shard))]
    if form == "dense":
        passages = [texts[ids[number]][begin:end] for number, begin, end in table]
        encoded = encoder.encode(passages, 40, kind="document")
        stored = [encoded[number] for number in range(len(encoded))]
    scores: dict[tuple[str, str], float] = {}
    lines = (small_collection / "queries.en.jsonl").read_text(encoding="utf-8").splitlines()
    for query in map(json.loads, lines):
        tokens = encoder.encode([query["text"]], 128, kind="query")[0]
        for (number, _, _), vectors in zip(table, stored, strict=True):
            key = query["_id"], ids[number]
            score = (tokens @ vectors.float().T).max(dim=1).values.sum().item()
            scores[key] = max(scores.get(key, score), score)
    return scores


@pytest.mark.parametrize("form", ["dense", "residual4"])
def test_a_run_has_the_score_of_each_best_passage(call, tmp_path, small_collection, teacher, form):
    words = (*PASSAGES, "--set", f"index.format={form}")
    well(call("index", *words))
    well(call("search", "--lang", "sw-en", "--method", "english", *words))
    expected = expected_scores(tmp_path, small_collection, teacher, form)
    assert scores_of_run(tmp_path) == pytest.approx(expected, abs=1e-4)


def scores_of_run(tmp_path):
    run = read_run(next((tmp_path / "home").rglob("run.trec")))
    return {(query, name): score for query, row in run.items() for name, score in row.items()}


def test_passages_are_updated_and_repaired(call, tmp_path, small_collection, teacher):
    well(call("index", *PASSAGES))
    path = small_collection / "corpus.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    long = json.loads(lines[-1])
    changed = {**long, "text": "Rain fell on the hills. " * 3 + long["text"]}
    path.write_text("\n".join([*lines[:3], *lines[4:-1], json.dumps(changed)]) + "\n")
    told = well(call("index", "--update", *PASSAGES)).err
    count = notes_of(tmp_path)["passages"]
    encoded = int(next(line for line in told.splitlines() if "encoded" in line).split()[0])
    assert encoded < count / 2
    well(call("search", "--lang", "sw-en", "--method", "english", *PASSAGES))
    expected = expected_scores(tmp_path, small_collection, teacher, "dense")
    assert scores_of_run(tmp_path) == pytest.approx(expected, abs=1e-4)
    for hit in well(call(*ASK, "--top-k", 25, *PASSAGES)).json:
        parts = sum(part["score"] for part in hit["parts"])
        assert parts == pytest.approx(hit["score"], abs=1e-3), "of the best passage"
    before = {file.name: file.read_bytes() for file in index_of(tmp_path).glob("*.npy")}
    (index_of(tmp_path) / "passages.npy").write_bytes(b"")
    assert "passages.npy" in refused(call(*ASK, *PASSAGES))
    well(call("index", "--repair", *PASSAGES))
    assert before == {file.name: file.read_bytes() for file in index_of(tmp_path).glob("*.npy")}


def test_documents_that_were_cut_are_counted_through_updates(call, tmp_path, small_collection):
    well(call("index"))
    path = small_collection / "corpus.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(lines[1:]) + "\n", encoding="utf-8")
    assert "1 document was cut" in well(call("index", "--update")).err
    path.write_text("\n".join(lines[1:-1]) + "\n", encoding="utf-8")
    assert "cut at" not in well(call("index", "--update")).err
    assert "documents_cut" not in notes_of(tmp_path)


def test_passages_longer_than_the_teacher_takes_are_refused(call, tmp_path):
    line = refused(call("index", "--set", "index.passage_tokens=161"))
    assert "index.passage_tokens=161: this teacher takes 160 tokens" in line
    assert not index_of(tmp_path).exists()
