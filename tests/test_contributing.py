"""The contributor's guide, tried: each of its blocks is added where it says, and works."""

import re
import shutil
import textwrap
import zipfile
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from clir_cli import suites
from clir_cli.corpus import catalogue
from clir_cli.corpus.bitext import load_bitext
from clir_cli.corpus.collections import required_files
from clir_cli.corpus.records import Pair, parse_pair
from clir_cli.evaluation import measures
from clir_cli.optical import objectives
from clir_cli.settings import BitextSettings
from clir_cli.stages.listing import rows
from clir_cli.stages.support import methods
from clir_cli.suites import load_settings

ROOT = Path(__file__).resolve().parent.parent


def blocks() -> dict[str, str]:
    """Return the guide's blocks by the file that their first line names."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = {}
    for block in re.findall(r"^ *```(?:toml|python)\n(.*?)^ *```", text, re.S | re.M):
        first, _, body = textwrap.dedent(block).partition("\n")
        found[first.removeprefix("# ")] = body
    return found


BLOCKS = blocks()


@pytest.fixture
def edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of data and experiments with the guide's TOML blocks added."""
    for folder in ("data", "experiments"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for name, body in BLOCKS.items():
        if name.endswith(".toml"):
            with (tmp_path / name).open("a", encoding="utf-8") as stream:
                stream.write(f"\n{body}")
    monkeypatch.setattr(suites, "_loaded", {})
    for module in (suites, catalogue):
        monkeypatch.setattr(module, "bundled", lambda folder: tmp_path / folder)
    return tmp_path


def test_the_guide_names_files_that_are_there() -> None:
    assert len(BLOCKS) == 7
    for name in BLOCKS:
        assert (ROOT / name).is_file() or name == "experiments/suites/web.toml"


def test_a_language_is_an_entry(edited: Path) -> None:
    assert str(parse_pair("yo-en", catalogue.languages())) == "yo-en"
    assert "yo-en" in {row["pair"] for row in rows("languages")}
    with (edited / "data/catalogue/bitext.toml").open(encoding="utf-8") as stream:
        told = stream.read().replace('sw = "en-sw", ', 'sw = "en-sw", yo = "en-yo", ')
    (edited / "data/catalogue/bitext.toml").write_text(told, encoding="utf-8")
    suites._loaded.clear()
    (file,) = catalogue.source("bitext", "ccaligned").files_for("yo")
    assert file.url.endswith("/moses/en-yo.txt.zip")
    assert "yo-en" not in load_settings("open").pairs, "--lang all stays with the seven"


def test_a_source_of_bitext_is_an_entry(edited: Path, tmp_path: Path) -> None:
    (file,) = catalogue.source("bitext", "wikimatrix").files_for("it")
    path = file.local(tmp_path / "downloads")
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        for side, word in (("it", "frase"), ("en", "sentence")):
            lines = "".join(f"{word} {number}\n" for number in range(40))
            archive.writestr(f"WikiMatrix.en-it.{side}", lines)
    chosen = BitextSettings(sources=("wikimatrix",))
    found = load_bitext(chosen, Pair("it", "en"), tmp_path / "downloads")
    assert found.counts == {"wikimatrix": 40}


def test_a_collection_is_an_entry(edited: Path, tmp_path: Path) -> None:
    urls = [each.declared.url for each in required_files("gazette", "sw", tmp_path)]
    assert len(urls) == 4
    assert all(url.startswith("https://example.org/gazette/v1/") for url in urls)


def test_a_suite_is_a_file(edited: Path) -> None:
    chosen = load_settings("web")
    assert chosen.pairs == ("sw-en", "it-en")
    assert chosen.bitext.drop_markup
    assert "web" in suites.suites()


def test_a_method_is_an_objective_and_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objectives, "OBJECTIVES", dict(objectives.OBJECTIVES))
    monkeypatch.setattr(methods, "METHODS", dict(methods.METHODS))
    exec(BLOCKS["clir_cli/optical/objectives.py"], dict(vars(objectives)))
    exec(BLOCKS["clir_cli/stages/support/methods.py"], dict(vars(methods)))
    assert methods.METHODS["kd-worst"].is_trained
    vectors = functional.normalize(torch.randn(2, 4, 8), dim=-1)
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    batch = objectives.TokenBatch(vectors, mask, vectors, mask)
    loss = objectives.OBJECTIVES["kd-worst"](batch, load_settings("sample")).value
    assert loss.item() == pytest.approx(0, abs=1e-5)


def test_a_metric_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "NAMES", dict(measures.NAMES))
    exec(BLOCKS["clir_cli/evaluation/measures.py"], {"NAMES": measures.NAMES})
    assert measures.parse_measures("bpref") == ["bpref"]
