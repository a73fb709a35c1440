"""Vocabulary extension: token embeddings for the words of a bilingual lexicon.

A student that starts from the English teacher splits a foreign word into subwords that mean
nothing. Each word that the bitext shows often enough gets a token of its own, and so do the
subwords that words are made of; its embedding starts as the weighted mean of the teacher's input
embeddings of the English tokens that it goes with. Distillation then does the rest in context.
Words that occur unchanged in the English side are names and keep the teacher's subwords, so they
still match.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, normalizers
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from clir_cli.errors import UserError
from clir_cli.retrieval.loading import embedding_table
from clir_cli.vocabulary.counts import Lexicon

# Marks that may be removed: not the vowel signs of scripts from Devanagari to Khmer, which are
# letters.
ACCENTS = r"(?![\u0900-\u109F\u1780-\u17FF])\p{Mn}"


def word_splitter(tokenizer: PreTrainedTokenizerBase) -> Callable[[str], list[str]]:
    """Return a function from a text to its words, as the student's tokenizer will split it.

    Raises:
        UserError: It is no WordPiece tokenizer.
    """
    splits_of = _splitter(tokenizer)
    return lambda text: [word for word in splits_of(text) if _is_word(word)]


def _is_word(split: str) -> bool:
    return any(character.isalpha() for character in split)


def _splitter(tokenizer: PreTrainedTokenizerBase) -> Callable[[str], list[str]]:
    backend = Tokenizer.from_str(json.dumps(_layout(tokenizer)))

    def splits_of(text: str) -> list[str]:
        normal = backend.normalizer.normalize_str(text) if backend.normalizer else text
        return [split for split, _ in backend.pre_tokenizer.pre_tokenize_str(normal)]

    return splits_of


def word_indices(
    tokenizer: PreTrainedTokenizerBase, prefix: str = ""
) -> Callable[[str], tuple[int, list[int | None]]]:
    """Return a function from a text to the number of its words and the word of each of its tokens.

    Words are those of ``word_splitter``, by index; tokens that are of no word, such as those of the
    prefix that is put before each text, have None. No text is truncated.
    """
    splits_of = _splitter(tokenizer)
    before = len(splits_of(prefix))

    def indices_of(text: str) -> tuple[int, list[int | None]]:
        splits = splits_of(prefix + text)
        words = [at for at, split in enumerate(splits) if at >= before and _is_word(split)]
        index = {at: number for number, at in enumerate(words)}
        return len(words), [index.get(at) for at in tokenizer(prefix + text).word_ids()]

    return indices_of


def _layout(tokenizer: PreTrainedTokenizerBase) -> dict:
    """Return the tokenizer's JSON, with a normaliser that keeps vowel signs.

    BERT's removes every mark without a width of its own, and with the accents of Latin letters
    half the spelling of Devanagari: the signs of u, e and the nasal, and the virama.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    layout: dict[str, Any] = {"model": {"type": ""}}
    if backend is not None:
        layout = json.loads(backend.to_str())
    if layout["model"]["type"] != "WordPiece":
        raise UserError(
            "student.vocabulary=words, subwords and both need a WordPiece tokenizer, as BERT and "
            "MiniLM have; use --set student.vocabulary=initial"
        )
    options: dict[str, Any] = layout.get("normalizer") or {}
    if options.get("type") != "BertNormalizer":
        return layout
    strips = options.get("strip_accents")
    if options["lowercase"] if strips is None else strips:
        bert = normalizers.BertNormalizer(
            options["clean_text"], options["handle_chinese_chars"], False, options["lowercase"]
        )
        changed = Tokenizer.from_str(json.dumps(layout))
        changed.normalizer = normalizers.Sequence(
            [bert, normalizers.NFD(), normalizers.Replace(Regex(ACCENTS), "")]
        )
        layout = json.loads(changed.to_str())
    return layout


def extend_vocabulary(
    tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, lexicon: Lexicon
) -> PreTrainedTokenizerFast:
    """Give each word and subword of the lexicon a token embedding of the model, in place.

    They join the WordPiece vocabulary: longest match first, so an unseen inflection of a word
    starts with that word. One that the initial vocabulary already has keeps its id and gets the
    new embedding (``new_embeddings``).

    Returns:
        The tokenizer with the new words; it saves and loads like any other.
    """
    extended = with_words(tokenizer, lexicon.words)
    embeddings = new_embeddings(embedding_table(model).weight.detach(), lexicon)
    model.resize_token_embeddings(len(extended), mean_resizing=False)
    ids = torch.tensor(extended.convert_tokens_to_ids(lexicon.words), dtype=torch.long)
    with torch.no_grad():
        embedding_table(model).weight[ids] = embeddings
    return extended


def with_words(tokenizer: PreTrainedTokenizerBase, words: Sequence[str]) -> PreTrainedTokenizerFast:
    """Return the tokenizer with words and subwords beside its own, which keep their ids."""
    # What the last call asked for is no part of a tokenizer.
    layout = {**_layout(tokenizer), "truncation": None, "padding": None}
    vocabulary = layout["model"]["vocab"]
    for token, identity in tokenizer.get_added_vocab().items():  # markers of a teacher, say
        vocabulary.setdefault(token, identity)
    for word in words:
        vocabulary.setdefault(word, len(vocabulary))
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(layout)),
        model_max_length=tokenizer.model_max_length,
        model_input_names=tokenizer.model_input_names,
        **tokenizer.special_tokens_map,
    )


def new_embeddings(initial: Tensor, lexicon: Lexicon) -> Tensor:
    """Return the embeddings (W, d) of a lexicon's words.

    e(w) = sum_t s(w, t) E(t) / sum_t s(w, t) over the word's English tokens t, with s the strengths
    of the lexicon and E the ``initial`` input embeddings (T, d).
    """
    tokens, strengths = lexicon.tokens.to(initial.device), lexicon.strengths.to(initial.device)
    weights = strengths.unsqueeze(-1)
    return (initial[tokens] * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1e-9)
