"""Readers of bitext: files to sentence pairs, one reader a format.

A fault in a file (an empty line, bytes that are not UTF-8, sides of unequal length) is reported
with file and line through ``Faults``, which stops or counts, as ``bitext.on_error`` says.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import IO, Any, Literal
from xml.etree import ElementTree

from clir_cli.corpus.formats.shared import Located, open_zip
from clir_cli.corpus.records import SentencePair
from clir_cli.errors import UserError

XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"


@dataclass
class Faults:
    """What to do with bad lines of a bitext: stop at the first, or count and skip them."""

    on_error: Literal["stop", "skip"] = "stop"
    skipped: dict[str, int] = field(default_factory=dict)
    setting: str = "bitext.on_error"

    def report(self, path: Path, number: int, what: str, *, unit: str = "line") -> None:
        """Stop with file and line (or another unit of its format), or count the fault.

        Raises:
            UserError: ``on_error`` is ``stop``.
        """
        if self.on_error == "stop":
            raise UserError(
                f"{path}, {unit} {number}: {what}; mend it, or leave such {unit}s out with "
                f"--set {self.setting}=skip"
            )
        self.skipped[what] = self.skipped.get(what, 0) + 1


@dataclass(frozen=True)
class Wanted:
    """What is to be read from a source: a language, under the source's options of the catalogue."""

    language: str
    options: Mapping[str, Any]
    faults: Faults


PairReader = Callable[[Sequence[Located], Wanted], Iterator[SentencePair]]


def decoded(path: Path, stream: IO[bytes], faults: Faults) -> Iterator[tuple[int, str | None]]:
    """Yield line numbers and lines; None stands for a line that is not UTF-8."""
    for number, raw in enumerate(stream, start=1):
        try:
            yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            faults.report(path, number, "not valid UTF-8")
            yield number, None


def read_parallel(query: Path, english: Path, faults: Faults) -> Iterator[SentencePair]:
    """Yield the pairs of two files of which line k translates line k."""
    with query.open("rb") as left, english.open("rb") as right:
        rows = zip_longest(decoded(query, left, faults), decoded(english, right, faults))
        for one, two in rows:
            if one is None or two is None:
                path, (number, _) = (query, one) if two is None else (english, two)  # type: ignore[misc]
                shorter = english if two is None else query
                faults.report(path, number, f"no such line in {shorter.name} (unequal sides)")
                continue
            yield from _pair(query, english, one[0], one[1], two[1], faults)


def _pair(
    query: Path,
    english: Path,
    number: int,
    left: str | None,
    right: str | None,
    faults: Faults,
    unit: str = "line",
) -> Iterator[SentencePair]:
    if left is None or right is None:
        return
    for path, side in ((query, left), (english, right)):
        if not side.strip():
            faults.report(path, number, f"empty {unit}", unit=unit)
            return
    yield SentencePair(left.strip(), right.strip())


def read_tsv(path: Path, faults: Faults) -> Iterator[SentencePair]:
    """Yield the pairs of a file with one pair a line: query language, tab, English."""
    with path.open("rb") as stream:
        for number, line in decoded(path, stream, faults):
            if line is None:
                continue
            sides = line.split("\t")
            if len(sides) < 2:
                what = "a pair is two columns with a tab between" if line.strip() else "empty line"
                faults.report(path, number, what)
                continue
            yield from _pair(path, path, number, sides[0], sides[1], faults)


def read_files(paths: Sequence[Path], faults: Faults) -> Iterator[SentencePair]:
    """Yield the pairs of the user's own bitext: one TSV, or two parallel files.

    Raises:
        UserError: A file is missing, or there are more than two.
    """
    for path in paths:
        if not path.is_file():
            raise UserError(f"{path}: no such file (bitext.files)")
    if len(paths) == 1:
        return read_tsv(paths[0], faults)
    if len(paths) == 2:
        return read_parallel(paths[0], paths[1], faults)
    raise UserError(
        f"bitext.files names {len(paths)} files; give one TSV, or two parallel files "
        "(query language, English)"
    )


def read_sides(files: Sequence[Located], wanted: Wanted) -> Iterator[SentencePair]:
    """Yield the pairs of two files of a source, told apart by their role."""
    by_role = {file.entry.role: file.path for file in files}
    return read_parallel(by_role["query"], by_role["english"], wanted.faults)


def read_tmx(files: Sequence[Located], wanted: Wanted) -> Iterator[SentencePair]:
    """Yield the units of translation memories (TMX 1.4), zipped or not.

    The side that is not English is the query's.
    """
    for file in files:
        if file.path.suffix != ".zip":
            with file.path.open("rb") as stream:
                yield from _tmx_units(file.path, stream, wanted.faults)
            continue
        with open_zip(file.path) as archive:
            memories = [name for name in archive.namelist() if name.endswith(".tmx")]
            if not memories:
                raise UserError(f"{file.path}: no .tmx file in the zip")
            for name in memories:
                with archive.open(name) as stream:
                    yield from _tmx_units(file.path, stream, wanted.faults)


def _tmx_units(path: Path, stream: IO[bytes], faults: Faults) -> Iterator[SentencePair]:
    number = 0
    try:
        for _, element in ElementTree.iterparse(stream):
            if element.tag != "tu":
                continue
            number += 1
            sides = {"query": "", "english": ""}
            for variant in element.iter("tuv"):
                spoken = (variant.get(XML_LANG) or variant.get("lang") or "").lower()
                segment = variant.find("seg")
                text = "" if segment is None else " ".join("".join(segment.itertext()).split())
                sides["english" if spoken.startswith("en") else "query"] = text
            element.clear()
            yield from _pair(path, path, number, sides["query"], sides["english"], faults, "unit")
    except ElementTree.ParseError as error:
        raise UserError(f"{path}: cut or damaged after unit {number}: {error}") from None


def read_sib(files: Sequence[Located], wanted: Wanted) -> Iterator[SentencePair]:
    """Yield the rows of SIB-200 joined on ``index_id``, without those that are reserved."""
    sides: dict[str, dict[int, str]] = {wanted.language: {}, "en": {}}
    for file in files:
        with file.path.open("rb") as stream:
            for number, line in decoded(file.path, stream, wanted.faults):
                if number == 1 or line is None:
                    continue
                cells = [cell.strip() for cell in line.split("\t")]
                if len(cells) != 3 or not cells[0].isdecimal() or not cells[2]:
                    what = "a row is index_id, category and text with tabs between"
                    wanted.faults.report(file.path, number, what)
                    continue
                sides[file.entry.lang][int(cells[0])] = cells[2]
    below = wanted.options.get("train_below", float("inf"))
    for index in sorted(sides[wanted.language].keys() & sides["en"].keys()):
        if index < below:
            yield SentencePair(sides[wanted.language][index], sides["en"][index])
