"""Formats of an index, from the command line: what is kept, told, searched and refused."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_encoders import tiny_bert

SEARCH = ("search", "--lang", "sw-en", "--method", "english")
DOCUMENTS = 24


@pytest.fixture(scope="module")
def teacher(models, tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("teacher"), models)


@pytest.fixture
def call(clir, tmp_path, small_collection, teacher):
    """Run a verb over the small collection with a tiny teacher, in three shards."""

    def run(verb, *words, **sets):
        chosen = [f"{key.replace('__', '.')}={value}" for key, value in sets.items()]
        given = [word for each in chosen for word in ("--set", each)]
        return clir(
            verb, *words, "--collection", small_collection, "--home", tmp_path / "home",
            "--set", f"teacher.model={teacher}", "--set", "index.shard_documents=8", *given,
        )  # fmt: skip

    return run


def run_of(tmp_path):
    return (tmp_path / "home/sample/sw-en/english/runs/small/run.trec").read_text()


def ranked(text):
    """Return the ten best of each query."""
    found = {}
    for line in text.splitlines():
        query, _, document, *_ = line.split()
        found.setdefault(query, []).append(document)
    return {query: documents[:10] for query, documents in found.items()}


def overlap(one, two):
    one, two = ranked(one), ranked(two)
    assert one.keys() == two.keys()
    return sum(len({*one[query]} & {*two[query]}) for query in one) / (10 * len(one))


def test_rounded_formats_rank_nearly_as_plain_ones_and_tell_what_they_keep(call, clir, tmp_path):
    assert call("index").code == 0
    assert call(*SEARCH).code == 0
    plain, sizes = run_of(tmp_path), {}
    for name, least in (("int8", 0.95), ("residual4", 0.8)):
        outcome = call("index", "--force", index__format=name)
        assert outcome.code == 0, outcome.err
        assert call(*SEARCH, "--force", index__format=name).code == 0
        assert overlap(run_of(tmp_path), plain) >= least
        (row,) = clir("ls", "indexes", "--json", "--home", tmp_path / "home").json
        assert (row["format"], row["documents"]) == (name, DOCUMENTS)
        assert row["ranking_kept"] >= least
        sizes[name] = row["bytes_a_token"]
    assert sizes["int8"] < 2 * 32 + 10  # of 32 dimensions, what files and few tokens cost beside
    manifest = json.loads((tmp_path / "home/sample/index/small/manifest.json").read_text())
    assert manifest["config"]["format"] == "residual4"
    assert manifest["notes"]["candidate_recall"] == {str(DOCUMENTS): 1.0}


def test_a_search_by_candidates_is_another_run_and_needs_lists(call, tmp_path):
    assert call("index").code == 0
    outcome = call(*SEARCH, search__candidates=10)
    assert outcome.code == 2
    assert "index.lists=true" in outcome.err
    assert not list((tmp_path / "home").rglob("run.trec"))
    outcome = call("index", "--force", index__lists="true")
    assert "recall@100 by search.candidates" in outcome.err
    lists = {"index__lists": "true"}
    assert call(*SEARCH, **lists).code == 0
    exact = run_of(tmp_path)
    outcome = call(*SEARCH, search__candidates=1000, **lists)  # another run
    assert outcome.code == 2
    assert "(candidates: null -> 1000.0)" in outcome.err
    assert call(*SEARCH, "--force", search__candidates=1000, **lists).code == 0
    assert ranked(run_of(tmp_path)) == ranked(exact)
    assert call(*SEARCH, "--force", search__candidates=0.5, search__top_k=10, **lists).code == 0
    assert overlap(run_of(tmp_path), exact) > 0.6


def test_words_of_one_query_are_marked_over_rounded_codes(call):
    outcome = call("index", index__format="residual2")
    assert outcome.code == 0, outcome.err
    outcome = call(*SEARCH, "--query", "clean water", "--json", index__format="residual2")
    assert outcome.code == 0, outcome.err
    assert [hit["rank"] for hit in outcome.json] == [1, 2, 3, 4, 5]
    assert all(hit["matched"] for hit in outcome.json)
    for hit in outcome.json:
        assert [part["of"] for part in hit["parts"]] == ["clean", "water", None]
        assert sum(part["score"] for part in hit["parts"]) == pytest.approx(hit["score"], 1e-2)


def flip(path):
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(bytes(raw))


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def remove(path):
    path.unlink()


def test_damage_in_any_part_is_refused_by_name_before_any_search(call, tmp_path):
    assert call("index", index__format="residual2").code == 0
    folder = tmp_path / "home/sample/index/small"
    parts = ("nearest", "residuals", "postings", "starts", "offsets")
    names = ["codec.safetensors", *(f"shard-00001.{part}.npy" for part in parts)]
    for name, harm in zip(names, (flip, cut, remove, flip, cut, remove), strict=True):
        whole = (folder / name).read_bytes()
        harm(folder / name)
        outcome = call(*SEARCH, index__format="residual2")
        assert outcome.code == 2
        assert name in outcome.err
        assert not list((tmp_path / "home").rglob("run.trec"))
        (folder / name).write_bytes(whole)
    assert call(*SEARCH, index__format="residual2").code == 0


def test_another_format_is_another_index(call):
    assert call("index").code == 0
    outcome = call(*SEARCH, index__format="int8")
    assert outcome.code == 2
    assert 'format: null -> "int8"' in outcome.err
    assert call("index", index__memory="1XB").code == 2


@pytest.mark.parametrize("name", ["dense", "residual2"])
def test_a_teacher_with_weights_of_nan_is_refused_by_name(call, models, tmp_path, name):
    folder = tiny_bert(tmp_path / "broken", models)
    weights = load_file(folder / "model.safetensors")
    weights["encoder.layer.0.output.dense.weight"][0, 0] = torch.nan
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    outcome = call("index", index__format=name, teacher__model=folder)
    assert outcome.code == 2
    assert f"{folder}: encoder.layer.0.output.dense.weight is not finite" in outcome.err
    assert not list((tmp_path / "home").rglob("shard-*"))
