"""What all readers share: the request, faults, a parsed collection, and lines of text."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from clir_cli.corpus.catalogue import LocalFile
from clir_cli.corpus.formats.opening import LONGEST_LINE, limited_lines, open_text
from clir_cli.corpus.records import Document, Pool, SentencePair
from clir_cli.errors import UserError

Queries = dict[str, dict[str, str]]  # texts by language and query
Qrels = dict[str, dict[str, int]]  # grades by query and document

# trec_eval's nDCG counts up to the highest grade, again for each grade: at 10,000 a query takes
# 50 ms, at 2**31 the counters take 16 GiB. Real grades are below 100.
LARGEST_GRADE = 1000


@dataclass
class Faults:
    """What to do with bad lines: stop at the first, or count and skip them."""

    on_error: Literal["stop", "skip"] = "stop"
    skipped: dict[str, int] = field(default_factory=dict)
    setting: str = "bitext.on_error"

    def report(self, path: Path, number: int, what: str, *, unit: str = "line") -> None:
        """Raise UserError with file and line (or another unit), or count the fault."""
        if self.on_error == "stop":
            raise UserError(
                f"{path}, {unit} {number}: {what}; correct it, or skip such {unit}s with "
                f"--set {self.setting}=skip"
            )
        self.count(what)

    def count(self, what: str) -> None:
        """Count something that is left out, and is no fault that anybody could correct."""
        self.skipped[what] = self.skipped.get(what, 0) + 1

    def count_header(self, cells: Sequence[str]) -> None:
        """Count a first line with the names of columns, which is no fault."""
        self.count(f"header line ({', '.join(cell.strip() for cell in cells)})")


@dataclass(frozen=True)
class ReadRequest:
    """What to read from a source."""

    language: str = "en"  # of the queries; ``en`` for documents and English queries alone
    options: Mapping[str, Any] = field(default_factory=dict)  # further keys of the source's entry
    codes: Mapping[str, str] = field(default_factory=dict)  # the source's names of its languages
    folder: Path = Path()  # of a user-supplied collection, or of the notes on irds' downloads
    faults: Faults = field(default_factory=Faults)  # what to do with bad lines

    def __post_init__(self) -> None:
        """Count the faults of a source that is known to have some everywhere."""
        if self.options.get("faults") == "skip":
            object.__setattr__(self, "faults", replace(self.faults, on_error="skip"))


class ParsedCollection(NamedTuple):
    """What a collection reader returns: the fields of ``Collection`` of the same names."""

    documents: list[Document]
    queries: Queries
    qrels: Qrels
    pools: Sequence[Pool] = ()
    depth: int = 0
    notes: Sequence[str] = ()


PairReader = Callable[[Sequence[LocalFile], ReadRequest], Iterator[SentencePair]]
CollectionReader = Callable[[Sequence[LocalFile], ReadRequest], ParsedCollection]


def add_judgment(qrels: Qrels, where: str, query: str, document: str, grade: object) -> None:
    """Add a judgment to the qrels.

    Raises:
        UserError: The grade is not whole or out of range, or the document has another grade.
    """
    text = "" if isinstance(grade, bool) else str(grade).strip()
    if not re.fullmatch("-?0*[0-9]{1,9}", text) or abs(int(text)) > LARGEST_GRADE:
        raise UserError(
            f"{where}: grade {excerpt(grade)} is not a whole number from -{LARGEST_GRADE:,} to "
            f"{LARGEST_GRADE:,}"
        )
    first = qrels.setdefault(query, {}).setdefault(document, int(text))
    if first != int(text):
        raise UserError(f"{where}: {query} {document} is judged twice, {first} and {text}")


def add_query(texts: dict[str, str], name: str, text: str, where: str) -> None:
    """Add a query; UserError if it is there with another text."""
    if texts.setdefault(name, text) != text:
        raise UserError(f"{where}: query {name} occurs twice, with different texts")


def checked_id(text: str, where: str, name: str) -> str:
    """Return an id without outer white space.

    Raises:
        UserError: It is empty, or has white space or control characters inside: in TREC's formats
            white space ends an id, and in trec_eval the character NUL does.
    """
    parts = text.split()
    if not parts:
        raise UserError(f"{where}: no {name}, or an empty one")
    if len(parts) > 1:
        raise UserError(f"{where}: {name} {excerpt(text.strip())} has white space in it")
    if re.search("[\x00-\x1f\x7f-\x9f]", parts[0]):
        raise UserError(f"{where}: {name} {excerpt(parts[0])} has a control character in it")
    return parts[0]


def excerpt(value: object) -> str:
    """Return a value as messages show it: quoted if it is text, and short."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def decoded_text(path: Path, raw: bytes | None = None) -> str:
    """Return the text of a UTF-8 file (or of ``raw``, its bytes) without a byte order mark."""
    if raw is None:
        with open_text(path) as stream:
            raw = stream.read()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = raw.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {number}: not valid UTF-8") from None


def text_lines(path: Path, raw: bytes | None = None) -> list[str]:
    """Return the lines of ``decoded_text`` without outer white space."""
    # Not splitlines(): it also splits at characters that may be inside a sentence.
    return [line.strip() for line in decoded_text(path, raw).removesuffix("\n").split("\n")]


def decoded_line(raw: bytes) -> tuple[str, str]:
    """Return the text of a line of ``limited_lines`` and its fault, if it has one."""
    if len(raw) >= LONGEST_LINE:
        return "", f"longer than {LONGEST_LINE:,} bytes"
    try:
        return raw.decode("utf-8").rstrip("\r\n"), ""
    except UnicodeDecodeError:
        return "", "not valid UTF-8"


def numbered_lines(path: Path, faults: Faults) -> Iterator[tuple[int, str | None]]:
    """Yield line numbers and lines; None in place of a line that has a fault."""
    with open_text(path) as stream:
        for number, raw in enumerate(limited_lines(stream), start=1):
            text, fault = decoded_line(raw)
            if fault:
                faults.report(path, number, fault)
            yield number, None if fault else text.removeprefix("\ufeff" if number == 1 else "")


def decoded_lines(path: Path, faults: Faults) -> Iterator[tuple[int, str]]:
    """Yield line numbers and lines, without those that have a fault."""
    for number, line in numbered_lines(path, faults):
        if line is not None:
            yield number, line
