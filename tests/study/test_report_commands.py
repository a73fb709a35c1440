"""What a report tells besides its figures: commands that can be pasted, and all seeds."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clir_cli.artifacts.command import Command
from clir_cli.evaluation import scores
from clir_cli.stages.support.workspace import Workspace
from clir_cli.study.report.data import read
from clir_cli.study.report.made import Student, neutral, neutral_command
from clir_cli.study.report.page import report
from clir_cli.study.report.provenance import distillations, scored
from clir_cli.suites import load_settings

SETTINGS = "--set bitext.licence=free --set training.epochs=1"
PARTS = st.text(st.sampled_from("abc09_-."), min_size=1, max_size=5)


@given(st.lists(PARTS, min_size=2, max_size=4))
@settings(derandomize=True, deadline=None)
def test_a_path_is_told_by_its_last_part_alone(parts: list[str]) -> None:
    path = "/" + "/".join(parts)
    assert neutral(f"clir index --collection {path} --suite open") == (
        f"clir index --collection {parts[-1]} --suite open"
    )
    assert neutral(f"files ['{path}']") == f"files ['{parts[-1]}']"


def test_a_command_keeps_its_words_whatever_is_in_them() -> None:
    shown = (
        "clir evaluate --collection '/home/me/my  docs' --set 'bitext.files=[\"/a/b c.tsv\"]' it"
    )
    assert str(neutral_command(shown)) == (
        "clir evaluate --collection 'my  docs' --set 'bitext.files=[\"b c.tsv\"]' it"
    )
    for text in ("clir", "clir distill 'half", "None"):
        assert str(neutral_command(text)) == "clir distill"
    dashes = Command("align", (("--lang", "sw-en"),), ("-maji", "--water"))
    assert str(dashes) == "clir align --lang sw-en -- -maji --water"
    assert Command.parse(str(dashes)) == dashes


def test_commands_name_collection_variant_and_seeds(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my docs").mkdir()
    key = {"suite": "sample", "collection": "my docs", "pair": "sw-en", "metric": "map",
           "value": 0.5, "queries": 1, "ci_low": 0.5, "ci_high": 0.5}  # fmt: skip
    cells = [("ot", "", 0), ("ot", "", 1), ("bm25", "", 0), ("ot", "joint-so+sw-en.plain", 0)]
    rows = [
        {**key, "method": method, "variant": variant, "seed": seed}
        for method, variant, seed in cells
    ]
    queries = [{**row, "query": "q"} for row in rows]
    scores.publish(tmp_path / "results" / "sample", rows, queries)
    workspace = Workspace(load_settings("sample"), tmp_path / "artifacts")
    found = read(workspace, tmp_path / "results", "./my docs")
    commands = scored(found, found.collections[0], ["ot", "bm25", cells[3][1]], ["map"]).commands
    rest = "--metric map --collection './my docs'"
    of_all = "--suite sample --lang sw-en"
    own = "--collection './my docs'"
    assert commands == [
        f"clir download {of_all} {own}",
        f"clir index --suite sample {own}",
        f"clir search {of_all} --method bm25,ot {own}",
        f"clir search {of_all} --method ot --seed 1 {own}",
        f"clir evaluate {of_all} --method bm25,ot {rest}",
        f"clir evaluate {of_all} --method ot --seed 1 {rest}",
    ]
    commands = scored(found, found.collections[0], ["ot.joint-so+sw-en.plain"], ["map"]).commands
    assert commands[-1:] == [
        "clir evaluate --suite sample --lang so-en,sw-en --joint --method ot --variant plain "
        f"{rest}"
    ]
    html = report(workspace, tmp_path / "results", collection="./my docs").html
    text = re.sub("<[^>]+>", "", html)
    assert "Drawn by clir report --suite sample --collection &#39;./my docs&#39;." in text
    assert 'href="#scores-my%20docs"' in html


def test_addresses_and_relative_folders_stay() -> None:
    for text in ("https://example.org/a/b/c.tsv", "--results results/x/y", "1/2", "a / b"):
        assert neutral(text) == text


def test_students_that_differ_in_the_pair_alone_have_one_command() -> None:
    def student(pair: str, command: str) -> Student:
        return Student(pair, "ot", {"command": f"clir distill {command}", "config": {}}, {})

    made = [
        student(
            "sw-en", "--lang sw-en --suite open --home /home/me/x --set 'bitext.files=[\"a\"]'"
        ),
        student(
            "de-en", "--lang de-en --suite open --home /home/me/x --set 'bitext.files=[\"a\"]'"
        ),
        student("so+sw-en", "--lang so-en,sw-en --joint --suite open"),
        student("de+fr-en", "--lang de-en,fr-en --joint --suite open"),
    ]
    assert distillations("open", made) == [
        "clir distill --suite open --lang sw-en,de-en --home x --set 'bitext.files=[\"a\"]'",
        "clir distill --suite open --lang de-en,fr-en --joint",
        "clir distill --suite open --lang so-en,sw-en --joint",
    ]


def test_scores_have_all_commands_with_the_settings_of_what_was_made(tmp_path) -> None:
    home = tmp_path / "artifacts" / "sample"
    place = home / "sw-en" / "ot"
    keep(place / "student", "distill --lang sw-en --method ot --suite sample", "x", SETTINGS)
    keep(home / "index" / "sample", "index --suite sample --set index.dtype=float32", "i")
    keep(place / "runs" / "sample", "search --lang sw-en --method ot --suite sample", "r", SETTINGS)
    key = {"suite": "sample", "collection": "sample", "pair": "sw-en", "metric": "map", "seed": 0,
           "value": 0.5, "queries": 1, "ci_low": 0.5, "ci_high": 0.5, "variant": ""}  # fmt: skip
    rows = [{**key, "method": method} for method in ("ot", "bm25")]
    scores.publish(tmp_path / "results/sample", rows, [{**row, "query": "q"} for row in rows])
    found = read(Workspace(load_settings("sample"), tmp_path / "artifacts"), tmp_path / "results")
    made_by = scored(found, found.collections[0], ["ot", "bm25"], ["map"])
    of_pair = "--suite sample --lang sw-en"
    assert made_by.commands == [
        f"clir download {of_pair} --set bitext.licence=free",
        f"clir distill {of_pair} --method ot {SETTINGS}",
        "clir index --suite sample --set index.dtype=float32",
        f"clir search {of_pair} --method bm25",
        f"clir search {of_pair} --method ot {SETTINGS}",
        f"clir evaluate {of_pair} --method bm25 --metric map",
        f"clir evaluate {of_pair} --method ot {SETTINGS} --metric map",
    ]
    assert made_by.visible == made_by.commands
    last = scored(found, found.collections[0], ["ot"], ["map"], all_stages=False)
    assert last.visible == last.commands[-1:]


def keep(folder: Path, command: str, fingerprint: str, more: str = "") -> None:
    """Write the manifest of an artifact."""
    folder.mkdir(parents=True)
    manifest = {
        "fingerprint": fingerprint,
        "command": f"clir {command} {more}".rstrip(),
        "config": {},
        "inputs": {"index": "i"},
        "files": {},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_several_seeds_without_values_by_query_are_all_shown(tmp_path):
    key = {"suite": "sample", "collection": "sample", "pair": "all", "method": "ot",
           "variant": "", "metric": "gap-map", "queries": 2}  # fmt: skip
    rows = [
        {**key, "seed": seed, "value": value, "ci_low": value - 0.1, "ci_high": value + 0.1}
        for seed, value in enumerate((0.2, 0.6))
    ]
    scores.publish(tmp_path / "results" / "sample", rows, [])
    found = read(Workspace(load_settings("sample"), tmp_path), tmp_path / "results")
    (score,) = found.collections[0].scores.values()
    assert (score.value, score.seeds) == (pytest.approx(0.4), (0, 1))
    assert (score.low, score.high) == (pytest.approx(0.1), pytest.approx(0.7))
