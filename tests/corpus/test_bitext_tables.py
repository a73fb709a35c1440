"""Bitext in tables and its traps, in small files in their publishers' formats."""

import json
from pathlib import Path
from typing import Any

import pytest
from collection_files import located

from clir_cli.corpus import catalogue
from clir_cli.corpus.catalogue import LocalFile
from clir_cli.corpus.formats import DICTIONARY_READERS, PAIR_READERS
from clir_cli.corpus.formats.reading import Faults, ReadRequest
from clir_cli.corpus.records import SentencePair
from clir_cli.errors import UserError


def sides(folder: Path, *contents: bytes | str) -> list[LocalFile]:
    """Write files that are the query language's and English in turns."""
    return [
        located(
            folder / f"{number}.{role}", content, lang="" if role == "query" else "en", role=role
        )
        for number, content in enumerate(contents)
        for role in [("query", "english")[number % 2]]
    ]


def read(
    name: str, files: list[LocalFile], faults: Faults | None = None, **options: Any
) -> list[SentencePair]:
    source = catalogue.source("bitext", name)
    request = ReadRequest("sw", {**source.options, **options}, faults=faults or Faults())
    return list(PAIR_READERS[source.format](files, request))


# --------------------------------------------------------------------------- line by line


def test_a_source_of_several_pairs_of_files_is_read_in_their_order(tmp_path: Path) -> None:
    files = sides(tmp_path, "eins\nzwei\n", "one\ntwo\n", "drei\n", "three\n")
    expected = [("eins", "one"), ("zwei", "two"), ("drei", "three")]
    assert read("newstest", files) == expected
    # A file of another year in between changes nothing: only the order within a role counts.
    assert read("newstest", [files[0], files[2], files[1], files[3]]) == expected


def test_a_line_of_newstest_ends_at_a_line_feed_and_nowhere_else(tmp_path: Path) -> None:
    files = sides(tmp_path, "Er sagte:\u0085ja\nNein", "He said: yes\nNo\n")
    assert read("newstest", files) == [("Er sagte:\u0085ja", "He said: yes"), ("Nein", "No")]


@pytest.mark.parametrize("name", ["global-voices", "lafand"])
def test_lines_that_are_empty_on_both_sides_are_counted(tmp_path: Path, name: str) -> None:
    query = "Habari \n\n\ufeffMaji\u00a0safi \nLondon \n \nMwisho"  # the last line has no end
    english = "News \n\nClean\u00a0water \nLondon \n\nThe end"
    faults = Faults("stop")
    rows = read(name, sides(tmp_path, query, english), faults)
    assert rows == [
        ("Habari", "News"),
        ("\ufeffMaji\u00a0safi", "Clean\u00a0water"),
        ("London", "London"),  # left untranslated; bitext.drop_copies drops it
        ("Mwisho", "The end"),
    ]
    assert faults.skipped == {"empty line": 2}


def test_tagalog_is_the_second_of_three_columns(tmp_path: Path) -> None:
    lines = "Run.\tTakbo.\tCC-BY 2.0 (France) #1 (a) & #2 (b)\nWho?\tSino?\tCC-BY 2.0 (France)\n"
    file = located(tmp_path / "tgl.txt", lines, lang="tl")
    assert read("kaibigan-salita", [file]) == [("Takbo.", "Run."), ("Sino?", "Who?")]
    damaged = located(tmp_path / "tgl.txt", "Run.\tTakbo.\nWho? Sino?\n", lang="tl")
    with pytest.raises(UserError, match=r"tgl.txt, line 2: 2 columns with tabs between are needed"):
        read("kaibigan-salita", [damaged])


# --------------------------------------------------------------------------- questions


def test_questions_are_joined_by_line(tmp_path: Path) -> None:
    native = "237\tNi virusi gani?\n237\tRais wa 44 aitwaje?\n239\t Mji mkuu ni nini? "
    english = '237\tWhat virus?\n238\t"Who was the 44th president? "\n239\tWhat is the capital?\n'
    files = sides(tmp_path, native, english)
    known = {"other_ids": {files[0].declared.path: [2]}}
    assert read("ciral-questions", files, **known) == [
        ("Ni virusi gani?", "What virus?"),
        ("Rais wa 44 aitwaje?", "Who was the 44th president?"),
        ("Mji mkuu ni nini?", "What is the capital?"),
    ]
    with pytest.raises(UserError, match=r"0.query, line 2: the id is 237, and 238 in 1.english"):
        read("ciral-questions", files)


# --------------------------------------------------------------------------- STS benchmark

KEPT = "main-captions\tMSRvid\t2012test\t0\t"


def test_rows_and_cells_that_are_no_translation_are_left_out(tmp_path: Path) -> None:
    english = (
        '"A man said ""no"", twice.","A man, tall",5.0\r\n'
        "One.,Two.,3.33333333333333\r\nThree.,Four.,1.0\r\nFive.,Six.,2.0\r\nSeven.,Eight.,4.0\r\n"
    )
    marathi = (
        f'{KEPT}5\tतो "नाही म्हणाला.\tएक माणूस\r\n'
        f"{KEPT}3.333333333\t#VALUE!\tदोन\r\n"
        f"{KEPT}9\tचार\tतीन\r\n"  # in another order
        f"{KEPT}2\tपा\ufffdच\tSix.\r\n"
        f"{KEPT}4\tसात\tआठ"
    )
    files = sides(tmp_path, marathi, english)
    faults = Faults("stop")
    rows = read("stsb", files, faults, left_out={files[0].declared.path: [3, 3]})
    assert rows == [
        ('तो "नाही म्हणाला.', 'A man said "no", twice.'),
        ("एक माणूस", "A man, tall"),
        ("दोन", "Two."),
        ("सात", "Seven."),
        ("आठ", "Eight."),
    ]
    assert faults.skipped == {"damaged, or not in Devanagari": 3, "in another order": 1}


@pytest.mark.parametrize(
    ("marathi", "english", "fault"),
    [
        (f"{KEPT}4\tसात\tआठ\r\n", "Seven.,Eight.,3.0\r\n", "row 1: another score than in"),
        (f"{KEPT}x\tसात\tआठ\r\n", "Seven.,Eight.,x\r\n", "row 1: another score than in"),
        (f"{KEPT}4\tसात\r\n", "Seven.,Eight.,4.0\r\n", "row 1: no such row in 1.english, or"),
        (f"{KEPT}4\tसात\tआठ\r\n", "a,b,4\r\nc,d,1\r\n", "row 2: no such row in 1.english, or"),
        (f"{KEPT}4\tसात\tआठ\r\n", 'Seven.,"Eight.,4.0\r\n', "line 1: cannot be read"),
    ],
)
def test_rows_that_do_not_belong_together_are_named(
    tmp_path: Path, marathi: str, english: str, fault: str
) -> None:
    with pytest.raises(UserError, match=fault):
        read("stsb", sides(tmp_path, marathi, english))


# --------------------------------------------------------------------------- names of CLDR


def cldr(folder: Path, language: str, role: str, names: dict[str, Any]) -> LocalFile:
    key = "dates" if role == "timeZoneNames" else "localeDisplayNames"
    inner = {role: {"zone": names} if key == "dates" else names}
    content = json.dumps({"main": {language: {"identity": {"language": language}, key: inner}}})
    return located(folder / f"{language}.{role}.json", content, lang=language, role=role)


def dictionary(files: list[LocalFile]) -> list[tuple[str, str]]:
    return list(DICTIONARY_READERS["cldr"](files, ReadRequest("sw")))


def test_names_are_those_that_differ_from_the_english(tmp_path: Path) -> None:
    swahili = {"001": "Dunia", "CD-alt-variant": "Kongo (DRC)", "TG": "Togo", "QO": "Mbali"}
    files = [
        cldr(
            tmp_path, "en", "territories", {"001": "world", "CD-alt-variant": "DRC", "TG": "Togo"}
        ),
        cldr(tmp_path, "sw", "territories", swahili),
        cldr(tmp_path, "en", "languages", {"alt": "Southern Altai"}),
        cldr(tmp_path, "sw", "languages", {"alt": "Kialtai"}),
    ]
    assert dictionary(files) == [("Dunia", "world"), ("Kialtai", "Southern Altai")]


def test_a_city_without_an_english_name_is_called_as_its_zone(tmp_path: Path) -> None:
    def city(name: str) -> dict[str, str]:
        return {"_type": "zone", "exemplarCity": name}

    swahili = {
        "America": {"Mexico_City": city("Jiji la Mexico"), "Lima": city("Lima")},
        "Asia": {"Saigon": city("Ho Chi Minh"), "Aden": {"_type": "zone"}},
        "Argentina": {"_type": "zone", "Ushuaia": city("Ushwaya")},
    }
    files = [
        cldr(tmp_path, "en", "timeZoneNames", {"Asia": {"Saigon": city("Ho Chi Minh City")}}),
        cldr(tmp_path, "sw", "timeZoneNames", swahili),
    ]
    assert dictionary(files) == [
        ("Jiji la Mexico", "Mexico City"),
        ("Ho Chi Minh", "Ho Chi Minh City"),
        ("Ushwaya", "Ushuaia"),
    ]


NAMELESS = '{"main": {"sw": {"localeDisplayNames": {"territories": {"001": %s}}}}}'


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"main": {}}', '{"main": {"sw": {"dates": 1}}}']
    + [NAMELESS % value for value in ("null", "NaN", '["dunia"]', r'"\ud83d"')],
)
def test_a_file_that_is_not_of_cldr_is_named(tmp_path: Path, content: str) -> None:
    english = cldr(tmp_path, "en", "territories", {"001": "world"})
    damaged = located(tmp_path / "sw.json", content, lang="sw", role="territories")
    with pytest.raises(UserError, match=r"sw.json: not a JSON file of CLDR with territories"):
        dictionary([english, damaged])
