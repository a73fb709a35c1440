"""What people see: data on standard output; progress and talk on standard error."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class Talk:
    """Where a stage speaks. ``quiet`` keeps everything but errors and data away."""

    quiet: bool = False

    def say(self, message: str) -> None:
        """Print one line of talk on standard error."""
        if not self.quiet:
            Console(stderr=True, highlight=False, soft_wrap=True).print(message, markup=False)

    @contextmanager
    def progress(self, *, unit: str = "", total_bytes: bool = False) -> Iterator[Progress]:
        """Show live bars with elapsed and remaining time; tasks may set a ``note`` field."""
        amount: ProgressColumn = DownloadColumn() if total_bytes else MofNCompleteColumn()
        columns: list[ProgressColumn] = [
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            amount,
            TextColumn(unit),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        ]
        console = Console(stderr=True)
        hidden = self.quiet or not console.is_terminal
        with Progress(*columns, console=console, disable=hidden, transient=True) as progress:
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
    if Console().is_terminal:
        styled = Text(text)
        for low, high in spans:
            styled.stylize("bold reverse", low, high)
        return styled
    for low, high in sorted(spans, reverse=True):
        text = f"{text[:low]}*{text[low:high]}*{text[high:]}"
    return Text(text)


def show(table: Table) -> None:
    """Print a table on standard output, as wide as it needs to be when that is no terminal."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)


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
