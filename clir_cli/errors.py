"""The errors that people see: one line, what is wrong and what to do."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """The user's input or environment is at fault; the message says what to do. Exit code 2."""


class MissingInput(UserError):
    """Something that another command makes, or another file holds, is not there yet.

    ``has_remedy`` is True when the message says already what to do.
    """

    def __init__(self, message: str, has_remedy: bool = False) -> None:
        super().__init__(message)
        self.has_remedy = has_remedy


class NoQueries(UserError):
    """A collection has no queries in the language of a pair; it may have those of other pairs."""


class Busy(UserError):
    """Another process is making the same thing just now."""


class NotThere(UserError):
    """A server or mirror says that it has no such file; it is optional, or the name is wrong."""


def check_utf8(name: str, text: str) -> None:
    """Refuse a text that is not UTF-8, as a file's name may be: no manifest or table can hold it.

    Raises:
        UserError: It is not UTF-8; the message has its name.
    """
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise UserError(f"{name} is not UTF-8: {text}; write it in UTF-8, or rename the file")


def counted(count: int, noun: str, verb: str = "") -> str:
    """Return a number of things in words, with a verb (``is`` or ``was``) if there is one.

    >>> counted(1, "query"), counted(2000, "query", "is")
    ('1 query', '2,000 queries are')
    """
    if count != 1:
        noun = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
        verb = {"is": "are", "was": "were"}.get(verb, verb)
    return f"{count:,} {noun} {verb}".rstrip()


def nearest(name: str, known: Iterable[str], shown: str = "{}") -> str:
    """Return a hint that names the nearest known word, or all of them when none is near.

    ``shown`` is how a word is written in the hint.

    >>> nearest("otp", ["ot", "english"])
    'did you mean ot?'
    """
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"did you mean {shown.format(close[0])}?"
    return f"known: {', '.join(map(shown.format, known))}"


def followed(message: str, advice: str) -> str:
    """Return a message with advice behind it, as a sentence of its own behind a question."""
    if message.endswith("?"):
        return f"{message} {advice[:1].upper()}{advice[1:]}"
    return f"{message.rstrip('.')}; {advice}"


def first_line(error: BaseException) -> str:
    """Return the first line of a library's error message, or its type if it has none.

    The second line too, if the first ends with a colon.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    count = 2 if lines and lines[0].endswith(":") else 1
    return " ".join(lines[:count]) or type(error).__name__
