"""``--joint``: one student for several pairs, from the command line to the score table."""

import csv
import json
import shutil

import pytest
from tiny_encoders import tiny_bert
from transformers import AutoTokenizer

from clir_cli.suites import bundled

TWO, THREE = "sw-en,de-en", "de-en,sw-en,fi-en"


@pytest.fixture
def joint(clir, home, models, small_collection, tmp_path):
    """Run a verb with a tiny teacher: ``joint("search", "--lang", TWO)``."""
    tiny = tiny_bert(tmp_path / "tiny", models)
    source = bundled("data") / "sample" / "collection"
    for language in ("de", "fi"):
        shutil.copy(source / f"queries.{language}.jsonl", small_collection)
    own = {
        "index": ("--collection", small_collection),
        "search": ("--collection", small_collection),
        "evaluate": ("--collection", small_collection, "--results", tmp_path / "results"),
    }

    def call(verb, *words):
        small = ("--set", "bitext.max_pairs=40", "--set", "training.epochs=1")
        common = ("--home", home, "--set", f"teacher.model={tiny}")
        return clir(verb, *small, *words, *own.get(verb, ()), *common)

    return call


def notes(folder) -> dict:
    return json.loads((folder / "manifest.json").read_text())["notes"]


def test_one_student_from_bitext_to_scores(joint, home, tmp_path):
    group = ("--lang", TWO, "--joint", "--method", "ot")
    chain = (("index",), ("distill", *group), ("search", *group))
    for words in chain:
        outcome = joint(*words)
        assert outcome.code == 0, outcome.err
    student = home / "sample" / "de+sw-en" / "ot" / "student"
    told = notes(student)
    assert told["train_pairs"] == sum(each["train_pairs"] for each in told["pairs"].values()) == 72
    assert [each["pairs_an_epoch"] for each in told["pairs"].values()] == [36, 36]
    mean = sum(each["held_out_loss"] for each in told["pairs"].values()) / 2
    assert told["held_out_loss"] == pytest.approx(mean, abs=1e-5)
    vocabulary = AutoTokenizer.from_pretrained(student).get_vocab()
    assert {"maji", "und"} <= vocabulary.keys()  # a word of either
    for pair in ("sw-en", "de-en"):
        assert (home / "sample" / pair / "ot.joint-de+sw-en/runs/small/run.trec").is_file()
        assert not (home / "sample" / pair / "ot").exists()
    before = student.stat().st_mtime_ns
    again = joint("distill", "--lang", "de-en,sw-en,de-en", "--joint", "--method", "ot")
    assert again.code == 0  # whatever the order
    assert "current" in again.err
    assert student.stat().st_mtime_ns == before

    # Another group, and a student of its own pair, stand beside it in one table.
    for words in (("--lang", THREE, "--joint"), ("--lang", "sw-en")):
        for verb in ("distill", "search", "evaluate"):
            metric = ("--metric", "mrr") if verb == "evaluate" else ()
            outcome = joint(verb, *words, "--method", "ot", *metric)
            assert outcome.code == 0, outcome.err
    outcome = joint("evaluate", *group, "--metric", "mrr", "--baseline", "ot.seed0", "--json")
    assert outcome.code == 2
    assert "clir distill --lang de-en --method ot" in outcome.err  # it has no student of its own
    group = ("--lang", "sw-en,de-en", "--joint", "--method", "ot,zero-shot")
    assert joint("search", *group).code == 0
    column = ("--baseline", "ot.joint-de+sw-en", "--json")
    compared = joint("evaluate", *group, "--metric", "mrr", *column)
    assert compared.code == 0, compared.err
    assert {row["baseline"] for row in compared.json} == {"ot.joint-de+sw-en"}
    with (tmp_path / "results" / "sample" / "scores.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    found = [(row["pair"], row["method"], row["variant"]) for row in rows if row["method"] == "ot"]
    two, three = "joint-de+sw-en", "joint-de+fi+sw-en"
    assert sorted(found) == sorted(
        [("sw-en", "ot", ""), ("sw-en", "ot", two), ("de-en", "ot", two)]
        + [(pair, "ot", three) for pair in ("de-en", "fi-en", "sw-en")]
    )


@pytest.mark.slow
def test_it_reads_and_aligns_and_says_what_is_missing(joint, home):
    group = ("--lang", TWO, "--joint")
    outcome = joint("dictionary", *group)
    assert outcome.code == 2
    assert "clir distill --lang de-en,sw-en --joint --method ot --suite sample" in outcome.err
    assert joint("index").code == 0
    assert joint("distill", *group).code == 0
    answer = joint("search", *group, "--query", "maji", "--top-k", 1, "--json")
    assert answer.code == 0, answer.err
    assert len(answer.json) == 1  # one student, one answer
    shown = joint("align", *group, "maji safi", "clean water", "--json")
    assert shown.code == 0, shown.err
    assert shown.err == ""
    told = joint("distill", *group, "--dry-run", "--json").json
    assert len(told) == 1
    assert told[0]["state"] == "current"
    hotter = joint("distill", *group, "--set", "joint.temperature=5")
    assert hotter.code == 2
    assert "joint.temperature: 2.0 -> 5.0" in hotter.err
    outcome = joint("distill", *group, "--variant", "hot", "--set", "joint.temperature=5")
    assert outcome.code == 0, outcome.err
    assert (home / "sample" / "de+sw-en" / "ot.hot" / "student" / "manifest.json").is_file()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--lang", "sw-en"), "--lang has sw-en alone"),
        (
            ("--lang", TWO, "--set", 'bitext.files=["own.tsv"]'),
            "bitext.files: own.tsv belongs to one pair",
        ),
        (("--lang", TWO, "--set", "joint.temperature=0.5"), "joint.temperature"),
        (("--lang", TWO, "--set", "training.batch_size=100"), "training.batch_size is 100"),
        (("--lang", TWO, "--method", "zero-shot"), "trains no student"),
    ],
)
def test_what_cannot_be_joint_is_told_in_a_line(joint, home, words, told):
    outcome = joint("distill", *words, "--joint")
    assert outcome.code == 2
    assert told in outcome.err
    assert len(outcome.err.strip().splitlines()[-1:]) == 1
    assert not any((home / "sample").glob("*+*/*/student"))


def test_settings_of_joint_students_change_no_other_student(joint):
    words = ("distill", "--lang", "sw-en", "--dry-run", "--json")
    plain, hot = joint(*words), joint(*words, "--set", "joint.temperature=7")
    assert plain.json[0]["fingerprint"] == hot.json[0]["fingerprint"]
