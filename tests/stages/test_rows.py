"""The method ``rows``: what distillation begins with, searched as it is."""

import json

import torch
from transformers import AutoModel

FEW = ("--set", "bitext.max_pairs=150", "--set", "training.batch_size=16")
PAIR = ("--lang", "sw-en", "--method")


def test_the_student_is_the_teacher_with_more_rows(clir, home, small_collection, tmp_path):
    made = clir("distill", *PAIR, "rows", *FEW, "--home", home)
    assert made.code == 0, made.err
    student = home / "sample" / "sw-en" / "rows" / "student"
    notes = json.loads((student / "manifest.json").read_text())["notes"]
    assert notes["epoch"] == 0
    assert notes["new_rows"] > 100
    own = AutoModel.from_pretrained(student).state_dict()
    teacher = AutoModel.from_pretrained(home / "models" / "all-MiniLM-L6-v2").state_dict()
    table = "embeddings.word_embeddings.weight"
    assert len(own[table]) > len(teacher[table])
    for name, value in teacher.items():
        if name != table and not name.startswith("pooler"):  # late interaction has no use for it
            assert torch.equal(own[name], value), name

    words = (*FEW, "--collection", small_collection, "--home", home)
    assert clir("index", *words).code == 0
    searched = clir("search", *PAIR, "rows,zero-shot", *words)
    assert searched.code == 0, searched.err
    results = ("--results", tmp_path / "results", "--metric", "map", "--json")
    rows = clir("evaluate", *PAIR, "rows,zero-shot", *words, *results).json
    value = {row["method"]: row["value"] for row in rows}
    assert value["rows"] > 2 * value["zero-shot"]


def test_again_it_is_the_same(clir, home):
    student = home / "sample" / "sw-en" / "rows" / "student"
    files = []
    for _ in range(2):
        assert clir("distill", *PAIR, "rows", *FEW, "--home", home, "--force").code == 0
        files.append(json.loads((student / "manifest.json").read_text())["files"])
    assert files[0] == files[1]
