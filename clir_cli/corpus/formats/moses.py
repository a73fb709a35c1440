"""OPUS in Moses format: a zip with two files of which line k of one translates line k of the other.

Beside ``<corpus>.<pair>.<language>`` and ``<corpus>.<pair>.en`` the zip holds README, LICENSE, and
for mined corpora scores or links, which are not read. Both members are read as a stream, so a
corpus of any size needs the memory of two lines.
"""

import io
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import IO, cast
from zipfile import ZipFile

from clir_cli.corpus.catalogue import LocalFile
from clir_cli.corpus.formats.reading import Faults, ReadRequest
from clir_cli.corpus.formats.zips import only_member, open_zip
from clir_cli.corpus.records import SentencePair
from clir_cli.errors import UserError

BUFFER = 1 << 18
LONGEST_LINE = 1 << 20  # bytes; a sentence is never so long, a damaged file may be


def read_moses(files: Sequence[LocalFile], request: ReadRequest) -> Iterator[SentencePair]:
    """Yield the pairs of Moses zips; ``role`` of a file is the language's code inside the zip.

    Lines that are empty, not UTF-8 or too long are faults as elsewhere, but a mined corpus has a
    few of them everywhere: where the source says ``faults = "skip"`` they are always counted.

    Raises:
        UserError: The zip is damaged, lacks a side, or its sides have unequal numbers of lines.
    """
    always = request.options.get("faults") == "skip"
    faults = Faults("skip", request.faults.skipped) if always else request.faults
    for file in files:
        code = file.declared.role or request.language
        corpus = "*." + "-".join(sorted((code, "en")))  # OPUS orders the codes alphabetically
        with open_zip(file.path, tested=False) as archive:
            names = [
                only_member(archive, f"{corpus}.{side}", "a Moses zip") for side in (code, "en")
            ]
            yield from _pairs(file.path, archive, names, faults)


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
                    "sides); no pair can be trusted, download it again"
                )
            sides = []
            for name, raw in zip(names, (query, english), strict=True):
                text, fault = _text(raw)
                if fault:
                    faults.report(path / name, number, fault)
                    break
                sides.append(text)
            else:
                yield SentencePair(*sides)


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield lines, at most ``LONGEST_LINE`` bytes of each."""
    # A zip's own stream is slow at lines of limited length.
    buffered = io.BufferedReader(cast(io.RawIOBase, stream), BUFFER)
    while line := buffered.readline(LONGEST_LINE):
        yield line
        while len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            line = buffered.readline(LONGEST_LINE)


def _text(raw: bytes) -> tuple[str, str]:
    """Return a line's text and its fault."""
    if len(raw) >= LONGEST_LINE:
        return "", f"longer than {LONGEST_LINE:,} bytes"
    try:
        text = raw.decode("utf-8").strip().removeprefix("\ufeff")
    except UnicodeDecodeError:
        return "", "not valid UTF-8"
    return text, "" if text else "empty line"
