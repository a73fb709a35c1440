"""Readers by format: files to records. A source in the catalogue names its reader."""

from clir_cli.corpus.formats.bitext_readers import (
    Faults,
    PairReader,
    Wanted,
    read_files,
    read_parallel,
    read_sib,
    read_sides,
    read_tmx,
    read_tsv,
)
from clir_cli.corpus.formats.collections import COLLECTION_READERS, Parts, read_beir, read_ntrex
from clir_cli.corpus.formats.dictionary_readers import DICTIONARY_READERS, Entry
from clir_cli.corpus.formats.moses import read_moses
from clir_cli.corpus.formats.shared import Located, open_zip

PAIR_READERS: dict[str, PairReader] = {
    "lines": read_sides,
    "moses": read_moses,
    "sib": read_sib,
    "tmx": read_tmx,
}

__all__ = [
    "COLLECTION_READERS",
    "DICTIONARY_READERS",
    "PAIR_READERS",
    "Entry",
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
