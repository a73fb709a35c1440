"""OPUS in Moses format: a zip with two files of which line k of one translates line k of the other.

The members are ``<corpus>.<pair>.<language>`` and ``<corpus>.<pair>.en``; others are not read. Both
are read as a stream, so a corpus of any size needs the memory of two lines.
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
    """
    always = request.options.get("faults") == "skip"
    faults = Faults("skip", request.faults.skipped) if always else request.faults
    for file in files:
        code = file.declared.role or request.language
        corpus = "*." + "-".join(sorted((code, "en")))  # OPUS orders the codes alphabetically
        with open_zip(file.path, tested=False) as archive:
            sides = (f"{corpus}.{side}" for side in (code, "en"))
            names = [only_member(archive, side, "a Moses zip") for side in sides]
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
            (left_text, left_fault), (right_text, right_fault) = _text(query), _text(english)
            if left_fault or right_fault:
                name = names[0] if left_fault else names[1]
                faults.report(path / name, number, left_fault or right_fault)
            else:
                yield SentencePair(left_text, right_text)


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
