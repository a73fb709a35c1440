"""Token ids from those of words: the same as those of whole texts."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tiny_encoders import tiny_bert

from clir_cli.errors import UserError
from clir_cli.retrieval.encoder import load_encoder
from clir_cli.retrieval.wordwise import WordTokens, is_wordwise
from clir_cli.vocabulary.extend import with_words, word_splitter

PARTS = [
    "maji", "a", " ", "  ", "\t", "\n", "\x1c", "\x85", "\u00a0", "\u0301", "e\u0301", "İ", "Σ",
    "ß", "पानी", "ी", "水", "[SEP]", "[PAD]", "[MASK]", "##s", ",", "'", "don't", "\u200d", "😀",
    "ﬁ", "x" * 120,
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PARTS), max_size=12).map("".join)


@pytest.fixture(scope="module")
def encoders(models: Path, tmp_path_factory):
    plain = load_encoder(
        tiny_bert(tmp_path_factory.mktemp("tiny") / "tiny", models), torch.device("cpu")
    )
    longer = with_words(plain.tokenizer, ["maji", "पानी", "majia", "##ji"])
    return [plain, replace(plain, tokenizer=longer)]


@pytest.fixture(scope="module")
def splitters(encoders):
    """Return the function that splits by words, and a tokenizer that keeps vowel signs as it."""
    tokenizer = encoders[0].tokenizer
    return word_splitter(tokenizer), with_words(tokenizer, []).backend_tokenizer


@settings(max_examples=40, derandomize=True, deadline=None)
@given(texts=st.lists(TEXTS, min_size=1, max_size=3), limit=st.integers(3, 12))
@example(texts=["", " maji  maji ", "a\x1ca e\u0301 e \u0301"], limit=12)
def test_the_tokens_are_those_of_whole_texts(encoders, texts, limit):
    for encoder in encoders:
        assert WordTokens.of(encoder.tokenizer) is not None
        assert list(encoder.token_ids(texts, limit)) == encoder.tokenize(texts, limit)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(text=TEXTS)
def test_the_words_are_those_of_whole_texts(splitters, text):
    words_of, backend = splitters
    splits = backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(text))
    words = [split for split, _ in splits if any(map(str.isalpha, split))]
    assert words_of(text) == words


def test_a_tokenizer_that_looks_over_spaces_is_not_read_by_words(encoders):
    tokenizer = encoders[0].tokenizer
    layout = json.loads(tokenizer.backend_tokenizer.to_str())
    assert is_wordwise(layout)
    wide = {**layout["added_tokens"][0], "content": "<mask>", "lstrip": True}
    for change in (
        {"model": {"type": "Unigram"}},
        {"pre_tokenizer": {"type": "ByteLevel"}},
        {"normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": ""}},
        {"added_tokens": [{**wide, "lstrip": False, "content": "two words"}]},
        {"added_tokens": [wide]},
    ):
        assert not is_wordwise({**layout, **change}), change


def test_a_tokenizer_that_cuts_at_the_left_still_does(encoders):
    encoder = replace(encoders[0], tokenizer=copy.deepcopy(encoders[0].tokenizer))
    encoder.tokenizer.truncation_side = "left"
    texts = ["maji ya moto ni mazuri sana"]
    assert list(encoder.token_ids(texts, 5)) == encoder.tokenize(texts, 5)
    assert encoder.tokenize(texts, 5) != encoders[0].tokenize(texts, 5)


def test_half_of_a_character_is_refused_as_elsewhere(encoders):
    with pytest.raises(UserError, match="not valid Unicode"):
        encoders[0].token_ids(["maji \ud800"], 12)


def test_what_the_last_call_asked_for_stays(encoders):
    tokenizer = copy.deepcopy(encoders[0].tokenizer)
    tokenizer("maji", truncation=True, max_length=7, padding="max_length")
    before = tokenizer.backend_tokenizer.to_str()
    assert json.loads(before)["truncation"] is not None is not json.loads(before)["padding"]
    (ids,) = WordTokens.of(tokenizer)(["maji ya moto ni mazuri sana"])
    assert len(ids) > 7
    assert tokenizer.backend_tokenizer.to_str() == before
