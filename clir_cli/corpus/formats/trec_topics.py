"""Topics of TREC and CLEF: tags that may stay open, XML of later years, and labels (CIIR's)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from clir_cli.corpus.formats.opening import open_text, unpacked_name
from clir_cli.corpus.formats.reading import checked_id, excerpt
from clir_cli.corpus.formats.trec_text import decoded, plain, without_comments
from clir_cli.errors import UserError

# The letters that stand for languages in CLEF 2000 and TREC's tracks before it, likeliest first.
# German is G or D; where there is a G, D is Dutch.
OF_2000: Mapping[str, tuple[str, ...]] = {
    "en": ("e",), "fr": ("f",), "de": ("g", "d"), "it": ("i",), "nl": ("d", "n"), "fi": ("fi",),
    "es": ("sp", "s"), "sv": ("sw",),
}  # fmt: skip

TOPIC = re.compile(r"(?is)<(top|topic)((?:\s[^<>]*+)?)>(.*?)(?=(?P<end></\1\s*+>)|<\1[\s>]|\Z)")
FIELD = re.compile(
    r"(?i)<(?:([a-z]{1,3})-)?"
    r"(num|number|identifier|title|desc|description|narr|narrative|query)(?:\s[^<>]*+)?>"
)
NAMES = {
    "number": "num", "identifier": "num", "description": "desc", "narrative": "narr",
    "query": "title", "query_id": "num",
}  # fmt: skip
# A tag in a topic has attributes or nothing behind its name: "a <b and c> d" is text.
INLINE = r"</?[A-Za-z][\w.:-]*+(?:\s[^<>=]*+=[^<>]*+)?\s*+/?>"
NEXT_LINE = re.compile(rf"(?m)^[ \t]*+{INLINE}")  # what ends a field that has no end tag
LABEL = re.compile(r"(?i)^\s*(?:number|topic|description|narrative)\s*:\s*")
# CIIR's translations: a line for each field, the next lines belong to it until an empty one.
LABELLED = re.compile(r"(?im)^[ \t]*+(query_id|title|description|narrative)[ \t]*+:")
Fields = dict[str, str]


def read_topics(
    paths: Sequence[Path], language: str, fields: Sequence[str], encoding: str
) -> dict[str, str]:
    """Return the topics of files: the named ``fields`` of each, joined, by its number.

    Raises:
        UserError: A file is damaged or has no topics, a topic lacks its number or all the fields,
            or two topics of one number differ.
    """
    queries: dict[str, str] = {}
    for path in paths:
        if language == "sw" and unpacked_name(path).stem.casefold() == "top-sw":
            raise UserError(f"{path}: SW is Swedish in the topics of 2000, not Swahili; move it")
        text = decoded(content(path), encoding, str(path))
        for number, found in enumerate(_topics(path, without_comments(text), language), start=1):
            name = checked_id(found.get("num", ""), f"{path}, topic {number}", "<num>")
            query = " ".join(found[key] for key in fields if found.get(key))
            if not query:
                raise UserError(f"{path}, topic {name}: none of the fields {', '.join(fields)}")
            if name in queries:
                raise UserError(f"{path}: topic {name} occurs twice")
            queries[name] = query
    return queries


def content(path: Path) -> bytes:
    """Return the bytes of a file of text, unpacked."""
    with open_text(path) as stream:
        return stream.read()


def _topics(path: Path, text: str, language: str) -> Iterator[Fields]:
    topics = list(TOPIC.finditer(text))
    if not topics and LABELLED.search(text):
        yield from _labelled(path, text)
        return
    if not topics:
        raise UserError(f"{path}: no <top>, <topic> or query_id: in it")
    if topics[0]["end"] and not topics[-1]["end"]:
        raise UserError(f"{path}: the last topic has no end tag; the file is truncated")
    for number, match in enumerate(topics, start=1):
        fields = _fields(match[3], language, f"{path}, topic {number}")
        if not fields.get("num"):
            attribute = re.search(r"""number\s*=\s*["']?\s*([^"'\s>]+)""", match[2])
            fields["num"] = attribute[1] if attribute else ""
        yield fields


def _labelled(path: Path, text: str) -> Iterator[Fields]:
    """Yield the topics of a file that has a label, such as ``title:``, before each field."""
    starts = list(LABELLED.finditer(text))
    ends = [*(start.start() for start in starts[1:]), len(text)]
    fields: Fields = {}
    for start, end in zip(starts, ends, strict=True):
        name = NAMES.get(start[1].lower(), start[1].lower())
        if name == "num" and fields:
            yield fields
            fields = {}
        if name in fields or (name != "num" and not fields):
            line = text.count("\n", 0, start.start()) + 1
            raise UserError(f"{path}, line {line}: {start[1]}: without a query_id of its own")
        fields[name] = " ".join(text[start.end() : end].split())
    yield fields


def _fields(text: str, language: str, where: str) -> Fields:
    """Return a topic's fields; CLEF has the language before the name, as ``<FI-title>``.

    A field is all up to its end tag, or else to the next field or to a line that begins with a tag.
    """
    by_language: dict[str, Fields] = {}
    starts = list(FIELD.finditer(text))
    ends = [*(start.start() for start in starts[1:]), len(text)]
    for start, end in zip(starts, ends, strict=False):
        inside = text[start.end() : end]
        own_end = re.search(rf"(?i)</(?:[a-z]{{1,3}}-)?{start[2]}\s*+>", inside)
        if stop := own_end or NEXT_LINE.search(inside):
            inside = inside[: stop.start()]
        name = NAMES.get(start[2].lower(), start[2].lower())
        fields = by_language.setdefault((start[1] or "").lower(), {})
        found = plain(LABEL.sub("", inside), INLINE)
        if fields.setdefault(name, found) != found:
            raise UserError(f"{where}: two fields <{name}>, {excerpt(found)} the second")
    shared = by_language.pop("", {})
    codes = (language, *OF_2000.get(language, ()))
    own = next((code for code in codes if code in by_language), "")
    if len(by_language) > 1 and not own:
        listed = ", ".join(code.upper() for code in by_language)
        raise UserError(f"{where}: in {listed}, but not in {language.upper()}")
    return {**shared, **(by_language.get(own) or next(iter(by_language.values()), {}))}
