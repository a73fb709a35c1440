from pathlib import Path

import pytest
import torch
from lexicons import induce_lexicon

from benchmarks import alignment as by_hand
from clir_cli.corpus.records import SentencePair
from clir_cli.optical import alignment
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


def test_the_score_of_an_entry_is_dice_of_the_mass(teacher, monkeypatch):
    rows = [SentencePair("maji safi", "water clean"), SentencePair("maji", "water")]
    monkeypatch.setattr(alignment, "token_words", lambda _, text, __: text.split())
    plans = [torch.tensor([[0.75, 0.25], [0.5, 0.5]]), torch.tensor([[1.0]])]
    monkeypatch.setattr(alignment, "plans_of", lambda *_: enumerate(plans))
    entries = induce_dictionary(
        teacher, teacher, rows, None, TransportSettings(), max_tokens=32, min_pairs=1
    )
    scores = {(entry.word, entry.english): entry.score for entry in entries}
    assert scores == pytest.approx({
        ("maji", "water"): 2 * 1.75 / (2 + 2.25),
        ("maji", "clean"): 2 * 0.25 / (2 + 0.75),
        ("safi", "water"): 2 * 0.5 / (1 + 2.25),
        ("safi", "clean"): 2 * 0.5 / (1 + 0.75),
    })  # fmt: skip
    assert [entry.pairs for entry in entries if entry.word == "maji"] == [2, 1]


# ------------------------------------------------------------------ links made by hand


@pytest.mark.parametrize("language", ["sw", "de"])
def test_every_word_of_the_hand_made_links_is_in_its_sentence(language):
    pairs = by_hand.linked_pairs(language)
    assert len(pairs) == 20
    assert all(right for pair in pairs for right in pair.links.values())


def test_a_word_twice_in_a_sentence_needs_a_number():
    assert by_hand.position("b#2", "a b. B c") == 2
    for wrong in ("b", "d", "b#3"):
        with pytest.raises(ValueError, match="times in"):
            by_hand.position(wrong, "a b. B c")


def test_a_sentence_is_aligned_with_itself(teacher):
    pair = by_hand.Linked("the cook drinks", "the cook drinks", {0: {0}, 1: {1}, 2: {2}})
    assert by_hand.scores(teacher, teacher, [pair], None) == (1.0, 1.0)
    turned = by_hand.Linked(pair.text, pair.english, {0: {1}, 1: {2}, 2: {0, 2}})
    words, mass = by_hand.scores(teacher, teacher, [turned], None)
    assert (words, mass) == pytest.approx((1 / 3, 1 / 3))
