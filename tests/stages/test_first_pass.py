"""``student.rows=plans``: a second student whose rows come from the plans of a first one."""

import json

import pytest
from tiny_encoders import tiny_bert
from transformers import AutoTokenizer

PLANS = ("--set", "student.rows=plans")
SECOND = (*PLANS, "--variant", "plans")


@pytest.fixture
def distill(clir, home, models, tmp_path):
    tiny = tiny_bert(tmp_path / "tiny", models)
    small = ("--set", "bitext.max_pairs=40", "--set", "training.epochs=1")

    def call(*words, pairs="sw-en"):
        teacher = ("--set", f"teacher.model={tiny}")
        return clir("distill", "--lang", pairs, *small, "--home", home, *teacher, *words)

    return call


def test_a_second_student_from_the_plans_of_the_first(distill, home):
    missing = distill(*SECOND)
    assert missing.code == 2
    assert "clir distill --lang sw-en --method ot" in missing.err
    assert "student.rows=plans" not in missing.err  # not the plans again
    first = distill()
    assert first.code == 0, first.err
    second = distill(*SECOND)
    assert second.code == 0, second.err
    folder = home / "sample" / "sw-en" / "ot.plans" / "student"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["inputs"]["first pass"]
    assert manifest["config"]["student"]["rows"] == "plans"
    assert "maji" in AutoTokenizer.from_pretrained(folder).get_vocab()
    assert "current" in distill(*SECOND).err
    assert distill("--force", "--set", "training.learning_rate=1e-4").code == 0
    changed = distill(*SECOND)  # another first student, other plans
    assert changed.code == 2
    assert "training.learning_rate" in changed.err


@pytest.mark.parametrize(
    ("words", "pairs", "told"),
    [
        (PLANS, "sw-en", "give it a name of its own with --variant"),
        ((*SECOND, "--joint"), "sw-en,de-en", "works for one pair"),
    ],
)
def test_a_first_student_cannot_read_its_own_plans(distill, words, pairs, told):
    outcome = distill(*words, pairs=pairs)
    assert outcome.code == 2
    assert told in outcome.err
    assert outcome.err.count("\n") == 1
