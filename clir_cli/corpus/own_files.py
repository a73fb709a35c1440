"""The user's own files of bitext and dictionaries: ``{lang}`` in a name is the query language."""

from collections.abc import Sequence
from pathlib import Path

from clir_cli.corpus.records import Pair
from clir_cli.errors import UserError
from clir_cli.settings import BitextSettings, DictionarySettings, Settings


def own_files(settings: BitextSettings | DictionarySettings, pair: Pair) -> list[Path]:
    """Return the files of a pair."""
    return [Path(name.replace("{lang}", pair.query)) for name in settings.files]


def require_own_files_of_each(settings: Settings, pairs: Sequence[Pair]) -> None:
    """Raise UserError if several pairs would use the same file, which has one language."""
    names = {"bitext": settings.bitext.files, "dictionary": settings.dictionary.files}
    for section, files in names.items():
        for name in files if len(set(pairs)) > 1 else ():
            if "{lang}" not in name:
                raise UserError(
                    f"{section}.files: {name} belongs to one pair; choose it with --lang, or write "
                    "{lang} in names of files, as in train.{lang}.tsv"
                )
