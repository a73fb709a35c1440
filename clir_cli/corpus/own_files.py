"""The user's own files of bitext and dictionaries: ``{lang}`` in a name is the query language.

Bitext of one's own also makes a language known that the catalogue lacks.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from clir_cli.corpus.catalogue import OPUS, languages
from clir_cli.corpus.formats.columns import ENGLISH, is_other_language
from clir_cli.corpus.records import Pair, parse_pair
from clir_cli.errors import UserError, followed
from clir_cli.settings import BitextSettings, DictionarySettings, Settings

BRACES = re.compile(r"\{([^{}]*,[^{}]*)\}")


def pair_of(text: str, settings: Settings, *, made: bool = False) -> Pair:
    """Return the pair that a text names: of the catalogue, or of any language with own bitext.

    ``made`` is True if there are artifacts of the pair.

    Raises:
        UserError: The text names no pair, or the catalogue lacks its language and there are no
            ``bitext.files``, nor a corpus of OPUS.
    """
    name = text.strip().lower()
    code = re.fullmatch(r"(?!en-)([a-z]{2,3})-en", name)
    has_any = any(name.startswith(OPUS) for name in settings.bitext.sources)
    if code and (settings.bitext.files or has_any or made):
        return Pair(code[1], "en")
    try:
        return parse_pair(text, languages())
    except UserError as error:
        hint = "another language needs bitext of your own: --set 'bitext.files=[\"FILE\"]'"
        raise UserError(followed(str(error), hint) if code else str(error)) from None


def own_files(settings: BitextSettings | DictionarySettings, pair: Pair) -> list[Path]:
    """Return the files of a pair; ``train.{en,sw}`` are two files, the query language first.

    Raises:
        UserError: Braces name no side in English, or none that may be in the query language.
    """
    names = (name.replace("{lang}", pair.query) for name in settings.files)
    return [Path(side) for name in names for side in _sides(name, pair)]


def _sides(name: str, pair: Pair) -> list[str]:
    if not (braces := BRACES.search(name)):
        return [name]
    codes = sorted(braces[1].split(","), key=ENGLISH.__contains__)
    if [code in ENGLISH for code in codes] != [False, True] or is_other_language(
        codes[0], pair.query
    ):
        right = f"{{en,{pair.query}}}"
        raise UserError(
            f"{name}: braces name the languages of the pair {pair}, as in train.{right}"
        )
    return [name.replace(braces[0], code) for code in codes]


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
