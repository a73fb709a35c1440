"""Translation memories (TMX), plain and zipped: what they yield, and how they tell a fault."""

import functools
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from outcomes import check_faults

from clir_cli.corpus.catalogue import CatalogueFile, LocalFile
from clir_cli.corpus.formats import PAIR_READERS
from clir_cli.corpus.formats.reading import Faults, ReadRequest
from clir_cli.corpus.formats.zips import open_zip
from clir_cli.corpus.records import SentencePair
from clir_cli.errors import UserError

some = functools.partial(settings, deadline=None, derandomize=True)


HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<tmx version="1.4"><header creationtool="unknown" creationtoolversion="unknown" \
segtype="paragraph" o-tmf="unknown" adminlang="en" srclang="en" datatype="text"></header><body>
"""
UNIT = """<tu tuid="CMU_1:{number}">
<prop type="note">http://www.speech.cs.cmu.edu/haitian/text/1600_medical_domain_sentences.en</prop>
<tuv xml:lang="en">
<seg>{english}</seg></tuv>
<tuv xml:lang="sw"><seg>{query}</seg></tuv>
</tu>
"""
TAIL = "</body>\n</tmx>\n"
TRUE = [
    SentencePair("je, dalili hizi?", "about how long have these symptoms been going on?"),
    SentencePair("joto <38 °C & homa", "below 38 °C & fever"),
    SentencePair("maji", "water"),
]


def memory(pairs: list[SentencePair]) -> bytes:
    """Return a translation memory, byte for byte as TICO-19 publishes them."""
    units = (
        UNIT.format(number=number, query=escape(pair.query), english=escape(pair.english))
        for number, pair in enumerate(pairs, start=1)
    )
    return (HEAD + "".join(units) + TAIL).encode()


def zipped(content: bytes, name: str = "all.en-sw.tmx") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def read_tmx(path: Path, faults: Faults | None = None) -> Iterator[SentencePair]:
    located = [LocalFile(path, CatalogueFile(path.name, lang="sw"))]
    return PAIR_READERS["tmx"](located, ReadRequest("sw", {}, faults=faults or Faults()))


def test_a_memory_is_read_plain_and_zipped(tmp_path: Path) -> None:
    plain, packed = tmp_path / "all.tmx", tmp_path / "all.en-sw.tmx.zip"
    plain.write_bytes(memory(TRUE))
    packed.write_bytes(zipped(memory(TRUE)))
    assert list(read_tmx(plain)) == list(read_tmx(packed)) == TRUE


@some(max_examples=50)
@given(
    st.lists(
        st.builds(
            SentencePair,
            *[st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1)] * 2,
        )
    )
)
def test_any_text_survives_a_memory(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[SentencePair]
) -> None:
    pairs = [SentencePair(*(" ".join(side.split()) for side in pair)) for pair in pairs]
    assume(all(all(pair) for pair in pairs))
    assume(not any(mark in side for pair in pairs for side in pair for mark in "\ufffe\uffff"))
    path = tmp_path_factory.mktemp("tmx") / "any.tmx.zip"
    path.write_bytes(zipped(memory(pairs)))
    assert list(read_tmx(path)) == pairs


@pytest.mark.parametrize(
    "unit",
    [
        '<tu><tuv xml:lang="EN-us"><seg>a b</seg></tuv><tuv xml:lang="sw"><seg>c</seg></tuv></tu>',
        '<tu><tuv lang="sw"><seg>c</seg></tuv><tuv lang="en"><seg>a b</seg></tuv></tu>',
        '<tu><tuv xml:lang="sw"><seg>c</seg></tuv>'
        '<tuv xml:lang="en"><prop type="x">no</prop><seg>a\n <bpt i="1"/>b</seg></tuv></tu>',
    ],
    ids=["region", "english-last-and-old-attribute", "tags-and-line-breaks-inside"],
)
def test_other_spellings_of_a_unit_are_understood(tmp_path: Path, unit: str) -> None:
    path = tmp_path / "other.tmx"
    path.write_text(HEAD + unit + TAIL)
    assert list(read_tmx(path)) == [("c", "a b")]


@pytest.mark.parametrize("language", ["sw", "swa", "SWH-tz"])
def test_of_several_languages_in_a_memory_the_right_one_is_read(
    tmp_path: Path, language: str
) -> None:
    other = '<tuv xml:lang="fr"><seg>non</seg></tuv>'
    path = tmp_path / "other.tmx"
    own = f'<tuv xml:lang="{language}"><seg>c</seg></tuv><tuv xml:lang="en"><seg>a</seg></tuv>'
    path.write_text(f"{HEAD}<tu>{own}{other}</tu><tu>{other}{own}</tu>{TAIL}")
    assert list(read_tmx(path)) == [("c", "a")] * 2


@pytest.mark.parametrize("encoding", ["latin-99", "undefined", "utf-7", "gb18030", "utf-16"])
def test_a_memory_in_another_encoding_is_read_or_refused(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "other.tmx"
    text = memory(TRUE).decode().replace("UTF-8", encoding)
    path.write_bytes(text.encode("utf-16" if encoding == "utf-16" else "utf-8"))
    if encoding == "utf-16":
        assert list(read_tmx(path)) == TRUE
    else:
        with pytest.raises(UserError, match=r"other.tmx: truncated or damaged after unit 0"):
            list(read_tmx(path))


@pytest.mark.parametrize("side", ["<seg></seg>", "<seg> \n</seg>", ""])
def test_a_unit_with_an_empty_side_is_named_or_counted(tmp_path: Path, side: str) -> None:
    path = tmp_path / "all.en-sw.tmx.zip"
    path.write_bytes(zipped(memory(TRUE).replace(b"<seg>water</seg>", side.encode())))
    kept = [pair.query for pair in TRUE[:2]]
    named = "all.en-sw.tmx.zip, unit 3: empty unit"
    check_faults(lambda faults: read_tmx(path, faults), named, {"empty unit": 1}, kept)


@some(max_examples=60)
@given(end=st.integers(0, len(memory(TRUE).rstrip()) - 1))
def test_a_cut_memory_is_told_and_yields_only_whole_units(
    tmp_path_factory: pytest.TempPathFactory, end: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "cut.tmx"
    path.write_bytes(memory(TRUE)[:end])
    found = []
    with pytest.raises(UserError, match=r"cut.tmx: truncated or damaged after unit [0-3]"):
        found.extend(read_tmx(path))
    assert found == TRUE[: len(found)]


@pytest.mark.parametrize(
    "damage",
    [
        (b"</tuv>", b"</tu>"),
        (b"<seg>water", b"<seg>wat\xffer"),
        (b"water", b"<water"),
        (b"&lt;", b"&"),
    ],
)
def test_damaged_xml_is_told(tmp_path: Path, damage: tuple[bytes, bytes]) -> None:
    path = tmp_path / "all.en-sw.tmx.zip"
    path.write_bytes(zipped(memory(TRUE).replace(*damage)))
    with pytest.raises(UserError, match="truncated or damaged after unit"):
        list(read_tmx(path))


ZIP = zipped(memory(TRUE))


@some(max_examples=100)
@given(end=st.integers(0, len(ZIP) - 1))
def test_a_cut_zip_is_told_before_anything_is_read(
    tmp_path_factory: pytest.TempPathFactory, end: int
) -> None:
    path = tmp_path_factory.mktemp("zip") / "all.tmx.zip"
    path.write_bytes(ZIP[:end])
    with pytest.raises(
        UserError, match=r"all.tmx.zip: truncated or damaged zip .*download it again"
    ):
        next(read_tmx(path))


@some(max_examples=300)
@given(
    where=st.integers(0, len(ZIP) - 1) | st.integers(len(ZIP) - 80, len(ZIP) - 1),
    byte=st.integers(0, 255) | st.sampled_from([0, 255]),
)
def test_a_flipped_byte_in_a_zip_never_changes_a_pair(
    tmp_path_factory: pytest.TempPathFactory, where: int, byte: int
) -> None:
    path = tmp_path_factory.mktemp("zip") / "all.tmx.zip"
    path.write_bytes(ZIP[:where] + bytes([byte]) + ZIP[where + 1 :])
    try:
        found = list(read_tmx(path))
    except UserError as error:
        assert str(path) in str(error)
    else:
        assert found == TRUE


def test_a_zip_without_a_memory_is_told(tmp_path: Path) -> None:
    path = tmp_path / "all.tmx.zip"
    path.write_bytes(zipped(b"nothing", "README.txt"))
    with pytest.raises(UserError, match=r"no \.tmx file in the zip"):
        list(read_tmx(path))


def test_a_whole_zip_opens(tmp_path: Path) -> None:
    path = tmp_path / "whole.zip"
    path.write_bytes(ZIP)
    with open_zip(path) as archive:
        assert archive.read("all.en-sw.tmx") == memory(TRUE)
