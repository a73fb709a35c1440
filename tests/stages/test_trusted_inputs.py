"""What goes into a result is verified when it is opened: models, embeddings, translations."""

import json
import shutil
from pathlib import Path

import pytest
from outcomes import refused, well
from tiny_translators import m2m, save

SW = ("--lang", "sw-en")


@pytest.fixture
def chain(clir, quick, home, tmp_path):
    """Run a verb with the quick settings: ``chain("search", "--lang", "sw-en")``."""

    def call(verb, *words):
        results = ("--results", tmp_path / "results") if verb == "evaluate" else ()
        return clir(verb, *quick, *words, *results, "--home", home)

    return call


def flip(path: Path, at: float = 0.8) -> None:
    """Flip a bit of a file, four fifths of the way through it."""
    content = bytearray(path.read_bytes())
    content[int(len(content) * at)] ^= 0x40
    path.write_bytes(bytes(content))


def digests(folder: Path) -> dict[str, str]:
    files = json.loads((folder / "manifest.json").read_text())["files"]
    return {name: entry["sha256"] for name, entry in files.items() if name != "training.csv"}


# ------------------------------------------------------------------ models


@pytest.fixture
def downloaded(clir, home, models):
    """The official MiniLM in a home of its own; return its folder."""
    (home / "models").unlink()
    folder = home / "models" / "all-MiniLM-L6-v2"
    shutil.copytree(models / folder.name, folder)
    return folder


@pytest.mark.parametrize("fault", ["flipped", "unlisted"])
def test_a_damaged_teacher_is_refused_by_every_stage(
    clir, downloaded, home, small_collection, fault
):
    search = ("search", *SW, "--method", "english,zero-shot", "--collection", small_collection)
    index = ("index", "--collection", small_collection)
    well(clir(*index, "--home", home))
    if fault == "flipped":
        flip(downloaded / "model.safetensors")
    else:
        (downloaded / "recipe.json").write_text('{"query_prefix": "x"}')
    name = "model.safetensors" if fault == "flipped" else "recipe.json"
    shutil.rmtree(home / "sample" / "index")
    for words in (
        index,
        ("distill", *SW),
        ("align", *SW, "--method", "zero-shot", "maji", "water"),
    ):
        assert f"{downloaded / name}: " in refused(clir(*words, "--home", home)), words
    well(clir("download", *SW, "--home", home, "--force"))
    (downloaded / "recipe.json").unlink(missing_ok=True)
    well(clir(*index, "--home", home))
    if fault == "flipped":
        flip(downloaded / "model.safetensors")
    else:
        (downloaded / "recipe.json").write_text('{"query_prefix": "x"}')
    assert f"{downloaded / name}: " in refused(clir(*search, "--home", home))
    assert not (home / "sample" / "sw-en").exists()


@pytest.mark.parametrize(
    ("recipe", "setting", "folder"),
    [
        ("monolingual", "teacher.model=monolingual", "sample/en/monolingual/model"),
        ("augment", "student.model=augment", "sample/sw-en/augment/model"),
    ],
)
def test_a_damaged_model_of_train_is_refused(chain, home, recipe, setting, folder):
    small = ("--set", "monolingual.epochs=1", "--set", "augment.epochs=1")
    lang = () if recipe == "monolingual" else SW
    well(chain("train", "--recipe", recipe, *lang, *small))
    flip(home / folder / "model.safetensors")
    said = refused(chain("distill", *SW, *small, "--set", setting))
    assert f"{home / folder / 'model.safetensors'}: sha256 differs" in said
    assert f"clir train --recipe {recipe}" in said


# ------------------------------------------------------------------ what stages store for later


def test_damaged_teacher_embeddings_are_made_again(chain, home):
    rows = ("distill", *SW, "--method", "rows")
    well(chain(*rows))
    student = home / "sample" / "sw-en" / "rows" / "student"
    before = digests(student)
    (embeddings,) = (home / "sample" / "sw-en").glob("teacher*")
    for name, damage in (
        ("vectors.npy", Path.unlink),
        ("vectors.npy", flip),
        ("offsets.npy", flip),
    ):
        damage(embeddings / name)
        outcome = well(chain(*rows, "--force"))
        assert f"{embeddings / name}: " in outcome.err
        assert "making it again" in outcome.err
        assert digests(student) == before


def test_what_is_made_of_bitext_is_made_once_and_again_if_damaged(chain, home):
    rows = ("distill", *SW, "--method", "rows")
    well(chain(*rows))
    student, pair = home / "sample" / "sw-en" / "rows" / "student", home / "sample" / "sw-en"
    before = digests(student)
    (lexicons,), (tokens,) = (pair / "lexicons").iterdir(), (pair / "tokens").iterdir()
    made = [folder.stat().st_mtime_ns for folder in (lexicons, tokens)]
    well(chain(*rows, "--seed", "1"))
    assert [folder.stat().st_mtime_ns for folder in (lexicons, tokens)] == made
    assert digests(pair / "rows.seed1" / "student") == before
    well(chain(*rows, "--variant", "near", "--set", "student.neighbours=1"))
    assert len(list((pair / "lexicons").iterdir())) == 2
    assert digests(pair / "rows.near" / "student") != before
    for damaged in (lexicons / "strengths.npy", tokens / "ids.npy"):
        flip(damaged)
        outcome = well(chain(*rows, "--force"))
        assert f"{damaged}: " in outcome.err
        assert digests(student) == before


def test_token_ids_are_read_again_as_they_were(chain, home):
    """Also those of folds, each of which has words of its own."""
    ot = ("distill", *SW, "--method", "ot", "--set", "training.epochs=1")
    well(chain(*ot))
    student, pair = home / "sample" / "sw-en" / "ot" / "student", home / "sample" / "sw-en"
    before = digests(student)
    (tokens,) = (pair / "tokens").iterdir()
    well(chain(*ot, "--force"))
    assert digests(student) == before
    shutil.rmtree(tokens)
    well(chain(*ot, "--force"))
    assert digests(student) == before
    well(chain(*ot, "--variant", "short", "--set", "teacher.sentence_tokens=8"))
    assert len(list((pair / "tokens").iterdir())) == 2


def test_damaged_translations_are_made_again(chain, home, tmp_path):
    translator = save(tmp_path / "nllb", m2m, ("swh_Latn", "eng_Latn"))
    nmt = (
        "--method",
        "nmt-bm25",
        "--set",
        f"nmt.model={translator}",
        "--set",
        "nmt.max_tokens=8",
        *SW,
    )
    well(chain("search", *nmt))
    run = home / "sample" / "sw-en" / "nmt-bm25" / "runs" / "small"
    before = digests(run)
    (path,) = (home / "sample" / "sw-en" / "nmt").rglob("queries.en.jsonl")
    text = path.read_text()
    path.write_text(text.replace('"text": "', '"text": "deep ', 1))
    outcome = well(chain("search", *nmt, "--force"))
    assert f"{path}: " in outcome.err
    assert path.read_text() == text
    assert digests(run) == before
