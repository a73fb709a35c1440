from pathlib import Path

import pytest
import torch
from lexicons import induce_lexicon

from clir_cli.corpus.records import SentencePair
from clir_cli.optical.alignment import induce_dictionary, token_words
from clir_cli.retrieval.encoder import Encoder, load_encoder
from clir_cli.settings import TransportSettings
from clir_cli.vocabulary.extend import extend_vocabulary

CPU = torch.device("cpu")
BITEXT = [
    SentencePair("maji safi ni muhimu sana", "clean water is very important"),
    SentencePair("watoto wanakunywa maji", "children drink water"),
    SentencePair("shule ina maji kidogo", "the school has little water"),
    SentencePair("watoto wanaenda shule", "children go to school"),
    SentencePair("shule ni safi", "the school is clean"),
    SentencePair("watoto ni muhimu", "children are important"),
] * 2


@pytest.fixture(scope="module")
def teacher(models: Path) -> Encoder:
    return load_encoder(models / "all-MiniLM-L6-v2", CPU)


def test_plans_over_a_bitext_say_which_words_translate_each_other(teacher, models):
    student = load_encoder(models / "all-MiniLM-L6-v2", CPU)
    lexicon = induce_lexicon(BITEXT, student.tokenizer)
    tokenizer = extend_vocabulary(student.tokenizer, student.model, lexicon)
    extended = Encoder(tokenizer, student.model, CPU, torch.float32)
    embeddings = teacher.encode([pair.english for pair in BITEXT], 32)
    entries = induce_dictionary(
        extended, teacher, BITEXT, embeddings, TransportSettings(), max_tokens=32
    )
    best = {entry.word: entry.english for entry in reversed(entries)}
    assert best["maji"] == "water"
    assert best["watoto"] == "children"
    assert best["shule"] == "school"
    assert all(0.01 <= entry.score <= 1 for entry in entries)
    assert all(entry.pairs >= 2 for entry in entries)
    order = [(entry.word, -entry.score) for entry in entries]
    assert order == sorted(order)


def test_tokens_know_their_word_in_any_script(teacher):
    text = "Mombasa-Nairobi: watoto 12, मुलांना!"
    found = token_words(teacher, text, 64)
    assert found[0] == found[-1] == ""  # [CLS] and [SEP]
    assert [word for word in dict.fromkeys(found) if word] == [
        "mombasa", "nairobi", "watoto", "12", "मुलांना",
    ]  # fmt: skip
    assert len(found) == len(teacher.tokenize([text], 64)[0])
