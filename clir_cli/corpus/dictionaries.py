"""Bilingual dictionaries: words of the query language to English, from the catalogue or the user.

Keys are in lower case and Unicode NFC, as ``unicode_words.words`` returns them; a key of several
words is a term. Translations are kept as written, best first: those of the user's files, then those
of each source in the order of the settings.
"""

import unicodedata
from collections.abc import Iterator
from pathlib import Path

from clir_cli.corpus import catalogue, formats
from clir_cli.corpus.bitext import checked_digest, located_files
from clir_cli.corpus.catalogue import SourceFile
from clir_cli.corpus.records import Pair
from clir_cli.corpus.unicode_words import words
from clir_cli.errors import UserError, nearest
from clir_cli.files import file_digest
from clir_cli.settings import DictionarySettings

Dictionary = dict[str, tuple[str, ...]]

# How the user's own file is read, by the end of its name.
OWN_FORMATS = {".tsv": "tsv", ".txt": "muse", ".csv": "terminology", ".zip": "panlex"}


def load_dictionary(
    wanted: DictionarySettings | str | Path, pair: Pair, downloads: Path
) -> Dictionary:
    """Return a dictionary from words of the query language to their English translations.

    Args:
        wanted: The settings; or the name of one source of the catalogue, or one file.
        pair: The language pair.
        downloads: Where downloaded files lie.

    Returns:
        ``{word: (translation, ...)}``; words in lower case, translations as written, best first.

    Raises:
        MissingInput: A file of the catalogue has not been fetched.
        UserError: An unknown source, a fault in a file, or nothing for the pair.
    """
    settings = _settings(wanted)
    found: dict[str, dict[str, None]] = {}
    for word, english in _entries(settings, pair, downloads):
        key = " ".join(words(word))
        translation = " ".join(unicodedata.normalize("NFC", english).split())
        if key:  # else the word is of marks alone
            found.setdefault(key, {})[translation] = None
    if not found:
        named = ", ".join((*settings.files, *settings.sources)) or "none"
        raise UserError(f"no dictionary for {pair}: {named}; see dictionary.sources and .files")
    return {key: tuple(translations) for key, translations in found.items()}


def inputs(settings: DictionarySettings, pair: Pair, downloads: Path) -> dict[str, str]:
    """Return the sha256 of every file the dictionary of a pair is read from.

    Raises:
        MissingInput: A file of the catalogue has not been fetched.
        UserError: A file of the user's is not there.
    """
    found = {}
    for file in _own(settings):
        paths = sorted(file.path.glob("*.csv")) if file.path.is_dir() else [file.path]
        found.update({str(path): file_digest(path) for path in paths})
    for name in settings.sources:
        for file in located_files("dictionaries", name, pair.query, downloads):
            found[f"{name}/{file.entry.path}"] = checked_digest(file)
    return found


def _settings(wanted: DictionarySettings | str | Path) -> DictionarySettings:
    if isinstance(wanted, DictionarySettings):
        return wanted
    name = str(wanted)
    known = catalogue.sources("dictionaries")
    if name in known:
        return DictionarySettings(sources=(name,))
    if not Path(name).exists():
        raise UserError(f"unknown dictionary {name!r}: {nearest(name, known)}, or a file")
    return DictionarySettings(files=(name,))


def _own(settings: DictionarySettings) -> list[formats.Located]:
    located = [formats.Located(Path(name), SourceFile(name)) for name in settings.files]
    for file in located:
        if not file.path.exists():
            raise UserError(f"{file.path}: no such file (dictionary.files)")
    return located


def _entries(settings: DictionarySettings, pair: Pair, downloads: Path) -> Iterator[formats.Entry]:
    faults = formats.Faults(settings.on_error, setting="dictionary.on_error")
    codes = catalogue.languages()[pair.query].iso639_3
    for file in _own(settings):
        kind = "panlex" if file.path.is_dir() else OWN_FORMATS.get(file.path.suffix.lower())
        if kind is None:
            raise UserError(
                f"{file.path}: the name of a dictionary ends in {', '.join(OWN_FORMATS)}, or it is "
                "the folder of a PanLex snapshot"
            )
        wanted = formats.Wanted(pair.query, {"codes": codes}, faults)
        yield from formats.DICTIONARY_READERS[kind]([file], wanted)
    for name in settings.sources:
        source = catalogue.source("dictionaries", name)
        if source.bring:
            raise UserError(f"dictionary {name} is user-supplied: {source.bring}")
        files = located_files("dictionaries", name, pair.query, downloads)
        for file in files:
            checked_digest(file)
        wanted = formats.Wanted(pair.query, {**source.options, "codes": codes}, faults)
        yield from formats.DICTIONARY_READERS[source.format](files, wanted)
