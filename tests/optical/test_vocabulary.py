from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from clir_cli.corpus.records import SentencePair
from clir_cli.optical.vocabulary import extend_vocabulary, induce_lexicon

BITEXT = [
    SentencePair("maji safi ni muhimu", "clean water is important"),
    SentencePair("tunakunywa maji kila siku", "we drink water every day"),
    SentencePair("Nairobi ina maji kidogo", "Nairobi has little water"),
    SentencePair("Nairobi ni mji mkubwa", "Nairobi is a big city"),
    SentencePair("mji una masoko", "every city has markets"),
]


@pytest.fixture
def loaded(models: Path):
    folder = models / "all-MiniLM-L6-v2"
    return AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)


def test_words_go_with_the_tokens_they_occur_with(loaded):
    tokenizer, _ = loaded
    lexicon = induce_lexicon(BITEXT, tokenizer, min_count=2, neighbours=3)
    best = {
        word: tokenizer.convert_ids_to_tokens(int(tokens[0]))
        for word, tokens in zip(lexicon.words, lexicon.tokens, strict=True)
    }
    assert best["maji"] == "water"
    assert best["mji"] == "city"
    place = lexicon.words.index("maji")
    assert lexicon.dice[place, 0] == 1.0  # three pairs with maji, three with water, all together


def test_names_and_rare_words_get_no_row(loaded):
    lexicon = induce_lexicon(BITEXT, loaded[0], min_count=2)
    assert "nairobi" not in lexicon.words  # it stands unchanged in the English side
    assert "tunakunywa" not in lexicon.words  # seen once


def test_a_row_is_the_weighted_mean_of_english_rows(loaded):
    tokenizer, model = loaded
    initial = model.get_input_embeddings().weight.detach().clone()
    lexicon = induce_lexicon(BITEXT, tokenizer, neighbours=2)
    extended = extend_vocabulary(tokenizer, model, lexicon)
    place = lexicon.words.index("maji")
    weights = lexicon.dice[place].double() ** 2
    rows = initial[lexicon.tokens[place]].double()
    expected = (weights[:, None] * rows).sum(0) / weights.sum()
    (identity,) = extended.encode("maji", add_special_tokens=False)
    found = model.get_input_embeddings().weight[identity].double()
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_the_teachers_rows_and_pieces_stay(loaded):
    tokenizer, model = loaded
    initial = model.get_input_embeddings().weight.detach().clone()
    extended = extend_vocabulary(tokenizer, model, induce_lexicon(BITEXT, tokenizer))
    sentence = "Nairobi schools teach children to read"
    assert extended.tokenize(sentence) == tokenizer.tokenize(sentence)
    words = set(induce_lexicon(BITEXT, tokenizer).words)
    kept = [row for token, row in tokenizer.get_vocab().items() if token not in words]
    assert torch.equal(model.get_input_embeddings().weight[kept], initial[kept])


def test_it_saves_and_loads_as_any_tokenizer_and_model(loaded, tmp_path):
    tokenizer, model = loaded
    extended = extend_vocabulary(tokenizer, model, induce_lexicon(BITEXT, tokenizer))
    extended.save_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    again, weights = AutoTokenizer.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path)
    text = "maji ya mji, Nairobi"
    assert again(text)["input_ids"] == extended(text)["input_ids"]
    assert again.tokenize(text)[0] == "maji"
    assert again.pad_token_id == tokenizer.pad_token_id
    rows = weights.get_input_embeddings().weight
    assert torch.equal(rows, model.get_input_embeddings().weight)
    assert len(again) == len(rows)


def test_the_same_bitext_gives_the_same_lexicon(loaded):
    one = induce_lexicon(BITEXT, loaded[0], min_count=1)
    two = induce_lexicon(list(BITEXT), loaded[0], min_count=1)
    assert one.words == two.words
    assert torch.equal(one.tokens, two.tokens)
    assert torch.equal(one.dice, two.dice)
