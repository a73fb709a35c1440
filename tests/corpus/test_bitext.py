"""Bitext: cleaned, sampled and split, the same way every time."""

import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from command_words import refused
from hypothesis import given, settings
from hypothesis import strategies as st

from clir_cli.corpus import bitext
from clir_cli.corpus.bitext import Bitext, inputs, load_bitext
from clir_cli.corpus.records import Pair, SentencePair
from clir_cli.errors import MissingInput, UserError
from clir_cli.files import file_digest
from clir_cli.settings import BitextSettings
from clir_cli.suites import bundled

SWAHILI = Pair("sw", "en")


def own(folder: Path, rows: list[tuple[str, str]], **changes: Any) -> BitextSettings:
    path = folder / "own.tsv"
    path.write_text("".join(f"{query}\t{english}\n" for query, english in rows), encoding="utf-8")
    return BitextSettings(files=(str(path),), **changes)


def load(settings: BitextSettings) -> Bitext:
    return load_bitext(settings, SWAHILI, Path("nowhere"))


def numbered(count: int) -> list[tuple[str, str]]:
    return [(f"sentensi {number}", f"sentence {number}") for number in range(count)]


def both(bitext: Bitext) -> set[SentencePair]:
    return {*bitext.train, *bitext.held_out}


def test_text_is_normalised_and_a_pair_that_occurs_twice_is_kept_once(tmp_path: Path) -> None:
    apart, whole = unicodedata.normalize("NFD", "Häuser"), "Häuser"
    assert apart != whole
    rows = [*numbered(20), (apart, "houses"), (whole, "houses"), (whole, "homes"), *numbered(20)]
    found = load(own(tmp_path, rows))
    assert len(found.train) + len(found.held_out) == found.counts["files"] == 22
    assert {pair for pair in both(found) if pair.query == whole} == {
        (whole, "houses"),
        (whole, "homes"),
    }
    assert not found.skipped


def test_a_bitext_is_read_once_while_its_files_and_settings_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()  # a home
    times = []
    read_bitext = bitext.read_bitext
    monkeypatch.setattr(bitext, "read_bitext", lambda *of: times.append(of) or read_bitext(*of))

    def write(rows: list[tuple[str, str]]) -> BitextSettings:
        settings = own(tmp_path, rows, max_characters=40)
        os.utime(settings.files[0], (1e9, 1e9))  # a file of this instant may still change
        return settings

    def load_at_home(settings: BitextSettings, texts: frozenset[str] = frozenset()) -> Bitext:
        return load_bitext(settings, SWAHILI, tmp_path / "downloads", texts)

    chosen = write([*numbered(40), *numbered(3), ("x" * 50, "y")])
    first = load_at_home(chosen)
    assert load_at_home(chosen) == first
    assert len(times) == 1
    assert sum(first.skipped.values()) > 0
    assert load_at_home(chosen, frozenset({"sentence 3"})).counts == {"files": 39}
    write(numbered(30))
    assert load_at_home(chosen).counts == {"files": 30}
    assert len(times) == 3
    for path in (tmp_path / "downloads" / ".read").iterdir():
        path.write_text(path.read_text()[:-1])
    assert load_at_home(chosen).counts == {"files": 30}
    assert len(times) == 4


def test_what_is_held_out_by_source_trains_in_no_other(tmp_path: Path) -> None:
    plain = load_bitext(BitextSettings(sources=("sample",)), SWAHILI, Path("nowhere"))
    shared = plain.train[:3]
    rows = [*numbered(60), (shared[0].query, "x"), ("y", shared[1].english), shared[2]]
    apart = {"sources": ("sample",), "held_out_sources": ("files",), "held_out": 12}
    found = load(own(tmp_path, rows, **apart))
    assert len(found.held_out) == 12
    assert set(found.held_out) < set(rows)
    # Nor does a pair of another source with a side that any of the source's pairs has.
    sides = {side for row in rows for side in row}
    others = {*plain.train, *plain.held_out}
    assert set(found.train) == {row for row in others if sides.isdisjoint(row)} != others
    assert found == load(own(tmp_path, rows, **apart))


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("smaple",), "bitext.held_out_sources: smaple is none of bitext.sources"),
        (("hornmt",), "none of hornmt has pairs of sw-en; name one that has"),
        (("sample",), "only 0 sentence pairs for sw-en"),
    ],
)
def test_sources_that_cannot_be_held_out_are_told(names: tuple[str, ...], told: str) -> None:
    settings = BitextSettings(sources=("sample", "hornmt"), held_out_sources=names)
    with pytest.raises(UserError, match=told):
        load_bitext(settings, SWAHILI, Path("nowhere"))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    sentences=st.lists(st.integers(0, 40), min_size=10, max_size=120),
    held_out=st.integers(1, 30),
)
def test_no_english_sentence_stands_on_both_sides_of_the_split(
    tmp_path_factory: pytest.TempPathFactory, sentences: list[int], held_out: int
) -> None:
    rows = [(f"tafsiri {at}", f"sentence {number}") for at, number in enumerate(sentences)]
    chosen = own(tmp_path_factory.mktemp("split"), rows, held_out=held_out)
    if len(set(sentences)) < 2:
        with pytest.raises(UserError, match="too few English sentences"):
            load(chosen)
        return
    try:
        found = load(chosen)
    except UserError:  # what is held out took every English sentence with it
        assert len(set(sentences)) <= min(held_out, len(rows) // 10)
        return
    assert len(found.held_out) == min(held_out, len(rows) // 10)
    held = {pair.english for pair in found.held_out}
    assert not held & {pair.english for pair in found.train}
    assert both(found) <= set(rows)
    assert {row for row in rows if row[1] not in held} == set(found.train), "pairs were lost"
    again = load(chosen)
    assert (again.train, again.held_out) == (found.train, found.held_out)


def test_the_split_follows_no_seed_of_the_process(tmp_path: Path) -> None:
    import random

    chosen = own(tmp_path, numbered(100))
    random.seed(1)
    first = load(chosen)
    random.seed(2)
    assert load(chosen) == first
    assert first.held_out != [SentencePair(*row) for row in numbered(10)], "not the first ten"


@pytest.mark.parametrize(
    ("changes", "total"),
    [
        ({}, 100),
        ({"max_pairs": 40}, 40),
        ({"max_pairs": 100}, 100),
        ({"max_pairs": 1000}, 100),
        ({"max_pairs_per_source": 30}, 30),
        ({"max_pairs_per_source": 30, "max_pairs": 20}, 20),
        ({"max_pairs": 10}, 10),
    ],
)
def test_a_sample_has_the_size_asked_for_and_the_order_of_the_file(
    tmp_path: Path, changes: dict[str, int], total: int
) -> None:
    rows = numbered(100)
    found = load(own(tmp_path, rows, **changes))
    assert len(found.train) + len(found.held_out) == total == len(both(found))
    assert both(found) <= set(rows)
    assert found.train == sorted(found.train, key=rows.index)
    assert load(own(tmp_path, rows, **changes)) == found


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (numbered(9), "only 9 sentence pairs for sw-en; at least 10 are needed"),
        (numbered(3) * 5, "only 3 sentence pairs for sw-en"),
        ([], "own.tsv: no sentence pair in it"),
        ([(f"tafsiri {at}", "one") for at in range(12)], "12 sentence pairs .* too few English"),
    ],
)
def test_too_little_bitext_is_told(
    tmp_path: Path, rows: list[tuple[str, str]], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load(own(tmp_path, rows))


def test_faults_stop_or_are_counted_as_the_setting_says(tmp_path: Path) -> None:
    rows = [*numbered(20), ("", "empty"), ("tupu", " ")]
    with pytest.raises(UserError, match=r"own.tsv, line 21: empty line"):
        load(own(tmp_path, rows))
    found = load(own(tmp_path, rows, on_error="skip"))
    assert found.counts == {"files": 20}
    assert found.skipped == {"empty line": 2}


def test_two_parallel_files_are_bitext_too(tmp_path: Path) -> None:
    names = []
    for side, lines in zip(("sw", "en"), zip(*numbered(30), strict=True), strict=True):
        names.append(str(tmp_path / side))
        Path(names[-1]).write_text("\n".join(lines) + "\n")
    chosen = BitextSettings(files=tuple(names))
    assert both(load(chosen)) == set(numbered(30))
    assert inputs(chosen, SWAHILI, Path("nowhere")) == {
        name: file_digest(Path(name)) for name in names
    }


def test_files_add_to_the_sources(tmp_path: Path) -> None:
    alone, sample = own(tmp_path, numbered(30)), BitextSettings(sources=("sample",))
    added = alone.model_copy(update={"sources": ("sample",)})
    assert both(load(added)) == set(numbered(30)) | both(load(sample))
    assert load(added).counts == {"files": 30, "sample": 576}
    assert list(inputs(added, SWAHILI, Path())) == [
        *inputs(alone, SWAHILI, Path()),
        *inputs(sample, SWAHILI, Path()),
    ]
    other = added.model_copy(update={"sources": ("tico-19",)})
    assert load_bitext(other, Pair("fi", "en"), Path()).counts == {"files": 30}  # it has no Finnish


def test_a_file_is_of_one_pair_unless_its_name_has_the_language(tmp_path: Path) -> None:
    rows = numbered(30)
    own(tmp_path, rows)
    (tmp_path / "own.tsv").rename(tmp_path / "own.sw.tsv")
    chosen = BitextSettings(files=(str(tmp_path / "own.{lang}.tsv"),))
    assert both(load(chosen)) == set(rows)
    assert list(inputs(chosen, SWAHILI, Path())) == [str(tmp_path / "own.sw.tsv")]
    with pytest.raises(MissingInput, match=r"own.so.tsv: no such file \(bitext.files\)"):
        inputs(chosen, Pair("so", "en"), Path())


@pytest.mark.parametrize("section", ["bitext", "dictionary"])
def test_several_pairs_do_not_share_a_file(clir, empty, section: str) -> None:
    words = ("distill", "--lang", "sw-en,so-en", "--set")
    line = refused(clir(*words, f'{section}.files=["own.tsv"]'))
    assert f"{section}.files: own.tsv belongs to one pair; choose it with --lang, or" in line
    assert "belongs" not in refused(clir(*words, f'{section}.files=["own.{{lang}}.tsv"]'))


@pytest.mark.parametrize("language", ["sw", "so", "tl", "mr", "fi", "de", "fr"])
def test_the_sample_source_is_read_whole(language: str) -> None:
    chosen, pair = BitextSettings(sources=("sample",), held_out=48), Pair(language, "en")
    found = load_bitext(chosen, pair, Path("nowhere"))
    files = {
        spoken: (bundled("data") / "sample" / "bitext" / f"sample.{spoken}.txt")
        for spoken in (language, "en")
    }
    left, right = (files[spoken].read_text(encoding="utf-8").split("\n")[:-1] for spoken in files)
    assert both(found) == set(zip(left, right, strict=True))
    assert len(found.held_out) == 48
    read = inputs(chosen, pair, Path("nowhere"))
    assert sorted(read.values()) == sorted(map(file_digest, files.values()))


def test_a_pair_that_two_sources_have_is_kept_once() -> None:
    once, twice = (BitextSettings(sources=("sample",) * times) for times in (1, 2))
    assert load(twice).train == load(once).train
    assert load(twice).held_out == load(once).held_out


@pytest.mark.parametrize(
    ("changes", "language", "error", "message"),
    [
        ({"sources": ("tico-19",)}, "sw", MissingInput, r"all.en-sw.tmx.zip is missing"),
        (
            {"sources": ("tico-19",)},
            "fi",
            UserError,
            r"no bitext for fi-en: the sources \(tico-19\)",
        ),
        ({"sources": ()}, "sw", UserError, r"no bitext for sw-en: .*see bitext.files"),
        ({"sources": ("tico19",)}, "sw", UserError, "unknown bitext source .*did you mean tico-19"),
        ({"files": ("/no/such.tsv",)}, "sw", UserError, r"/no/such.tsv: no such file"),
    ],
)
def test_bitext_that_is_not_there_is_told(
    tmp_path: Path, changes: dict[str, Any], language: str, error: type[UserError], message: str
) -> None:
    with pytest.raises(error, match=message):
        inputs(BitextSettings(**changes), Pair(language, "en"), tmp_path)


def test_a_fetched_file_that_was_changed_is_told(tmp_path: Path) -> None:
    chosen = BitextSettings(sources=("tatoeba-laser",))
    with pytest.raises(MissingInput) as missing:
        inputs(chosen, SWAHILI, tmp_path)
    file = Path(str(missing.value).removesuffix(" is missing"))
    file.parent.mkdir(parents=True)
    file.write_text("Nilisoma kitabu.\n")
    with pytest.raises(MissingInput, match="the checksum does not match the catalogue's"):
        inputs(chosen, SWAHILI, tmp_path)
