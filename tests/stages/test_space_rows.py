"""``student.rows=space`` and ``ibm1+space``, through distill."""

import json

import pytest
from outcomes import refused, well
from tiny_encoders import tiny_bert

ROWS = ("distill", "--lang", "sw-en", "--method", "rows")


@pytest.fixture
def rows(clir, quick, home, models, tmp_path):
    """Distill with new rows; return the manifest of the student."""
    space = tiny_bert(tmp_path / "space", models, seed=5)

    def call(variant, *settings):
        words = [word for setting in settings for word in ("--set", setting)]
        words += ["--variant", variant, "--set", f"student.space_model={space}"]
        outcome = well(clir(*ROWS, *quick, *words, "--home", home))
        folder = home / "sample" / "sw-en" / f"rows.{variant}" / "student"
        return json.loads((folder / "manifest.json").read_text()) | {"said": outcome.err}

    return call


def weights(manifest):
    return manifest["files"]["model.safetensors"]["sha256"]


@pytest.mark.slow
def test_rows_in_space_differ_from_counted_ones_and_rare_words_alone_may_be_placed(rows):
    counted = rows("counted")
    placed = rows("placed", "student.rows=space")
    assert "space model" in placed["inputs"] and "space model" not in counted["inputs"]
    assert weights(placed) != weights(counted)
    assert placed["notes"]["new_rows"] == counted["notes"]["new_rows"]
    both = ("student.rows=ibm1+space", "student.vocabulary=words", "student.min_count=1")
    mixed = rows("mixed", *both, "student.space_count=3")
    every = rows("all", *both, "student.space_count=1")
    counts = rows("only", "student.vocabulary=words", "student.min_count=1")
    assert weights(every) == weights(counts) != weights(mixed)


def test_a_space_model_that_is_missing_is_told_with_the_command_that_fetches_it(clir, home):
    said = refused(clir(*ROWS, "--home", home, "--set", "student.rows=space"))
    assert "multilingual-e5-small" in said and "clir download" in said
    assert "student.rows=space" in said


def test_words_are_counted_in_a_sample_of_a_large_bitext(rows):
    every, few = rows("all", "student.row_pairs=0"), rows("few", "student.row_pairs=20")
    more = rows("more", "student.row_pairs=1000")  # than there are
    pairs = every["notes"]["train_pairs"]
    assert f"words are counted in 20 of {pairs} pairs (student.row_pairs)" in few["said"]
    assert "words are counted in" not in every["said"] + more["said"]
    assert 0 < few["notes"]["new_rows"] < every["notes"]["new_rows"]
    assert few["notes"]["train_pairs"] == every["notes"]["train_pairs"] > 20
    assert weights(more) == weights(every) != weights(few)
