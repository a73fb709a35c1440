"""Records of documents and queries: JSON lines, parquet, CSV, TSV, or a folder of text files."""

import os
from collections.abc import Iterator
from pathlib import Path

from clir_cli.corpus.formats.jsonl_parquet import LONGEST_RECORD, Record, read_records
from clir_cli.corpus.formats.opening import unpacked_name
from clir_cli.corpus.formats.own_bitext import csv_rows
from clir_cli.corpus.formats.reading import Faults, decoded_text, excerpt
from clir_cli.errors import UserError

TABLES = (".csv", ".tsv")


def read_any_records(path: Path) -> Iterator[tuple[str, Record]]:
    """Yield records with their places, as ``read_records``, of a file or a folder of texts.

    The first line of a table names its columns. A text's id is its path in the folder.

    Raises:
        UserError: A file is damaged, or a row has more or fewer cells than there are columns.
    """
    kind = unpacked_name(path).suffix.lower()
    if path.is_dir():
        for file in text_files(path):
            record = {"_id": unpacked_name(file.relative_to(path)).as_posix()}
            yield str(file), {**record, "text": decoded_text(file)}
    elif kind in TABLES:
        yield from _rows(path, _csv(path) if kind == ".csv" else _tsv(path))
    else:
        yield from read_records(path)


def _rows(path: Path, rows: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[str, Record]]:
    names: list[str] = []
    for number, cells in rows:
        if not names:
            names = [cell.strip() for cell in cells]
            if len(set(names)) < len(names):
                raise UserError(f"{path}, line {number}: two columns have one name: {names}")
        elif len(cells) != len(names):
            what = f"{len(cells)} columns, {len(names)} in the first line ({', '.join(names)})"
            raise UserError(f"{path}, line {number}: {excerpt(what)[1:-1]}")
        else:
            yield f"{path}, line {number}", dict(zip(names, cells, strict=True))


def _csv(path: Path) -> Iterator[tuple[int, list[str]]]:
    faults = Faults("skip")
    for number, cells in csv_rows(path, faults, LONGEST_RECORD, LONGEST_RECORD):
        if faults.skipped:
            break
        yield number, cells
    if faults.skipped:
        raise UserError(f"{path}: not valid UTF-8; save it as UTF-8")


def _tsv(path: Path) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(decoded_text(path).split("\n"), start=1):
        if line.strip():
            yield number, line.rstrip("\r").split("\t")


def files_under(folder: Path) -> list[Path]:
    """Return all files of a folder, also those behind links to folders, each folder once."""
    paths: list[Path] = []
    walked: set[str] = set()
    for top, folders, names in os.walk(folder, followlinks=True):
        walked.add(os.path.realpath(top))
        real = {name: os.path.realpath(f"{top}/{name}") for name in folders}
        folders[:] = [name for name in folders if real[name] not in walked]
        paths += [Path(top) / name for name in names]
    return sorted(paths)


def text_files(folder: Path) -> list[Path]:
    """Return the texts of a folder: ``.txt`` at any depth, plain or compressed.

    Hidden files are left out, and at the top those of queries and judgments.
    """
    beside = [*folder.glob("queries*"), *folder.glob("qrels*")]
    return [
        path
        for path in files_under(folder)
        if unpacked_name(path).suffix.lower() == ".txt"
        and path not in beside
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
