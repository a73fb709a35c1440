"""Rows of new words from the space of a multilingual encoder."""

import numpy as np
import pytest
import torch

from clir_cli.retrieval.encoder import load_encoder
from clir_cli.vocabulary.counts import Lexicon
from clir_cli.vocabulary.in_space import TEMPERATURE, in_space


@pytest.fixture(scope="module")
def encoder(models):
    return load_encoder(models / "all-MiniLM-L6-v2", torch.device("cpu"))


def lexicon(*words):
    return Lexicon(list(words), torch.zeros(len(words), 1, dtype=torch.long), torch.ones(1, 1))


def small_vocabulary(tokenizer, words):
    class Small:
        all_special_tokens = tokenizer.all_special_tokens

        @staticmethod
        def get_vocab():
            return {word: number for number, word in enumerate(words)}

    return Small()


def test_words_go_with_the_english_words_of_the_highest_cosines(encoder):
    english = ["[CLS]", "##ing", "a", "1990", "water", "river", "school", "teacher", "bread"]
    words = ["waters", "##teachers", "schooling"]
    whole, part = in_space(
        [lexicon(*words), lexicon("waters")],
        encoder,
        small_vocabulary(encoder.tokenizer, english),
        2,
    )

    def vectors(texts):
        rows = np.stack([encoder.encode([text], 32).vectors.numpy().mean(axis=0) for text in texts])
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        rows -= rows.mean(axis=0)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    plain = [word.removeprefix("##") for word in words]
    by_word = dict(zip(plain, vectors(plain) @ vectors(english[4:]).T, strict=True))
    for word, tokens, strengths in zip(whole.words, whole.tokens, whole.strengths, strict=True):
        row = by_word[word.removeprefix("##")]
        best = np.argsort(-row)[:2]
        assert tokens.tolist() == [4 + index for index in best]
        weights = np.exp(row[best] / TEMPERATURE)
        np.testing.assert_allclose(strengths.numpy(), weights / weights.sum(), atol=1e-3)
    assert [english[int(tokens[0])] for tokens in whole.tokens] == ["water", "teacher", "school"]
    assert torch.equal(part.tokens, whole.tokens[:1])
