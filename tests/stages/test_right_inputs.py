"""A model is used only for what it was made for: pair, method, settings, teacher, bitext."""

import json
import re
import shlex
import shutil

import pytest
from outcomes import refused, well
from tiny_encoders import tiny_bert

from clir_cli.files import digest

SW, ROWS = ("--lang", "sw-en"), ("--method", "rows")


@pytest.fixture
def chain(clir, quick, home, tmp_path):
    """Run a verb with the quick settings: ``chain("search", "--lang", "sw-en")``."""

    def call(verb, *words):
        results = ("--results", tmp_path / "results") if verb == "evaluate" else ()
        return clir(verb, *quick, *words, *results, "--home", home)

    return call


def test_a_student_of_other_settings_is_refused_with_the_settings(chain, home):
    other = ("--set", "training.clip=2.0", "--set", "student.layers=1")
    well(chain("distill", *SW, *ROWS, *other))
    well(chain("index"))
    well(chain("search", *SW, *ROWS, *other))
    for words in (
        ("search", *SW, *ROWS),
        ("search", *SW, *ROWS, "--query", "maji"),
        ("search", *SW, *ROWS, "--dry-run"),
        ("evaluate", *SW, *ROWS, "--metric", "map"),
        ("align", *SW, *ROWS, "maji", "water"),
    ):
        said = refused(chain(*words))
        assert "training.clip: 2.0 -> 1.0" in said
        assert "student.layers: 1 -> null" in said
        (options,) = re.findall(r"to use it, add (.*); or make it again: clir distill ", said)
        assert " --force" in said
    assert set(shlex.split(options)[1::2]) == {"training.clip=2.0", "student.layers=1"}
    well(chain("evaluate", *SW, *ROWS, "--metric", "map", *shlex.split(options)))
    assert "is current" in well(chain("search", *SW, *ROWS, *shlex.split(options))).err


def test_a_run_of_other_settings_is_refused_with_the_settings(chain):
    bm25 = ("--method", "bm25")
    well(chain("search", *SW, *bm25, "--set", "search.top_k=5"))
    said = refused(chain("evaluate", *SW, *bm25, "--metric", "map"))
    assert "to use it, add --set search.top_k=5; or make it again: clir search" in said


@pytest.mark.parametrize("other", ["fi-en/rows", "sw-en/kd-mse"])
def test_a_student_in_the_place_of_another_is_refused(chain, home, other):
    pair, method = other.split("/")
    well(chain("index"))
    well(chain("distill", *SW, *ROWS))
    well(chain("distill", "--lang", pair, "--method", method))
    here, there = home / "sample/sw-en/rows/student", home / "sample" / other / "student"
    here.rename(home / "kept")
    there.rename(here)
    what = "pair" if pair != "sw-en" else "method"
    for words in (("search",), ("search", "--query", "maji"), ("align", "maji", "water")):
        said = refused(chain(*words[:1], *SW, *ROWS, *words[1:]))
        assert f'{here} was made from something else ({what}: "' in said
        assert "put the folder back where it was" in said
    assert not (home / "sample/sw-en/rows/runs").exists()


def test_a_variant_names_its_settings_but_not_its_teacher(chain, home, models, tmp_path):
    named = (*SW, *ROWS, "--variant", "clipped")
    well(chain("distill", *named, "--set", "training.clip=2.0"))
    well(chain("index"))
    well(chain("search", *named))
    another = ("--set", f"teacher.model={tiny_bert(tmp_path / 'another', models, seed=9)}")
    well(chain("index", *another, "--force"))
    assert "(teacher)" in refused(chain("search", *named, *another))
    # Nor can it be a student of another pair.
    well(chain("distill", "--lang", "fi-en", *ROWS, "--variant", "clipped"))
    here, there = (home / f"sample/{pair}/rows.clipped/student" for pair in ("sw-en", "fi-en"))
    here.rename(home / "kept")
    there.rename(here)
    assert 'pair: "fi-en" -> "sw-en"' in refused(chain("search", *named))


def test_a_student_of_bitext_that_changed_is_refused_and_of_lost_bitext_is_not(chain, tmp_path):
    own = tmp_path / "own.tsv"
    text = "".join(f"neno namba {n}\tword number {n}\n" for n in range(60))
    own.write_text(text)
    words = (*SW, *ROWS, "--set", f'bitext.files=["{own}"]')
    well(chain("distill", *words))
    well(chain("index"))
    own.write_text(text.replace("word", "term", 1))
    assert f"({own})" in refused(chain("search", *words))
    own.unlink()
    well(chain("search", *words))
    assert "no such file (bitext.files)" in refused(chain("distill", *words, "--force"))


def test_a_model_in_the_place_of_another_is_refused(clir, home, models, tmp_path):
    (home / "models").unlink()
    shutil.copytree(models / "all-MiniLM-L6-v2", home / "models" / "all-MiniLM-L6-v2")
    path = home / "models" / "all-MiniLM-L6-v2" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["config"]["name"] = "another"
    manifest["fingerprint"] = "0" * 64
    path.write_text(json.dumps(manifest))
    said = refused(clir("index", "--home", home))
    assert 'name: "another" -> "all-MiniLM-L6-v2"' in said
    assert "clir download" in said
    path.unlink()
    said = refused(clir("index", "--home", home))
    assert "manifest.json is missing; make it again: clir download" in said
    well(clir(*shlex.split(said.rsplit("clir ", 1)[1])))
    assert path.is_file()
    assert not (home / "sample").exists()


def test_a_student_that_was_trained_again_with_the_same_result_is_the_same(chain, home):
    kd = (*SW, "--method", "kd-mse")
    well(chain("distill", *kd))
    well(chain("index"))
    well(chain("search", *kd))
    # As 0.1.0 recorded it: with its notes and the speeds of its training.
    files = json.loads((home / "sample/sw-en/kd-mse/student/manifest.json").read_text())["files"]
    path = home / "sample/sw-en/kd-mse/runs/small/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["inputs"]["encoder"] = digest({name: x["sha256"] for name, x in files.items()})
    parts = {name: manifest[name] for name in ("kind", "config", "inputs")}
    old = json.dumps(manifest | {"fingerprint": digest(parts)})
    new = path.read_text()
    assert old != new
    for text in (old, new):
        path.write_text(text)
        assert "is current" in well(chain("search", *kd)).err
    log = home / "sample/sw-en/kd-mse/student/training.csv"
    before = log.read_text()
    well(chain("distill", *kd, "--force"))
    assert log.read_text() != before
    assert "is current" in well(chain("search", *kd)).err
    well(chain("evaluate", *kd, "--metric", "map"))
