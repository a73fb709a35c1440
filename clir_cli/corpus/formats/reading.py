"""What all readers share: the request, faults, a parsed collection, and lines of text."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from clir_cli.corpus.catalogue import LocalFile
from clir_cli.corpus.records import Document, SentencePair
from clir_cli.errors import UserError

Queries = dict[str, dict[str, str]]  # texts by language and query
Qrels = dict[str, dict[str, int]]  # grades by query and document


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
        self.skipped[what] = self.skipped.get(what, 0) + 1


@dataclass(frozen=True)
class ReadRequest:
    """What to read from a source."""

    language: str = "en"  # of the queries; ``en`` for documents and English queries alone
    options: Mapping[str, Any] = field(default_factory=dict)  # further keys of the source's entry
    codes: Mapping[str, str] = field(default_factory=dict)  # the source's names of its languages
    folder: Path = Path()  # of a user-supplied collection, or of the notes on irds' downloads
    faults: Faults = field(default_factory=Faults)  # what to do with bad lines


class ParsedCollection(NamedTuple):
    """What a collection reader returns: documents, queries by language, qrels."""

    documents: list[Document]
    queries: Queries
    qrels: Qrels


PairReader = Callable[[Sequence[LocalFile], ReadRequest], Iterator[SentencePair]]
CollectionReader = Callable[[Sequence[LocalFile], ReadRequest], ParsedCollection]


def decoded_text(path: Path, raw: bytes | None = None) -> str:
    """Return the text of a UTF-8 file (or of ``raw``, its bytes) without a byte order mark."""
    raw = path.read_bytes() if raw is None else raw
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = raw.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {number}: not valid UTF-8") from None


def text_lines(path: Path, raw: bytes | None = None) -> list[str]:
    """Return the lines of ``decoded_text`` without outer white space."""
    # Not splitlines(): it also splits at characters that may be inside a sentence.
    return [line.strip() for line in decoded_text(path, raw).removesuffix("\n").split("\n")]


def numbered_lines(path: Path, faults: Faults) -> Iterator[tuple[int, str | None]]:
    """Yield line numbers and lines; None in place of a line that is not UTF-8, which is a fault."""
    with path.open("rb") as stream:
        for number, raw in enumerate(stream, start=1):
            try:
                yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                faults.report(path, number, "not valid UTF-8")
                yield number, None


def decoded_lines(path: Path, faults: Faults) -> Iterator[tuple[int, str]]:
    """Yield line numbers and lines, without those that are not UTF-8."""
    for number, line in numbered_lines(path, faults):
        if line is not None:
            yield number, line
