"""`teacher.centre`: mean tokens from estimation to search, for teachers and students."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_encoders import tiny_bert

from clir_cli.artifacts import graph
from clir_cli.artifacts.cell import Cell
from clir_cli.corpus.records import Pair
from clir_cli.retrieval import store
from clir_cli.retrieval.centres import CENTRES
from clir_cli.retrieval.encoder import load_encoder
from clir_cli.stages.index import open_index
from clir_cli.stages.search import open_encoder
from clir_cli.stages.support import checkpointing
from clir_cli.stages.support.centring import centred_teacher
from clir_cli.stages.support.sources import load_bitext
from clir_cli.stages.support.workspace import Workspace
from clir_cli.suites import load_settings

CPU, SW = torch.device("cpu"), (Pair("sw", "en"),)
ON = ("--set", "teacher.centre=true")
FOLDER = "sample/teachers/centred"


@pytest.fixture
def call(clir, quick, home):
    def run(*words):
        outcome = clir(*words, *quick, "--home", home)
        assert outcome.code == 0, outcome.err
        return outcome

    return run


@pytest.fixture
def workspace(quick, home):
    def of(*changes):
        given = [word for word in quick if word != "--set"]
        return Workspace(load_settings("sample", None, [*given, *changes]), home, device="cpu")

    return of


def mean_of(texts, encoder, kind):
    return encoder.encode(texts, 256, kind=kind).vectors.mean(dim=0)


def test_the_index_is_centred_and_stands_beside_the_other(call, home):
    call("index")
    call("index", *ON)
    norms = [
        np.concatenate([shard.vectors for shard in store.read_shards(home / folder)])
        .astype(np.float32).mean(axis=0)
        for folder in ("sample/index/small", f"{FOLDER}/index/small")
    ]  # fmt: skip
    before, after = map(np.linalg.norm, norms)
    assert after < 0.3 * before
    assert "is current" in call("index").err


def test_the_teachers_means_are_of_one_english_text_and_stored_once(call, home, workspace):
    call("index", *ON)
    made = workspace("teacher.centre=true")
    teacher = load_encoder(made.home.parent / "tiny", CPU)
    centres = load_file(home / FOLDER / "centres" / CENTRES)
    encoder = centred_teacher(made, teacher)
    assert all(torch.equal(encoder.centres[side], centre) for side, centre in centres.items())
    assert centred_teacher(workspace(), teacher) is teacher
    assert set(centres) == {"query", "document"}
    assert not torch.allclose(centres["query"], centres["document"], atol=1e-3)


def test_a_student_has_the_mean_of_its_language_and_search_applies_it(call, home, workspace):
    for words in (("index",), ("distill", "--lang", "sw-en", "--method", "ot,rows")):
        call(*words, *ON)
    made = workspace("teacher.centre=true")
    student = load_encoder(home / FOLDER / "sw-en/rows/student", CPU)
    texts = [row.query for row in load_bitext(made, SW[0]).train]
    plain = replace(student, centres={})
    torch.testing.assert_close(
        student.centres["query"], mean_of(texts, plain, "sentence"), atol=1e-5, rtol=0
    )
    manifest = json.loads((home / FOLDER / "sw-en/ot/student/manifest.json").read_text())
    assert CENTRES in manifest["files"]
    assert manifest["config"]["teacher"]["centre"] is True
    trained = load_encoder(home / FOLDER / "sw-en/ot/student", CPU)
    # It is fixed before training.
    torch.testing.assert_close(trained.centres["query"], student.centres["query"])
    found = open_encoder(made, made.ref("run", SW, Cell("ot")))
    assert torch.equal(found.centres["query"], trained.centres["query"])
    call("search", "--lang", "sw-en", "--method", "ot,rows,zero-shot,english", *ON)
    words = ("align", "maji safi", "clean water", "--lang", "sw-en", "--method", "ot", "--json")
    plan = call(*words, *ON).json
    teacher = centred_teacher(made, load_encoder(home.parent / "tiny", CPU))
    cost = 1 - found.encode(["maji safi"], 64)[0] @ teacher.encode(["clean water"], 64)[0].T
    shares = torch.tensor(plan["shares"])
    assert plan["loss"] == pytest.approx(float((shares * cost).sum() / len(cost)), abs=2e-3)
    assert call("search", "--lang", "sw-en", "--query", "maji", "--method", "ot", *ON).out


def test_zero_shot_has_the_mean_of_the_bitext_and_english_that_of_the_teacher(call, workspace):
    call("index", *ON)
    made = workspace("teacher.centre=true")
    zero = open_encoder(made, made.ref("run", SW, Cell("zero-shot")))
    english = open_encoder(made, made.ref("run", SW, Cell("english")))
    plain = open_encoder(workspace(), made.ref("run", SW, Cell("english")))
    texts = [row.query for row in load_bitext(made, SW[0]).train]
    expected = mean_of(texts, plain, "sentence")
    torch.testing.assert_close(zero.centres["query"], expected, atol=1e-5, rtol=0)
    assert set(english.centres) == {"query", "document"}
    assert not torch.allclose(english.centres["query"], expected, atol=1e-3)
    assert plain.centres == {}
    assert open_index(made).ids


def test_joint_students_have_the_mean_of_all_their_languages(call, home, workspace):
    call("distill", "--lang", "sw-en,de-en", "--joint", "--method", "rows", *ON)
    folder = home / FOLDER / "de+sw-en/rows/student"
    student = load_encoder(folder, CPU)
    centre, plain = student.centres["query"], replace(student, centres={})
    pairs = (Pair("de", "en"), Pair("sw", "en"))
    texts = [row.query for pair in pairs for row in load_bitext(workspace(), pair).train]
    torch.testing.assert_close(centre, mean_of(texts, plain, "sentence"), atol=1e-5, rtol=0)


def test_a_trained_teacher_keeps_its_means(call, home, workspace):
    call("train", "--recipe", "monolingual", "--lang", "sw-en", *ON)
    teacher = load_encoder(home / "sample/en/monolingual/model", CPU)
    assert set(teacher.centres) == {"query", "document"}
    made = workspace("teacher.centre=true", "teacher.model=monolingual")
    assert centred_teacher(made, teacher) is teacher
    call("train", "--recipe", "augment", "--lang", "sw-en", *ON)
    assert not (home / FOLDER / "sw-en/augment/model" / CENTRES).exists()
    call("train", "--recipe", "code-switch", "--lang", "sw-en", *ON)
    assert (home / FOLDER / "sw-en/code-switch/student" / CENTRES).exists()


@pytest.mark.slow
def test_a_run_that_resumes_has_the_same_means(clir, quick, home, monkeypatch):
    words = ("distill", "--lang", "sw-en", *quick, *ON, "--set", "training.checkpoint_steps=1")
    save = checkpointing._checkpoint
    student = home / FOLDER / "sw-en/ot/student"

    def saved_and_interrupted(workspace, training, step, draft):
        save(workspace, training, step, draft)
        raise KeyboardInterrupt

    assert clir(*words, "--home", home).code == 0
    whole = {name: (student / name).read_bytes() for name in (CENTRES, "model.safetensors")}
    with monkeypatch.context() as patch:
        patch.setattr(checkpointing, "_checkpoint", saved_and_interrupted)
        assert clir(*words, "--home", home, "--force").code == 130
    assert "continuing from step 1" in clir(*words, "--home", home, "--force").err
    assert {name: (student / name).read_bytes() for name in whole} == whole


def test_a_student_with_a_projection_is_centred_after_it(call, home, models, tmp_path):
    wide = tiny_bert(tmp_path / "wide", models, hidden=48)
    call("distill", "--lang", "sw-en", "--set", f"student.model={wide}", *ON)
    student = load_encoder(home / FOLDER / "sw-en/ot/student", CPU)
    assert student.centres["query"].shape == (32,)


def test_what_a_centred_run_reads(workspace):
    plain, centred = (
        graph.reach(workspace(*changes).ref("run", SW, Cell("zero-shot")))
        for changes in ((), ("teacher.centre=true",))
    )
    assert "bitext.max_pairs" in centred - plain
    assert "teacher.centre" in plain
    run = workspace("teacher.centre=true").ref("run", SW, Cell("bm25"))
    assert "--set teacher.centre=true" in str(graph.command(workspace(), run))


@pytest.mark.slow
def test_workers_of_ray_have_the_means_of_the_main_process(call, home):
    call("index", *ON)
    shards = sorted((home / FOLDER / "index/small").glob("*.npy"))
    before = {path.name: path.read_bytes() for path in shards}
    call("index", *ON, "--engine", "ray", "--force")
    assert {path.name: path.read_bytes() for path in shards} == before
