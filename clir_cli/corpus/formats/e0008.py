"""The disk ELRA-E0008 (CLEF 2000-2003): which of its files are documents, topics and judgments.

It is read as it is handed out, and as programs that read it name its parts. A file is known by the
names of its folders and its own, from the user's folder on.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from clir_cli.corpus import catalogue
from clir_cli.corpus.formats.opening import unpacked_name
from clir_cli.corpus.formats.trec_topics import OF_2000

NAME = "clef-2000-2003"  # its entry in the catalogue, which says what was judged on what
Names = tuple[str, ...]
# The folders of the parts; all names are compared without case.
DOCUMENTS, TOPICS, JUDGED = "documentdata", "topics", "relassess"
ENGLISH = {"english_data", "english"}
QRELS = re.compile(r"(qrels_(english|en|bilingual)|(english|biling)_qrels)(\.txt)?")
ARCHIVE = re.compile(r".*\.(tgz|tar|tar\.gz|zip)")
BESIDE = re.compile(rf"readme.*|.*\.(dtd|md5|pdf|doc)|{ARCHIVE.pattern}")
PLACES: Mapping[str, str] = {
    "documents": "DocumentData/DataCollections/English_data",
    "qrels": "RelAssess/<year>/qrels_english",
}


def place_of(part: str, language: str = "") -> str:
    """Return where a part is, for messages; CIIR has topics in languages that the disk lacks."""
    if part != "topics":
        return PLACES[part]
    if language in OF_2000:
        return f"Topics/topics<year>/Top-{language}<year>.txt"
    return f"CIIR's clef*_{catalogue.language(language).name.upper()}.txt"


def find(files: Sequence[Names]) -> Names | None:
    """Return the names that lead to the disk, None if no folder is like one of its."""
    found = {
        names[:depth]
        for names in files
        for depth, name in enumerate(names[:-1])
        if name.casefold() in (DOCUMENTS, JUDGED)
    }
    return min(found, key=lambda names: (len(names), names)) if found else None


def documents(files: Sequence[Names], disk: Names | None) -> list[Names]:
    """Return the files of English documents, without what lies beside them."""
    return [names for names in _english(files, disk) if not BESIDE.fullmatch(_last(names))]


def archives(files: Sequence[Names], disk: Names | None) -> list[str]:
    """Return the names of archives of English documents, which must be unpacked."""
    return [names[-1] for names in _english(files, disk) if ARCHIVE.fullmatch(names[-1].casefold())]


def qrels(files: Sequence[Names], disk: Names | None) -> list[Names]:
    """Return the files of judgments on English documents."""
    return list(_part(files, disk, JUDGED, lambda names: bool(QRELS.fullmatch(_last(names)))))


def year_of(names: Names) -> str:
    """Return the year that the name of a file's folder has, or nothing."""
    found = re.search("20[0-9]{2}", names[-2])
    return found[0] if found else ""


def topics(files: Sequence[Names], disk: Names | None, language: str) -> list[Names]:
    """Return the topics in a language: of 2000 by letters, of later years by its code.

    There are none in Swahili: what is called SW is Swedish.
    """
    if language == "sw":
        return []
    of_2000 = {
        Path(_last(names)).stem.removeprefix("top-"): names
        for names in _part(files, disk, TOPICS, lambda names: _last(names).startswith("top-"))
    }
    letters = [letter for letter in OF_2000.get(language, ()) if letter in of_2000]
    if language == "nl" and "g" not in of_2000:  # then D is German
        letters = [letter for letter in letters if letter != "d"]
    later = re.compile(rf"top-{re.escape(language)}(?![a-z]).*[0-9].*")
    found = _part(files, disk, TOPICS, lambda names: bool(later.fullmatch(_last(names))))
    return sorted([*(of_2000[letter] for letter in letters[:1]), *found])


def of_ciir(files: Sequence[Names], language: str) -> list[Names]:
    """Return CIIR's translations of the topics into a language, whose name their names have."""
    name = re.escape(catalogue.language(language).name.casefold())
    wanted = re.compile(rf"clef.*_{name}(\.txt)?")
    return [names for names in files if wanted.fullmatch(_last(names))]


def _english(files: Sequence[Names], disk: Names | None) -> Iterator[Names]:
    return _part(
        files, disk, DOCUMENTS, lambda names: bool(ENGLISH & set(map(str.casefold, names)))
    )


def _part(
    files: Sequence[Names], disk: Names | None, part: str, wanted: Callable[[Names], bool]
) -> Iterator[Names]:
    start = len(disk or ())
    for names in files if disk is not None else ():
        inside = names[:start] == disk and len(names) > start + 1
        if inside and names[start].casefold() == part and wanted(names[start + 1 :]):
            yield names


def _last(names: Names) -> str:
    """Return the name of a file without case, and without the suffix of a compressed one."""
    return unpacked_name(Path(names[-1])).name.casefold()
