from pathlib import Path

import numpy as np
import pytest
import torch
from lexicons import induce_lexicon
from tiny_encoders import tiny_bert

from clir_cli.corpus.records import SentencePair
from clir_cli.optical import alignment
from clir_cli.ragged import Ragged
from clir_cli.retrieval.encoder import Encoder, load_encoder
from clir_cli.settings import TransportSettings
from clir_cli.vocabulary.counts import COUNT_FUNCTIONS
from clir_cli.vocabulary.extend import extend_vocabulary, word_indices
from clir_cli.vocabulary.from_plans import WordPlan, plan_counts, word_plans

BITEXT = [
    SentencePair("maji safi, ni muhimu!", "clean water is important"),
    SentencePair("tunakunywa maji", "we drink water"),
    SentencePair("mji mkubwa", "a big city"),
]


@pytest.fixture
def teacher(models: Path, tmp_path: Path) -> Encoder:
    return load_encoder(tiny_bert(tmp_path / "tiny", models), torch.device("cpu"))


def test_each_token_of_a_word_tells_its_place(teacher):
    count, places = word_indices(teacher.tokenizer)("maji safi, ni 7!")
    tokens = teacher.tokenizer.convert_ids_to_tokens(teacher.tokenize(["maji safi, ni 7!"], 64)[0])
    assert count == 3  # a comma and a number are no words
    told = {token: place for token, place in zip(tokens, places, strict=True)}
    assert told["[CLS]"] is told["[SEP]"] is told[","] is told["7"] is None
    assert places[1] == places[2] == 0  # maji, in two pieces or more
    assert told["ni"] == 2
    assert word_indices(teacher.tokenizer, "query: ")("maji safi")[0] == 2  # of the text alone


def test_a_word_sends_the_mass_of_its_tokens_to_english_tokens(teacher, monkeypatch):
    english = teacher.encode([row.english for row in BITEXT], 64)
    monkeypatch.setattr(alignment, "BATCH_SIZE", 2)
    plans = word_plans(teacher, teacher, BITEXT, english, TransportSettings(), max_tokens=64)
    for row, plan in zip(BITEXT, plans, strict=True):
        tokens = teacher.tokenizer(row.english, add_special_tokens=False)["input_ids"]
        assert plan.tokens.tolist() == tokens  # special tokens take no part
        _, places = word_indices(teacher.tokenizer)(row.query)
        pieces = np.array([places.count(word) for word in range(len(plan.mass))])
        assert (plan.mass.sum(axis=1) <= pieces + 1e-3).all()  # some goes to [CLS] and [SEP]
        assert (plan.mass.sum(axis=1) > 0).all()
    cut = word_plans(teacher, teacher, BITEXT, english, TransportSettings(), max_tokens=4)
    assert (cut[0].mass[1:] == 0).all()  # the fourth token is [SEP], not the next word's
    assert cut[0].mass[0].sum() > 0


def test_masses_take_the_place_of_counts(teacher):
    """Plans that know the translations give rows that know them, though counts cannot tell."""
    known = {"maji": "water", "safi": "clean", "mji": "city", "mkubwa": "big"}
    tokenizer = teacher.tokenizer
    plans = []
    for row in BITEXT:
        tokens = tokenizer(row.english, add_special_tokens=False)["input_ids"]
        names = tokenizer.convert_ids_to_tokens(tokens)
        words = [word.strip(",!") for word in row.query.split()]
        mass = np.array([[float(known.get(word) == name) for name in names] for word in words])
        plans.append(WordPlan(mass.astype(np.float32), np.array(tokens)))
    lexicon = induce_lexicon(
        BITEXT, tokenizer, min_count=1, units="both", subwords=60, count=plan_counts(plans)
    )
    first = tokenizer.convert_ids_to_tokens([int(each[0]) for each in lexicon.tokens])
    best = dict(zip(lexicon.words, first, strict=True))
    assert {word: best[word] for word in known} == known
    assert "muhimu" not in best  # no plan says anything of it
    counted = induce_lexicon(BITEXT, tokenizer, min_count=1, count=COUNT_FUNCTIONS["dice"])
    assert counted.strengths[counted.words.index("mji")].unique().numel() < 3  # a, big or city?
    assert lexicon.strengths[lexicon.words.index("mji")].tolist() == [1, 0, 0, 0, 0]
    extended = extend_vocabulary(tokenizer, teacher.model, lexicon)
    (token,) = extended("maji", add_special_tokens=False)["input_ids"]
    rows = teacher.model.get_input_embeddings().weight
    water = rows[tokenizer.convert_tokens_to_ids("water")]
    torch.testing.assert_close(rows[token], water)


def test_a_piece_has_the_mass_of_its_word():
    plan = WordPlan(np.array([[1.0, 0.0], [0.25, 0.5]], dtype=np.float32), np.array([3, 4]))
    units, tokens, owners = map(Ragged.of, ([[0, 1, 2]], [[3, 4]], [[0, 1, 1]]))
    found = plan_counts([plan])(units, tokens, (3, 5), owners, [[0]])[0]
    expected = np.zeros((3, 5))
    expected[0, 3], expected[1:, 3], expected[1:, 4] = 1, 0.25, 0.5
    np.testing.assert_allclose(found.links.toarray(), expected)
    np.testing.assert_allclose(found.of_words, [1, 0.75, 0.75])
    np.testing.assert_allclose(found.of_tokens, [0, 0, 0, 1.5, 1])
