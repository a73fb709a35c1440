"""Commands as values; text only where a person reads them."""

import json
import shlex
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from clir_cli.console import one_line, printable
from clir_cli.suites import value_in

Option = tuple[str, ...]  # a flag, and its value if it has one


@dataclass(frozen=True)
class Command:
    """A command of clir: ``verb`` and options, in the order in which they are shown."""

    verb: str
    options: tuple[Option, ...] = ()
    arguments: tuple[str, ...] = ()

    def __str__(self) -> str:
        options = (word for option in self.options for word in option)
        # Without the two dashes an argument that begins with one would be an option.
        dashes = ("--",) if any(word.startswith("-") for word in self.arguments) else ()
        return " ".join(["clir", self.verb, *map(_quoted, (*options, *dashes, *self.arguments))])

    def adding(self, options: Iterable[Option]) -> "Command":
        """Return the command with more options behind the others."""
        return Command(self.verb, (*self.options, *options), self.arguments)

    @classmethod
    def parse(cls, text: str) -> "Command":
        """Return the command that a text shows; options before arguments, as ``str`` writes it."""
        _, verb, *words = shlex.split(text)
        if verb in GROUPS and words:
            verb = f"{verb} {words.pop(0)}"
        options: list[Option] = []
        arguments: list[str] = []
        for number, word in enumerate(words):
            if word == "--":
                arguments += words[number + 1 :]
                break
            if word.startswith("--"):
                options.append((word,))
            elif options and len(options[-1]) == 1 and options[-1][0] not in FLAGS:
                options[-1] = (*options[-1], word)
            else:
                arguments.append(word)
        return cls(verb, tuple(options), tuple(arguments))


def _quoted(word: str) -> str:
    """Return a word as a shell reads it; what no line can hold is written as bash and zsh do."""
    if one_line(word) == word and "\t" not in word:
        return shlex.quote(word)
    letters = (
        letter
        if printable(letter) == letter and letter not in "\n\t\\'"
        else "".join(f"\\x{byte:02x}" for byte in letter.encode("utf-8", "surrogateescape"))
        for letter in word
    )
    return f"$'{''.join(letters)}'"


GROUPS = {"export", "import"}  # verbs of two words
FLAGS = {"--joint", "--force", "--repair", "--update", "--all"}


def assignment(key: str, value: Any) -> str:
    """Return what follows ``--set``: text without quotes where TOML would read it as text.

    >>> assignment("student.vocabulary", "initial"), assignment("nmt.model", "3")
    ('student.vocabulary=initial', 'nmt.model="3"')
    """
    with suppress(ValueError):  # text that begins as TOML does
        if isinstance(value, str) and value_in(value) == value:
            return f"{key}={value}"
    return f"{key}={json.dumps(value, ensure_ascii=False, default=str)}"
