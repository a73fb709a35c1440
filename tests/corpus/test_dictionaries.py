"""Bilingual dictionaries: every format as it is published, and the user's own."""

import csv
import gzip
import io
import os
import zipfile
from pathlib import Path

import pytest

from clir_cli.corpus import catalogue
from clir_cli.corpus.dictionaries import Dictionary, inputs, load_dictionary
from clir_cli.corpus.records import Pair
from clir_cli.errors import MissingInput, UserError
from clir_cli.files import file_digest
from clir_cli.settings import DictionarySettings
from clir_cli.suites import bundled

SWAHILI, GERMAN = Pair("sw", "en"), Pair("de", "en")


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def load(path: Path, pair: Pair = SWAHILI, **changes: str) -> Dictionary:
    return load_dictionary(DictionarySettings(files=(str(path),), **changes), pair, Path("nowhere"))


def lay(home: Path, name: str, language: str, content: bytes) -> Path:
    """Put a file where a fetched one of the catalogue lies."""
    path = catalogue.source("dictionaries", name).files_for(language)[0].local(home)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# --------------------------------------------------------------------------- TSV and MUSE


@pytest.mark.parametrize("language", ["sw", "so", "tl", "mr", "fi", "de", "fr"])
def test_the_sample_dictionary_is_read_whole(language: str) -> None:
    found = load_dictionary("sample", Pair(language, "en"), Path("nowhere"))
    path = bundled("data") / "sample" / "dictionary" / f"{language}.tsv"
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    assert {english for row in found.values() for english in row} == {row[1] for row in rows}
    assert sum(map(len, found.values())) == len({(row[0].lower(), row[1]) for row in rows})


def test_a_tsv_holds_word_tab_english_best_first(tmp_path: Path) -> None:
    content = "\ufeffMaji\tWater\r\njua\tsun\njua\tknow\tverb\nmaji\twater\nMAJI\tWater\n"
    path = write(tmp_path, "own.tsv", content.encode())
    assert load(path) == {"maji": ("Water", "water"), "jua": ("sun", "know")}


@pytest.mark.parametrize(
    "content",
    [
        "word\tenglish\tscore\tpairs\nmaji\twater\t0.9\t12\n",  # as clir writes them
        "en\tsw\nwater\tmaji\n",
        "score\tSwahili\tEnglish\n0.9\tmaji\twater\n",
    ],
)
def test_a_first_line_with_names_gives_the_columns_of_a_dictionary(
    tmp_path: Path, content: str
) -> None:
    assert load(write(tmp_path, "own.tsv", content.encode())) == {"maji": ("water",)}


def test_a_compressed_dictionary_is_read_and_a_pipe_refused(tmp_path: Path) -> None:
    packed = gzip.compress(b"maji\twater\n")
    assert load(write(tmp_path, "own.tsv.gz", packed)) == {"maji": ("water",)}
    os.mkfifo(tmp_path / "pipe.tsv")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "folder" / "langvar.csv")
    for name in ("pipe.tsv", "folder"):
        chosen = DictionarySettings(files=(str(tmp_path / name),))
        with pytest.raises(UserError, match=r"not a regular file|no langvar.csv"):
            list(inputs(chosen, SWAHILI, tmp_path))
            load_dictionary(chosen, SWAHILI, tmp_path)


def test_keys_are_words_as_texts_are_cut_into_words(tmp_path: Path) -> None:
    path = write(tmp_path, "own.tsv", "X-Ray  ya\tx-ray\nHäuser\thouses\n...\tdots\n".encode())
    assert load(path) == {"x ray ya": ("x-ray",), "häuser": ("houses",)}


@pytest.mark.parametrize("mark", [" ", "\t", " \t "])
def test_muse_has_word_white_space_english(tmp_path: Path, mark: str) -> None:
    lines = [("der", "the"), ("der", "which"), ("und", "and"), ("straße", "street")]
    content = "".join(f"{word}{mark}{english}\n" for word, english in lines)
    lay(tmp_path, "muse", "de", content.encode())
    found = load_dictionary("muse", GERMAN, tmp_path)
    assert found == {"der": ("the", "which"), "und": ("and",), "straße": ("street",)}


@pytest.mark.parametrize(
    ("name", "content", "fault", "kept"),
    [
        ("a.tsv", b"a\t1\nb 2\nc\t3\n", "a.tsv, line 2: a line is a word, a tab", ["a", "c"]),
        ("a.tsv", b"a\t1\n\nc\t3\n", "a.tsv, line 2: empty line", ["a", "c"]),
        ("a.tsv", b"a\t1\n\t2\nc\t3\n", "a.tsv, line 2: a line is a word, a tab", ["a", "c"]),
        ("a.tsv", b"a\t1\nb\xff\t2\nc\t3\n", "a.tsv, line 2: not valid UTF-8", ["a", "c"]),
        ("a.tsv", b"a\t1\n0.9\tb\t2\nc\t3\n", "line 2: a number in the place of", ["a", "c"]),
        ("a.txt", b"a 1\nb\nc 3\n", "a.txt, line 2: a line is a word, a space", ["a", "c"]),
        ("a.txt", b"a 1\nb 2 3\nc 3\n", "a.txt, line 2: a line is a word, a space", ["a", "c"]),
    ],
)
def test_a_malformed_line_is_named_or_left_out(
    tmp_path: Path, name: str, content: bytes, fault: str, kept: list[str]
) -> None:
    path = write(tmp_path, name, content)
    with pytest.raises(UserError, match=fault) as error:
        load(path)
    assert "--set dictionary.on_error=skip" in str(error.value)
    assert list(load(path, on_error="skip")) == kept


# --------------------------------------------------------------------------- TICO-19

TERMS = (
    "id,sourceLang,targetLang,sourceString,targetString\n"
    "1,en,sw_KE,1918 flu,Homa ya 1918\n"
    "2,en,sw_KE,CDC,Kituo cha Udhibiti wa Ugonjwa (CDC)\n"
    '3,en,sw_KE,"cough, dry","kikohozi, ""kikavu"""\n'
    "4,en,sw_KE,influenza,Homa ya 1918\n"
)


def test_a_terminology_is_read_from_its_csv(tmp_path: Path) -> None:
    assert load(write(tmp_path, "f_en-sw_KE.csv", TERMS.encode())) == {
        "homa ya 1918": ("1918 flu", "influenza"),
        "kituo cha udhibiti wa ugonjwa cdc": ("CDC",),
        "kikohozi kikavu": ("cough, dry",),
    }


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (TERMS.replace("id,", "number,"), "line 1: the columns are id,sourceLang"),
        (TERMS.replace(",influenza", ""), "line 5: a row is id, two languages and two terms"),
        (TERMS.replace("influenza", " "), "line 5: a row is id, two languages and two terms"),
        (TERMS + '5,en,sw_KE,"cut', "line 6: cannot be read: unexpected end of data"),
        (TERMS.replace("1918 flu", "\udcff"), "line 2: not valid UTF-8"),
    ],
)
def test_a_malformed_terminology_is_told(tmp_path: Path, content: str, fault: str) -> None:
    with pytest.raises(UserError, match=f"f_en-sw_KE.csv, {fault}"):
        load(write(tmp_path, "f_en-sw_KE.csv", content.encode("utf-8", "surrogateescape")))


# --------------------------------------------------------------------------- OPUS XLEnt


def test_mined_pairs_come_most_frequent_first(tmp_path: Path) -> None:
    pairs = [("Uingereza", "England"), ("Uingereza", "Britain"), ("Uingereza", "Britain")]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README", "Corpus Name: XLEnt\n")
        for column, side in enumerate(("sw", "en")):
            text = "".join(f"{row[column]}\n" for row in [*pairs, ("", "x")])
            archive.writestr(f"XLEnt.en-sw.{side}", text)
    lay(tmp_path, "xlent", "sw", stream.getvalue())
    assert load_dictionary("xlent", SWAHILI, tmp_path) == {"uingereza": ("Britain", "England")}


# --------------------------------------------------------------------------- PanLex

# Tables of a snapshot, with more columns and languages than are read.
LANGVAR = [("id", "lang_code", "var_code", "mutable", "name_expr")]
LANGVAR += [(187, "eng", 0, "t", 1), (700, "swh", 0, "t", 2), (701, "deu", 0, "t", 3)]
EXPR = [("id", "langvar", "txt", "txt_degr")]
EXPR += [(10, 700, "maji", "maji"), (11, 700, "jua", "jua"), (12, 701, "Wasser", "wasser")]
EXPR += [(20, 187, "water", "water"), (21, 187, "sun", "sun"), (22, 187, "know", "know")]
DENOTATION = [("id", "meaning", "expr")]
DENOTATION += [(1, 100, 10), (2, 100, 20), (3, 101, 11), (4, 101, 22), (5, 102, 11), (6, 102, 21)]
DENOTATION += [
    (7, 103, 11),
    (8, 103, 21),
    (9, 104, 12),
    (10, 104, 20),
    (11, 105, 12),
    (12, 106, 21),
]
TABLES = {"langvar.csv": LANGVAR, "expr.csv": EXPR, "denotation.csv": DENOTATION}


def snapshot(folder: Path, tables: dict[str, list], *, packed: bool = True) -> Path:
    root = folder / "panlex-20190901-csv"
    texts = {}
    for name, rows in tables.items():
        stream = io.StringIO(newline="")
        csv.writer(stream).writerows(rows)
        texts[name] = stream.getvalue()
    if not packed:
        root.mkdir()
        for name, text in texts.items():
            (root / name).write_text(text, encoding="utf-8")
        return root
    path = root.with_name(root.name + ".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{root.name}/", "")
        for name, text in texts.items():
            archive.writestr(f"{root.name}/{name}", text)
    return path


@pytest.mark.parametrize("packed", [True, False])
def test_panlex_words_with_the_same_meaning_are_translations(tmp_path: Path, packed: bool) -> None:
    path = snapshot(tmp_path, TABLES, packed=packed)
    assert load(path) == {"jua": ("sun", "know"), "maji": ("water",)}
    assert load(path, GERMAN) == {"wasser": ("water",)}
    with pytest.raises(UserError, match="no expressions in som"):
        load(path, Pair("so", "en"))
    chosen = DictionarySettings(files=(str(path),))
    read = inputs(chosen, SWAHILI, Path("nowhere"))
    expected = [path] if packed else sorted(path.glob("*.csv"))
    assert read == {str(each): file_digest(each) for each in expected}


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"expr.csv": None}, "expr.csv"),
        ({"expr.csv": [("id", "text")]}, "expr.csv: no columns id, langvar, txt"),
        ({"denotation.csv": [*DENOTATION, (13, 107)]}, "denotation.csv, line 14: meaning, expr"),
    ],
)
def test_a_damaged_snapshot_is_told(
    tmp_path: Path, changes: dict[str, list | None], fault: str, packed: bool
) -> None:
    tables = {name: rows for name, rows in {**TABLES, **changes}.items() if rows is not None}
    with pytest.raises(UserError, match=fault):
        load(snapshot(tmp_path, tables, packed=packed))


def test_panlex_is_yours_to_bring() -> None:
    with pytest.raises(UserError, match="dictionary panlex is user-supplied: a CSV snapshot"):
        load_dictionary("panlex", SWAHILI, Path("nowhere"))


# --------------------------------------------------------------------------- choosing


def test_own_files_come_before_the_sources(tmp_path: Path) -> None:
    path = write(tmp_path, "own.tsv", b"maji\tliquid\nneno jipya\tnew word\n")
    chosen = DictionarySettings(files=(str(path),), sources=("sample",))
    found = load_dictionary(chosen, SWAHILI, Path("nowhere"))
    assert found["maji"] == ("liquid", "water")
    assert found["neno jipya"] == ("new word",)
    assert len(found) > 700
    assert set(inputs(chosen, SWAHILI, Path("nowhere"))) == {
        str(path),
        "sample/sample/dictionary/sw.tsv",
    }


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown dictionary 'musee': did you mean muse"):
        load_dictionary("musee", SWAHILI, tmp_path)
    with pytest.raises(MissingInput, match=r"de-en\.txt is missing"):
        load_dictionary("muse", GERMAN, tmp_path)
    with pytest.raises(UserError, match="no dictionary for sw-en: muse"):
        load_dictionary("muse", SWAHILI, tmp_path)
    with pytest.raises(UserError, match=r"no such file \(dictionary.files\)"):
        load_dictionary(DictionarySettings(files=("/no/such.tsv",)), SWAHILI, tmp_path)
    with pytest.raises(UserError, match=r"own.xml: the name of a dictionary ends in \.tsv, \.txt"):
        load(write(tmp_path, "own.xml", b"<a/>"))
    with pytest.raises(UserError, match="truncated or damaged zip"):
        load(write(tmp_path, "own.zip", b"PK"))
