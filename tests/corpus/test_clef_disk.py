"""CLEF's disk E0008 as its owners have it: found, read, described, and told what it lacks."""

from pathlib import Path

import pytest
from rehearsal import clef_disk
from rehearsal.texts import documents

from clir_cli.corpus.brought import bring, described
from clir_cli.corpus.collections import load_collection, required_files
from clir_cli.corpus.records import Collection
from clir_cli.errors import UserError

NAME = "clef-2000-2003"
YEARS = list(clef_disk.YEARS)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return clef_disk.write_disk(tmp_path / "E0008")


@pytest.fixture
def downloads(tmp_path: Path, disk: Path) -> Path:
    """The downloads of a home that has links to the disk and to the translations of its topics."""
    translated = clef_disk.write_translated_topics(tmp_path / "mine")
    for given in (disk, translated):
        bring(folder_of(tmp_path / "downloads"), given)
    return tmp_path / "downloads"


def folder_of(downloads: Path) -> Path:
    return downloads / "brought" / NAME


def drop_missing(downloads: Path) -> None:
    (folder_of(downloads) / "collection.toml").write_text('missing = "drop"\n')


def load(downloads: Path, language: str) -> Collection:
    return load_collection(NAME, language, downloads)


def expected_topics(language: str) -> dict[str, str]:
    rows = clef_disk.topics(language)
    texts = {f"C{number:03d}": f"{title} {text}" for number, title, text in rows}
    return {name: " ".join(text.replace("œ", "oe").split()) for name, text in texts.items()}


@pytest.mark.parametrize("language", ["fi", "de", "fr", "sw", "so", "tl", "mr"])
def test_the_topics_of_four_years_are_read_in_every_language_of_the_suite(
    downloads: Path, language: str
) -> None:
    found = load(downloads, language)
    assert found.queries == {
        language: expected_topics(language),
        "en": expected_topics("en"),
    }
    assert len(found.queries["en"]) == 80


def test_documents_are_read_and_what_lies_beside_them_is_not(downloads: Path) -> None:
    found = load(downloads, "en")
    assert [each.id for each in found.documents] == sorted(
        clef_disk.document_names().values(), key=lambda name: (name[0] == "L", name)
    )
    by_id = {each.id: each for each in found.documents}
    names = clef_disk.document_names()
    title, text = documents()["health-02"]
    assert by_id[names["health-02"]].title == title
    assert by_id[names["health-02"]].text.startswith(text)
    assert any(each.text.endswith("It costs £5 .") for each in found.documents)  # ISO-8859-1
    assert found.notes == ()


def test_topics_are_judged_year_by_year_on_the_documents_of_their_pool(downloads: Path) -> None:
    found = load(downloads, "fi")
    rows = [row for year in YEARS for row in clef_disk.judgments(year)]
    expected: dict[str, dict[str, int]] = {}
    for topic, name, grade in rows:
        expected.setdefault(f"C{topic:03d}", {})[name] = grade
    judged = {topic: grades for topic, grades in expected.items() if max(grades.values())}
    assert found.qrels == judged
    assert [(pool.name, pool.queries[0], pool.queries[-1]) for pool in found.pools] == [
        ("2000", "C001", "C020"),
        ("2001", "C041", "C060"),
        ("2002", "C091", "C110"),
        ("2003", "C141", "C160"),
    ]
    times, both = "Los Angeles Times 1994", "Los Angeles Times 1994 and Glasgow Herald 1995"
    assert [pool.title for pool in found.pools] == [times, times, times, both]
    assert not found.pools[2].has("GH950102-000001") and found.pools[3].has("GH950102-000001")
    assert found.depth == 1000


def test_a_disk_that_nobody_has_tidied_up_is_the_same_collection(
    downloads: Path, tmp_path: Path
) -> None:
    original = clef_disk.write_disk(tmp_path / "as handed out", original=True)
    bring(folder_of(tmp_path / "other"), original)
    for language in ("fi", "de"):
        assert load(tmp_path / "other", language).digests == load(downloads, language).digests
    with pytest.raises(UserError, match="60 judged topics are missing, 41 the first"):
        load(tmp_path / "other", "nl")  # of 2000 alone
    drop_missing(tmp_path / "other")
    dutch = load(tmp_path / "other", "nl").queries["nl"]  # D is not German
    assert dutch["C001"] == "in het Nederlands 1 in het Nederlands"


def test_the_disk_itself_may_be_linked_or_named_as_a_folder(
    downloads: Path, disk: Path, tmp_path: Path
) -> None:
    place = folder_of(tmp_path / "linked")
    place.parent.mkdir(parents=True)
    place.symlink_to(disk)
    before = load(downloads, "de")
    assert load(tmp_path / "linked", "de").digests == before.digests
    own = load_collection(str(disk), "de", tmp_path / "linked")
    assert own.digests == before.digests
    assert own.pools == before.pools


def test_sw_of_2000_is_swedish_and_not_swahili(disk: Path, downloads: Path, tmp_path: Path) -> None:
    bring(folder_of(tmp_path / "alone"), disk)
    with pytest.raises(UserError, match="no topics in 'sw'"):
        load(tmp_path / "alone", "sw")
    drop_missing(tmp_path / "alone")
    assert load(tmp_path / "alone", "sv").queries["sv"]["C001"] == "på svenska 1 på svenska"
    own = tmp_path / "own" / "topics" / "sw"
    own.mkdir(parents=True)
    own.joinpath("TOP-SW.txt").write_bytes((disk / "Topics/topics2000/TOP-SW.txt").read_bytes())
    bring(folder_of(tmp_path / "alone"), own.parent)
    with pytest.raises(UserError, match=r"TOP-SW\.txt: SW is Swedish in the topics of 2000"):
        load(tmp_path / "alone", "sw")


def test_translations_may_have_the_numbers_of_topics_alone(downloads: Path, tmp_path: Path) -> None:
    before = load(downloads, "tl")
    path = tmp_path / "mine/topics/tl/Top-tl.txt"
    path.write_text(path.read_text().replace("<num> C0", "<num> ").replace("<num> C1", "<num> 1"))
    assert load(downloads, "tl").digests == before.digests


def cut(path: Path, old: str, new: str = "") -> None:
    text = path.read_text(encoding="iso-8859-1")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="iso-8859-1")


def test_what_is_missing_is_told_and_nothing_else(downloads: Path, tmp_path: Path) -> None:
    english = tmp_path / "E0008" / clef_disk.ENGLISH
    judged = tmp_path / "E0008-second-disk" / "RelAssess"
    ciir = next((tmp_path / "mine" / clef_disk.LOW_RESOURCE).glob("*SWAHILI.txt"))
    for path, language, said in (
        (english / "GlasgowHerald95", "fi", r"no documents of Glasgow Herald 1995 \(files GH\*\)"),
        (english / "LATimes94", "fi", r"no documents of Los Angeles Times 1994 \(files LA\*\)"),
        (english, "fi", r"no documents \(DocumentData/DataCollections/English_data"),
        (judged / "2001", "fi", r"no qrels of 2001 \(RelAssess/<year>/qrels_english\)"),
        (judged, "fi", r"no qrels \(RelAssess/<year>/qrels_english"),
        (ciir, "sw", r"no topics in 'sw' \(CIIR's clef\*_SWAHILI\.txt, topics\.sw"),
        (tmp_path / "E0008/Topics", "fi", r"no topics in 'fi' \(Topics/topics<year>/Top-fi<year>"),
    ):
        assert [file.there for file in required_files(NAME, language, downloads)] == [True]
        path.rename(path.with_name(".away"))
        (file,) = required_files(NAME, language, downloads)
        assert not file.there
        with pytest.raises(UserError, match=said) as error:
            load(downloads, language)
        assert "\n" not in str(error.value)
        assert "; ".join(file.lacking) in str(error.value)
        path.with_name(".away").rename(path)
    assert described(file.request).startswith("layout of the disk E0008; documents in 9 files")


def test_an_archive_that_must_be_unpacked_is_named(tmp_path: Path) -> None:
    disk = clef_disk.write_disk(tmp_path / "E0008", original=True)
    (disk / clef_disk.ENGLISH / "GlasgowHerald95").unlink()
    bring(folder_of(tmp_path), disk)
    with pytest.raises(UserError, match=r"\(files GH\*; unpack GlasgowHerald95\.tgz\)"):
        load(tmp_path, "fi")


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("E0008/Topics/topics2000/TOP-FI.txt", "<num> C001", "<num>", "TOP-FI.txt, topic 1: no <n"),
        ("E0008/Topics/topics2002/Top-fi02.txt", "C091", "C041", "topic C041 occurs twice"),
        ("E0008/RelAssess/2000/qrels_english", " LA", " GH",
         "topic C001 was judged on Los Angeles Times 1994 alone, and the qrels have GH"),
        ("E0008/RelAssess/2003/qrels_english", "141 0", "201 0", "judged topics are missing, 201"),
        ("E0008/DocumentData/DataCollections/English_data/LATimes94/la010194", "</DOC>", "",
         "a document before the next has no </DOC>"),
    ],
)  # fmt: skip
def test_a_fault_on_the_disk_is_told_in_one_line(
    downloads: Path, tmp_path: Path, name: str, old: str, new: str, said: str
) -> None:
    if new == " GH":  # a document that is there
        judged = f"{clef_disk.YEARS['2000']} 0 GH950102-000108 1\n"
        old, new = judged, judged
        path = tmp_path / name
        path.write_text(path.read_text() + judged)
    cut(tmp_path / name, old, new)
    with pytest.raises(UserError, match=said) as error:
        load(downloads, "fi")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title: a\n", "line 1: title: without a query_id of its own"),
        ("query_id: C001\ntitle: a\ntitle: b\n", "line 3: title: without a query_id of its own"),
        ("query_id:\ntitle: a\n", "topic 1: no <num>"),
        ("query_id: C001\nquery_id: C002\ntitle: a\n", "topic C001: none of the fields title"),
        ("about these topics\n", "no <top>, <topic> or query_id: in it"),
    ],
)
def test_a_fault_in_topics_with_labels_is_told(
    downloads: Path, tmp_path: Path, text: str, said: str
) -> None:
    path = next((tmp_path / "mine" / clef_disk.LOW_RESOURCE).glob("*SOMALI.txt"))
    if text.startswith("title"):
        text += path.read_text()
    path.write_text(text)
    with pytest.raises(UserError, match=said):
        load(downloads, "so")


def test_a_description_may_have_several_lines_and_words_with_a_colon(
    downloads: Path, tmp_path: Path
) -> None:
    path = next((tmp_path / "mine" / clef_disk.LOW_RESOURCE).glob("*SOMALI.txt"))
    path.write_text(
        path.read_text().replace("description: ", "description: Sheeg:\nwaa\n  maxay? ", 1)
    )
    found = load(downloads, "so").queries["so"]["C001"]
    assert " Sheeg: waa maxay? " in found


def test_files_without_a_document_are_left_out_and_told(downloads: Path, tmp_path: Path) -> None:
    before = load(downloads, "fi")
    folder = tmp_path / "E0008" / clef_disk.ENGLISH / "LATimes94"
    (folder / "la_changes").write_text("Files that were changed in 1999: none.\n")
    found = load(downloads, "fi")
    assert found.digests == before.digests
    assert found.notes == ("1 file without a document left out: la_changes",)


def test_what_is_brought_is_linked_once_and_never_through_a_link(
    tmp_path: Path, disk: Path
) -> None:
    place = folder_of(tmp_path)
    link = bring(place, disk)
    assert bring(place, disk) == link and link.resolve() == disk
    with pytest.raises(UserError, match=r"--brought .*nowhere: no such file or folder"):
        bring(place, tmp_path / "nowhere")
    other = tmp_path / "other" / "E0008"
    other.mkdir(parents=True)
    with pytest.raises(UserError, match=r"E0008 is there already, a link to .*; remove it"):
        bring(place, other)
    assert bring(place, other, replace=True).resolve() == other
    whole = folder_of(tmp_path / "whole")
    whole.parent.mkdir(parents=True)
    whole.symlink_to(disk)
    with pytest.raises(UserError, match=r"is a link to .*E0008, which is not written to; remove"):
        bring(whole, other)
    own = tmp_path / "own"
    own.mkdir()
    (own / "collection.toml").write_text('query = ["title"]\n')
    assert bring(folder_of(tmp_path / "third"), own) == folder_of(tmp_path / "third")
