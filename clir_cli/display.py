"""Results as tables for people and JSON for programs, both on standard output."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from rich.text import Text

from clir_cli.artifacts.cell import Cell
from clir_cli.artifacts.store import Artifact
from clir_cli.console import (
    STAND_INS,
    console,
    marked,
    one_line,
    printable,
    put,
    score_text,
    size_text,
)
from clir_cli.corpus.records import Pair
from clir_cli.layout import put_wrapped, show_table, width

if TYPE_CHECKING:  # these bring torch with them
    from clir_cli.settings import EvaluationSettings
    from clir_cli.stages.align import Alignment
    from clir_cli.stages.query import Hit, Part

Row = Mapping[str, Any]
PAGE = 100  # the width of prose where there is no limit


# What a terminal would obey is written as JSON escapes.
ESCAPES = {code: f"\\u{code:04x}" for code in STAND_INS}


def print_json(value: object) -> None:
    """Print a value as JSON; where standard output is not UTF-8, in ASCII."""
    ascii_only = (sys.stdout.encoding or "utf-8").lower().replace("-", "") != "utf8"
    text = json.dumps(_finite(value), ensure_ascii=ascii_only, indent=1, default=str)
    print(text.translate(ESCAPES))


def _finite(value: Any) -> Any:
    """Return a value without infinite numbers, which JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def show_rows(title: str, rows: Sequence[Row], as_json: bool = False) -> None:
    """Print rows of the same keys as a table, or as JSON."""
    if as_json:
        print_json(rows)
        return
    if not rows:
        put(f"{title}: nothing")
        return
    shown = [_words(row) for row in rows]
    show_table(title, list(shown[0]), [list(row.values()) for row in shown])


# What keys of JSON are called in tables.
HEADERS = {
    "title": "what it is",
    "bytes": "size",
    "training_bytes": "to train",
    "encoding_bytes": "to encode",
    "candidate_recall": "recall@100 by search.candidates",
}


def _words(row: Row) -> dict[str, str]:
    """Return a row for people: its keys and values in words."""
    if "bytes_are_all" in row:  # a source of data
        row = _source(row)
    return {
        HEADERS.get(key, key.replace("_", " ")): _word(key, value) for key, value in row.items()
    }


def _word(key: str, value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "", True: "yes", False: "no"}[value]
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {part}" for name, part in value.items())
    if key.endswith("bytes"):
        return size_text(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _source(row: Row) -> Row:
    title = "; supply ".join(filter(None, (row["title"], row["supply"])))
    domain = {}
    if "domain" in row:
        domain["domain"] = row["domain"] + "; machine-translated" * row["machine_translated"]
    if row["supply"]:
        size = "user-supplied"
    elif row["bytes_are_all"]:
        size = size_text(row["bytes"]) if row["bytes"] else "on this machine"
    else:
        size = f"more than {size_text(row['bytes'])}" if row["bytes"] else "unknown"
    return {
        "name": row["name"],
        "title": title,
        **domain,
        "languages": row["languages"] or "any",
        "size": size,
        "licence": row["licence"],
        "home": row["home"],
    }


def show_settings(rows: Sequence[Row], suite: str) -> None:
    """Print settings by section: the suite's value as ``--set`` takes it, and what each does."""
    from clir_cli.artifacts.command import assignment
    from clir_cli.stages.setting_list import by_section, purpose, values

    put(f"settings of the suite {suite}; change one with --set NAME=VALUE")
    for section, found in by_section(rows):
        put("")
        put_wrapped(f"{section or 'suite'}: {purpose(section)}")
        for row in found:
            own, default = row["value"], row["default"]
            changed = (
                "" if own == default or default is None else f"; default {json.dumps(default)}"
            )
            put(f"  {assignment(row['setting'], own)}")
            text = f"{row['title']} ({values(row)}{changed})"
            put_wrapped(text, "      ")


def artifact_rows(artifacts: Sequence[Artifact]) -> list[dict[str, str]]:
    """Return what each artifact is, whether it is there, and the command that makes it."""
    return [
        {
            "artifact": str(artifact.path),
            "state": artifact.state(),
            "command": artifact.command,
            "fingerprint": artifact.fingerprint[:16],
        }
        for artifact in artifacts
    ]


def show_needs(rows: Sequence[Row], models: Sequence[str]) -> None:
    """Print which files would be fetched, from where, how large and under which licence."""
    shown = [
        {
            "source": row["source"] + " (machine-translated)" * row["machine_translated"],
            "file": row["file"],
            "size": f"{row['bytes'] / 1e6:.2f} MB" if row["bytes"] else "unknown",
            "licence": row["licence"],
            "from": row["url"],
            "there": "yes" if row["there"] else "no",
        }
        for row in rows
    ]
    show_rows("what would be fetched", shown)
    put("models: " + ", ".join(models))


def hit_rows(found: "Mapping[tuple[Pair, str], Sequence[Hit]]") -> list[dict[str, Any]]:
    """Return the documents found for one text by pair and method, with the words that match."""
    return [
        {
            "pair": str(pair),
            "method": label,
            "query": hit.query,
            "rank": hit.rank,
            "document": hit.document.id,
            "score": hit.score,
            "text": hit.document.full_text,
            "passage": hit.document.full_text[slice(*hit.passage)],
            "matched": [hit.document.full_text[low:high] for low, high in hit.marks],
            "parts": [
                {
                    "of": part.name or None,
                    "score": part.score,
                    "answer": hit.document.full_text[slice(*part.span)] if part.span else None,
                }
                for part in hit.parts
            ],
        }
        for (pair, label), hits in found.items()
        for hit in hits
    ]


def show_hits(found: "Mapping[tuple[Pair, str], Sequence[Hit]]", typed: str = "") -> None:
    """Print a passage of each document found for one text, the words that match marked.

    Under it is what each word of the query adds to the score, and the word that it found.

    What was searched for is shown if it is not what was ``typed``: a translation.
    """
    for (pair, label), hits in found.items():
        searched = {hit.query for hit in hits if typed} - {typed}
        nothing = [] if hits else ["no document has a word of the query"]
        put_wrapped(": ".join([f"{pair}, {label}", *searched, *nothing]))
        for hit in hits:
            put(f"{hit.rank}  {hit.score:.{_digits(hit.score)}f}  {one_line(hit.document.id)}")
            low, high = hit.passage
            text = hit.document.full_text[low:high]
            lead, end = "... " * (low > 0), " ..." * (high < len(hit.document.full_text))
            inside = [(a - low + len(lead), b - low + len(lead)) for a, b in hit.marks
                      if low <= a and b <= high]  # fmt: skip
            passage = marked(one_line(f"{lead}{text}{end}"), inside)
            room = (width() or PAGE) - 3
            for line in passage.wrap(console(width=room), room):
                line.rstrip()
                console(width=room + 3).print(Text("   ") + line, soft_wrap=True)
            put_wrapped(one_line(", ".join(_part(hit, part) for part in hit.parts)), "   ")


def _part(hit: "Hit", part: "Part") -> str:
    text, digits = hit.document.full_text, _digits(hit.score)
    word = text[slice(*part.span)] if part.span else ""
    answer = f" → {word}" if word else ""
    return f"{part.name or 'other tokens'}{answer} {part.score:.{digits}f}"


def _digits(score: float) -> int:
    return 2 if abs(score) >= 1 else 4  # reciprocal ranks are small


def alignment_rows(plans: "Mapping[tuple[Pair, str], Alignment]") -> list[dict[str, Any]]:
    """Return transport plans by pair and method, their shares as rows of numbers."""
    return [
        {
            "pair": str(pair),
            "method": label,
            **vars(plan),
            "shares": [[round(value, 4) for value in row] for row in plan.shares.tolist()],
        }
        for (pair, label), plan in plans.items()
    ]


def show_alignments(plans: "Mapping[tuple[Pair, str], Alignment]") -> None:
    """Print transport plans with their pair and method."""
    for (pair, label), alignment in plans.items():
        put_wrapped(f"{pair}, {label}: a row a token of {pair.query}, a column a token of English")
        _show_alignment(alignment)


def _show_alignment(alignment: "Alignment") -> None:
    """Print a transport plan as a heat map: a row a token of the query language.

    The digit is the share of the token's mass in tenths; a dot is less than a twentieth. Where the
    columns are more than fit, further ones follow below.
    """
    rows, columns = (
        [printable(token) for token in tokens]
        for tokens in (alignment.query_tokens, alignment.english_tokens)
    )
    indent = max(map(len, rows)) + 2
    limit = width()
    at_once = max(1, (limit - indent) // 3) if limit else len(columns)
    for first in range(0, len(columns), at_once):
        part = slice(first, first + at_once)
        text = _heat_map(rows, columns[part], alignment.shares[:, part].tolist(), indent)
        wide = console(width=max(80, indent + 3 * len(columns) + 2))
        wide.print(text, no_wrap=True, overflow="ignore", crop=False)
    put_wrapped(
        f"eps {alignment.eps:g}, loss {alignment.loss:.3f}, "
        f"relative plan entropy {alignment.entropy:.2f}"
        + f"; not converged: {alignment.violation:.0%} of the mass is misplaced"
        * (not alignment.converged)
    )


def _heat_map(
    rows: Sequence[str], columns: Sequence[str], shares: Sequence[Sequence[float]], indent: int
) -> Text:
    height = max(map(len, columns))
    text = Text()
    for line in range(height):  # English tokens stand upright over their columns
        letters = (token.rjust(height)[line] for token in columns)
        text.append(" " * indent + "".join(f" {letter} " for letter in letters) + "\n")
    for token, row in zip(rows, shares, strict=True):
        text.append(token.rjust(indent - 1) + " ")
        for share in row:
            digit = "." if share < 0.05 else str(min(9, round(10 * share)))
            level = round(255 * (1 - share))
            ink = "white" if share > 0.5 else "black"
            style = f"{ink} on rgb({level},{level},255)" if share >= 0.05 else "dim"
            text.append(f" {digit} ", style)
        text.append("\n")
    return text


def show_scores(
    rows: Sequence[Row], names: Sequence[str], evaluation: "EvaluationSettings"
) -> None:
    """Print a table a measure: a row a pair, a column a method, each with its interval.

    Where rows have a baseline, a method that is significantly above or below it is marked.
    """
    from clir_cli.evaluation import gaps, significance
    from clir_cli.study import tables

    first, columns = rows[0], list(dict.fromkeys(map(_column, rows)))
    baseline = first.get("baseline", "")
    notes = [significance.legend(baseline, evaluation.test)] if baseline else []
    collections = dict.fromkeys(row["collection"] for row in rows)
    for name, collection in product(names, collections):
        scores = {
            (row["pair"], _column(row)): row
            for row in rows
            if row["metric"] == name and row["collection"] == collection
        }
        if not scores:  # of no pair; what was left out is reported
            continue
        numbers = [row["queries"] for row in scores.values()]
        counts = " to ".join(map(str, dict.fromkeys([min(numbers), max(numbers)])))
        body = [
            [pair, *(_cell(scores.get((pair, c)), scores.get((pair, baseline))) for c in columns)]
            for pair in dict.fromkeys(pair for pair, _ in scores)
        ]
        title = (
            f"{gaps.written(name)} on {collection} ({first['suite']}), {counts} queries, "
            f"{100 * evaluation.confidence:.0f} % interval"
        )
        tables.text(tables.TextTable(title, ["pair", *columns], body, notes))


def _cell(row: Row | None, base: Row | None) -> str:
    from clir_cli.evaluation import significance

    if row is None:
        return "-"
    mark = ""
    if base:  # a blank where there is no mark, so that the numbers are aligned
        mark = significance.mark(row["p_value"], row["value"] - base["value"]) or " "
    return str(score_text(row["value"], row["ci_low"], row["ci_high"], mark=mark))


def _column(row: Row) -> str:
    return Cell(row["method"], row["variant"], row["seed"]).label
