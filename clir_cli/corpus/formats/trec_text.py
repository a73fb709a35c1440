"""Text in the files of TREC and CLEF: its encoding, mark-up, entities and comments."""

import html
import re

from clir_cli.errors import UserError

MARKUP = r"</?[A-Za-z][^<>]*+>"
# NIST's own entities, which HTML does not have.
ENTITIES = {"&hyph;": "-", "&blank;": " ", "&bull;": " "}
ENDLESS = re.compile("&#[0-9]{8,};?")  # beyond Unicode, and html.unescape takes a day to say so


def plain(text: str, markup: str = MARKUP) -> str:
    """Return text without mark-up and comments, entities as characters, white space as spaces."""
    text = re.sub(markup, " ", without_comments(text))
    for entity, character in ENTITIES.items():
        text = text.replace(entity, character)
    return " ".join(html.unescape(ENDLESS.sub("\ufffd", text)).split())


def without_comments(text: str) -> str:
    """Return text without what is between ``<!--`` and ``-->``; time in proportion to its size."""
    parts, last = [], 0
    while (begin := text.find("<!--", last)) >= 0 and (end := text.find("-->", begin + 4)) >= 0:
        parts.append(text[last:begin])
        last = end + 3
    return " ".join([*parts, text[last:]])


def decoded(raw: bytes, encoding: str, where: str) -> str:
    """Return text in the given encoding; if none is given, in UTF-8 or else ISO-8859-1."""
    try:
        return raw.decode(encoding or "utf-8-sig")
    except UnicodeError:
        if encoding:
            raise UserError(f"{where}: not valid {encoding}") from None
        return raw.decode("iso-8859-1")
