"""Readers by format: files to records. ``format`` of a catalogue entry names one of these."""

from clir_cli.corpus.formats.beir import read_beir, read_beir_zip
from clir_cli.corpus.formats.bitext_readers import read_sib, read_sides, read_tmx
from clir_cli.corpus.formats.dictionary_readers import (
    DictionaryReader,
    read_dictionary_tsv,
    read_mined,
    read_muse,
    read_panlex,
    read_terminology,
)
from clir_cli.corpus.formats.irds import read_irds
from clir_cli.corpus.formats.known_item import read_flores, read_ntrex
from clir_cli.corpus.formats.moses import read_moses
from clir_cli.corpus.formats.question_answering import (
    read_afriqa,
    read_belebele,
    read_mlqa,
    read_squad,
    read_squad_sentences,
)
from clir_cli.corpus.formats.reading import CollectionReader, PairReader
from clir_cli.corpus.formats.trec import read_trec

PAIR_READERS: dict[str, PairReader] = {
    "lines": read_sides,
    "moses": read_moses,
    "sib": read_sib,
    "tmx": read_tmx,
}
DICTIONARY_READERS: dict[str, DictionaryReader] = {
    "moses": read_mined,
    "muse": read_muse,
    "panlex": read_panlex,
    "terminology": read_terminology,
    "tsv": read_dictionary_tsv,
}
COLLECTION_READERS: dict[str, CollectionReader] = {
    "afriqa": read_afriqa,
    "beir": read_beir,
    "beir-zip": read_beir_zip,
    "belebele": read_belebele,
    "flores": read_flores,
    "irds": read_irds,
    "mlqa": read_mlqa,
    "ntrex": read_ntrex,
    "squad": read_squad,
    "squad-sentences": read_squad_sentences,
    "trec": read_trec,
}
