"""The evaluation package ELRA-E0008 (CLEF 2000-2003) in small, and CIIR's topics beside it.

Folders, names, tags and encoding are those of the disk, as the programs that read it have them:
news in SGML with open mark-up, plain and gzipped, among files that are no documents; topics of 2000
with letters of their own for the languages, those of later years with codes; qrels by year, of
several languages.
"""

import gzip
import html
import io
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from rehearsal.texts import documents, qrels, queries, sentences

YEARS = {"2000": 1, "2001": 41, "2002": 91, "2003": 141}  # with the number of the first topic
A_YEAR = 20  # topics; the campaigns had 40, 50, 50 and 60
# Languages of the topics: the letters of 2000, and the codes that later names and tags have. By
# some programs German has the letter G, and D is Dutch.
OF_2000 = {"en": "E", "de": "D", "fr": "F", "fi": "FI"}
BY_CIIR = {"sw": "SWAHILI", "so": "SOMALI"}
BY_USERS = ("tl", "mr")  # nobody publishes these
LOS_ANGELES = 108  # documents; the others are the Herald's
LONG = 4  # each such document has as many words as an article of these papers
ENGLISH = "DocumentData/DataCollections/English_data"
LOW_RESOURCE = "ictir19_simulate_low_resource/long_paper"
# Where the English qrels of a year are: as programs rename them, and as the disk has them.
RENAMED = {year: f"{year}/qrels_english" for year in YEARS}
ORIGINAL = {
    "2000": "2000rels/biling_qrels", "2001": "2001rels/qrels_bilingual",
    "2002": "2002rels/qrels_EN", "2003": "2003rels/qrels_EN",
}  # fmt: skip


def write_disk(folder: Path, *, original: bool = False) -> Path:
    """Write the disk to a folder; the folders of the Herald and of the qrels are links.

    With ``original`` qrels, the letter of German, and the place of the LA Times differ, as they do
    on disks that nobody has tidied up, and the Herald's archive is there beside its files.
    """
    english = folder / ENGLISH
    times = english if original else english / "LATimes94"
    _write_news(times, english / "GlasgowHerald95" / "GH95")
    if original:
        with tarfile.open(english / "GlasgowHerald95.tgz", "w:gz") as archive:
            archive.addfile(tarfile.TarInfo("GH95/GH950102.sgml"), io.BytesIO())
    for name in ("readme.txt", "ELRA_licence.txt"):
        (folder / name).write_bytes("Évaluation package; not a document\n".encode("iso-8859-1"))
    letters = {**OF_2000, **({"de": "G"} if original else {})}
    for language, letter in letters.items():
        _write_topics(folder / "Topics", language, letter)
    for letter, mark in (("SW", "på svenska"), *([("D", "in het Nederlands")] * original)):
        rows = [(number, f"{mark} {number}", mark) for number, _, _ in topics("en", "2000")]
        path = folder / "Topics" / "topics2000" / f"TOP-{letter}.txt"
        path.write_bytes("".join(_topic_of_2000(letter, row) for row in rows).encode("iso-8859-1"))
    for year, name in (ORIGINAL if original else RENAMED).items():
        path = folder / "RelAssess" / name
        _write_qrels(path, year)
        path.with_name("qrels_german").write_text(f"{YEARS[year]} 0 SDA.940101.0001 1\n")
    elsewhere = folder.with_name(f"{folder.name}-second-disk")
    elsewhere.mkdir(parents=True)
    for moved in (english / "GlasgowHerald95", folder / "RelAssess"):
        moved.rename(elsewhere / moved.name)
        moved.symlink_to(elsewhere / moved.name, target_is_directory=True)
    return folder


def write_translated_topics(folder: Path) -> Path:
    """Write the topics that are not on the disk: CIIR's of Swahili and Somali, a user's others."""
    for language in BY_CIIR:
        write_ciir(folder, language)
    for language in BY_USERS:
        path = folder / "topics" / language / f"Top-{language}.txt"
        path.parent.mkdir(parents=True)
        path.write_text("".join(_topic(language.upper(), row) for row in topics(language)))
    return folder


def write_ciir(folder: Path, language: str) -> Path:
    """Write CIIR's topics of a language, which have labels in place of tags; return the file."""
    name = f"clef-en-2000-2003-wo-narrative-Day-2_{BY_CIIR[language]}.txt"
    path = folder / LOW_RESOURCE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = [
        f"query_id: C{number:03d}\ntitle: {title}\ndescription: {description}\n"
        for number, title, description in topics(language)
    ]
    path.write_text("\n".join(blocks), encoding="utf-8")
    return path


def topics(language: str, year: str = "") -> Iterator[tuple[int, str, str]]:
    """Yield number, title and description of the topics of a year, or of all."""
    for place, text in enumerate(queries(language).values()):
        campaign, number = list(YEARS.items())[place // A_YEAR]
        if year in ("", campaign):
            yield number + place % A_YEAR, text, sentences(language)[place]


def judgments(year: str) -> Iterator[tuple[int, str, int]]:
    """Yield topic, document and grade (0 or 1) of a year, with a document that is not relevant.

    Before 2003 the Herald was not in the English pool.
    """
    number = {name: place for place, name in enumerate(queries("en"))}
    names = document_names()
    for query, document, _ in qrels():
        place, key = number[query], names[document]
        is_pooled = year == "2003" or key.startswith("LA")
        if list(YEARS)[place // A_YEAR] == year and is_pooled:
            yield YEARS[year] + place % A_YEAR, key, 1
    for topic, _, _ in topics("en", year):
        yield topic, names["technology-01" if year == "2000" else "farming-01"], 0


def document_names() -> dict[str, str]:
    """Return the names of the sample's documents on the disk."""
    return {
        name: f"LA01{1 + place // 20:02d}94-{place:04d}"
        if place < LOS_ANGELES
        else f"GH9501{2 + place % 3:02d}-{place:06d}"
        for place, name in enumerate(documents())
    }


def _write_news(times: Path, herald: Path) -> None:
    files: dict[Path, list[str]] = {}
    padding = " ".join(sentences("en")[:40])
    for number, (name, key) in enumerate(document_names().items()):
        title, text = documents()[name]
        long = f"{text} {padding}" if number % LONG == 0 else text
        parts = [html.escape(part, quote=False) for part in (title, long)]
        if key.startswith("LA"):
            path = times / key[:8].lower()
            block = _of_the_times(key, parts)
        else:
            path = herald / f"{key[:8]}.sgml"
            block = _of_the_herald(key, parts)
        files.setdefault(path, []).append(block)
    for number, (path, blocks) in enumerate(files.items()):
        path.parent.mkdir(parents=True, exist_ok=True)
        content = "".join(blocks).encode("iso-8859-1", errors="replace")
        if number % 3 == 1:
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(content, mtime=0))
        else:
            path.write_bytes(content)
    for folder, name in ((times, "la94.dtd"), (herald, "gh95.dtd")):
        (folder / name).write_text("<!ELEMENT doc - - (docno, docid, text)>\n")
        (folder / "readme").write_bytes(b"The documents are in SGML, \xa9 of their publishers.\n")
        (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1\0")


def _of_the_times(key: str, parts: Sequence[str]) -> str:
    title, text = parts
    return (
        f"<DOC>\n<DOCNO> {key} </DOCNO>\n<DOCID> {key[-4:]} </DOCID>\n"
        "<DATE>\n<P>\nJanuary 1, 1994, Saturday, Home Edition \n</P>\n</DATE>\n"
        "<SECTION>\n<P>\nMetro; Part B; Page 1; Column 1; Café & Bar \n</P>\n</SECTION>\n"
        f"<HEADLINE>\n<P>\n{title} \n</P>\n</HEADLINE>\n"
        f"<TEXT>\n<P>\n{text} \n</P>\n</TEXT>\n<TYPE>\n<P>\nColumn \n</P>\n</TYPE>\n</DOC>\n"
    )


def _of_the_herald(key: str, parts: Sequence[str]) -> str:
    title, text = parts
    return (
        f"<DOC>\n<DOCNO>{key}</DOCNO>\n<DOCID>{key}</DOCID>\n<DATE>950102</DATE>\n"
        f"<HEADLINE>{title}</HEADLINE>\n<EDITION>3</EDITION>\n<PAGE>1</PAGE>\n"
        f"<RECORDNO>980000001</RECORDNO>\n<TEXT>\n{text} It costs £5 <sic>.\n</TEXT>\n</DOC>\n"
    )


def _write_topics(folder: Path, language: str, letter: str) -> None:
    for year in YEARS:
        if year == "2000":
            path = folder / "topics2000" / f"TOP-{letter}.txt"
            blocks = [_topic_of_2000(letter, row) for row in topics(language, year)]
        else:
            path = folder / f"topics{year}" / f"Top-{language}{year[2:]}.txt"
            blocks = [_topic(language.upper(), row) for row in topics(language, year)]
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(blocks).replace("œ", "oe")  # ISO-8859-1 has none
        path.write_bytes(text.encode("iso-8859-1"))


def _topic_of_2000(letter: str, row: tuple[int, str, str]) -> str:
    number, title, description = row
    return (
        f"<top>\n<num> C{number:03d}\n\n<{letter}-title>\n{title}\n\n"
        f"<{letter}-desc>\n{description}\n\n<{letter}-narr>\nNarrative.\n\n</top>\n\n"
    )


def _topic(code: str, row: tuple[int, str, str]) -> str:
    number, title, description = row
    fields = (("title", title), ("desc", description), ("narr", "Narrative."))
    lines = [f"<{code}-{name}> {text} </{code}-{name}>\n" for name, text in fields]
    return f"<top>\n<num> C{number:03d} </num>\n{''.join(lines)}</top>\n\n"


def _write_qrels(path: Path, year: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{topic} 0 {name} {grade}\n" for topic, name, grade in judgments(year)]
    path.write_text("".join(lines))
