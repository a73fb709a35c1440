"""A catalogue of one's own: what `clir init` writes, what it adds, and what is refused."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from command_words import refused, tree
from outcomes import well

from clir_cli import suites
from clir_cli.corpus import catalogue

ROOT = Path(__file__).parents[2]
KINDS = ("languages", "bitext", "dictionaries", "collections", "models", "suites")
WORDS = [("amazi", "water"), ("imvura", "rain"), ("isoko", "market"), ("umuti", "medicine")]
PAIRS = [(f"{word} {at}", f"{english} {at}") for at in range(10) for word, english in WORDS]


@pytest.fixture
def mine(clir, empty) -> Path:
    """A catalogue as `clir init` writes it, with its examples taken and data for them."""
    well(clir("init", "mine"))
    folder = Path("mine")
    for file in folder.glob("*.toml"):
        text = file.read_text(encoding="utf-8")
        file.write_text(re.sub(r"^#(?! \S)", "", text, flags=re.MULTILINE), encoding="utf-8")
    (folder / "bitext").mkdir()
    lines = "".join(f"{query},{english}\n" for query, english in PAIRS)
    (folder / "bitext" / "rw.csv").write_text(f"rw,en\n{lines}")
    (folder / "words").mkdir()
    (folder / "words" / "rw.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in WORDS))
    (folder / "news" / "qrels").mkdir(parents=True)
    records = {"corpus": [{"_id": "d1", "text": "Water is life."}, {"_id": "d2", "text": "Rain."}],
               "queries.rw": [{"_id": "q1", "text": "amazi"}],
               "queries.en": [{"_id": "q1", "text": "water"}]}  # fmt: skip
    for name, rows in records.items():
        (folder / "news" / f"{name}.jsonl").write_text("".join(f"{json.dumps(r)}\n" for r in rows))
    (folder / "news" / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    return folder


def names(clir: Callable, kind: str, *more: str) -> list[str]:
    rows = well(clir("ls", kind, "--json", *more)).json
    return [next(iter(row.values())) for row in rows]


def test_what_is_written_adds_a_suite_and_examples_to_take(clir, empty) -> None:
    well(clir("init", "a/mine"))
    before = {kind: names(clir, kind) for kind in KINDS}
    after = {kind: names(clir, kind, "--catalogue", "a/mine") for kind in KINDS}
    assert after == {**before, "suites": [*before["suites"], "mine"]}
    experiments = well(clir("reproduce", "--json", "--catalogue", "a/mine")).json
    assert [row["experiment"] for row in experiments][-1] == "mine"
    assert tree(Path("a")) == sorted(
        ["mine", "mine/experiments", "mine/experiments/mine.toml", "mine/suites",
         "mine/suites/mine.toml", *(f"mine/{kind}.toml" for kind in KINDS[:-1])]
    )  # fmt: skip
    line = refused(clir("init", "a/mine"))
    assert "a/mine is there, and not empty; name a new folder" in line


def test_its_entries_are_listed_beside_the_built_in_ones(clir, mine, monkeypatch) -> None:
    added = ["rw-en", "our-sentences", "our-words", "our-news", "our-model", "mine"]
    before = {kind: names(clir, kind) for kind in KINDS}
    for name, (kind, known) in zip(added, before.items(), strict=True):
        assert names(clir, kind, "--catalogue", "mine") == [*known, name]
        assert names(clir, kind) == known, "an option is for one command"
    monkeypatch.setenv("CLIR_CATALOGUE", "mine")
    assert names(clir, "languages")[-1] == "rw-en"


def test_its_entries_are_used_like_the_others(clir, mine, quick, home) -> None:
    options = [*quick[:-2], "--home", home, "--suite", "mine", "--catalogue", "mine"]
    own = ("--set", 'bitext.sources=["our-sentences"]', "--set", 'dictionary.sources=["our-words"]')
    own += ("--set", "bitext.held_out=2", "--collection", "our-news")
    rows = well(clir("download", "--lang", "rw-en", "--dry-run", "--json", *options, *own)).json
    places = {row["path"]: (row["source"], row["url"], row["there"]) for row in rows}
    folder = Path("mine").absolute()
    assert places[str(folder / "bitext/rw.csv")] == ("our-sentences", "in your catalogue", True)
    assert str(folder / "news/queries.rw.jsonl") in places
    well(clir("distill", "--lang", "rw-en", *options, *own[:-2]))
    manifest = json.loads((home / "mine/rw-en/ot/student/manifest.json").read_text())
    assert manifest["inputs"].keys() >= {"our-sentences/bitext/rw.csv"}
    assert "--catalogue mine" in manifest["command"]
    well(clir("index", *options, "--collection", "our-news"))
    (best, _) = well(
        clir("search", "--lang", "rw-en", "--query", "amazi", "--json", *options, *own)
    ).json
    assert best["rank"] == 1
    # Without the catalogue the suite is not known; what clir itself has is as before.
    assert "unknown suite 'mine'" in refused(clir("search", "--lang", "rw-en", "--suite", "mine"))


def test_what_the_package_has_stays_as_it_is(mine, monkeypatch) -> None:
    kinds = ("bitext", "collections", "dictionaries")
    before = [catalogue.languages(), catalogue.models(), *map(catalogue.sources, kinds)]
    settings = {name: suites.suite_settings(name) for name in suites.suites()}
    monkeypatch.setenv("CLIR_CATALOGUE", "mine")
    after = [catalogue.languages(), catalogue.models(), *map(catalogue.sources, kinds)]
    for known, all_entries in zip(before, after, strict=True):
        assert list(known.items()) == list(all_entries.items())[: len(known)]
        assert len(all_entries) == len(known) + 1
    assert {name: suites.suite_settings(name) for name in settings} == settings


SOURCE = """[{}]
format = "files"
title = "t"
licence = "l"
files = [{{ path = "a.tsv", lang = "rw" }}]
"""


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("languages.toml", '[sw]\nname = "Swahili"', "clir has sw among its languages; choose an"),
        ("languages.toml", '[kinya]\nname = "K"', "[kinya] is no name; one of languages has two"),
        ("languages.toml", '[en]\nname = "E"', "[en] is no name; one of languages has two"),
        ("languages.toml", "[rw]", "languages.toml: [rw] name is missing; add it"),
        ("languages.toml", '[rw]\nname = "K"\nresource = "lo"', "[rw] resource: input should be '"),
        ("languages.toml", '[rw]\nname = "K"\niso639_3 = "kin"', "[rw] iso639_3: input should be"),
        ("languages.toml", '[rw]\nname = "K"\nfamly = "B"', "no such key famly; did you mean fam"),
        ("languages.toml", 'name = "K"', "name is in no table; write it below a line as [name]"),
        ("languages.toml", "[rw", "mine/languages.toml: not valid TOML: "),
        ("bitext.toml", SOURCE.format("tatoeba"), "clir has tatoeba among its bitext; choose an"),
        ("bitext.toml", SOURCE.format('"a b"'), "[a b] is no name; one of bitext has letters, dig"),
        ("bitext.toml", '[a]\ntitle = "t"', "[a] format is missing; add one of files, moses, tmx"),
        ("bitext.toml", SOURCE.format("a").replace('"files"', '"filse"'), "did you mean files?"),
        ("bitext.toml", SOURCE.format("a").replace("licence", "licenc"), "[a] licence is missing;"),
        ("bitext.toml", SOURCE.format("a").replace(', lang = "rw"', ""), "[a] has no language; wr"),
        ("bitext.toml", SOURCE.format("a").replace("lang", "lnag"), "[a] has no language; write"),
        ("bitext.toml", SOURCE.format("a").replace("path =", "pth ="), "files.0.path is missing;"),
        ("bitext.toml", SOURCE.format("a") + 'terms = "opne"', "[a] terms: input should be 'open'"),
        ("bitext.toml", SOURCE.format("a") + "variants = 3", "[a] variants: input should be a val"),
        ("bitext.toml", SOURCE.format("a").replace("a.tsv", "{code}.tsv"), "add the languages: co"),
        ("bitext.toml", SOURCE.format("a") + 'base = "https://a.org/../b/"', "leads out of its"),
        ("bitext.toml", SOURCE.format("a") + "base = 3", "[a] base: input should be a valid"),
        ("collections.toml", '[ntrex]\nformat = "beir"', "clir has ntrex among its collections;"),
        ("collections.toml", '[a]\nformat = "beir"\n', "[a] files is missing; add files = [{ path"),
        ("models.toml", '[a]\ntitle = "t"\nlicence = "l"', "[a] repository is missing; add it"),
        ("models.toml", '[a]\nfiles = [{ path = "../b" }]', "[a] ../b leads out of its folder;"),
        ("models.toml", "[a]\nshape = { layers = 3 }", "[a] shape.parameters is missing; add it"),
        ("modls.toml", "", "modls.toml: no file of a catalogue; did you mean mod"),
        ("suites/open.toml", "", "suites/open.toml: clir has open among its suites;"),
        ("suites/models.toml", "", "suites/models.toml: clir has models among its suites; rename"),
        ("suites/a b.toml", "", "a name of suites has letters, digits, - and _; rename it"),
        ("suites/a.toml", 'collection = "x"\n[training]\nepoch = 3', "unknown setting training"),
        ("suites/a.toml", 'collection = "x"\ntitle = 3', "setting title: input should be a"),
        ("suites/a.toml", "", "suites/a.toml: setting collection is missing; add it"),
        ("experiments/optical.toml", "", "clir has optical among its experiments; rename the file"),
    ],
)  # fmt: skip
def test_an_entry_that_is_not_right_is_one_line_with_its_file(
    clir, empty, file: str, text: str, told: str
) -> None:
    path = Path("mine") / file
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    what = "suites" if "/" in file else path.stem.replace("modls", "models")
    words = ("reproduce",) if "experiments" in file else ("ls", what)
    line = refused(clir(*words, "--catalogue", "mine"))
    assert told in line
    assert f"mine/{file}: " in line


def test_a_file_that_trains_and_tests_is_refused(clir, mine) -> None:
    entry = SOURCE.format("same").replace("a.tsv", "news/corpus.jsonl")
    (mine / "bitext.toml").write_text(entry)
    line = refused(clir("ls", "bitext", "--catalogue", "mine"))
    assert "same and our-news share " in line
    assert "mine/news/corpus.jsonl, which would both train and test; remove one" in line


def test_files_and_folders_that_are_missing_are_told(clir, mine, home) -> None:
    line = refused(clir("ls", "bitext", "--catalogue", "nine"))
    assert "nine: no such folder (--catalogue or CLIR_CATALOGUE); make one with clir init" in line
    assert "--catalogue is empty; name a file or folder" in refused(clir("ls", "--catalogue", ""))
    (mine / "bitext" / "rw.csv").unlink()
    own = ("--catalogue", "mine", "--home", home, "--set", 'bitext.sources=["our-sentences"]')
    for verb in ("distill", "download"):
        line = refused(clir(verb, "--lang", "rw-en", "--suite", "mine", *own))
        assert "mine/bitext/rw.csv: no such file" in line


def test_the_commands_of_the_page_work(clir, mine, home, quick) -> None:
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    commands = re.findall(r"^clir (.*--catalogue mine.*)$", page, re.MULTILINE)
    assert len(commands) >= 3
    for command in commands:
        words = shlex.split(command)
        more = () if words[0] == "ls" else ("--home", home)
        well(clir(*words, *more))
