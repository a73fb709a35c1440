"""Readers of bitext and names that are published as tables: TSV, CSV and JSON.

Where a source's files have known faults, its entry names them by file and line: ``left_out``, a
range of rows that are no translations, and ``other_ids``, lines whose ids differ.
"""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import regex

from clir_cli.corpus.catalogue import LocalFile
from clir_cli.corpus.formats.bitext_readers import file_pairs, joined_lines, non_empty
from clir_cli.corpus.formats.dictionary_readers import Entry
from clir_cli.corpus.formats.reading import (
    ReadRequest,
    decoded_lines,
    decoded_text,
    numbered_lines,
)
from clir_cli.corpus.records import SentencePair
from clir_cli.errors import UserError

SHEET_ERROR = "#VALUE!"  # what a spreadsheet has in the place of a text


def read_columns(files: Sequence[LocalFile], request: ReadRequest) -> Iterator[SentencePair]:
    """Yield two columns of TSV files, which ``columns`` numbers: query language, English."""
    columns = request.options["columns"]
    for file in files:
        for number, line in decoded_lines(file.path, request.faults):
            cells = line.split("\t")
            if len(cells) > max(columns):
                query, english = ((file.path, cells[column]) for column in columns)
                yield from non_empty(query, english, number, request.faults)
            else:
                what = f"{max(columns) + 1} columns with tabs between are needed"
                request.faults.report(file.path, number, what)


def read_questions(files: Sequence[LocalFile], request: ReadRequest) -> Iterator[SentencePair]:
    """Yield topics of two languages joined by line: id, tab, question.

    The ids must be the same but for the lines that are known to be right (``other_ids``).
    """
    for query, english in file_pairs(files):
        known = request.options.get("other_ids", {}).get(query.declared.path, ())
        for number, *lines in joined_lines(query.path, english.path, request.faults):
            (name, question), (other, translation) = (
                (line.partition("\t")[0], _unquoted(line.partition("\t")[2])) for line in lines
            )
            if name == other or number in known:
                left, right = (query.path, question), (english.path, translation)
                yield from non_empty(left, right, number, request.faults)
            else:
                what = f"the id is {name}, and {other} in {english.path.name}"
                request.faults.report(query.path, number, what)


def _unquoted(text: str) -> str:
    text = text.strip()
    is_quoted = len(text) > 1 and text[0] == text[-1] == '"'
    return text[1:-1].strip() if is_quoted else text


def read_similarity(files: Sequence[LocalFile], request: ReadRequest) -> Iterator[SentencePair]:
    """Yield both sentences of each row of the STS benchmark, its files joined by row.

    English is CSV: two sentences and their score; the translation TSV without quoting: the score
    in column 5, the sentences behind it. Rows that are known to be in another order (``left_out``)
    are left out and counted, and so are sentences that a spreadsheet or an encoding has damaged or
    that are not in the ``script``. In all other rows the scores must agree.
    """
    script = regex.compile(rf"\p{{{request.options['script']}}}")
    for query, english in file_pairs(files):
        first, last = request.options.get("left_out", {}).get(query.declared.path, (0, -1))
        lines = numbered_lines(query.path, request.faults)
        left = ((line or "").split("\t") for _, line in lines)
        rows = zip_longest(left, _csv_rows(english.path))
        for number, (translated, row) in enumerate(rows, start=1):
            if first <= number <= last:
                request.faults.count("in another order")
            elif translated is None or row is None or len(translated) < 7 or len(row) != 3:
                what = f"no such row in {english.path.name}, or not its columns"
                request.faults.report(query.path, number, what, unit="row")
            elif not math.isclose(_number(translated[4]), _number(row[2]), abs_tol=1e-6):
                what = f"another score than in {english.path.name}"
                request.faults.report(query.path, number, what, unit="row")
            else:
                for text, original in zip(translated[5:7], row, strict=False):
                    if SHEET_ERROR in text or "\ufffd" in text or not script.search(text):
                        request.faults.count(f"damaged, or not in {request.options['script']}")
                    else:
                        sentences = (query.path, text), (english.path, original)
                        yield from non_empty(*sentences, number, request.faults, "row")


def _csv_rows(path: Path) -> Iterator[list[str]]:
    rows = csv.reader(io.StringIO(decoded_text(path), newline=""), strict=True)
    try:
        yield from rows
    except csv.Error as error:
        raise UserError(f"{path}, line {rows.line_num}: cannot be read: {error}") from None


def _number(text: str) -> float:
    """Return a score; one that cannot be read is equal to none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


# ------------------------------------------------------------------ names of CLDR


def read_cldr(files: Sequence[LocalFile], _: ReadRequest | None = None) -> Iterator[Entry]:
    """Yield the names of CLDR that differ from the English: territories, languages and cities.

    ``role`` of a file is its kind of names. Other forms of a name (``-alt-``) are left out. A city
    without an English name is called as its time zone.
    """
    by_role = {(file.declared.role, file.declared.lang): file.path for file in files}
    for (role, language), path in by_role.items():
        if language == "en":
            continue
        english = _names(by_role[role, "en"], role)
        for key, name in _names(path, role).items():
            zone = key.rpartition("/")[2].replace("_", " ") if role == "timeZoneNames" else ""
            original = english.get(key) or zone
            if original and name != original:
                yield Entry(name, original)


def _names(path: Path, role: str) -> dict[str, str]:
    """Return names by key; those of cities are ``exemplarCity``, by time zone."""
    try:
        (locale,) = json.loads(decoded_text(path))["main"].values()
        if role == "timeZoneNames":
            names = dict(_cities(locale["dates"]["timeZoneNames"]["zone"], ""))
        else:
            names = locale["localeDisplayNames"][role]
        # A name is text: joining raises TypeError for everything else.
        "".join(names.values()).encode()
        return {key: name for key, name in names.items() if "-alt-" not in key}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{path}: not a JSON file of CLDR with {role}") from None


def _cities(zones: Mapping[str, Any], before: str) -> Iterator[tuple[str, str]]:
    for name, zone in zones.items():
        if isinstance(zone, dict) and "exemplarCity" in zone:
            yield before + name, zone["exemplarCity"]
        elif isinstance(zone, dict):
            yield from _cities(zone, f"{before}{name}/")
