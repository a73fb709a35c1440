"""OPUS in Moses format: a zip with two files of which line k of one translates line k of the other.

Beside ``<corpus>.<pair>.<language>`` and ``<corpus>.<pair>.en`` the zip holds README, LICENSE, and
for mined corpora scores or links, which are not read. Nothing is unpacked: both members are read
as a stream, so a corpus of any size needs the memory of two lines.
"""

import io
import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import IO
from zipfile import ZipFile

from clir_cli.corpus.formats.bitext_readers import Faults, Wanted
from clir_cli.corpus.formats.shared import DAMAGED, Located, damaged_zip, open_zip
from clir_cli.corpus.records import SentencePair
from clir_cli.errors import UserError

BUFFER = 1 << 18
LONGEST_LINE = 1 << 20  # bytes; a sentence is never so long, a damaged file may be


def read_moses(files: Sequence[Located], wanted: Wanted) -> Iterator[SentencePair]:
    """Yield the pairs of Moses zips; ``role`` of an entry is the language's code inside the zip.

    Lines that are empty, not UTF-8 or too long are faults as elsewhere, but a mined corpus has a
    few of them everywhere: where the source says ``faults = "skip"`` they are always counted.

    Raises:
        UserError: The zip is damaged, lacks a side, or its sides have unequal numbers of lines.
    """
    always = wanted.options.get("faults") == "skip"
    faults = Faults("skip", wanted.faults.skipped) if always else wanted.faults
    for file in files:
        with open_zip(file.path, tested=False) as archive:
            code = file.entry.role or wanted.language
            names = [_side(file.path, archive, code, side) for side in (code, "en")]
            try:
                yield from _pairs(file.path, archive, names, faults)
            except DAMAGED as error:
                raise damaged_zip(file.path, error) from None


def _side(path: Path, archive: ZipFile, code: str, side: str) -> str:
    """Return the member with one side; OPUS names the pair in order of the alphabet."""
    pair = "-".join(sorted((code, "en")))
    wanted = re.compile(rf"(?:.*/)?[^/]+\.{re.escape(pair)}\.{re.escape(side)}")
    names = [name for name in archive.namelist() if wanted.fullmatch(name)]
    if len(names) != 1:
        raise UserError(
            f"{path}: {len(names)} members are named *.{pair}.{side}, where a Moses zip has one"
        )
    return names[0]


def _pairs(
    path: Path, archive: ZipFile, names: Sequence[str], faults: Faults
) -> Iterator[SentencePair]:
    with archive.open(names[0]) as left, archive.open(names[1]) as right:
        rows = zip_longest(_lines(left), _lines(right))
        for number, (query, english) in enumerate(rows, start=1):
            if query is None or english is None:
                shorter = names[0] if query is None else names[1]
                raise UserError(
                    f"{path}: {shorter} ends before line {number} of its other side (unequal "
                    "sides); nothing can be known of the pairs, download it again"
                )
            sides = []
            for name, raw in zip(names, (query, english), strict=True):
                side, fault = _text(raw)
                if fault:
                    faults.report(path / name, number, fault)
                    break
                sides.append(side)
            else:
                yield SentencePair(*sides)


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield lines, at most ``LONGEST_LINE`` of each; the rest of a longer one is passed over."""
    buffered = io.BufferedReader(stream, BUFFER)  # type: ignore[type-var]
    while line := buffered.readline(LONGEST_LINE):
        yield line
        while len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            line = buffered.readline(LONGEST_LINE)


def _text(raw: bytes) -> tuple[str, str]:
    """Return a line's text and what is wrong with it."""
    if len(raw) >= LONGEST_LINE:
        return "", f"longer than {LONGEST_LINE:,} bytes"
    try:
        text = raw.decode("utf-8").strip().removeprefix("\ufeff")
    except UnicodeDecodeError:
        return "", "not valid UTF-8"
    return text, "" if text else "empty line"
