"""Forms of the user's own bitext: what each yields, and how a fault in it is reported."""

import builtins
import gzip
import io
import json
import re
import shlex
import zipfile
from functools import partial
from pathlib import Path

import pytest
from command_words import DISTILL, refused
from outcomes import well

from clir_cli.corpus.formats.own_bitext import read_files
from clir_cli.corpus.formats.reading import Faults
from clir_cli.corpus.own_files import own_files
from clir_cli.corpus.records import Pair
from clir_cli.errors import UserError
from clir_cli.settings import BitextSettings

ROWS = [("maji, safi", "clean water"), ('"moto"', "fire"), ("करा", "do")]
MEMORY = """<?xml version="1.0"?><!DOCTYPE tmx SYSTEM "tmx14.dtd">
<tmx version="1.4"><header/><body>{}</body></tmx>"""
# Without the time, which names of tests would have: workers must collect the same ones.
packed = partial(gzip.compress, mtime=0)
UNIT = '<tu><tuv xml:lang="{}"><seg>{}</seg></tuv><tuv xml:lang="en"><seg>{}</seg></tuv></tu>'


def read(path: Path, content: bytes | str, faults: Faults | None = None) -> list[tuple[str, str]]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_files([path], faults or Faults(), "sw"))


def records(*keys: str, **more: object) -> str:
    rows = (dict(zip(keys, row, strict=True)) | more for row in ROWS)
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def memory(code: str = "sw") -> str:
    return MEMORY.format("".join(UNIT.format(code, *row) for row in ROWS))


FORMS = {
    "comma.csv": 'sw,en\n"maji, safi",clean water\n"""moto""",fire\nकरा,do\n',
    "mark.csv": '\ufeffsw,en\r\n"maji, safi",clean water\r\n"""moto""",fire\r\n\r\nकरा,do\r\n',
    "order.csv": 'id,english,text\n1,clean water,"maji, safi"\n2,fire,"""moto"""\n3,do,करा\n',
    "excel.csv": 'sw;en;score\nmaji, safi;clean water;1\n"""moto""";fire;1\nकरा;do;2\n',
    "lines.csv": 'source,target\n"maji,\nsafi",clean water\n"""moto""",fire\nकरा, do\n',
    "codes.jsonl": records("sw", "en"),
    "names.json": records("text", "english", id=3, score=None),
    "sides.jsonl": "\n" + records("source", "target"),
    "exact.jsonl": records("sw", "en", url_sw="a", url_en="b"),
    "hub.jsonl": "".join(
        json.dumps({"id": "1", "translation": {"en": english, "sw": query}}) + "\n"
        for query, english in ROWS
    ),
    "one.tmx": memory(),
    "country.tmx": memory("SW-tz"),
    "private.tmx": memory("x-kisw"),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_is_known_by_the_end_of_its_name(tmp_path: Path, name: str) -> None:
    assert read(tmp_path / name, FORMS[name]) == ROWS
    assert read(tmp_path / f"{name}.gz", gzip.compress(FORMS[name].encode())) == ROWS


def test_a_parquet_file_is_read_by_the_names_of_its_columns(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    sides = [dict(zip(("sw", "en"), row, strict=True)) for row in ROWS]
    for rows in (sides, [{"id": 7, "translation": row} for row in sides]):
        parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "own.parquet")
        assert list(read_files([tmp_path / "own.parquet"], Faults(), "sw")) == ROWS


def test_zips_of_opus_are_read_by_their_name(tmp_path: Path) -> None:
    for name, members in {
        "en-sw.tmx.zip": {"en-sw.tmx": memory()},
        "en-sw.txt.zip": {f"X.en-sw.{code}": "".join(f"{row[at]}\n" for row in ROWS)
                          for at, code in enumerate(("sw", "en"))},
    }.items():  # fmt: skip
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            for member, text in members.items():
                archive.writestr(member, text)
        assert read(tmp_path / name, stream.getvalue()) == ROWS


@pytest.mark.parametrize("name", ["own.csv.zst", "own.csv", "own.jsonl.zst"])
def test_zstandard_is_unpacked_and_a_cut_file_is_damaged(tmp_path: Path, name: str) -> None:
    zstd = pytest.importorskip("backports.zstd")
    text = FORMS["comma.csv" if ".csv" in name else "codes.jsonl"]
    packed = zstd.compress(text.encode(), options={zstd.CompressionParameter.checksum_flag: 1})
    assert read(tmp_path / name, packed) == ROWS
    for damaged in (packed[:-3], packed[:9], packed[:20] + b"\xff" + packed[21:]):
        with pytest.raises(UserError, match=f"{name}: truncated or damaged .*; replace it by a"):
            read(tmp_path / name, damaged, Faults("skip"))


def test_without_its_package_zstandard_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *more: object) -> object:
        if name.startswith("backports"):
            raise ImportError(name)
        return real(name, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"own.tsv.zst: zstd is read .* pip install 'clir-cli\[z"):
        read(tmp_path / "own.tsv.zst", b"\x28\xb5\x2f\xfd....")


BOMB = (
    '<!DOCTYPE tmx [<!ENTITY a0 "{}">{}]><tmx><body><tu><seg>&a8;</seg></tu></body></tmx>'.format(
        "ha" * 999, "".join(f'<!ENTITY a{at} "{f"&a{at - 1};" * 10}">' for at in range(1, 9))
    )
)
ENTITY = (
    '<!DOCTYPE tmx [<!ENTITY x SYSTEM "file:///etc/passwd">]><tmx><body><tu>&x;</tu></body></tmx>'
)
CALL = "; call one 'sw' and one 'en', or 'source' and 'target'"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", "maji,water\n", f"a.csv, line 1: the columns are 'maji, water'{CALL}"),
        ("a.csv", "so,en\nbiyo,water\n", f"the columns are 'so, en'{CALL}"),
        ("a.csv", "id,text,label\n", f"the columns are 'id, text, label'{CALL}"),
        ("a.csv", "sw,swa,en\n", f"the columns are 'sw, swa, en'{CALL}"),
        ("a.csv", "", "a.csv: no sentence pair in it"),
        ("a.csv", "sw,en\n", r"a.csv: no sentence pair in it \(bitext.files\)"),
        ("a.csv", 'sw,en\nmaji,"water\n', "a.csv, line 2: cannot be read: unexpected end of data"),
        ("a.csv", 'sw,en\n"maji"x,water\n', "a.csv, line 2: cannot be read: ',' expected after"),
        ("a.csv", f"sw,en\nx,{'y' * 200_000}\n", "line 2: cannot be read: field larger than"),
        ("a.csv", "sw,en\nmaji,water,x\n", "line 2: columns: 3, not 2 as in the first line; corr"),
        ("a.csv", "sw,en\n ,water\n", "a.csv, line 2: empty line; correct it, or skip such"),
        ("a.csv", b"sw,en\nmaji,w\xe9\n", "a.csv, line 2: not valid UTF-8; correct it, or skip"),
        ("a.csv", "sw,en\n".encode("utf-16"), "a.csv: UTF-16 or UTF-32, or no text; save it as"),
        ("a.csv.gz", packed(b"sw,en\n" * 99)[:-9], "a.csv.gz: truncated or damaged"),
        ("a.jsonl", '{"id": 1, "label": ""}', f"line 1: the columns are 'id, label'{CALL}"),
        ("a.jsonl", "", "a.jsonl: no sentence pair in it"),
        ("a.jsonl", '{"sw": "maji", "en": 3}', "line 1: 'en' is 3, where a text is needed"),
        ("a.jsonl", '{"sw": "maji"', "a.jsonl, line 1: not JSON in UTF-8: "),
        ("a.jsonl", b'{"sw": "\xff", "en": ""}', "a.jsonl, line 1: not JSON in UTF-8: "),
        ("a.json", '[{"sw": "maji", "en": "water"}]', r"line 1: \[\{'sw': .* is not a record"),
        ("a.jsonl", '{"sw": "a", "en": "b"}\n{"sw": "c"}', "a.jsonl, line 2: empty line; correct"),
        ("a.jsonl", '{"sw": null, "en": "b"}', "a.jsonl, line 1: empty line; correct it"),
        ("a.tmx", memory("fr"), "a.tmx, unit 1: no text in 'sw', only in fr; correct it, or skip"),
        ("a.tmx", "", "a.tmx: truncated or damaged after unit 0: no element found"),
        ("a.tmx.gz", packed(memory().encode())[:-9], "a.tmx.gz: truncated or damaged"),
        ("a.tmx", BOMB, "a.tmx: truncated or damaged after unit 0: limit on input amplification"),
        ("a.tmx", ENTITY, "a.tmx: truncated or damaged after unit 0: undefined entity &x;"),
        ("a.zip", b"PK", "a.zip: truncated or damaged zip"),
        ("a.parquet", b"PAR1", "a.parquet: truncated or damaged parquet|needs pyarrow"),
    ],
)  # fmt: skip
def test_a_fault_is_one_line_with_the_file(
    tmp_path: Path, name: str, content: bytes | str, told: str
) -> None:
    with pytest.raises(UserError, match=told) as error:
        read(tmp_path / name, content)
    assert "\n" not in str(error.value)


def test_faults_in_rows_are_counted_if_they_may_be_skipped(tmp_path: Path) -> None:
    faults = Faults("skip")
    content = b'sw,en\nmaji,water\n"a\nb\xff","c"\nmoto,fire,x\nd, \ne,f\n'
    assert read(tmp_path / "a.csv", content, faults) == [("maji", "water"), ("e", "f")]
    assert faults.skipped == {
        "header line (sw, en)": 1,
        "not valid UTF-8": 1,
        "columns: 3, not 2 as in the first line": 1,
        "empty line": 1,
    }


def test_a_large_memory_is_not_kept(tmp_path: Path) -> None:
    """Units that have been read are let go: the peak does not grow with their number."""
    import tracemalloc

    (tmp_path / "a.tmx").write_text(MEMORY.format(UNIT.format("sw", "maji", "water") * 6000))
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_files([tmp_path / "a.tmx"], Faults(), "sw")) == 6000
        assert tracemalloc.get_traced_memory()[1] < 1_200_000
    finally:
        tracemalloc.stop()


# --------------------------------------------------------------------------- several files


def test_files_of_several_forms_are_read_together(tmp_path: Path) -> None:
    contents = {"a.csv": FORMS["comma.csv"], "x.sw": "moja\nmbili\n", "b.tmx": memory(),
                "x.en": "one\ntwo\n"}  # fmt: skip
    for name, text in contents.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    found = list(read_files([tmp_path / name for name in contents], Faults(), "sw"))
    assert found == [*ROWS, *ROWS, ("moja", "one"), ("mbili", "two")]


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("train.{en,sw}", ["train.sw", "train.en"]),
        ("train.{sw,en}", ["train.sw", "train.en"]),
        ("{lang}/train.{en,{lang}}.gz", ["sw/train.sw.gz", "sw/train.en.gz"]),
        ("train.{eng,swh}", ["train.swh", "train.eng"]),
        ("train.{en,kisw}", ["train.kisw", "train.en"]),
        ("own.{lang}.csv", ["own.sw.csv"]),
    ],
)
def test_braces_name_two_sides(name: str, files: list[str]) -> None:
    found = own_files(BitextSettings(files=(name,)), Pair("sw", "en"))
    assert list(map(str, found)) == files


@pytest.mark.parametrize("name", ["t.{en,so}", "t.{sw,so}", "t.{en,eng}", "t.{en,swh,sw}"])
def test_braces_without_the_two_languages_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"braces name the languages of the pair sw-en, as in tr"):
        own_files(BitextSettings(files=(name,)), Pair("sw", "en"))


def test_sides_that_their_names_show_to_be_swapped_are_refused(tmp_path: Path) -> None:
    sides = [tmp_path / "train.en.txt", tmp_path / "train.sw.txt"]
    for path in sides:
        path.write_text("maji\n")
    with pytest.raises(UserError, match=r"train.en.txt is English, .*train.sw.txt is not; swap"):
        list(read_files(sides, Faults(), "sw"))
    assert list(read_files(sides[::-1], Faults(), "sw")) == [("maji", "maji")]


def test_the_commands_of_the_page_read_such_files(clir, empty, home) -> None:
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    commands = re.findall(r"^clir (distill .*--dry-run)$", page, re.MULTILINE)
    assert len(commands) == 2
    rows = [(f"neno {at}", f"word {at}") for at in range(12)]
    for side, name in enumerate(("train.sw", "train.en")):
        Path(name).write_text("".join(f"{row[side]}\n" for row in rows))
    text = "".join(json.dumps({"en": english, "sw": query}) + "\n" for query, english in rows)
    Path("web.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    Path("mine").mkdir()
    for code in ("sw", "so"):
        table = "".join(f"{query},{english}\n" for query, english in rows)
        Path(f"mine/{code}.csv").write_text(f"{code},en\n{table}")
    for command in commands:
        assert "missing" in well(clir(*shlex.split(command), "--home", home)).out
    Path("mine/so.csv").write_text("biyo,water\n" * 12)
    told = refused(clir(*shlex.split(commands[1]), "--home", home))
    assert "mine/so.csv, line 1: the columns are 'biyo, water'; call one 'so' and one" in told


def test_a_command_refuses_files_that_it_cannot_pair(clir, empty, home) -> None:
    Path("x.sw").write_text("maji\nmoto\n")
    Path("x.en").write_text("water\n")
    for name, told in (
        ("x.{en,sw}", "x.sw, line 2: no such line in x.en (unequal sides); correct it, or"),
        (
            "x.{en,so}",
            "x.{en,so}: braces name the languages of the pair sw-en, as in train.{en,sw}",
        ),
        ("y.{en,sw}", "y.sw: no such file (bitext.files)"),
    ):
        words = ("--set", f"bitext.files={json.dumps([name])}", "--set", "bitext.sources=[]")
        assert told in refused(clir(*DISTILL.split(), *words, "--home", home))
