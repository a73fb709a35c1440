"""Readers by format: files to records. ``format`` of a catalogue entry names one of these.

A reader raises UserError where a file is damaged, lacks a part or is not in its format; the message
has the file and, where there is one, the line.
"""

from clir_cli.corpus.formats import (
    beir,
    bitext_readers,
    bitext_tables,
    dictionary_readers,
    english_pairs,
    hub_tables,
    irds,
    known_item,
    own_bitext,
    question_answering,
    trec,
)
from clir_cli.corpus.formats.dictionary_readers import DictionaryReader
from clir_cli.corpus.formats.reading import CollectionReader, PairReader

PAIR_READERS: dict[str, PairReader] = {
    "columns": bitext_tables.read_columns,
    "files": own_bitext.read_any,
    "lines": bitext_readers.read_sides,
    "moses": bitext_readers.read_moses,
    "questions": bitext_tables.read_questions,
    "sib": bitext_readers.read_sib,
    "similarity": bitext_tables.read_similarity,
    "tmx": bitext_readers.read_tmx,
}
DICTIONARY_READERS: dict[str, DictionaryReader] = {
    "cldr": bitext_tables.read_cldr,
    "moses": dictionary_readers.read_mined,
    "muse": dictionary_readers.read_muse,
    "panlex": dictionary_readers.read_panlex,
    "terminology": dictionary_readers.read_terminology,
    "tsv": dictionary_readers.read_dictionary_tsv,
}
COLLECTION_READERS: dict[str, CollectionReader] = {
    "afriqa": question_answering.read_afriqa,
    "beir": beir.read_beir,
    "beir-zip": beir.read_beir_zip,
    "belebele": question_answering.read_belebele,
    "boolq": english_pairs.read_boolq,
    "flores": known_item.read_flores,
    "headlines": english_pairs.read_headlines,
    "hub": hub_tables.read_hub,
    "irds": irds.read_irds,
    "mlqa": question_answering.read_mlqa,
    "multirc": english_pairs.read_multirc,
    "ntrex": known_item.read_ntrex,
    "ntrex-articles": known_item.read_ntrex_articles,
    "reuters": english_pairs.read_reuters,
    "squad": question_answering.read_squad,
    "squad-sentences": question_answering.read_squad_sentences,
    "squads": english_pairs.read_squads,
    "trec": trec.read_trec,
}
