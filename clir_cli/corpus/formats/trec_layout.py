"""Where documents, topics and qrels of a collection in TREC's formats are, and how they are read.

They are where patterns say, in the user's folder or in a folder of it; or else on CLEF's disk
(``formats/e0008.py``), at any place below the folder. Links to folders are followed.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from clir_cli.corpus.formats import e0008
from clir_cli.corpus.formats.collection_toml import SETTINGS, read_settings
from clir_cli.corpus.formats.e0008 import Names
from clir_cli.corpus.formats.reading import ReadRequest, excerpt
from clir_cli.corpus.formats.tables import files_under
from clir_cli.errors import UserError

HELP = "docs/collections.md shows the layout"
ASCII = bytes((9, 10, 13, *range(32, 127)))


class JudgedTopics(BaseModel):
    """Topics, from the first number to the last, that were judged on the documents of sources."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    topics: tuple[int, int]
    sources: tuple[str, ...]


class Layout(BaseModel):
    """Where the parts of a directory are and how they are read; ``collection.toml`` sets it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # Patterns of Path.glob; {lang} is the language.
    documents: tuple[str, ...] = ("documents/**/*", "documents.*")
    topics: tuple[str, ...] = ("topics.{lang}", "topics.{lang}.*", "topics/{lang}/**/*")
    qrels: tuple[str, ...] = ("qrels", "qrels.*", "qrels/**/*")
    encoding: str = ""  # none: UTF-8 where a document or file is valid UTF-8, else ISO-8859-1
    title: tuple[str, ...] = ("HEADLINE", "HEAD", "HL", "TITLE", "TTL", "TI")  # the first of these
    text: tuple[str, ...] = ("LEAD", "LEADPARA", "LP", "TEXT")  # all of these; else the document
    query: tuple[Literal["title", "desc", "narr"], ...] = ("title",)
    missing: Literal["stop", "drop"] = "stop"  # judgments of topics or documents that are missing
    sources: Mapping[str, str] = {}  # how the ids of a source's documents begin, and its name
    pools: tuple[JudgedTopics, ...] = ()  # topics that were not judged on all documents
    depth: int = 0  # documents a topic that measures of whole rankings count, by tradition


@dataclass(frozen=True)
class Parts:
    """The files of a folder, and which of them hold documents, topics and qrels."""

    folder: Path
    layout: Layout

    @classmethod
    def of(cls, request: ReadRequest) -> "Parts":
        """Return the parts of the folder of a request; UserError if its settings are not right."""
        return cls(request.folder, _layout(request.folder, request.options))

    @cached_property
    def _files(self) -> list[Names]:
        """The files that are not hidden, each by its names from the folder on."""
        names = (path.relative_to(self.folder).parts for path in files_under(self.folder))
        return [each for each in names if not any(name.startswith(".") for name in each)]

    @cached_property
    def disk(self) -> Names | None:
        """The names that lead to CLEF's disk; None if there is none."""
        return e0008.find(self._files)

    @cached_property
    def documents(self) -> list[Path]:
        """The files of documents."""
        return self._own(self.layout.documents) or self._paths(
            e0008.documents(self._files, self.disk)
        )

    @cached_property
    def qrels(self) -> list[Path]:
        """The files of judgments."""
        return self._own(self.layout.qrels) or self._paths(e0008.qrels(self._files, self.disk))

    def topics(self, language: str) -> list[Path]:
        """Return the files of topics in a language: the user's, or CIIR's, or else the disk's."""
        return (
            self._own(self._topic_patterns(language))
            or self._paths(e0008.of_ciir(self._files, language))
            or self._paths(e0008.topics(self._files, self.disk, language))
        )

    def lacking(self, language: str = "en") -> list[str]:
        """Return what is missing of documents, topics in a language, and qrels, in words.

        English topics are not needed, but the disk has them.
        """
        lacking = []
        if not self.documents:
            lacking.append(self._missing("documents", "documents", self.layout.documents))
        lacking += self._lacking_sources()
        languages = [code for code in (language, "en") if code != "en" or self.disk is not None]
        for code in dict.fromkeys(languages):
            if not self.topics(code):
                what, patterns = f"topics in {code!r}", self._topic_patterns(code)
                lacking.append(self._missing(what, "topics", patterns, code))
        if not self.qrels:
            lacking.append(self._missing("qrels", "qrels", self.layout.qrels))
        return lacking + self._lacking_years()

    def _lacking_sources(self) -> list[str]:
        found = e0008.documents(self._files, self.disk)
        if not found or self._own(self.layout.documents):
            return []
        packed = e0008.archives(self._files, self.disk)
        unpack = f"; unpack {', '.join(packed)}" if packed else ""
        return [
            f"no documents of {source} (files {begin}*{unpack})"
            for begin, source in self.layout.sources.items()
            if not any(names[-1].casefold().startswith(begin.casefold()) for names in found)
        ]

    def _lacking_years(self) -> list[str]:
        found = e0008.qrels(self._files, self.disk)
        if not found or self._own(self.layout.qrels):
            return []
        years = set(map(e0008.year_of, found))
        absent = [pool.name for pool in self.layout.pools if pool.name not in years]
        return [f"no qrels of {', '.join(absent)} ({e0008.place_of('qrels')})"] if absent else []

    def _missing(self, what: str, part: str, patterns: Sequence[str], language: str = "") -> str:
        places = [e0008.place_of(part, language)] if self.disk is not None else []
        return f"no {what} ({', '.join([*places, *patterns])})"

    def _topic_patterns(self, language: str) -> list[str]:
        return [pattern.replace("{lang}", language) for pattern in self.layout.topics]

    def _paths(self, found: Iterable[Names]) -> list[Path]:
        return [self.folder.joinpath(*names) for names in found]

    def _own(self, patterns: Sequence[str]) -> list[Path]:
        """Return the files of patterns: of the folder, or if it has none, of a folder in it."""
        split = [self._split(pattern) for pattern in patterns]
        for depth in (0, 1):
            found = [
                names
                for names in self._files
                if any(_matches(names[depth:], pattern) for pattern in split)
            ]
            if found:
                return self._paths(found)
        return []

    def _split(self, pattern: str) -> Names:
        try:
            if ".." in Path(pattern).parts:
                raise ValueError("it leads out of the directory")
            next(iter(self.folder.glob(pattern)), None)  # says what is wrong with a pattern
        except (ValueError, NotImplementedError) as error:
            wrong = f"pattern {excerpt(pattern)}: {error}"
            raise UserError(f"{self.folder / SETTINGS}: {wrong}") from None
        return PurePath(pattern).parts


def is_trec(folder: Path) -> bool:
    """Return True if a directory has this layout, or CLEF's disk's, rather than BEIR's."""
    is_own = (folder / SETTINGS).is_file() or any(folder.glob("documents*")) or is_disk(folder)
    return is_own and not any(folder.glob("corpus.*")) and not (folder / "corpus").is_dir()


def is_disk(folder: Path) -> bool:
    """Return True if a folder is CLEF's disk itself."""
    return any(path.name.casefold() == e0008.DOCUMENTS for path in folder.glob("*"))


def _matches(names: Names, pattern: Names) -> bool:
    if not pattern:
        return not names
    if pattern[0] == "**":
        return any(_matches(names[skip:], pattern[1:]) for skip in range(len(names) + 1))
    return bool(names) and fnmatchcase(names[0], pattern[0]) and _matches(names[1:], pattern[1:])


def _layout(folder: Path, options: Mapping[str, Any]) -> Layout:
    path, layout = folder / SETTINGS, read_settings(folder, Layout, options)
    with suppress(LookupError, ValueError):
        if ASCII.decode(layout.encoding or "utf-8") == ASCII.decode("ascii"):
            return layout
    encoding = excerpt(layout.encoding)
    raise UserError(f"{path}: encoding {encoding} is unknown, or does not extend ASCII; use UTF-8")
