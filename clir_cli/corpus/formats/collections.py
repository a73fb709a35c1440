"""The readers of collections, one a format: what ``format`` of a catalogue entry names."""

from clir_cli.corpus.formats.beir import read_beir, read_beir_zip
from clir_cli.corpus.formats.irds import read_irds
from clir_cli.corpus.formats.known_item import read_flores, read_ntrex
from clir_cli.corpus.formats.parts import Asked, CollectionReader, Parts
from clir_cli.corpus.formats.question_answering import (
    read_afriqa,
    read_belebele,
    read_mlqa,
    read_squad,
    read_squad_sentences,
)
from clir_cli.corpus.formats.trec import read_trec

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

__all__ = ["COLLECTION_READERS", "Asked", "Parts", "read_beir", "read_ntrex"]
