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
from functools import lru_cache
from itertools import chain
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from clir_cli.errors import UserError
from clir_cli.retrieval.loading import embedding_table
from clir_cli.retrieval.wordwise import ACCENTS, is_wordwise
from clir_cli.vocabulary.counts import Lexicon

SPACE = "\u2581"  # Metaspace, before words
# Log probability by which a new Unigram piece is above its parts, a character: no two different
# segmentations are that close, and of two new words the longer one wins.
MARGIN = 1e-6
AT_ONCE = 4096  # words whose embeddings are computed at once, since each has those of k tokens
UNKNOWN = -10.0  # of a character without a piece, below the least piece: what Unigram itself takes


def word_splitter(tokenizer: PreTrainedTokenizerBase) -> Callable[[str], list[str]]:
    """Return a function from a text to its words, as the student's tokenizer will split it.

    Those of a Unigram tokenizer begin with its mark of a space, also after punctuation.

    Raises:
        UserError: It is no WordPiece tokenizer and no Unigram one with Metaspace.
    """
    layout, mark = _layout(tokenizer), SPACE if is_unigram(tokenizer) else ""
    splits_of = _splitter(layout)

    def words_of(text: str) -> list[str]:
        return [mark + word.removeprefix(mark) for word in splits_of(text) if _is_word(word)]

    if not is_wordwise(layout):
        return words_of
    of_part = lru_cache(1 << 20)(words_of)  # most words of a bitext occur many times
    return lambda text: list(chain.from_iterable(map(of_part, text.split(" "))))


def is_unigram(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return True if a tokenizer's pieces have scores, as those of SentencePiece."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return backend is not None and isinstance(backend.model, models.Unigram)


@lru_cache(1 << 20)
def _is_word(split: str) -> bool:
    return any(character.isalpha() for character in split)


def _splitter(layout: dict[str, Any]) -> Callable[[str], list[str]]:
    backend = Tokenizer.from_str(json.dumps(layout))
    if isinstance(backend.model, models.Unigram):  # Metaspace leaves punctuation with the words
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [backend.pre_tokenizer, pre_tokenizers.Punctuation()]
        )

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

    Raises:
        UserError: It is no WordPiece tokenizer.
    """
    if is_unigram(tokenizer):
        raise UserError("student.rows=plans needs a WordPiece tokenizer; take another student.rows")
    splits_of = _splitter(_layout(tokenizer))
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
    if layout["model"]["type"] == "Unigram" and _has_metaspace(layout["pre_tokenizer"] or {}):
        return layout
    if layout["model"]["type"] != "WordPiece":
        raise UserError(
            "student.vocabulary=words, subwords and both need a WordPiece tokenizer, as BERT and "
            "MiniLM have, words also a Unigram one with Metaspace, as XLM-R and e5 have; use --set "
            "student.vocabulary=initial"
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


def _has_metaspace(pre_tokenizer: dict[str, Any]) -> bool:
    parts = pre_tokenizer.get("pretokenizers", [pre_tokenizer])
    return any(part.get("type") == "Metaspace" for part in parts)


def extend_vocabulary(
    tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, lexicon: Lexicon
) -> PreTrainedTokenizerFast:
    """Give each word and subword of the lexicon a token embedding of the model, in place.

    They join a WordPiece vocabulary: longest match first, so an unseen inflection of a word
    starts with that word. One that the initial vocabulary already has keeps its id and gets the
    new embedding (``new_embeddings``). In a Unigram vocabulary a word scores just above its best
    segmentation: it becomes one token, and a longer word that begins with it is read with it only
    if it was cut at that place before.

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
    added = tokenizer.get_added_vocab()  # markers of a teacher, say
    if is_unigram(tokenizer):
        _add_pieces(tokenizer.backend_tokenizer.model, layout["model"]["vocab"], added, words)
    else:
        vocabulary = layout["model"]["vocab"]
        for token, identity in added.items():
            vocabulary.setdefault(token, identity)
        for word in words:
            vocabulary.setdefault(word, len(vocabulary))
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(layout)),
        model_max_length=tokenizer.model_max_length,
        model_input_names=tokenizer.model_input_names,
        **tokenizer.special_tokens_map,
    )


def _add_pieces(
    model: models.Model, pieces: list[list], added: dict[str, int], words: Sequence[str]
) -> None:
    """Append words to the pieces of a Unigram model, each a pair of piece and score, in place."""
    scores = dict(map(tuple, pieces))
    least = min(scores.values())
    # Added tokens are found before the model sees the text, so that their score is of no effect.
    tokens = sorted(added.keys() - scores.keys(), key=added.__getitem__)
    pieces.extend([token, least] for token in tokens)
    for word in words:
        if word not in scores:
            parts = [part.value for part in model.tokenize(word)]
            whole = sum(scores.get(part, (least + UNKNOWN) * len(part)) for part in parts)
            pieces.append([word, whole + MARGIN * len(word)])


def new_embeddings(initial: Tensor, lexicon: Lexicon) -> Tensor:
    """Return the embeddings (W, d) of a lexicon's words.

    e(w) = sum_t s(w, t) E(t) / sum_t s(w, t) over the word's English tokens t, with s the strengths
    of the lexicon and E the ``initial`` input embeddings (T, d).
    """
    both = lexicon.tokens, lexicon.strengths
    parts = (values.to(initial.device).split(AT_ONCE) for values in both)
    made = [
        (initial[tokens] * weights[..., None]).sum(dim=1)
        / weights.sum(dim=1)[:, None].clamp_min(1e-9)
        for tokens, weights in zip(*parts, strict=True)
    ]
    return torch.cat([initial[:0], *made])
