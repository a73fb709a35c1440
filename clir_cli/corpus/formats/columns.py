"""The columns of a file of translations: by its first line if that names them, else by number."""

import re
from collections.abc import Sequence
from typing import NoReturn

from clir_cli.corpus.catalogue import languages
from clir_cli.corpus.formats.reading import excerpt
from clir_cli.errors import UserError

ENGLISH = {"en", "eng", "english"}
# Names that say no language, of a sentence or word and of its translation.
SENTENCE = {"query", "source", "src", "sentence", "text", "word"}
CODE = re.compile("[a-z]{2,3}")
TRANSLATION = {"target", "tgt", "translation"}


def language_names(language: str) -> set[str]:
    """Return the codes of a language and its English name, in lower case."""
    entry = languages().get(language)
    return {language, *entry.iso639_3, entry.name.lower()} if entry else {language} - {""}


def named_columns(cells: Sequence[str], language: str, where: str) -> tuple[int, int] | None:
    """Return the columns of sentence and translation if a first line has names, else None.

    Names are a language's code or English name, alone or with one word more (``sentence_sw``), and
    usual ones (``source``, ``target``).

    Raises:
        UserError: The names are those of another pair, or two columns have the same language.
    """
    cells = [cell.strip().lower() for cell in cells]
    english = _columns(cells, ENGLISH) or _columns(cells, TRANSLATION)
    query = _columns(cells, language_names(language)) or _columns(cells, SENTENCE)
    # Codes alone are names, also those of a language that is not in the catalogue.
    codes = not {"en", "eng"}.isdisjoint(cells) and all(map(CODE.fullmatch, cells))
    if not english or not (query or codes):
        return None
    if len(query) != 1 or len(english) != 1:
        _refuse(cells, language, where)
    return query[0], english[0]


def required_columns(cells: Sequence[str], language: str, where: str) -> tuple[int, int]:
    """Return the columns of sentence and translation; UserError if the names do not say them."""
    return named_columns(cells, language, where) or _refuse(cells, language, where)


def _refuse(cells: Sequence[str], language: str, where: str) -> NoReturn:
    names = f"call one {language!r} and one 'en', or 'source' and 'target'"
    raise UserError(f"{where}: the columns are {excerpt(', '.join(cells))}; {names}")


def is_other_language(code: str, language: str) -> bool:
    """Return True if a code is of another language of the catalogue."""
    plain = re.split(r"[\W_]", code.lower())[0]
    others = (language_names(other) for other in languages() if other != language)
    return plain not in language_names(language) and any(plain in names for names in others)


def _columns(cells: Sequence[str], names: set[str]) -> list[int]:
    parts = [re.split(r"[\W_]+", cell) for cell in cells]
    exact = [number for number, cell in enumerate(cells) if cell in names]
    near = [number for number, p in enumerate(parts) if len(p) <= 2 and not names.isdisjoint(p)]
    return exact or near
