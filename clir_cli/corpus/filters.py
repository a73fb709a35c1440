"""Filters of sentence pairs. Those that are settings are off by default.

The rules are those of the field's cleaning scripts: Moses' ``clean-corpus-n`` (length, ratio) and
what mined corpora also need (left-over mark-up, untranslated lines).
"""

import html
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from clir_cli.corpus.overlap import is_equal
from clir_cli.corpus.records import SentencePair
from clir_cli.settings import BitextSettings

PairTest = Callable[[SentencePair], bool]

# Tags, comments, templates and links of wikis, and braces that a template engine left.
_MARKUP = re.compile(r"</?[A-Za-z][^<>]*>|<!--|-->|\{\{|\}\}|\[\[|\]\]|\{%|%\}")
_MARKS = ("<", "-->", "{", "[[", "]]", "}}", "%}")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")


def has_markup(text: str) -> bool:
    """Return True if a text contains left-overs of HTML or of a wiki's mark-up.

    >>> [has_markup(text) for text in ("3 < 4 & 5 > 2", "a<br>b", "R&amp;D", "R&D; more")]
    [False, True, True, False]
    """
    # Most sentences have none of these marks, and searching for a mark is fast.
    if any(mark in text for mark in _MARKS) and _MARKUP.search(text):
        return True
    return "&" in text and any(html.unescape(match) != match for match in _ENTITY.findall(text))


def active(settings: BitextSettings, test_texts: frozenset[str]) -> dict[str, PairTest]:
    """Return the tests that reject pairs, by the setting that turns each on.

    ``test_texts`` are texts that no side of a pair may equal (``corpus/overlap.py``).
    """
    tests: dict[str, PairTest] = {}
    if most := settings.max_characters:
        tests["bitext.max_characters"] = lambda row: max(map(len, row)) > most
    if words := settings.max_words:
        tests["bitext.max_words"] = lambda row: max(len(side.split()) for side in row) > words
    if ratio := settings.max_length_ratio:
        tests["bitext.max_length_ratio"] = lambda row: (
            max(map(len, row)) > ratio * min(map(len, row))
        )
    if settings.drop_markup:
        tests["bitext.drop_markup"] = lambda row: any(map(has_markup, row))
    if settings.drop_copies:
        tests["bitext.drop_copies"] = lambda row: row.query.lower() == row.english.lower()
    if test_texts:
        tests["equal to a test text"] = lambda row: is_equal(row, test_texts)
    return tests


def filtered(
    rows: Iterable[SentencePair], tests: dict[str, PairTest], dropped: Counter[str]
) -> Iterator[SentencePair]:
    """Yield the pairs that no test rejects; count the others by the first that does."""
    for row in rows:
        rejected_by = next((name for name, test in tests.items() if test(row)), None)
        if rejected_by is None:
            yield row
        else:
            dropped[rejected_by] += 1


DUPLICATE_KEYS: dict[str, Callable[[SentencePair], object]] = {
    "pair": lambda row: row,
    "query": lambda row: row.query,
    "english": lambda row: row.english,
}
"""What two sentence pairs share when ``bitext.duplicates`` counts them as the same."""
