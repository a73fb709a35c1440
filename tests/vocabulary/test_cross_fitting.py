"""Rows of folds: what a training sentence is read with, and what is left of it in the end."""

import random
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lexicons import induce_lexicon
from tiny_encoders import tiny_bert
from transformers import AutoTokenizer

from clir_cli.corpus.records import SentencePair
from clir_cli.retrieval.encoder import load_encoder
from clir_cli.vocabulary.counts import COUNT_FUNCTIONS
from clir_cli.vocabulary.cross_fitting import cross_fit, folds_of, tokenize_folds
from clir_cli.vocabulary.extend import extend_vocabulary, new_embeddings
from clir_cli.vocabulary.multilingual import induce_lexicons

WORDS = {
    "maji": "water", "mji": "city", "watoto": "children", "shule": "school", "daktari": "doctor",
    "dawa": "medicine", "barabara": "road", "nyumba": "house", "chakula": "food", "soko": "market",
}  # fmt: skip


def sentences(count: int) -> list[SentencePair]:
    """Return sentence pairs; the last word of each is seen nowhere else."""
    chance = random.Random(3)
    found = []
    for number in range(count):
        chosen = chance.sample(sorted(WORDS), 3)
        query = " ".join(chosen) + f" neno{'abcdefghij'[number % 10]}{'xyzw'[number // 10]}"
        found.append(SentencePair(query, " ".join(WORDS[word] for word in chosen) + " moon"))
    return found


BITEXT = sentences(36)
FOLDS = folds_of(BITEXT, 3)


@pytest.fixture
def fitted(models: Path, tmp_path: Path):
    """A cross-fitted student of three folds, its first embeddings, and the folds' lexicons."""
    student = load_encoder(tiny_bert(tmp_path / "tiny", models), torch.device("cpu"))
    initial = student.model.get_input_embeddings().weight.detach().clone()

    lexicon, *others = induce_lexicons(
        [BITEXT], student.tokenizer, folds=[FOLDS], min_count=1, count=COUNT_FUNCTIONS["ibm1"]
    )
    tokens = tokenize_folds(student, [BITEXT], [FOLDS], others, max_tokens=32)
    extend_vocabulary(student.tokenizer, student.model, lexicon)
    return cross_fit(student, initial, [FOLDS], others, tokens), initial, others


def test_a_sentence_is_read_with_the_rows_of_the_other_folds(fitted):
    found, initial, others = fitted
    table = found.student.model.get_input_embeddings().weight
    seen = 0
    for own, lexicon in zip(FOLDS, others, strict=True):
        rows = dict(zip(lexicon.words, new_embeddings(initial, lexicon), strict=True))
        for number in own:
            for place, word in enumerate(BITEXT[number].query.split()[:3], start=1):
                if word in rows:
                    seen += 1
                    torch.testing.assert_close(table[found.ids[0][number][place]], rows[word])
    assert seen > 60


@pytest.mark.parametrize("name", COUNT_FUNCTIONS)
def test_the_lexicon_of_a_fold_is_that_of_a_bitext_without_it(models, name):
    tokenizer = AutoTokenizer.from_pretrained(models / "all-MiniLM-L6-v2")
    how = {"min_count": 2, "count": COUNT_FUNCTIONS[name]}
    _, *others = induce_lexicons([BITEXT], tokenizer, folds=[FOLDS], **how)
    for own, lexicon in zip(FOLDS, others, strict=True):
        rest = [pair for number, pair in enumerate(BITEXT) if number not in own]
        alone = induce_lexicon(rest, tokenizer, **how)
        assert lexicon.words == alone.words
        best = {word: int(row[0]) for word, row in zip(lexicon.words, lexicon.tokens, strict=True)}
        assert best == dict(zip(alone.words, alone.tokens[:, 0].tolist(), strict=True))
        if name == "dice":  # Model 1 knows the other folds' links better for having seen all
            torch.testing.assert_close(lexicon.strengths, alone.strengths)


def test_a_word_of_one_sentence_is_cut_into_initial_pieces_there(fitted):
    found, initial, _ = fitted
    table = found.student.model.get_input_embeddings().weight
    for pair, ids in zip(BITEXT, found.ids[0], strict=True):
        word = pair.query.split()[-1]
        pieces = found.student.tokenizer.encode(word, add_special_tokens=False)
        read = table[ids[-1 - len(pieces) : -1]]
        torch.testing.assert_close(read, initial[pieces])


def test_rows_are_frozen_and_those_of_the_folds_stand_behind(fitted):
    found, initial, _ = fitted
    embeddings = found.student.model.get_input_embeddings()
    assert not embeddings.weight.requires_grad
    assert len(initial) < found.own_rows < embeddings.num_embeddings
    read = {each for row in found.ids[0] for each in row}
    assert max(read) < embeddings.num_embeddings
    assert not any(len(initial) <= each < found.own_rows for each in read)


@settings(derandomize=True, deadline=None)
@given(st.lists(st.sampled_from("abcdefgh")), st.integers(2, 9))
def test_pairs_with_one_english_side_share_a_fold(english, count):
    bitext = [SentencePair(str(number), each) for number, each in enumerate(english)]
    folds = folds_of(bitext, count)
    assert len(folds) == count
    assert sorted(number for fold in folds for number in fold) == list(range(len(bitext)))
    sides = [{english[number] for number in fold} for fold in folds]
    assert sum(map(len, sides)) == len(set(english))


def test_a_lone_sentence_is_read_without_any_rows(models, tmp_path):
    student = load_encoder(tiny_bert(tmp_path / "tiny", models), torch.device("cpu"))
    plain = student.tokenize([BITEXT[0].query], 32)
    folds = folds_of(BITEXT[:1], 2)
    initial = student.model.get_input_embeddings().weight.clone()
    lexicon, *others = induce_lexicons([BITEXT[:1]], student.tokenizer, folds=[folds], min_count=1)
    tokens = tokenize_folds(student, [BITEXT[:1]], [folds], others, max_tokens=32)
    extend_vocabulary(student.tokenizer, student.model, lexicon)
    (ids,) = cross_fit(student, initial, [folds], others, tokens).ids
    assert list(ids) == plain
