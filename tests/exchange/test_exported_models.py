"""Exported students and teachers: loaded by the real tool, they embed and rank as clir does."""

import csv
import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from collection_files import small_sample
from command_words import refused, tree
from safetensors.torch import load_file
from sentence_transformers import MultiVectorEncoder
from tiny_encoders import tiny_bert

import clir_cli
from clir_cli.cli import run
from clir_cli.errors import UserError
from clir_cli.exchange.multi_vector import Lengths, write_model
from clir_cli.retrieval.centres import save_centres
from clir_cli.retrieval.encoder import load_encoder
from clir_cli.retrieval.projection import Layer, Projection, save_projection

CPU = torch.device("cpu")
TEXTS = ["mvua", "jinsi ya kuhifadhi mahindi bila wadudu?", "", "maji safi " * 40]
PAIR = ("--lang", "sw-en")


def theirs(folder: Path) -> MultiVectorEncoder:
    return MultiVectorEncoder(str(folder), device="cpu", local_files_only=True)


@pytest.fixture(scope="module")
def world(models: Path, tmp_path_factory) -> dict[str, Path]:
    """A tiny student with its index, run and scores over 24 documents of the sample."""
    top = tmp_path_factory.mktemp("world")
    tiny_bert(top / "tiny", models)
    small_sample(top / "small")
    where = (*options(top), "--home", str(top / "home"))
    scored = ("--metric", "map,ndcg@10", "--results", str(top / "results"))
    ot = ("--method", "ot")
    commands = (("distill", *PAIR), ("index",), ("search", *PAIR, *ot))
    for words in (*commands, ("evaluate", *PAIR, *ot, *scored)):
        assert run([*words, *where, "--quiet"]) == 0
    return top


def options(top: Path) -> list[str]:
    chosen = {
        "teacher.model": top / "tiny", "collection": top / "small", "bitext.max_pairs": 40,
        "bitext.held_out": 4, "training.epochs": 1, "training.batch_size": 16,
        "training.precision": "float32", "student.min_count": 5,
    }  # fmt: skip
    return [word for key, value in chosen.items() for word in ("--set", f"{key}={value}")]


@pytest.fixture
def copy(world, tmp_path) -> Path:
    """A home and results of this test alone."""
    for name in ("home", "results"):
        shutil.copytree(world / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def export(clir, world, copy):
    """Call ``clir export``: ``export("student", folder, *PAIR)``."""

    def call(what, folder, *words):
        results = ("--results", copy / "results") if what == "student" else ()
        place = (*options(world), *results, "--home", copy / "home")
        return clir("export", what, folder, *place, *words)

    return call


def test_an_exported_student_and_teacher_rank_as_clir_does(export, world, copy):
    for what in ("student", "teacher"):
        outcome = export(what, copy / what, *(PAIR if what == "student" else ()))
        assert outcome.code == 0, outcome.err
    collection = clir_cli.load_collection(str(world / "small"), "sw")
    queries, documents = collection.queries["sw"], collection.documents
    own_run = clir_cli.read_run(copy / "home/sample/sw-en/ot/runs/small/run.trec")
    student, teacher = theirs(copy / "student"), theirs(copy / "teacher")
    asked = student.encode_query(list(queries.values()))
    found = teacher.encode_document([document.full_text for document in documents])
    encoder = load_encoder(copy / "home/sample/sw-en/ot/student", CPU)
    own = clir_cli.encode(encoder, list(queries.values()), max_tokens=128)
    for mine, other in zip(own, asked, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=0)
    for query, row in zip(queries, student.similarity(asked, found), strict=True):
        score = dict(zip((document.id for document in documents), row.tolist(), strict=True))
        tenth = sorted(score.values())[-10]
        best = sorted(own_run[query], key=lambda name: -own_run[query][name])[:10]
        # The index has float16, so that documents closer than that may change places.
        assert all(score[name] >= tenth - 1e-3 for name in best)
        assert all(abs(score[name] - own_run[query][name]) < 1e-3 for name in best)

    card = (copy / "student" / "README.md").read_text(encoding="utf-8")
    with (copy / "results" / "sample" / "scores.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2
    for row in rows:  # the scores, with their intervals
        value, low, high = (f"{float(row[name]):.3f}" for name in ("value", "ci_low", "ci_high"))
        assert f"| {row['metric']} | {value} [{low}, {high}] | {row['queries']} |" in card
    for words in ("Swahili (sw)", "CC0-1.0", "clir distill --lang sw-en", "MultiVectorEncoder("):
        assert words in card
    assert str(copy) not in card
    assert str(world) not in card


def test_scores_of_another_student_are_not_in_the_card(export, copy):
    table = copy / "results" / "sample" / "scores.csv"
    value = clir_cli.evaluation.scores.read_table(table, ["value"])["value"][0]
    text = table.read_text(encoding="utf-8")
    assert value in text
    table.write_text(text.replace(value, "0.999"), encoding="utf-8")  # as an older student had
    assert export("student", copy / "student", *PAIR).code == 0
    card = (copy / "student" / "README.md").read_text(encoding="utf-8")
    assert "0.999" not in card
    assert "Left out: small, sw-en" in card


def test_an_export_is_made_once_and_replaces_nothing_unasked(export, tmp_path):
    folder = tmp_path / "student"
    assert export("student", folder, *PAIR).code == 0
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    again = export("student", folder, *PAIR)
    assert "is current" in again.err
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    line = refused(export("teacher", folder))
    assert "--force replaces it" in line
    assert export("teacher", folder, "--force").code == 0
    assert "as a teacher" in (folder / "README.md").read_text(encoding="utf-8")

    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    for force in ((), ("--force",)):
        assert "is no export of clir" in refused(export("student", mine, *PAIR, *force))
    assert tree(mine) == ["thesis.txt"]


def test_what_cannot_be_exported_is_told_in_one_line_and_leaves_nothing(export, copy):
    shutil.rmtree(copy / "home" / "sample" / "sw-en" / "ot" / "student")
    before = tree(copy)
    line = refused(export("student", copy / "student", *PAIR))
    assert "make it with: clir distill --lang sw-en --method ot" in line
    line = refused(export("student", copy / "student", *PAIR, "--method", "bm25"))
    assert "method bm25 has no student" in line
    line = refused(export("student", copy / "student", "--lang", "sw-en,so-en"))
    assert "one pair and one method" in line
    assert "--json" in refused(export("teacher", copy / "teacher", "--json"))
    assert tree(copy) == before


def test_a_damaged_student_is_not_exported(export, copy):
    weights = copy / "home" / "sample" / "sw-en" / "ot" / "student" / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    assert "sha256 differs" in refused(export("student", copy / "student", *PAIR))
    assert not (copy / "student").exists()


def test_a_teacher_that_other_tools_load_is_named_and_not_copied(export, copy, world):
    assert export("teacher", copy / "teacher").code == 0
    line = refused(export("teacher", copy / "again", "--set", f"teacher.model={copy / 'teacher'}"))
    assert f"{copy / 'teacher'} is in a format that sentence-transformers and PyLate load" in line


# ------------------------------------------------------------------ what a student may have


@pytest.fixture(scope="module")
def tiny(models: Path, tmp_path_factory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("tiny"), models)


def written(tiny: Path, folder: Path, **parts) -> Path:
    """Return a student with what it may have: prefix, projection, centre."""
    shutil.copytree(tiny, folder)
    torch.manual_seed(1)
    if "prefix" in parts:
        (folder / "recipe.json").write_text(json.dumps({"query_prefix": parts["prefix"]}))
    if "layers" in parts:
        save_projection(folder, Projection(*parts["layers"]))
    if "centre" in parts:
        means = torch.nn.functional.normalize(torch.randn(2, parts["centre"]), dim=1) * 0.7
        save_centres(folder, dict(zip(("query", "document"), means, strict=True)))
    return folder


def own_texts(encoder, kind, tokens) -> list[torch.Tensor]:
    packed = encoder.encode(TEXTS, tokens, kind=kind)
    return [packed[number] for number in range(len(packed))]


LAYERS = (Layer(32, 16, True, "Tanh", True), Layer(16, 8))


@pytest.mark.parametrize(
    "parts",
    [
        {}, {"prefix": "query: "}, {"layers": (Layer(32, 8),)}, {"layers": LAYERS},
        {"centre": 32}, {"centre": 8, "layers": LAYERS, "prefix": "swali: "},
    ],
    ids=str,
)  # fmt: skip
def test_query_embeddings_are_those_of_clir(parts, tiny, tmp_path, caplog):
    own = load_encoder(written(tiny, tmp_path / "own", **parts), CPU)
    folder = tmp_path / "exported"
    folder.mkdir()
    with caplog.at_level(logging.WARNING):
        write_model(folder, own, "query", Lengths(24, 48))
        encoded = theirs(folder).encode_query(TEXTS)
    assert not [record for record in caplog.records if "MISSING" in record.getMessage()]
    if "centre" in parts:
        (tmp_path / "documents").mkdir()
        write_model(tmp_path / "documents", own, "document", Lengths(24, 48))
        documents = theirs(tmp_path / "documents").encode_document(TEXTS)
        for mine, other in zip(own_texts(own, "document", 48), documents, strict=True):
            torch.testing.assert_close(other, mine, atol=1e-5, rtol=0)
    for mine, other in zip(own_texts(own, "sentence", 24), encoded, strict=True):
        torch.testing.assert_close(other, mine, atol=1e-5, rtol=0)


def test_the_tokenizer_has_a_class_that_older_versions_of_transformers_know(tiny, tmp_path):
    folder = tmp_path / "exported"
    folder.mkdir()
    write_model(folder, load_encoder(tiny, CPU), "query", Lengths(24, 48))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] in ("PreTrainedTokenizerFast", "BertTokenizer")
    assert not isinstance(config.get("extra_special_tokens"), list)
    assert (folder / "tokenizer.json").is_file()


def test_a_plain_export_is_read_by_clir_too_and_a_centred_one_refused(tiny, tmp_path):
    for name, parts in (("plain", {"prefix": "query: "}), ("centred", {"centre": 32})):
        (tmp_path / name).mkdir()
        own = load_encoder(written(tiny, tmp_path / f"{name} student", **parts), CPU)
        write_model(tmp_path / name, own, "query", Lengths(24, 48))
    own = load_encoder(tmp_path / "plain student", CPU).encode(TEXTS, 24)
    again = load_encoder(tmp_path / "plain", CPU).encode(TEXTS, 24, kind="query")
    torch.testing.assert_close(own.vectors, again.vectors, atol=1e-6, rtol=0)
    with pytest.raises(UserError, match="normalises before a Dense layer"):
        load_encoder(tmp_path / "centred", CPU)


def test_the_added_layer_changes_no_bit(tiny, tmp_path):
    folder = tmp_path / "exported"
    folder.mkdir()
    write_model(folder, load_encoder(tiny, CPU), "query", Lengths(24, 48))
    weight = load_file(folder / "1_Dense" / "model.safetensors")["linear.weight"]
    assert torch.equal(weight, torch.eye(32))
    states = torch.randn(5, 32)
    assert torch.equal(states @ weight.T, states)
