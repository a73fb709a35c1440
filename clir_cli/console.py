"""What people see: data on standard output; progress and talk on standard error.

Names, ids and texts of users are shown as they are: never as mark-up or emoji, and never as codes
that a terminal obeys.
"""

import codecs
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from clir_cli.errors import UserError

# Controls (C0, DEL, C1), letters that reverse the text around them, separators of lines that are
# none, and halves of letters: each has one letter in its place.
STAND_INS = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"}
STAND_INS |= dict.fromkeys([*range(0x7F, 0xA0), 0x061C, *range(0x2028, 0x202F)], 0xFFFD)
STAND_INS |= dict.fromkeys([*range(0x2066, 0x206A), *range(0xD800, 0xE000)], 0xFFFD)
COMMAND = re.compile(r"(?<!\S)clir [a-z]+(?= |$)")
WIDE = 130  # columns of a screen from which there is room for a bar and the elapsed time
# What ASCII or Latin-1 has in place of our own signs.
SIMPLER = {"▲": "^", "▼": "v", "✗": "x", "±": "+-", "…": "..."}


def printable(text: str) -> str:
    r"""Return a text without anything that a terminal obeys, as long as before.

    >>> printable("a\x1b[1mb")
    'a␛[1mb'
    """
    return text.translate(STAND_INS)


def one_line(text: str) -> str:
    """Return a printable text with its line breaks as spaces."""
    return printable(" ".join(text.splitlines()))


def is_command(text: str) -> bool:
    """Return True if a text is a command, which is copied as it is."""
    return COMMAND.match(text) is not None


def wrapped(text: str, width: int) -> list[str]:
    """Return a text in lines that end between words; a command at its end stays whole.

    >>> wrapped("no index; make it with: clir index --suite open", 24)
    ['no index; make it with:', 'clir index --suite open']
    """
    found = COMMAND.search(text)
    prose, command = (text[: found.start()], text[found.start() :]) if found else (text, "")
    lines = textwrap.wrap(prose, width, break_long_words=False, break_on_hyphens=False)
    if lines and len(f"{lines[-1]} {command}") <= width:
        lines[-1] = f"{lines[-1]} {command}".rstrip()
    elif command:
        lines.append(command)
    return lines or [""]


def tell(screen: Console, message: str) -> None:
    """Print talk: on a terminal in lines that end between words, elsewhere on one line."""
    lines = message.splitlines() or [""]
    if screen.is_terminal:
        lines = [part for line in lines for part in wrapped(line, screen.width)]
    screen.print("\n".join(lines), soft_wrap=True)


def prepare_streams() -> None:
    """Make standard output and error usable: closed ones are opened, no letter is an error.

    A descriptor that is closed would go to the next file that is opened, and output into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115
    codecs.register_error("clir", _stand_in)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="clir")


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    """Replace the letters that an encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(SIMPLER.get(letter, "?") for letter in letters), error.end


class _PlainConsole(Console):
    """A console that takes text for what it is."""

    def render_str(self, text: str, *, style: Any = "", **options: Any) -> Text:
        justify, overflow = options.get("justify"), options.get("overflow")
        return Text(printable(text), style=style, justify=justify, overflow=overflow)


def console(*, stderr: bool = False, width: int | None = None) -> Console:
    """Return a console that shows data as it is."""
    return _PlainConsole(stderr=stderr, width=width)


class Words(ProgressColumn):
    """A column of a progress bar: ``task`` in a format, shown as it is.

    ``rest`` is what may be cut where the screen is narrow; the other columns keep their width.
    """

    def __init__(self, template: str, *, rest: bool = False) -> None:
        super().__init__(Column(no_wrap=not rest))
        self._template, self._rest = template, rest

    def render(self, task: Task) -> Text:
        """Return the words."""
        text = Text(one_line(self._template.format(task=task)).rstrip())
        text.no_wrap, text.overflow = True, "ellipsis" if self._rest else None
        return text


class Share(ProgressColumn):
    """The share that is done in per cent; nothing while the total is unknown."""

    def render(self, task: Task) -> Text:
        """Return the share."""
        return Text("" if task.total is None else f"{task.percentage:.0f} %", no_wrap=True)


def bar_columns(amount: ProgressColumn, *times: ProgressColumn, unit: str = "") -> list[Any]:
    """Return the columns of a bar: how much, its share and the times before name and note.

    A narrow screen cuts from the right, and has neither bar nor elapsed time.
    """
    is_wide = console(stderr=True).width >= WIDE
    bar = [BarColumn(bar_width=24), TimeElapsedColumn()] if is_wide else []
    rest = Words("{task.description}  {task.fields[note]}", rest=True)
    return [amount, *([Words(unit)] if unit else []), Share(), *bar, *times, rest]


@dataclass(frozen=True)
class Talk:
    """Where a stage speaks. ``quiet`` keeps everything but errors and data away."""

    quiet: bool = False

    def say(self, message: str) -> None:
        """Print one line of talk on standard error."""
        if not self.quiet:
            tell(console(stderr=True), message)

    @contextmanager
    def progress(self, *, unit: str = "", total_bytes: bool = False) -> Iterator[Progress]:
        """Show live bars with elapsed and remaining time; tasks may set a ``note`` field."""
        amount: ProgressColumn = DownloadColumn() if total_bytes else MofNCompleteColumn()
        columns = bar_columns(amount, TimeRemainingColumn(), Words("left"), unit=unit)
        screen = console(stderr=True)
        hidden = self.quiet or not screen.is_terminal
        with Progress(*columns, console=screen, disable=hidden, transient=True) as progress:
            yield progress

    @contextmanager
    def counting(
        self, title: str, total: int | None, *, unit: str = "", total_bytes: bool = False
    ) -> Iterator[Callable[[int], None]]:
        """Show one bar; yield a function that advances it by a number."""
        with self.progress(unit=unit, total_bytes=total_bytes) as progress:
            bar = progress.add_task(title, total=total, note="")
            yield lambda count: progress.advance(bar, count)


def marked(text: str, spans: Sequence[tuple[int, int]]) -> Text:
    """Return text with spans marked: reversed on a terminal, between asterisks elsewhere."""
    text = printable(text)
    if console().is_terminal:
        styled = Text(text)
        for low, high in spans:
            styled.stylize("bold reverse", low, high)
        return styled
    for low, high in sorted(spans, reverse=True):
        text = f"{text[:low]}*{text[low:high]}*{text[high:]}"
    return Text(text)


def put(text: str) -> None:
    """Print text on standard output."""
    print(printable(text))


def typed_lines(prompt: str) -> Iterator[str]:
    """Yield the lines of standard input that are not empty; on a terminal ask for each.

    Raises:
        UserError: A line is not UTF-8.
    """
    is_asked = sys.stdin.isatty()
    if is_asked:
        with suppress(ImportError):  # it edits the line, and knows those before
            import readline  # noqa: F401
    while True:
        try:
            line = input(prompt if is_asked else "")
        except EOFError:
            if is_asked:
                put("")
            return
        except UnicodeDecodeError:
            raise UserError("standard input: a line is not UTF-8 text") from None
        if line.strip():
            yield line.strip()


def size_text(count: int) -> str:
    """Return a number of bytes in words."""
    return f"{count / 1e9:.1f} GB" if count > 1e9 else f"{count / 1e6:.1f} MB"


class ScoreText(NamedTuple):
    """A score in words: value, interval or spread, and mark of significance."""

    value: str
    interval: str
    mark: str

    def __str__(self) -> str:
        """Return the score on one line: ``0.600 [0.541, 0.652] ▲``."""
        return f"{self.value} {self.interval}" + (f" {self.mark}" if self.mark else "")


def score_text(
    value: float,
    low: float,
    high: float,
    *,
    spread: float | None = None,
    mark: str = "",
    digits: Callable[[float], str] = "{:.3f}".format,
) -> ScoreText:
    """Return a score as every table has it: with its interval, or its spread over several seeds.

    ``mark`` comes from ``significance.mark``; ``digits`` writes the numbers.
    """
    interval = f"[{digits(low)}, {digits(high)}]" if spread is None else f"± {digits(spread)}"
    return ScoreText(digits(value), interval, mark)
