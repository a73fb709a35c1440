"""Readers of sentence pairs: what they yield, and how they tell a fault."""

import bz2
import functools
import gzip
import lzma
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from outcomes import check_faults

from clir_cli.corpus.catalogue import CatalogueFile, LocalFile
from clir_cli.corpus.formats import PAIR_READERS
from clir_cli.corpus.formats.own_bitext import read_files
from clir_cli.corpus.formats.reading import Faults, ReadRequest
from clir_cli.corpus.records import SentencePair
from clir_cli.errors import UserError

some = functools.partial(settings, deadline=None, derandomize=True)


def write(folder: Path, **contents: bytes) -> list[Path]:
    paths = [folder / name for name in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        path.write_bytes(content)
    return paths


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
