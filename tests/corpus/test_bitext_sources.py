"""OPUS in Moses format, filters, and sampling in bounded memory."""

import io
import random
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clir_cli.corpus import bitext, catalogue
from clir_cli.corpus.bitext import load_bitext
from clir_cli.corpus.catalogue import LocalFile
from clir_cli.corpus.filters import has_markup
from clir_cli.corpus.formats import PAIR_READERS, zips
from clir_cli.corpus.formats.reading import Faults, ReadRequest
from clir_cli.corpus.formats.zips import open_zip
from clir_cli.corpus.records import Pair, SentencePair
from clir_cli.corpus.sampling import bottom_k
from clir_cli.errors import UserError
from clir_cli.settings import BitextSettings

SWAHILI = Pair("sw", "en")
README = "Corpus Name: CCAligned\n     Package: CCAligned.en-sw in Moses format\n"
ROWS = [SentencePair("Maji safi.", "Clean water."), SentencePair("Habari?", "How are you?")]


def moses(sides: dict[str, bytes], corpus: str = "CCAligned", pair: str = "en-sw") -> bytes:
    """Return a zip as OPUS packs it: README and LICENSE, the sides, and what mined corpora add."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README", README)
        archive.writestr("LICENSE", "The data set comes with the same license\n")
        for side, content in sides.items():
            archive.writestr(f"{corpus}.{pair}.{side}", content)
        archive.writestr(f"{corpus}.{pair}.xml", "<cesAlign/>")
        archive.writestr(f"{corpus}.{pair}.scores", "1.21\n1.19\n")
    return stream.getvalue()


def both(rows: list[SentencePair], end: str = "\n") -> dict[str, bytes]:
    return {
        side: "".join(f"{row[column]}{end}" for row in rows).encode()
        for column, side in enumerate(("sw", "en"))
    }


def read(
    path: Path,
    content: bytes,
    *,
    on_error: str = "stop",
    role: str = "",
    lang: str = "sw",
    **options,
) -> list[SentencePair]:
    path.write_bytes(content)
    located = [LocalFile(path, catalogue.CatalogueFile(path.name, lang=lang, role=role))]
    return list(PAIR_READERS["moses"](located, ReadRequest(lang, options, faults=Faults(on_error))))


def lay(home: Path, rows: list[SentencePair]) -> Path:
    """Put a zip where a fetched CCAligned lies."""
    path = catalogue.source("bitext", "ccaligned").files_for("sw")[0].local(home)
    path.parent.mkdir(parents=True)
    path.write_bytes(moses(both(rows)))
    return path


# --------------------------------------------------------------------------- the format


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_k_of_both_members_is_a_pair(tmp_path: Path, end: str) -> None:
    assert read(tmp_path / "en-sw.txt.zip", moses(both(ROWS, end))) == ROWS


def test_only_line_ends_divide_lines(tmp_path: Path) -> None:
    rows = [SentencePair("moja\u2028bado\x0bmoja\x85hivyo", "one"), SentencePair("mbili", "two")]
    assert read(tmp_path / "en-sw.txt.zip", moses(both(rows))) == rows


def test_a_pair_is_named_in_order_of_the_alphabet_with_the_codes_of_opus(tmp_path: Path) -> None:
    german = moses({"de": b"Wasser\n", "en": b"water\n"}, pair="de-en")
    assert read(tmp_path / "de-en.txt.zip", german, lang="de") == [("Wasser", "water")]
    other = moses({"zh_CN": b"x\n", "en": b"water\n"}, pair="en-zh_CN")
    assert read(tmp_path / "z.zip", other, lang="zh", role="zh_CN") == [("x", "water")]


@pytest.mark.parametrize(
    ("sides", "message"),
    [
        ({"sw": b"a\n"}, r"0 members are named \*\.en-sw\.en"),
        ({"en": b"a\n"}, r"0 members are named \*\.en-sw\.sw"),
        ({"sw": b"a\nb\n", "en": b"1\n"}, r"CCAligned.en-sw.en ends before line 2 .*unequal"),
        ({"sw": b"", "en": b"1\n"}, r"CCAligned.en-sw.sw ends before line 1 "),
        ({"sw": b"a\n\n", "en": b"1\n2\n"}, r"en-sw.txt.zip/CCAligned.en-sw.sw, line 2: empty"),
        ({"sw": b"a\nb\xff\n", "en": b"1\n2\n"}, r"CCAligned.en-sw.sw, line 2: not valid UTF-8"),
    ],
)
def test_a_fault_is_told_with_file_and_line(
    tmp_path: Path, sides: dict[str, bytes], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path / "en-sw.txt.zip", moses(sides))


def test_a_mined_source_counts_its_faults_and_goes_on(tmp_path: Path) -> None:
    long = b"x" * (1 << 20) + b"yz"
    sides = {"sw": b"a\n\nc\xff\n" + long + b"\ne\n", "en": b"1\n2\n3\n4\n5\n"}
    path = tmp_path / "en-sw.txt.zip"
    path.write_bytes(moses(sides))
    faults = Faults("stop")
    located = [LocalFile(path, catalogue.CatalogueFile(path.name, lang="sw"))]
    found = list(
        PAIR_READERS["moses"](located, ReadRequest("sw", {"faults": "skip"}, faults=faults))
    )
    assert found == [("a", "1"), ("e", "5")]
    assert sum(faults.skipped.values()) == 3
    with pytest.raises(UserError, match="unequal"):
        read(path, moses({"sw": b"a\nb\n", "en": b"1\n"}), faults="skip")


WHOLE = moses(both(ROWS * 40))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(end=st.integers(0, len(WHOLE) - 1))
def test_a_cut_zip_is_told(tmp_path_factory: pytest.TempPathFactory, end: int) -> None:
    with pytest.raises(UserError, match=r"truncated or damaged zip .*download it again"):
        read(tmp_path_factory.mktemp("cut") / "en-sw.txt.zip", WHOLE[:end])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(where=st.integers(0, len(WHOLE) - 1), byte=st.integers(0, 255))
def test_a_flipped_byte_is_told_or_changes_no_pair(
    tmp_path_factory: pytest.TempPathFactory, where: int, byte: int
) -> None:
    path = tmp_path_factory.mktemp("flip") / "en-sw.txt.zip"
    try:
        found = read(path, WHOLE[:where] + bytes([byte]) + WHOLE[where + 1 :])
    except UserError as error:
        assert str(path) in str(error)
    else:
        assert found == ROWS * 40


@pytest.mark.parametrize("name", ["../out.txt", "a/../../out", "/etc/x", "..\\out", "C:\\out"])
def test_a_zip_that_leads_out_of_itself_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("CCAligned.en-sw.sw", "a\n")
        member = zipfile.ZipInfo("x")
        member.filename = name
        archive.writestr(member, "out")
    for tested in (True, False):
        with pytest.raises(UserError, match="leads out of the zip"), open_zip(path, tested=tested):
            pass
    assert [each.name for each in tmp_path.iterdir()] == ["bad.zip"]


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(4):
            archive.writestr(f"{number}.txt", bytes(zips.ALWAYS_ALLOWED // 2))
    assert path.stat().st_size < 1_000_000
    unpacked = r"bytes that unpack to 134,217,728, which no text does"
    with pytest.raises(UserError, match=unpacked), open_zip(path):
        pass


def test_a_zip_that_lies_of_its_size_is_read_no_further_than_it_says(tmp_path: Path) -> None:
    content = bytearray(moses({"sw": b"a\n" * 100_000, "en": b"b\n" * 100_000}))
    true = (200_000).to_bytes(4, "little")
    assert content.count(true) >= 2
    with pytest.raises(UserError, match="truncated or damaged zip"):
        read(tmp_path / "en-sw.txt.zip", bytes(content.replace(true, (200).to_bytes(4, "little"))))


# --------------------------------------------------------------------------- the catalogue


@pytest.mark.parametrize("name", ["ccaligned", "ccmatrix", "nllb", "xlent"])
def test_opus_has_a_zip_for_each_of_the_seven_and_italian(name: str) -> None:
    source = catalogue.source("bitext", name)
    for language in ("sw", "so", "tl", "mr", "fi", "de", "fr", "it"):
        (file,) = source.files_for(language)
        pair = "-".join(sorted((language, "en")))
        assert file.url.startswith("https://object.pouta.csc.fi/OPUS-")
        assert file.url.endswith(f"/moses/{pair}.txt.zip")
    assert source.options["looked_up"]
    assert source.options["in_order"] is False


# --------------------------------------------------------------------------- filters


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text, 3 < 4 and 5 > 2", False),
        ("R&D; AT&T", False),
        ("{a} [b] (c)", False),
        ("bold <b>word</b>", True),
        ("line<br/>break", True),
        ("fish &amp; chips", True),
        ("caf&#233;", True),
        ("see [[Water]]", True),
        ("{{lang|sw|maji}}", True),
        ("<!-- note", True),
    ],
)
def test_left_over_markup_is_known(text: str, expected: bool) -> None:
    assert has_markup(text) is expected


@pytest.mark.parametrize(
    ("changes", "left_out"),
    [
        ({}, []),
        ({"max_characters": 40}, ["long"]),
        ({"max_words": 12}, ["long"]),
        ({"max_length_ratio": 3.0}, ["short"]),
        ({"drop_markup": True}, ["tags"]),
        ({"drop_copies": True}, ["copy"]),
        ({"drop_copies": True, "drop_markup": True}, ["copy", "tags"]),
    ],
)
def test_a_filter_takes_out_what_it_is_for_and_counts_it(
    tmp_path: Path, changes: dict[str, Any], left_out: list[str]
) -> None:
    odd = {
        "long": SentencePair("neno " * 20, "word " * 20),
        "short": SentencePair("ndio", "yes, of course it is"),
        "half": SentencePair("maji ni uhai", "water is life and much more"),
        "tags": SentencePair("maji<br>", "water<br>"),
        "copy": SentencePair("Nairobi, Kenya", "nairobi, kenya"),
    }
    odd = {name: SentencePair(*(side.strip() for side in row)) for name, row in odd.items()}
    plain = [SentencePair(f"sentensi {n}", f"sentence {n}") for n in range(30)]
    lay(tmp_path, [*plain, *odd.values()])
    found = load_bitext(BitextSettings(sources=("ccaligned",), **changes), SWAHILI, tmp_path)
    kept = {*found.train, *found.held_out}
    assert kept == {*plain, *(row for name, row in odd.items() if name not in left_out)}
    assert sum(found.skipped.values()) == len(left_out)
    assert set(found.skipped) <= {f"bitext.{name}" for name in changes}


@pytest.mark.parametrize(("duplicates", "count"), [("pair", 32), ("query", 31), ("english", 31)])
def test_what_counts_as_a_duplicate_is_a_setting(
    tmp_path: Path, duplicates: str, count: int
) -> None:
    plain = [SentencePair(f"sentensi {n}", f"sentence {n}") for n in range(30)]
    again = [SentencePair("sentensi 1", "another"), SentencePair("nyingine", "sentence 2")]
    lay(tmp_path, [*plain, *again, *plain])
    chosen = BitextSettings(sources=("ccaligned",), duplicates=duplicates)
    assert load_bitext(chosen, SWAHILI, tmp_path).counts == {"ccaligned": count}


# --------------------------------------------------------------------------- sampling


def numbered(count: int) -> list[SentencePair]:
    return [SentencePair(f"sentensi {n}", f"sentence {n}") for n in range(count)]


def test_a_sample_has_the_size_the_order_of_the_stream_and_no_duplicates() -> None:
    rows = numbered(1000)
    found = bottom_k(iter(rows + rows), 100, seed="0")
    assert len(found) == len(set(found)) == 100
    assert found == sorted(found, key=rows.index)
    assert bottom_k(rows, 100, seed="0") == found
    assert bottom_k(rows, 100, seed="1") != found
    assert bottom_k(rows, 5000, seed="0") == rows


def test_the_order_of_the_stream_does_not_change_the_sample() -> None:
    rows = numbered(1000)
    mixed = random.Random(0).sample(rows, len(rows))
    assert set(bottom_k(mixed, 50, seed="0")) == set(bottom_k(rows, 50, seed="0"))


def test_a_pair_that_occurs_often_has_no_better_chance() -> None:
    rows = [*numbered(100), *[SentencePair("mara nyingi", "often")] * 10_000]
    drawn = Counter(row for seed in range(400) for row in bottom_k(rows, 10, seed=str(seed)))
    expected = 400 * 10 / 101
    # A binomial with this mean stands within six standard deviations, and so must everyone.
    assert all(abs(drawn[row] - expected) < 6 * expected**0.5 for row in set(rows))
    assert len(drawn) == 101


def test_a_large_source_is_sampled_as_it_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = numbered(500)
    lay(tmp_path, rows + rows[:100])
    chosen = BitextSettings(sources=("ccaligned",), max_pairs_per_source=60)
    at_once = load_bitext(chosen, SWAHILI, tmp_path)
    monkeypatch.setattr(bitext, "IN_MEMORY", 50)
    found = load_bitext(chosen, SWAHILI, tmp_path)
    kept = [*found.train, *found.held_out]
    assert len(kept) == len(set(kept)) == found.counts["ccaligned"] == 60
    assert set(kept) <= set(rows)
    assert found.train == sorted(found.train, key=rows.index)
    assert max(map(rows.index, kept)) > 400, "only the beginning was sampled"
    assert load_bitext(chosen, SWAHILI, tmp_path) == found
    other = chosen.model_copy(update={"seed": 1})
    assert load_bitext(other, SWAHILI, tmp_path).train != found.train
    assert len(at_once.train) == len(found.train)
    whole = load_bitext(BitextSettings(sources=("ccaligned",)), SWAHILI, tmp_path)
    assert whole.counts == {"ccaligned": 500}, "without a sample everything is taken"


def test_a_large_source_leaves_out_what_an_earlier_one_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = numbered(300)
    lay(tmp_path, rows)
    monkeypatch.setattr(bitext, "IN_MEMORY", 50)
    twice = BitextSettings(sources=("ccaligned", "ccaligned"), max_pairs_per_source=200)
    found = load_bitext(twice, SWAHILI, tmp_path)
    kept = [*found.train, *found.held_out]
    assert len(kept) == len(set(kept)) == 300


def test_a_mined_source_is_never_realigned(tmp_path: Path) -> None:
    words = [f"neno{n} jina{n} kitu{n}" for n in range(400)]
    english = [f"word{n} name{n} thing{n}" for n in range(400)]
    slipped = [
        SentencePair(one, two) for one, two in zip(words, english[3:] + english[:3], strict=True)
    ]
    lay(tmp_path, slipped)
    found = load_bitext(BitextSettings(sources=("ccaligned",)), SWAHILI, tmp_path)
    assert {*found.train, *found.held_out} == set(slipped)
    assert not found.moved
