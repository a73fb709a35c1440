"""Readers by format: files to records. A source in the catalogue names its reader."""

from clir_cli.corpus.formats.collections import COLLECTION_READERS, Parts, read_beir, read_ntrex
from clir_cli.corpus.formats.pairs import (
    PAIR_READERS,
    Faults,
    Wanted,
    read_files,
    read_parallel,
    read_tsv,
)
from clir_cli.corpus.formats.shared import Located, open_zip

__all__ = [
    "COLLECTION_READERS",
    "PAIR_READERS",
    "Faults",
    "Located",
    "Parts",
    "Wanted",
    "open_zip",
    "read_beir",
    "read_files",
    "read_ntrex",
    "read_parallel",
    "read_tsv",
]
