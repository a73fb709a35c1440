from pathlib import Path

import pytest
import torch
from lexicons import induce_lexicon
from transformers import AutoModel, AutoTokenizer

from clir_cli.corpus.records import SentencePair
from clir_cli.errors import UserError
from clir_cli.retrieval.encoder import Encoder
from clir_cli.vocabulary.counts import COUNT_FUNCTIONS
from clir_cli.vocabulary.extend import extend_vocabulary

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
    assert (
        lexicon.strengths[place, 0] == 1.0
    )  # three pairs with maji, three with water, all together


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
    weights = lexicon.strengths[place].double()
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
    assert torch.equal(one.strengths, two.strengths)


def best_tokens(lexicon, tokenizer) -> dict[str, str]:
    first = [int(tokens[0]) for tokens in lexicon.tokens]
    return dict(zip(lexicon.words, tokenizer.convert_ids_to_tokens(first), strict=True))


COLOURS = [
    SentencePair("gari nyekundu", "red car"),
    SentencePair("gari nyeupe", "white car"),
    SentencePair("gari jeusi", "black car"),
    SentencePair("nyumba nyekundu", "red house"),
    SentencePair("nyumba nyeupe", "white house"),
]


def test_model_1_knows_a_word_seen_once_by_what_the_others_explain(loaded):
    tokenizer, _ = loaded
    found = {
        name: induce_lexicon(COLOURS, tokenizer, min_count=1, count=count)
        for name, count in COUNT_FUNCTIONS.items()
    }
    assert best_tokens(found["ibm1"], tokenizer)["jeusi"] == "black"
    strength = {
        name: each.strengths[each.words.index("jeusi")] for name, each in found.items()
    }  # of black and of car, which stood beside it
    assert strength["ibm1"][1] / strength["ibm1"][0] < 0.2
    assert strength["dice"][1] / strength["dice"][0] == 0.5


@pytest.mark.parametrize("name", COUNT_FUNCTIONS)
def test_strengths_are_between_nothing_and_one_best_first(loaded, name):
    lexicon = induce_lexicon(BITEXT + COLOURS, loaded[0], count=COUNT_FUNCTIONS[name], units="both")
    assert (lexicon.strengths >= 0).all()
    assert (lexicon.strengths <= 1 + 1e-6).all()
    assert (lexicon.strengths.diff(dim=1) <= 0).all()
    assert (lexicon.strengths[:, 0] > 0).all()


STEMS = [
    SentencePair("घरात दिवा आहे", "a lamp in the house"),
    SentencePair("घरातून धूर", "smoke from the house"),
    SentencePair("घराला दार आहे", "the house has a door"),
    SentencePair("घराला छप्पर", "roof of the house"),
    SentencePair("गाडीला दार आहे", "the car has a door"),
    SentencePair("गाडीतून धूर", "smoke from the car"),
    SentencePair("गाडीत मांजर", "cat in the car"),
    SentencePair("गाडीला चाक", "wheel of the car"),
    SentencePair("Helsinki दिवा", "lamp Helsinki"),
    SentencePair("Helsinki मांजर", "cat Helsinki"),
]


def test_pieces_know_words_that_the_bitext_never_showed(loaded):
    tokenizer, model = loaded
    lexicon = induce_lexicon(
        STEMS, tokenizer, units="both", subwords=100, count=COUNT_FUNCTIONS["ibm1"]
    )
    best = best_tokens(lexicon, tokenizer)
    assert best["घरा"] == "house"
    assert best["गाडी"] == "car"
    extended = extend_vocabulary(tokenizer, model, lexicon)
    assert extended.tokenize("घरातच")[0] == "घरा"  # unseen, and the house is still in it
    assert extended.tokenize("घरातून") == ["घरा", "##तून"]  # seen once
    assert extended.tokenize("घराला") == ["घराला"]  # a word that has a row stays whole
    assert extended.tokenize("Helsinki") == tokenizer.tokenize("Helsinki")  # and so does a name


def test_words_pieces_and_both(loaded):
    words, pieces, both = (
        induce_lexicon(STEMS, loaded[0], units=units, subwords=60)
        for units in ("words", "subwords", "both")
    )
    assert "धूर" in words.words
    assert not any(word.startswith("##") for word in words.words)
    assert any(piece.startswith("##") for piece in pieces.words)
    assert not set(pieces.words) & loaded[0].get_vocab().keys()  # names are cut into those
    assert set(both.words) == set(words.words) | set(pieces.words)
    assert len(set(both.words)) == len(both.words)
    place, other = both.words.index("आहे"), words.words.index("आहे")
    assert torch.equal(
        both.strengths[place], words.strengths[other]
    )  # the word's own row, not a piece's


def test_vowel_signs_are_letters_and_accents_are_not(loaded):
    tokenizer, model = loaded
    rows = [
        SentencePair("मी शेतकरी आहे", "I am a farmer"),
        SentencePair("मुलगी शेतात आहे", "the girl is in the field"),
        SentencePair("मुलगा शेतात आहे", "the boy is in the field"),
        SentencePair("élève Élève", "pupil"),
    ]
    lexicon = induce_lexicon(rows, tokenizer, min_count=1)
    assert "मुलगी" in lexicon.words
    assert "eleve" in lexicon.words
    extended = extend_vocabulary(tokenizer, model, lexicon)
    assert extended.tokenize("मुलगी ÉLÈVE") == ["मुलगी", "eleve"]
    assert extended.tokenize("Café São Győr") == tokenizer.tokenize("Café São Győr")


def test_offsets_are_those_of_the_text_as_it_stands(loaded):
    tokenizer, model = loaded
    lexicon = induce_lexicon(STEMS, tokenizer, units="both", subwords=100)
    extended = extend_vocabulary(tokenizer, model, lexicon)
    text = "Élan: घराला!"
    spans = Encoder(extended, model, torch.device("cpu"), torch.float32).spans(text, 64)
    assert [text[low:high] for low, high in spans if high][-2:] == ["घराला", "!"]


def test_a_tokenizer_of_another_kind_is_refused_in_a_line(loaded):
    class Slow:
        all_special_ids = ()

    with pytest.raises(UserError, match=r"WordPiece tokenizer.*student\.vocabulary=initial"):
        induce_lexicon(BITEXT, Slow())


def test_a_name_is_unchanged_in_most_of_its_pairs(loaded):
    rows = [
        SentencePair("soko safi", "the soko is clean"),
        SentencePair("soko kubwa", "a big market"),
        SentencePair("soko kubwa", "big market"),
        SentencePair("Nairobi safi", "Nairobi is clean"),
        SentencePair("Nairobi kubwa", "Nairobi is big"),
        SentencePair("Nairobi", "the capital"),
    ]
    words = induce_lexicon(rows, loaded[0]).words
    assert "soko" in words  # once of three times
    assert "nairobi" not in words  # twice of three times


@pytest.mark.parametrize(("copied", "is_name"), [(0, False), (1, False), (2, False), (3, True)])
def test_a_name_is_copied_in_more_than_half_of_its_pairs(loaded, copied, is_name):
    bitext = [
        SentencePair("maji data", f"water {'data' if row < copied else 'facts'}")
        for row in range(4)
    ]
    lexicon = induce_lexicon(bitext, loaded[0], min_count=2)
    assert ("data" not in lexicon.words) == is_name
    assert "maji" in lexicon.words
