"""Word rows from the bitext: a bilingual lexicon put into the student's embedding table.

A student that starts from the English teacher cuts a foreign word into pieces that mean nothing.
Each word that the bitext shows often enough gets a row of its own, and so do the subword pieces
that words are made of; the row starts as the weighted mean of the teacher's input embeddings of the
English tokens that it goes with. Distillation then does the rest in context. Words that stand
unchanged in the English side are names and keep the teacher's pieces, so they still match.
"""

import json
from collections import Counter
from collections.abc import Callable, Container, Sequence
from functools import reduce
from operator import add

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, normalizers
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from clir_cli.corpus.records import SentencePair
from clir_cli.errors import UserError
from clir_cli.vocabulary.counts import (
    Count,
    Counted,
    Evidence,
    Lexicon,
    Numbered,
    Placed,
    joint_occurrences,
)
from clir_cli.vocabulary.subwords import learn_pieces

# Marks that may go: not the vowel signs of scripts from Devanagari to Khmer, which are letters.
ACCENTS = r"(?![\u0900-\u109F\u1780-\u17FF])\p{Mn}"


def count_units(
    bitext: Sequence[SentencePair],
    tokenizer: PreTrainedTokenizerBase,
    *,
    min_count: int = 2,
    units: str = "words",
    subwords: int = 8000,
    count: Count = joint_occurrences,
    folds: Numbered = (),
) -> list[list[Counted]]:
    """Count words, then pieces, of the query language together with English tokens.

    Words are those of the tokenizer's own normalisation and splitting. A word seen in fewer than
    ``min_count`` pairs is left out, and so is one that stands unchanged in the English side of more
    than half its pairs. Pieces are learned from all words but these names; those that the tokenizer
    has already keep their row.

    Args:
        bitext: Sentence pairs.
        tokenizer: The teacher's.
        min_count: A word gets a row when so many pairs have it; a piece, when two have.
        units: ``words``, ``subwords`` or ``both``, as ``student.vocabulary``.
        subwords: Pieces to learn.
        count: How to find out which English tokens a word goes with.
        folds: The numbers of the pairs of each fold, if there are to be folds.

    Returns:
        What is counted in the whole bitext; then, if there are folds, in all but each of them.
    """
    words_of = word_splitter(tokenizer)
    foreign = [words_of(pair.query) for pair in bitext]
    english = [set(words_of(pair.english)) for pair in bitext]
    special = set(tokenizer.all_special_ids)
    encoded = tokenizer([pair.english for pair in bitext], add_special_tokens=False)["input_ids"]
    tokens = [[each for each in ids if each not in special] for ids in encoded]
    seen = Counter(word for words in foreign for word in set(words))
    names = _names(foreign, english, seen)
    groups = folds or [range(len(bitext))]

    def counted(sentences: Sequence[Placed], left_out: Container[str], least: int) -> list[Counted]:
        vocabulary = sorted({unit for each in sentences for _, unit in each})
        number = {unit: place for place, unit in enumerate(vocabulary)}
        numbered = [[number[unit] for _, unit in each] for each in sentences]
        owners = [[place for place, _ in each] for each in sentences]
        parts = count(numbered, tokens, (len(vocabulary), len(tokenizer)), owners, groups)
        often = np.zeros((len(parts), len(vocabulary)), dtype=int)
        for row, kept in zip(often, groups, strict=True):
            for each in kept:
                row[list(set(numbered[each]))] += 1
        allowed = np.array([unit not in left_out for unit in vocabulary], dtype=bool)

        def view(evidence: Evidence, times: np.ndarray) -> Counted:
            kept = np.flatnonzero(allowed & (times >= least)).tolist()
            return Counted([vocabulary[place] for place in kept], evidence.rows(kept))

        whole, total = reduce(add, parts), often.sum(axis=0)
        found = [view(whole, total)]
        if folds:
            found += [
                view(whole - part, total - own) for part, own in zip(parts, often, strict=True)
            ]
        return found

    found = []
    if units != "subwords":
        # Names take part, so that nothing else is held for the English that they stand for.
        placed = [list(enumerate(words)) for words in foreign]
        found.append(counted(placed, names, min_count))
    if units != "words":
        common = [
            [(place, word) for place, word in enumerate(words) if word not in names]
            for words in foreign
        ]
        cut = learn_pieces(([word for _, word in each] for each in common), subwords)
        pieces = [
            [(place, piece) for place, word in each for piece in cut(word)] for each in common
        ]
        known = tokenizer.get_vocab()  # the teacher's own pieces are what unseen names are cut into
        found.append(counted(pieces, known, 2))
    return [list(view) for view in zip(*found, strict=True)]


def _names(
    foreign: Sequence[Sequence[str]], english: Sequence[set[str]], seen: Counter[str]
) -> set[str]:
    """Return the words that stand unchanged in the English side of most of their pairs."""
    shared = Counter(
        word for ours, theirs in zip(foreign, english, strict=True) for word in set(ours) & theirs
    )
    return {word for word, count in shared.items() if 2 * count > seen[word]}


def word_splitter(tokenizer: PreTrainedTokenizerBase) -> Callable[[str], list[str]]:
    """Return a function from a text to its words, as the student's tokenizer will split it.

    Raises:
        UserError: It is no WordPiece tokenizer.
    """
    splits_of = _splitter(tokenizer)
    return lambda text: [word for word in splits_of(text) if _is_word(word)]


def _is_word(split: str) -> bool:
    return any(mark.isalpha() for mark in split)


def _splitter(tokenizer: PreTrainedTokenizerBase) -> Callable[[str], list[str]]:
    backend = Tokenizer.from_str(json.dumps(_layout(tokenizer)))

    def splits_of(text: str) -> list[str]:
        normal = backend.normalizer.normalize_str(text) if backend.normalizer else text
        return [split for split, _ in backend.pre_tokenizer.pre_tokenize_str(normal)]

    return splits_of


def word_places(
    tokenizer: PreTrainedTokenizerBase, prefix: str = ""
) -> Callable[[str], tuple[int, list[int | None]]]:
    """Return a function from a text to the number of its words and the word of each of its tokens.

    Words are those of ``word_splitter``, by place; None stands for tokens that are of no word, such
    as those of the prefix that is put before each text. No text is cut.
    """
    splits_of = _splitter(tokenizer)
    before = len(splits_of(prefix))

    def places_of(text: str) -> tuple[int, list[int | None]]:
        splits = splits_of(prefix + text)
        words = [each for each, split in enumerate(splits) if each >= before and _is_word(split)]
        place = {each: number for number, each in enumerate(words)}
        return len(words), [place.get(each) for each in tokenizer(prefix + text).word_ids()]

    return places_of


def _layout(tokenizer: PreTrainedTokenizerBase) -> dict:
    """Return the tokenizer's layout, with a normaliser that keeps vowel signs.

    BERT's strips every mark that takes no room of its own, and with the accents of Latin letters
    goes half the spelling of Devanagari: the signs of u, e and the nasal, and the virama.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    layout = json.loads(backend.to_str()) if backend is not None else {"model": {"type": ""}}
    if layout["model"]["type"] != "WordPiece":
        raise UserError(
            "student.vocabulary=words, subwords and both need a WordPiece tokenizer, as BERT and "
            "MiniLM have; use --set student.vocabulary=initial"
        )
    options = layout.get("normalizer") or {}
    strips = options.get("strip_accents")
    if options.get("type") == "BertNormalizer" and (
        options["lowercase"] if strips is None else strips
    ):
        gentle = normalizers.Sequence(
            [
                normalizers.BertNormalizer(
                    clean_text=options["clean_text"],
                    handle_chinese_chars=options["handle_chinese_chars"],
                    strip_accents=False,
                    lowercase=options["lowercase"],
                ),
                normalizers.NFD(),
                normalizers.Replace(Regex(ACCENTS), ""),
            ]
        )
        changed = Tokenizer.from_str(json.dumps(layout))
        changed.normalizer = gentle
        layout = json.loads(changed.to_str())
    return layout


def extend_vocabulary(
    tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, lexicon: Lexicon
) -> PreTrainedTokenizerFast:
    """Give each word and piece of the lexicon a row of the model's embedding table, in place.

    They become pieces of the WordPiece vocabulary: longest match first, so an unseen inflection of
    a word starts with that word. One that the initial vocabulary has already keeps its place and
    gets the new row (``new_rows``).

    Returns:
        The tokenizer with the new words; it saves and loads as any other.
    """
    extended = with_words(tokenizer, lexicon.words)
    rows = new_rows(model.get_input_embeddings().weight.detach(), lexicon)
    model.resize_token_embeddings(len(extended), mean_resizing=False)
    places = torch.tensor(extended.convert_tokens_to_ids(lexicon.words), dtype=torch.long)
    with torch.no_grad():
        model.get_input_embeddings().weight[places] = rows
    return extended


def with_words(tokenizer: PreTrainedTokenizerBase, words: Sequence[str]) -> PreTrainedTokenizerFast:
    """Return the tokenizer with words and pieces beside its own, which keep their ids."""
    layout = _layout(tokenizer)
    vocabulary = layout["model"]["vocab"]
    for token, place in tokenizer.get_added_vocab().items():  # markers of a teacher, say
        vocabulary.setdefault(token, place)
    for word in words:
        vocabulary.setdefault(word, len(vocabulary))
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(layout)),
        model_max_length=tokenizer.model_max_length,
        model_input_names=tokenizer.model_input_names,
        **tokenizer.special_tokens_map,
    )


def new_rows(initial: Tensor, lexicon: Lexicon) -> Tensor:
    """Return the rows (W, d) of a lexicon's words.

    row(w) = sum_t Dice(w, t) E(t) / sum_t Dice(w, t) over the word's English tokens t, with E the
    ``initial`` input embeddings (T, d).
    """
    weights = lexicon.dice.unsqueeze(-1)
    return (initial[lexicon.tokens] * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1e-9)
