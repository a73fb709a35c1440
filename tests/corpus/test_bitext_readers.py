"""Readers of sentence pairs: what they yield, and how they tell a fault."""

import bz2
import functools
import gzip
import io
import lzma
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from clir_cli.corpus.catalogue import CatalogueFile, LocalFile
from clir_cli.corpus.formats import PAIR_READERS
from clir_cli.corpus.formats.own_bitext import read_files
from clir_cli.corpus.formats.reading import Faults, ReadRequest
from clir_cli.corpus.formats.zips import open_zip
from clir_cli.corpus.records import SentencePair
from clir_cli.errors import UserError

Read = Callable[[Faults], Iterator[SentencePair]]
some = functools.partial(settings, deadline=None, derandomize=True)


def write(folder: Path, **contents: bytes) -> list[Path]:
    paths = [folder / name for name in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        path.write_bytes(content)
    return paths


def check_faults(read: Read, fault: str, skipped: dict[str, int], kept: list[str]) -> None:
    """A reader stops at the first fault with one line that names it, or counts and goes on."""
    with pytest.raises(UserError, match=fault) as error:
        list(read(Faults("stop")))
    assert "--set bitext.on_error=skip" in str(error.value)
    faults = Faults("skip")
    assert [pair.query for pair in read(faults)] == kept
    assert faults.skipped == skipped


# --------------------------------------------------------------------------- two files, one TSV


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_k_of_two_files_is_a_pair(tmp_path: Path, end: bytes, mark: bytes) -> None:
    left, right = ["maji safi", "  करा "], ["clean water", "do"]
    both = [mark + end.join(side.encode() for side in sides) + end for sides in (left, right)]
    paths = write(tmp_path, left=both[0], right=both[1])
    assert list(read_files(paths, Faults())) == [("maji safi", "clean water"), ("करा", "do")]


def test_only_line_ends_divide_lines(tmp_path: Path) -> None:
    odd = "moja\u2028bado moja\x0bna\x85hivyo"
    paths = write(tmp_path, left=f"{odd}\nmbili".encode(), right=b"one\ntwo")
    assert list(read_files(paths, Faults())) == [(odd, "one"), ("mbili", "two")]


SHORT = "no such line in {} (unequal sides)"


@pytest.mark.parametrize(
    ("left", "right", "fault", "skipped", "kept"),
    [
        (b"a\n\nc\n", b"1\n2\n3\n", "left, line 2: empty line", {"empty line": 1}, ["a", "c"]),
        (b"a\nb\nc\n", b"1\n \t\n3\n", "right, line 2: empty line", {"empty line": 1}, ["a", "c"]),
        (b"a\nb\n\n", b"1\n2\n\n", "left, line 3: empty line", {"empty line": 1}, ["a", "b"]),
        (
            b"a\nb\xff\nc\n",
            b"1\n2\n3\n",
            "left, line 2: not valid UTF-8",
            {"not valid UTF-8": 1},
            ["a", "c"],
        ),
        (
            b"a\nb\n",
            b"\xc3\n2\n",
            "right, line 1: not valid UTF-8",
            {"not valid UTF-8": 1},
            ["b"],
        ),
        (
            "häuser\n".encode("latin-1") * 3,
            b"1\n2\n3\n",
            "left, line 1: not valid UTF-8",
            {"not valid UTF-8": 3},
            [],
        ),
        (
            b"a\nb\nc\nd\n",
            b"1\n2\n",
            "left, line 3: no such",
            {SHORT.format("right"): 2},
            ["a", "b"],
        ),
        (
            b"a\n",
            b"1\n2\n",
            "right, line 2: no such line in left",
            {SHORT.format("left"): 1},
            ["a"],
        ),
        (b"", b"1\n", "right, line 1: no such line in left", {SHORT.format("left"): 1}, []),
        (
            b"a\n\nb\xff\nd\ne\n",
            b"1\n2\n3\n4\n",
            "left, line 2: empty line",
            {"empty line": 1, "not valid UTF-8": 1, SHORT.format("right"): 1},
            ["a", "d"],
        ),
    ],
)
def test_a_fault_in_parallel_files_is_named_or_counted(
    tmp_path: Path,
    left: bytes,
    right: bytes,
    fault: str,
    skipped: dict[str, int],
    kept: list[str],
) -> None:
    paths = write(tmp_path, left=left, right=right)
    check_faults(lambda faults: read_files(paths, faults, "sw"), fault, skipped, kept)


def test_a_tsv_holds_query_language_tab_english(tmp_path: Path) -> None:
    paths = write(tmp_path, own=b"\xef\xbb\xbfmaji\twater\r\nmoto \t fire\n")
    assert list(read_files(paths, Faults())) == [("maji", "water"), ("moto", "fire")]


HEADERS = {
    "sw\ten": "{}\t{}",
    "en\tsw": "{1}\t{0}",
    "Swahili\tEnglish": "{}\t{}",
    "source\ttarget": "{}\t{}",
    "eng_Latn\tswh_Latn": "{1}\t{0}",
    "score\tsentence_sw\tsentence_en": "0.93\t{}\t{}",
    "id\tswa\tid\teng\tcomment": "77\t{}\t78\t{}\tCC BY",
}


@pytest.mark.parametrize("header", HEADERS)
def test_a_first_line_with_names_gives_the_columns_and_is_no_pair(
    tmp_path: Path, header: str
) -> None:
    rows = [("maji", "water"), ("moto", "fire")]
    lines = [header, *(HEADERS[header].format(*row) for row in rows)]
    faults = Faults()
    assert list(read_files(write(tmp_path, own="\n".join(lines).encode()), faults, "sw")) == rows
    assert faults.skipped == {f"header line ({header.replace(chr(9), ', ')})": 1}


def test_first_lines_of_two_files_may_be_names_too(tmp_path: Path) -> None:
    paths, faults = write(tmp_path, left=b"sw\nmaji\n", right=b"en\nwater\n"), Faults()
    assert list(read_files(paths, faults, "sw")) == [("maji", "water")]
    assert faults.skipped == {"header line (sw, en)": 1}
    with pytest.raises(UserError, match=r"right is English, .*left is not; swap them"):
        list(read_files(paths[::-1], Faults(), "sw"))
    tables = write(tmp_path, a=b"maji\twater\n", b=b"moto\tfire\n")
    with pytest.raises(UserError, match=r"a, line 1: a tab in both files; they have a sentence"):
        list(read_files(tables, Faults(), "sw"))
    with pytest.raises(UserError, match=r"bitext.files names .*left twice"):
        list(read_files([paths[0], paths[0]], Faults(), "sw"))


@pytest.mark.parametrize("header", ["so\ten", "rw\teng", "sw\tsw\ten", "en\ten"])
def test_names_of_other_columns_are_refused(tmp_path: Path, header: str) -> None:
    (path,) = write(tmp_path, own=f"{header}\nmaji\twater\n".encode())
    with pytest.raises(UserError, match=r"own, line 1: the columns are .*; call one 'sw' and"):
        list(read_files([path], Faults(), "sw"))


@pytest.mark.parametrize("row", ["lengo\ttarget", "neno\tword", "Kiingereza\tEnglish", "a\tEn"])
def test_words_that_could_be_names_are_a_pair(tmp_path: Path, row: str) -> None:
    paths = write(tmp_path, own=f"{row}\nmaji\twater\n".encode())
    assert len(list(read_files(paths, Faults(), "sw"))) == 2


PACKERS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.mark.parametrize("suffix", PACKERS)
def test_compressed_files_of_pairs_are_read(tmp_path: Path, suffix: str) -> None:
    packed = PACKERS[suffix](b"maji\twater\n" * 3)
    for name in ("own.tsv", f"own.tsv{suffix}"):
        (tmp_path / name).write_bytes(packed)
        assert list(read_files([tmp_path / name], Faults())) == [("maji", "water")] * 3
    (tmp_path / f"own.tsv{suffix}").write_bytes(packed[:-9])
    with pytest.raises(UserError, match=rf"own.tsv{suffix}: truncated or damaged"):
        list(read_files([tmp_path / f"own.tsv{suffix}"], Faults("skip")))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_pairs_in_utf16_are_refused_whatever_is_skipped(tmp_path: Path, encoding: str) -> None:
    paths = write(tmp_path, own="maji\twater\n".encode(encoding))
    with pytest.raises(UserError, match="own: UTF-16 or UTF-32, or no text; save it as UTF-8"):
        list(read_files(paths, Faults("skip")))


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/null")):
        with pytest.raises(UserError, match=r"not a regular file \(bitext.files\)"):
            read_files([path], Faults())


COLUMNS = "a pair is two columns with a tab between"
THREE = f"columns: 3, not 2; {COLUMNS}, or name them in the first line (sw, en)"
QUOTED = "quoted as in CSV; write texts as they are"
LONG = "longer than 1,048,576 bytes"


@pytest.mark.parametrize(
    ("content", "fault", "skipped", "kept"),
    [
        (b"a\t1\nb 2\nc\t3\n", "own, line 2: columns: 1, not 2; a pair",
         {THREE.replace("3", "1"): 1}, ["a", "c"]),
        (b"0.9\ta\t1\nb\t2\nc\t3\td\n", r"own, line 1: columns: 3, not 2; .*first line \(sw, en\)",
         {THREE: 2}, ["b"]),
        (b"sw\ten\tscore\na\t1\t2\nb\t2\n", f"own, line 3: columns: 2, not 3; {COLUMNS}",
         {"header line (sw, en, score)": 1, f"columns: 2, not 3; {COLUMNS}": 1}, ["a"]),
        (b'a\t1\n"b ""c"""\t2\n"d" "e"\t"3"\n', f"own, line 2: {QUOTED}",
         {QUOTED: 1}, ["a", '"d" "e"']),
        (b"a\t1\nb\t" + b"2" * (1 << 20) + b"\nc\t3\n", f"own, line 2: {LONG}",
         {LONG: 1}, ["a", "c"]),
        (b"a\t1\n\nc\t3\n", "own, line 2: empty line", {"empty line": 1}, ["a", "c"]),
        (b"a\t1\n\t2\nc\t\n", "own, line 2: empty line", {"empty line": 2}, ["a"]),
        (b"a\t1\n\xe9\t2\n", "own, line 2: not valid UTF-8", {"not valid UTF-8": 1}, ["a"]),
    ],
)  # fmt: skip
def test_a_fault_in_a_tsv_is_named_or_counted(
    tmp_path: Path, content: bytes, fault: str, skipped: dict[str, int], kept: list[str]
) -> None:
    paths = write(tmp_path, own=content)
    check_faults(lambda faults: read_files(paths, faults, "sw"), fault, skipped, kept)


def test_files_that_are_missing_or_too_many_are_told(tmp_path: Path) -> None:
    paths = write(tmp_path, a=b"", b=b"", c=b"")
    with pytest.raises(UserError, match=r"bitext.files: .*c lacks its other side; give two"):
        read_files(paths, Faults())
    with pytest.raises(UserError, match="nowhere: no such file"):
        read_files([paths[0], tmp_path / "nowhere"], Faults())


# --------------------------------------------------------------------------- translation memories

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


# --------------------------------------------------------------------------- SIB-200

SIB_HEAD = "index_id\tcategory\ttext\n"


def sib(folder: Path, **parts: str) -> Callable[[Faults], Iterator[SentencePair]]:
    files = []
    for name, rows in parts.items():
        path = folder / f"{name}.tsv"
        path.write_text(SIB_HEAD + rows, encoding="utf-8")
        files.append(LocalFile(path, CatalogueFile(path.name, lang=name.split("_")[0])))
    options = {"train_below": 997}
    return lambda faults: PAIR_READERS["sib"](files, ReadRequest("sw", options, faults=faults))


def test_sib_rows_are_joined_by_id_and_reserved_rows_left_out(tmp_path: Path) -> None:
    read = sib(
        tmp_path,
        en_train='7\thealth\tSay "ah"\n996\ttravel\tThe last one\n5\tsports\tOnly English\n',
        en_dev="997\ttravel\tReserved\n1592\ttravel\tReserved too\n",
        sw_train='997\ttravel\tImehifadhiwa\n7\thealth\tSema "aa"\n1592\ttravel\tPia\n',
        sw_dev="996\ttravel\tYa mwisho\n6\tsports\tKiswahili tu\n",
    )
    assert list(read(Faults())) == [('Sema "aa"', 'Say "ah"'), ("Ya mwisho", "The last one")]


ROW = "a row is index_id, category and text with tabs between"


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("8\thealth\n", ROW),
        ("x\thealth\ttext\n", ROW),
        ("8\thealth\t \n", ROW),
        ("\n", ROW),
        (f"{'8' * 5000}\thealth\ttext\n", ROW),
        ("²\thealth\ttext\n", ROW),
    ],
)
def test_a_fault_in_a_sib_row_is_named_or_counted(tmp_path: Path, row: str, fault: str) -> None:
    read = sib(tmp_path, en_train="7\thealth\tseven\n", sw_train=f"{row}7\thealth\tsaba\n")
    check_faults(read, f"sw_train.tsv, line 2: {fault}", {fault: 1}, ["saba"])


def test_a_second_sib_row_of_an_id_is_named_or_counted(tmp_path: Path) -> None:
    fault = "an index_id of an earlier row"
    read = sib(tmp_path, en_train="7\thealth\tseven\n", sw_train="7\th\tsaba\n7\th\ttisa\n")
    check_faults(read, f"sw_train.tsv, line 3: {fault}", {fault: 1}, ["saba"])


def test_a_sib_line_that_is_not_utf8_is_named_or_counted(tmp_path: Path) -> None:
    read = sib(tmp_path, en_train="7\thealth\tseven\n", sw_train="7\thealth\tsaba\n")
    with (tmp_path / "sw_train.tsv").open("ab") as stream:
        stream.write(b"8\thealth\tnane\xff\n")
    check_faults(read, "sw_train.tsv, line 3: not valid", {"not valid UTF-8": 1}, ["saba"])
