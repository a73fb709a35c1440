"""Bilingual dictionaries: words of the query language to English, from the catalogue or the user.

Keys are in lower case and Unicode NFC, as ``unicode_words.words`` returns them; a key of several
words is a term. Translations are kept as written, best first: those of the user's files, then those
of each source in the order of the settings.
"""

import csv
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clir_cli.corpus import catalogue
from clir_cli.corpus.catalogue import CatalogueFile, LocalFile
from clir_cli.corpus.checksums import checked_digest, source_digests
from clir_cli.corpus.formats import DICTIONARY_READERS
from clir_cli.corpus.formats.dictionary_readers import Entry
from clir_cli.corpus.formats.opening import require_regular, unpacked_name
from clir_cli.corpus.formats.reading import Faults, ReadRequest
from clir_cli.corpus.own_files import own_files
from clir_cli.corpus.records import Pair
from clir_cli.corpus.unicode_words import words
from clir_cli.errors import UserError, nearest
from clir_cli.files import file_digest
from clir_cli.settings import DictionarySettings

Dictionary = dict[str, tuple[str, ...]]

# How the user's own file is read, by its suffix.
OWN_FORMATS = {".tsv": "tsv", ".txt": "muse", ".csv": "terminology", ".zip": "panlex"}


def load_dictionary(
    chosen: DictionarySettings | str | Path, pair: Pair, downloads: Path
) -> Dictionary:
    """Return ``{word: (translation, ...)}`` from the query language to English.

    ``chosen`` is the settings; or the name of one source of the catalogue, or one file.

    Raises:
        MissingInput: A file of the catalogue has not been fetched.
        UserError: An unknown source, a fault in a file, or nothing for the pair.
    """
    settings = chosen if isinstance(chosen, DictionarySettings) else _settings(str(chosen))
    translations: dict[str, dict[str, None]] = {}
    for word, english in _entries(settings, pair, downloads):
        key = " ".join(words(word))
        translation = " ".join(unicodedata.normalize("NFC", english).split())
        if key:  # else the word has only marks
            translations.setdefault(key, {})[translation] = None
    if not translations:
        names = ", ".join((*settings.files, *settings.sources)) or "none"
        raise UserError(f"no dictionary for {pair}: {names}; see dictionary.sources and .files")
    return {key: tuple(english) for key, english in translations.items()}


def inputs(settings: DictionarySettings, pair: Pair, downloads: Path) -> dict[str, str]:
    """Return the sha256 of every file the dictionary of a pair is read from.

    Raises:
        MissingInput: A file of the catalogue has not been fetched.
        UserError: A file of the user's is missing.
    """
    digests = {}
    for path in _own_paths(settings, pair):
        tables = sorted(filter(Path.is_file, path.glob("*.csv")))
        files = tables if path.is_dir() else [path]
        digests.update({str(file): file_digest(file) for file in files})
    sources = catalogue.chosen("dictionaries", settings)
    return digests | source_digests(sources, pair.query, downloads)


def is_given(settings: DictionarySettings) -> bool:
    """Return True if the settings name a dictionary: a file, or a source that may be used."""
    return bool(settings.files or catalogue.chosen("dictionaries", settings))


def _settings(name: str) -> DictionarySettings:
    known = catalogue.sources("dictionaries")
    if name not in known and not Path(name).exists():
        raise UserError(f"unknown dictionary {name!r}: {nearest(name, known)}, or a file")
    return DictionarySettings.model_validate({"sources" if name in known else "files": (name,)})


def _own_paths(settings: DictionarySettings, pair: Pair) -> list[Path]:
    paths = own_files(settings, pair)
    for path in paths:
        if not path.is_dir():
            require_regular(path, " (dictionary.files)")
    return paths


def _entries(settings: DictionarySettings, pair: Pair, downloads: Path) -> Iterator[Entry]:
    faults = Faults(settings.on_error, setting="dictionary.on_error")
    codes = {"codes": catalogue.language(pair.query).iso639_3}
    request = ReadRequest(pair.query, codes, faults=faults)
    for path in _own_paths(settings, pair):
        unpacked = unpacked_name(path)
        kind = "panlex" if path.is_dir() else OWN_FORMATS.get(unpacked.suffix.lower())
        if kind is None:
            raise UserError(
                f"{path}: the name of a dictionary ends in {', '.join(OWN_FORMATS)}, or it is "
                "the folder of a PanLex snapshot"
            )
        yield from DICTIONARY_READERS[kind]([LocalFile(path, CatalogueFile(path.name))], request)
    for source in catalogue.chosen("dictionaries", settings):
        if source.user_supplied:
            raise UserError(f"dictionary {source.name} is user-supplied: {source.user_supplied}")
        files = source.local_files(pair.query, downloads)
        for file in files:
            checked_digest(file)
        request = ReadRequest(pair.query, {**source.options, **codes}, faults=faults)
        yield from DICTIONARY_READERS[source.format](files, request)


@dataclass(frozen=True)
class DictionaryEntry:
    """A word, its English translation, its score (0 to 1), and the number of pairs with both."""

    word: str
    english: str
    score: float
    pairs: int


def best_entries(table: Path, count: int) -> list[DictionaryEntry]:
    """Return the entries of a dictionary's file with the highest scores, at most ``count``.

    Raises:
        UserError: The file is damaged.
    """
    try:
        with table.open(newline="", encoding="utf-8") as stream:
            entries = [
                DictionaryEntry(row["word"], row["english"], float(row["score"]), int(row["pairs"]))
                for row in csv.DictReader(stream, delimiter="\t")
            ]
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{table}: damaged; make it again with --force") from None
    return sorted(entries, key=lambda entry: (-entry.score, -entry.pairs))[:count]
