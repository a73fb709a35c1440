"""Tables that are whole at any width: prose wraps between words, or each row becomes a block."""

import os
from collections.abc import Sequence

from rich.cells import cell_len
from rich.table import Table

from clir_cli.console import console, is_command, one_line, put, wrapped

PROSE = 24  # the narrowest column, in cells, in which sentences can be read


def width() -> int | None:
    """Return the width to write for: the terminal's, or in a pipe COLUMNS; None without limit."""
    screen = console()
    if screen.is_terminal:
        return screen.width
    text = os.environ.get("COLUMNS", "")
    return int(text) if text.isdecimal() and int(text) else None


def put_wrapped(text: str, indent: str = "", first: str = "") -> None:
    """Print a text wrapped between words; a command, or a word that is too long, stays whole.

    ``indent`` is put before its lines, ``first`` in place of it before the first one.
    """
    lead, limit = first or indent, width()
    lines = [text]
    if limit and not _is_whole(text):
        room = max(PROSE, limit - cell_len(indent))
        lines = wrapped(text, room)
    for line in lines:
        put(f"{lead}{line}".rstrip())
        lead = indent


def show_table(
    title: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    notes: Sequence[str] = (),
    *,
    numbers: bool = False,
) -> None:
    """Print a table on standard output, or a block for each row where it is too wide.

    The first column names the row. ``numbers`` puts the other columns to the right.
    """
    title, *header = map(one_line, (title, *header))
    rows = [[one_line(cell) for cell in row] for row in rows]
    put_wrapped(title)
    columns = [[name, *cells] for name, *cells in zip(header, *rows, strict=True)]
    limit, frame = width(), 3 * len(header) + 1
    whole = [max(map(cell_len, column)) for column in columns]
    least = [whole[0], *map(_least, columns[1:])]
    if limit and sum(least) + frame > limit:
        _put_blocks(header, rows)
    else:
        table = Table()
        for number, (name, needed) in enumerate(zip(header, least, strict=True)):
            table.add_column(name, min_width=needed, no_wrap=needed == whole[number])
            table.columns[-1].justify = "right" if numbers and number else "left"
        for row in rows:
            table.add_row(*row)
        console(width=limit or sum(whole) + frame).print(table)
    for note in notes:
        put_wrapped(one_line(note))


def _least(column: Sequence[str]) -> int:
    """Return the width in cells below which a column cannot be read."""
    words = [cell if _is_whole(cell) else max(cell.split(), key=cell_len) for cell in column]
    return min(max(map(cell_len, column)), max([PROSE, *map(cell_len, words)]))


def _is_whole(cell: str) -> bool:
    """Return True for what is copied as it is: a command, or a single word."""
    return is_command(cell) or len(cell.split()) < 2


def _put_blocks(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    indent = " " * (4 + max(map(cell_len, header[1:]), default=0))
    for name, *cells in rows:
        put(f"\n{name}")
        for label, cell in zip(header[1:], cells, strict=True):
            if cell:
                put_wrapped(cell, indent, f"  {label}".ljust(len(indent)))
    put("")
